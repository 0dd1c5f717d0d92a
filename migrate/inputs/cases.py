"""What is fed to a signature: one Case is one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


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
