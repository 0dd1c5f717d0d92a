"""What is fed to a signature: one Case is one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

# Cases that look for more than a graph says it takes: what the original refuses of them it does not take, no more.
EDGES = "edges"
SCALARS = tuple(f"scalars_{number}" for number in range(12))
# Found by a search for what the others do not reach (`reach.search`).
REACHED = tuple(f"reached_{number}" for number in range(48))
VENTURES = (EDGES, *SCALARS, *REACHED)


def is_venture(name: str) -> bool:
    """Whether the case of a name may be one that the original refuses."""
    return name in VENTURES


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One call of one signature.

    Attributes:
      name: unique among the cases of a signature, e.g. "batch_3".
      inputs: by input key of the signature: a numpy array (strings: object array of bytes), a SparseValue
        or a RaggedValue. An input that has a default may be missing; every other input is there.
    """

    name: str
    inputs: Mapping[str, Any]
