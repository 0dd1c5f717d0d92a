"""Every error that the toolkit raises for a reason a person can act on.

    MigrateError
    ├── UsageError              the call itself is wrong (exit code 2)
    │   ├── SourceNotFoundError     there is nothing at the path
    │   └── DestinationError        the destination exists or cannot be written
    ├── SourceError             the model is not what it claims to be (exit code 1)
    │   ├── UnknownFormatError      the path holds no model of a format that is read
    │   ├── CorruptModelError       a file of the model is missing, truncated or contradicts another
    │   ├── UnsafeModelError        it would do more than compute: reach for files, the network, other code
    │   └── MissingValuesError      the checkpoint lacks values that the graph needs
    ├── BlockedError            the model is sound, but today's TensorFlow cannot run it
    │   └── UnrunnableError         TF1 could not run it either: it needs a placeholder that nothing feeds
    ├── RebuildError            the graph could not be rebuilt
    ├── WriteError              the new SavedModel could not be written
    └── VerifyError             baseline or candidate could not be run

Each error says what is wrong, where (model, tags, signature, tensor) and what to do; `str(error)` is
one readable line for a report.
"""

from __future__ import annotations

import re

# What a terminal obeys (escape sequences), what turns the direction of text or ends a line, and halves of characters.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_control(text: str, *, keep: str = "") -> str:
    """`text` on one line and without what could deceive or command a terminal: a model's names are a stranger's.

    Args:
      text: what is shown.
      keep: characters that may stay, "\\n" say.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


class MigrateError(Exception):
    """Base of the tree.

    Args:
      message: what is wrong, one sentence.
      where: the place: a path, tag set, signature or tensor name.
      hint: what the reader can do about it.
    """

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message, where, hint)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return escape_control(f"{text} [{self.hint}]" if self.hint else text)


class UsageError(MigrateError):
    """The call is wrong: an argument, a flag, a path."""


class SourceNotFoundError(UsageError):
    """There is nothing at the source path."""


class DestinationError(UsageError):
    """The destination exists already, or cannot be written."""


class SourceError(MigrateError):
    """The source model cannot be read."""


class UnknownFormatError(SourceError):
    """The path exists but holds no model of a format that is read."""


class CorruptModelError(SourceError):
    """A file of the model is missing, truncated, or contradicts another."""


class UnsafeModelError(SourceError):
    """The model would do more than compute: reach for files, the network or other code, or fill the machine."""


class MissingValuesError(SourceError):
    """The checkpoint lacks values for variables of the graph; all are named at once."""


class BlockedError(MigrateError):
    """The model is sound but needs something that today's TensorFlow does not have."""


class UnrunnableError(BlockedError):
    """TF1 could not run it either: it needs a placeholder that no one feeds."""


class RebuildError(MigrateError):
    """The graph could not be rebuilt as a TF2 object."""


class WriteError(MigrateError):
    """The new SavedModel could not be written."""


class VerifyError(MigrateError):
    """The baseline or the candidate could not be run."""
