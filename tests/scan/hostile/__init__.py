"""Models that a stranger might send, made afresh for each test: `HOSTILE` lists them all."""

from tests.scan.hostile import files, invalid, ops, protos, sizes
from tests.scan.hostile.case import Hostile

HOSTILE: tuple[Hostile, ...] = (*ops.CASES, *files.CASES, *sizes.CASES, *invalid.CASES, *protos.CASES)
