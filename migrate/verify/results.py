"""What one side answered: values and refusals, in one folder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from migrate import spool
from migrate.verdict import Coverage

# In the folder of a side's results: those of what another process did of it.
BESIDE = "beside"
_VALUES, _STATUS, _UNDER_WAY = "results.bin", "results.json", "under_way.txt"


@dataclasses.dataclass(slots=True, eq=False)
class Results:
    """Answers of one side.

    Attributes:
      outputs: (route, call id) -> output key -> value.
      refusals: (route, call id) -> why it did not run.
      losses: regularization losses in order.
      variables: name -> value as loaded, None where they were not asked for.
      updates: variable name -> value after one training call.
      unmoved: names of variables that this call left as they were.
      unsteady: names of variables that it leaves otherwise each time, as far as it was made several times.
      trainable: names of the trainable variables, None where they cannot be told.
      gradients: (route, call id) -> "d output / d source" -> dense array; zeros where there is no path.
      shared: as outputs, of random calls, with random numbers that both sides share.
      shared_updates: as `updates`, of a random training call, likewise.
      reweighed: as outputs, with other weights (`verify.weights`).
      weights: names of the variables that had others for it.
      generators: call id -> name of each random op that it may run -> op.
      fixed_seeds: names of random ops with a seed of their own.
      draws: (route, call id) -> output key -> [repeats, components], as `draws.reduce_draw` makes them.
      keeps_seeds: its generators keep their state in variables that are saved, as Keras 3 does.
      interface: signatures as `signature_defs` describes them.
      notes: anything else that went wrong, one line each.
      coverage: what the runner knows of what it reached.
      files: what belongs to the model -> its lines ([lines] object), or checksums of its parts where it is large.
      tables: (keys, values) of each exported table, in the order of the keys.
      pieces: what each signature uses (an original), or each piece says of itself (a migrated model).
      folder: where a runner saves them; outputs go there at once, and `Kept` stands for them.
      loaded_from: the folder that they came from, "" where they did not.
      model: the side's folder, "" where it has none: an output that is the path of a file in it (the vocabulary that a
        BERT module tells) stands for what the file holds.
    """

    outputs: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    refusals: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    losses: list[Any] | None = None
    variables: dict[str, Any] | None = None
    updates: dict[str, Any] | None = None
    unmoved: list[str] = dataclasses.field(default_factory=list)
    unsteady: list[str] = dataclasses.field(default_factory=list)
    trainable: list[str] | None = None
    gradients: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    shared: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    shared_updates: dict[str, Any] | None = None
    reweighed: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    weights: list[str] = dataclasses.field(default_factory=list)
    generators: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    fixed_seeds: list[str] = dataclasses.field(default_factory=list)
    draws: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    keeps_seeds: bool = False
    interface: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    coverage: list[Coverage] = dataclasses.field(default_factory=list)
    files: dict[str, Any] = dataclasses.field(default_factory=dict)
    tables: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    pieces: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    folder: str = ""
    loaded_from: str = ""
    model: str = ""
    _spool: spool.Spool | None = None

    def begin_call(self, route: str, call: str) -> None:
        """Leaves word in the folder of what is about to be answered: the process may die of it, or never come back."""
        if self.folder:
            os.makedirs(self.folder, exist_ok=True)
            with open(os.path.join(self.folder, _UNDER_WAY), "w", encoding="utf-8") as file:
                file.write(f"{call} ({route})" if route else call)

    def record_outputs(self, route: str, call: str, outputs: Mapping[str, Any]) -> None:
        """What a call answered. With a folder, the values do not stay in memory, and equal ones are written once."""
        self.outputs[route, call] = self._keep(outputs)

    def record_shared(self, route: str, call: str, outputs: Mapping[str, Any]) -> None:
        """As `record_outputs`, of a random call in which both sides draw the same numbers."""
        self.shared[route, call] = self._keep(outputs)

    def record_reweighed(self, route: str, call: str, outputs: Mapping[str, Any]) -> None:
        """As `record_outputs`, with other weights."""
        self.reweighed[route, call] = self._keep(outputs)

    def _keep(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        kept = self._open_spool(self.folder).keep if self.folder else _pass
        return {key: kept(self._read_paths(value)) for key, value in outputs.items()}

    def _read_paths(self, value: Any) -> Any:
        """Strings, with what a file of the model holds in place of its path: the two sides lie in different folders."""
        if not self.model or not isinstance(value, np.ndarray) or value.dtype != object:
            return value
        folder = os.path.join(os.path.realpath(self.model), "").encode("utf-8", "surrogateescape")
        told = [_tell_file(element, folder) for element in value.flat]
        result = np.empty(value.size, dtype=object)
        result[:] = told
        return result.reshape(value.shape)

    def _open_spool(self, folder: str) -> spool.Spool:
        if self._spool is None:
            self._spool = spool.Spool(os.path.join(folder, _VALUES))
        return self._spool

    def record_failure(self, route: str, call: str, error: Exception) -> None:
        """What a call raised is its answer, whatever it is; with outputs there already, it was the gradients."""
        if (route, call) in self.outputs:
            self.notes.append(f"{call}: no gradients: {first_line(error)}")
        else:
            self.refusals[route, call] = first_line(error)

    def record_updates(self, before: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> None:
        """Values of the variables, arrays by name, before a training call and after it, each time from the start."""
        self.updates = dict(runs[0])
        self.unmoved = [name for name, value in runs[0].items() if _same(before[name], value)]
        self.unsteady = [
            name for name, value in runs[0].items() if not all(_same(value, other[name]) for other in runs[1:])
        ]

    @property
    def size(self) -> int:
        """Bytes that its values take where they lie; 0 for values in memory."""
        files = (os.path.join(self.loaded_from, part, _VALUES) for part in ("", BESIDE))
        return sum(os.path.getsize(file) for file in files if os.path.exists(file)) if self.loaded_from else 0

    def add(self, other: Results) -> None:
        """What another process answered for the same side."""
        self.outputs |= other.outputs
        self.refusals |= other.refusals
        self.gradients |= other.gradients
        self.shared |= other.shared
        self.generators |= other.generators
        self.fixed_seeds += other.fixed_seeds
        self.notes += other.notes
        if other.shared_updates is not None:
            self.shared_updates = other.shared_updates

    def drop_calls(self, calls: Collection[str]) -> None:
        """Forgets what calls answered, for which nobody asks."""
        for answers in (self.outputs, self.refusals):
            for place in [place for place in answers if place[1] in calls]:
                del answers[place]

    def save(self, folder: str = "") -> None:
        """Completes what lies in the folder; without one in `self.folder`."""
        folder = folder or self.folder
        values: dict[str, Any] = {}
        outputs = _list_nested("output", self.outputs, values)
        draws = _list_nested("draw", self.draws, values)
        gradients = _list_nested("gradient", self.gradients, values)
        shared = _list_nested("shared", self.shared, values)
        reweighed = _list_nested("reweighed", self.reweighed, values)
        values |= {f"loss|{i}": value for i, value in enumerate(self.losses or ())}
        values |= {f"variable|{name}": value for name, value in (self.variables or {}).items()}
        values |= {f"update|{name}": value for name, value in (self.updates or {}).items()}
        values |= {f"shared_update|{name}": value for name, value in (self.shared_updates or {}).items()}
        values |= {f"file|{name}": value for name, value in self.files.items()}
        for number, (keys, mapped) in enumerate(self.tables):
            values |= {f"table|{number}|keys": keys, f"table|{number}|values": mapped}
        opened = self._open_spool(folder)
        records = {name: opened.keep(value).record for name, value in values.items()}
        opened.close()
        status = {
            "values": records,
            "outputs": outputs,
            "draws": draws,
            "keeps_seeds": self.keeps_seeds,
            "gradients": gradients,
            "shared": shared,
            "reweighed": reweighed,
            "weights": self.weights,
            "generators": self.generators,
            "fixed_seeds": self.fixed_seeds,
            "shared_updates": None if self.shared_updates is None else list(self.shared_updates),
            "refusals": [[route, call, text] for (route, call), text in self.refusals.items()],
            "losses": None if self.losses is None else len(self.losses),
            "variables": None if self.variables is None else list(self.variables),
            "updates": None if self.updates is None else list(self.updates),
            "unmoved": self.unmoved,
            "unsteady": self.unsteady,
            "trainable": self.trainable,
            "interface": self.interface,
            "files": list(self.files),
            "tables": len(self.tables),
            "pieces": self.pieces,
            "notes": self.notes,
            "coverage": [dataclasses.asdict(item) for item in self.coverage],
        }
        with open(os.path.join(folder, _STATUS), "w", encoding="utf-8") as file:
            json.dump(status, file)
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, _UNDER_WAY))

    @classmethod
    def load(cls, folder: str) -> Results:
        """Values are views into the file, read when they are looked at. What lies in the folder BESIDE is added."""
        found = cls._load(folder)
        beside = os.path.join(folder, BESIDE)
        if os.path.isdir(beside):
            found.add(cls._load(beside))
        return found

    @classmethod
    def _load(cls, folder: str) -> Results:
        with open(os.path.join(folder, _STATUS), encoding="utf-8") as file:
            status = json.load(file)
        reader = spool.Reader(os.path.join(folder, _VALUES))
        values = {name: reader.read(record) for name, record in status["values"].items()}
        return cls(
            outputs=_read_nested("output", status["outputs"], values),
            draws=_read_nested("draw", status["draws"], values),
            keeps_seeds=status["keeps_seeds"],
            gradients=_read_nested("gradient", status["gradients"], values),
            shared=_read_nested("shared", status["shared"], values),
            reweighed=_read_nested("reweighed", status["reweighed"], values),
            weights=status["weights"],
            generators=status["generators"],
            fixed_seeds=status["fixed_seeds"],
            shared_updates=None
            if status["shared_updates"] is None
            else {name: values[f"shared_update|{name}"] for name in status["shared_updates"]},
            refusals={(route, call): text for route, call, text in status["refusals"]},
            losses=None if status["losses"] is None else [values[f"loss|{i}"] for i in range(status["losses"])],
            variables=None
            if status["variables"] is None
            else {name: values[f"variable|{name}"] for name in status["variables"]},
            updates=None
            if status["updates"] is None
            else {name: values[f"update|{name}"] for name in status["updates"]},
            unmoved=status["unmoved"],
            unsteady=status["unsteady"],
            trainable=status["trainable"],
            interface=status["interface"],
            files={name: values[f"file|{name}"] for name in status["files"]},
            tables=[(values[f"table|{n}|keys"], values[f"table|{n}|values"]) for n in range(status["tables"])],
            pieces=status["pieces"],
            notes=status["notes"],
            coverage=[Coverage.from_record(item) for item in status["coverage"]],
            loaded_from=folder,
        )


def _pass(value: Any) -> Any:
    return value


def _same(old: Any, new: Any) -> bool:
    old, new = np.asarray(old), np.asarray(new)
    if old.dtype == new.dtype and old.dtype.kind != "O" and old.dtype.itemsize in (1, 2, 4, 8):
        bits = f"u{old.dtype.itemsize}"
        # A tenth of the time that NaN takes, and most variables are as they were.
        if np.array_equal(old.view(bits), new.view(bits)):
            return True
    return np.array_equal(old, new, equal_nan=old.dtype.kind == "f")


def _list_nested(
    kind: str, nested: dict[tuple[str, str], dict[str, Any]], values: dict[str, Any]
) -> list[dict[str, Any]]:
    """The listing of (route, call) -> key -> value; the values go into `values`."""
    listing: list[dict[str, Any]] = []
    for (route, call), found in nested.items():
        values |= {f"{kind}|{len(listing)}|{key}": value for key, value in found.items()}
        listing.append({"route": route, "call": call, "keys": list(found)})
    return listing


def _read_nested(
    kind: str, listing: list[dict[str, Any]], values: dict[str, Any]
) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (entry["route"], entry["call"]): {key: values[f"{kind}|{position}|{key}"] for key in entry["keys"]}
        for position, entry in enumerate(listing)
    }


def find_under_way(folder: str) -> str:
    """What a runner that did not come to its end was answering, "" where that is not known."""
    with contextlib.suppress(OSError), open(os.path.join(folder, _UNDER_WAY), encoding="utf-8") as file:
        return file.read()
    return ""


_NOISE = ("Graph execution error", "Detected at node", "<stack traces", "[[", "File ", "Node:", "2 root error")


def _tell_file(value: Any, folder: bytes) -> Any:
    """What the file holds that `value` is the path of, if it lies in `folder`; else `value`."""
    if not isinstance(value, bytes) or not os.path.isabs(value) or b"\0" in value:
        return value
    if not os.path.realpath(value).startswith(folder) or not os.path.isfile(value):
        return value
    with open(value, "rb") as file:
        return b"a file with sha256 " + hashlib.file_digest(file, "sha256").hexdigest().encode()


def first_line(error: BaseException) -> str:
    """The line of a TensorFlow error that says what is wrong: the message stands after a graph trace."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(_NOISE)]
    return f"{type(error).__name__}: {telling[0][:300]}" if telling else type(error).__name__
