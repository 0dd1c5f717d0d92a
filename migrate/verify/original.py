"""Whether a comparison that compared nothing did so because there is no original to compare with."""

from __future__ import annotations

from migrate import errors, isolation
from migrate.verdict import Verdict, Verification

_DOES_NOT_LOAD = "the original does not load: "
# TensorFlow's allocator (core/framework/op_kernel.cc).
_HUNGER = "OOM when allocating"
# What Python raises of a graph, a message or a SaverDef that is none; kernels and init ops raise others.
_INVALID = ("ValueError: ", "TypeError: ", "KeyError: ", "DecodeError: ")
# TensorFlow refuses these for reasons that are none of the graph's: ops and attributes that it lost or never had.
_EXCUSES = ("Op type not registered", "No op named", "not in Op<", "list of allowed values", "is not registered")


def check_original(verification: Verification, path: str) -> None:
    """Refuses a model whose original could not be run at all, by fault of its own or for want of memory.

    Args:
      verification: of its migration.
      path: of the model.

    Raises:
      CorruptModelError: TensorFlow cannot load the original, and no op is to blame that it has lost.
      JobError: both sides ran out of memory before they answered anything; state "died".
    """
    if verification.verdict is not Verdict.NOTHING_COMPARED:
        return
    reasons = [text.partition(": ")[2] for text in verification.not_compared]
    hungry = next((reason for reason in reasons if _HUNGER in reason), "")
    if hungry:
        raise isolation.JobError(
            f"nothing could be compared, the original ran out of memory: {hungry.removeprefix(_DOES_NOT_LOAD)}",
            state="died",
            where=path,
            hint="raise --memory_limit, or take a machine with more",
        )
    if not reasons or not all(reason.startswith(_DOES_NOT_LOAD) for reason in reasons):
        return
    reason = reasons[0].removeprefix(_DOES_NOT_LOAD)
    if reason.startswith(_INVALID) and not any(excuse in reason for excuse in _EXCUSES):
        raise errors.CorruptModelError(
            f"TensorFlow cannot load the original: {reason.partition(': ')[2]}", where=path, hint="export it again"
        )
