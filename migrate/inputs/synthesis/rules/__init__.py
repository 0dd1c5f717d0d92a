"""What each op says of the tensors that go in and come out, by subject; RULES joins them."""

from __future__ import annotations

from collections.abc import Mapping

from migrate.inputs.synthesis.rules import (
    control,
    decoding,
    elementwise,
    indexing,
    layers,
    parsing,
    shaping,
    sparse,
)
from migrate.inputs.synthesis.walk import Rule

RULES: Mapping[str, Rule] = {
    **elementwise.RULES,
    **shaping.RULES,
    **indexing.RULES,
    **layers.RULES,
    **sparse.RULES,
    **parsing.RULES,
    **decoding.RULES,
    **control.RULES,
}
