"""What a run remembers of each model: results.jsonl, and receipts for what was published a moment ago."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, overload

from migrate.outcome import Outcome, Status

RESULTS = "results.jsonl"
# Of a line: a bit that a disk turned may leave it JSON, and a report that trips over it ends a weekend's run.
_CHECK = "check"
_END = f', "{_CHECK}": "{{}}"}}}}'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of results.jsonl: an Outcome, and what tells whether it still holds.

    Attributes:
      outcome: what became of the model.
      relative: its path below the roots of source and destination.
      stamp, digest: of the source (`digests`), "" where unknown.
      choices: digest of the options that decide the result.
      files: relative path -> bytes of what was published.
    """

    outcome: Outcome
    relative: str
    stamp: str = ""
    digest: str = ""
    choices: str = ""
    files: dict[str, int] = dataclasses.field(default_factory=dict)

    def to_line(self) -> str:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "outcome"}
        text = json.dumps(self.outcome.to_record() | own)
        return text[:-1] + _END.format(_checksum(text.encode()))

    @classmethod
    def from_line(cls, line: str | bytes) -> Record:
        """Raises ValueError, KeyError or TypeError where the line is none of ours, or not what was written."""
        try:
            value = json.loads(line)
        except RecursionError as error:
            raise ValueError("nested without end") from error
        if not isinstance(value, dict):
            raise TypeError("no object")
        # Lines of earlier versions, and of a person's hand, have none.
        if _CHECK in value:
            check = value.pop(_CHECK)
            if not _is_as_written(line, check) and check != _checksum(json.dumps(value).encode()):
                raise ValueError("a value is not what was written")
        names = {field.name for field in dataclasses.fields(cls)} - {"outcome"}
        own = {name: value[name] for name in names if name in value}
        own.setdefault("relative", "")  # lines of earlier versions
        return cls(outcome=Outcome.from_record(value), **own)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The little of a Record that a run keeps in memory, and where the rest lies in the journal."""

    offset: int
    source: str
    place: str
    status: Status
    stamp: str
    digest: str
    choices: str
    files: dict[str, int]
    seconds: float
    duplicate: bool

    @classmethod
    def of(cls, record: Record, offset: int) -> Known:
        outcome = record.outcome
        return cls(
            offset=offset, source=outcome.source, place=outcome.dest or outcome.quarantine,
            status=outcome.status, stamp=record.stamp,
            digest=record.digest, choices=record.choices, files=record.files, seconds=outcome.seconds,
            duplicate=bool(outcome.duplicate_of),
        )  # fmt: skip


class Journal:
    """results.jsonl: a line for each model as soon as it is done, on the disk before the next begins."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._known: dict[str, Known] = {}

    @property
    def known(self) -> dict[str, Known]:
        """The last record of each model, by its path below the root (of earlier versions: by its source)."""
        return self._known

    def load(self, *, repair: bool = True) -> None:
        """Reads what earlier runs have left; with `repair`, a last line that was cut off is removed."""
        with open(self.path, "a+b" if repair else "rb") as file:
            file.seek(0)
            offset = end = 0
            for line in file:
                if line.endswith(b"\n"):
                    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                        record = Record.from_line(line)
                        self._known[record.relative or record.outcome.source] = Known.of(record, offset)
                    end = offset + len(line)
                offset += len(line)
            if repair:
                file.truncate(end)

    def append(self, record: Record) -> None:
        line = record.to_line().encode() + b"\n"
        with self._lock, open(self.path, "ab") as file:
            offset = file.seek(0, os.SEEK_END)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):  # a full disk: no half line
                    os.truncate(self.path, offset)
                raise
            self._known[record.relative] = Known.of(record, offset)

    def read(self, relative: str) -> Record:
        with open(self.path, "rb") as file:
            file.seek(self._known[relative].offset)
            return Record.from_line(file.readline())

    def compact(self) -> None:
        """Keeps the last line of each model only, so that a run that was resumed leaves what one in one go leaves."""
        fresh = f"{self.path}.tmp"
        offsets: dict[str, Known] = {}
        keep = [name for _, name in sorted((known.offset, name) for name, known in self._known.items())]
        with self._lock, open(self.path, "rb") as old, open(fresh, "wb") as new:
            for name in keep:
                old.seek(self._known[name].offset)
                offsets[name] = dataclasses.replace(self._known[name], offset=new.tell())
                new.write(old.readline())
            new.flush()
            os.fsync(new.fileno())
            os.replace(fresh, self.path)
            self._known = offsets


