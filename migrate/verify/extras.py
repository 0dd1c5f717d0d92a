"""What verifying a migration compares beside the planned calls: the value that planning hands over. No TensorFlow."""

from __future__ import annotations

import dataclasses

from migrate.verdict import InputPreview


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Attributes:
    losses: tag set whose regularization losses are compared, None where the model has none.
    update_call: id of the training call after which variables are read, "" for none.
    random: (tags/signature, output key) of outputs that a random number generator reaches.
    racy: of outputs that TF1 computed before or after a write, as it happened.
    inputs: what is fed, for people.
    """

    losses: tuple[str, ...] | None = None
    update_call: str = ""
    random: tuple[tuple[str, str], ...] = ()
    racy: tuple[tuple[str, str], ...] = ()
    inputs: tuple[InputPreview, ...] = ()
