"""Imported by the fork server of a test run under coverage: which of its forks are traced, and write what they saw.

Who watches over a job runs none of the code whose coverage has a bound, and would write all that the server's imports
have run once more. What a job runs counts unless the file that COVERAGE_IDLE names is there (`sharing.measure`).
"""

import os

import coverage

_IDLE = os.environ.get("COVERAGE_IDLE", "")
_coverage = coverage.Coverage.current()
_depth = 0


def _nothing():
    """In place of the method that writes: `os._exit` calls it."""


def _choose():
    global _depth
    _depth += 1
    if _depth == 1:
        _coverage.stop()
        _coverage.save = _nothing
    elif _depth == 2 and not os.path.exists(_IDLE):
        del _coverage.save
        _coverage.start()


if _coverage is not None and _IDLE:
    os.register_at_fork(after_in_child=_choose)
