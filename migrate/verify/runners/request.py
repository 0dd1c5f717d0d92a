"""What a runner is asked to do: one value for every kind of side, saved as JSON between the processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from migrate.options import ReadOptions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """How a side that has adopted the other's names spells them itself; what is not listed has one name on both sides.

    Attributes:
      signature: its own key, "" where it is the call's.
      inputs: key in the call -> its own.
      outputs: its own key -> that of the comparison.
    """

    signature: str = ""
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run of one side.

    Attributes:
      path: folder of the model.
      calls: folder that `calls.save_calls` wrote.
      results: folder to write with `Results.save`.
      skip: names of cases to leave out.
      op_library: shared libraries with custom ops.
      losses: whether regularization losses are wanted.
      loss_tags: tag set whose losses they are; a candidate has one set only.
      variables: whether the values of variables are wanted, as they are loaded.
      update_call: id of the call after which variables are read, "" for none.
      repeat: make each call several times and keep the last answer: does the side agree with itself?
      gradient_calls: ids of calls whose outputs are differentiated.
      draw_calls: ids of calls with random outputs, made `draws` times, for at most `draw_seconds` each.
      names: of a Keras file.
      read: what the reader of a SESSION side is told.
    """

    path: str
    calls: str
    results: str
    skip: tuple[str, ...] = ()
    op_library: tuple[str, ...] = ()
    losses: bool = False
    loss_tags: tuple[str, ...] = ()
    variables: bool = False
    update_call: str = ""
    repeat: bool = False
    gradient_calls: tuple[str, ...] = ()
    draw_calls: tuple[str, ...] = ()
    draws: int = 100
    draw_seconds: float = 20.0
    names: Names = dataclasses.field(default_factory=Names)
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunRequest:
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        names, read = Names(**fields.get("names", {})), ReadOptions.from_json(fields.get("read", {}))
        return cls(**fields | {"names": names, "read": read})