class Outcomes(Sequence[Outcome]):
    """All outcomes of a run, read from its journal when asked for: thousands do not lie in memory.

    The file is kept open, so that they are there even when it has been moved or removed.
    """

    def __init__(self, journal: Journal, order: Sequence[str]) -> None:
        self._known = [journal.known[name] for name in order if name in journal.known]
        self._file: BinaryIO | None = None
        with contextlib.suppress(OSError):
            self._file = open(journal.path, "rb")  # noqa: SIM115  # as long as this object

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._known)

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Outcome]: ...
    def __getitem__(self, index: int | slice) -> Outcome | Sequence[Outcome]:
        if isinstance(index, slice):
            return tuple(self._read(known) for known in self._known[index])
        return self._read(self._known[index])

    def __iter__(self) -> Iterator[Outcome]:
        for known in self._known:
            yield self._read(known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(known.source for known in self._known))

    @property
    def statuses(self) -> Iterator[Status]:
        return (known.status for known in self._known)

    def _read(self, known: Known) -> Outcome:
        if self._file is None:
            raise OSError("the journal of the run could not be opened")
        self._file.seek(known.offset)
        return Record.from_line(self._file.readline()).outcome


class Receipts:
    """A file for each model that is about to be published: should the run be killed between the moment that the model
    takes its place and the moment that the journal says so, the next run adds the line instead of migrating again."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def write(self, record: Record, staged: str) -> None:
        os.makedirs(self.folder, exist_ok=True)
        path = self._find_path(record.relative)
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            # A rename keeps the folder's number: what stands at the destination later is this or it is not.
            file.write(json.dumps({"inode": os.stat(staged).st_ino, "line": record.to_line()}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.tmp", path)

    def remove(self, relative: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._find_path(relative))

    def find(self, relative: str) -> Record | None:
        """The record of a model that was published and perhaps not journaled."""
        return _read_receipt(self._find_path(relative))

    def collect(self) -> list[Record]:
        """Records of all that was published and perhaps not journaled."""
        names = sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []
        records = [_read_receipt(os.path.join(self.folder, name)) for name in names if not name.endswith(".tmp")]
        return [record for record in records if record is not None]

    def _find_path(self, relative: str) -> str:
        return os.path.join(self.folder, hashlib.sha256(os.fsencode(relative)).hexdigest())


def _read_receipt(path: str) -> Record | None:
    with (
        contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError),
        open(path, encoding="utf-8") as file,
    ):
        receipt = json.load(file)
        record = Record.from_line(receipt["line"])
        place = record.outcome.dest or record.outcome.quarantine
        if place and os.stat(place).st_ino == receipt["inode"]:
            return record
    return None


def _checksum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"


def _is_as_written(line: str | bytes, check: Any) -> bool:
    """Whether the line is what `Record.to_line` wrote, told by its bytes: spelling each anew would take longer."""
    data = (line if isinstance(line, bytes) else line.encode()).rstrip(b"\n")
    end = _END.format(check).encode()
    return data.endswith(end) and _checksum(data[: -len(end)] + b"}") == check


def digest_choices(value: Any) -> str:
    """Of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def list_files(folder: str) -> dict[str, int]:
    """Relative path -> bytes."""
    found = {}
    for parent, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = os.lstat(path).st_size
    return found
