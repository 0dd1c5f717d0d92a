"""The command, called within this process, whose server of isolated processes runs already."""

import pytest
from absl import flags
from absl.testing import flagsaver

from migrate.cli import compare


@pytest.fixture(scope="module")
def main():
    """Flags -> exit code."""
    known = set(flags.FLAGS)
    compare.define_flags()

    def run(*arguments):
        with flagsaver.flagsaver():
            flags.FLAGS(["migrate-compare", *arguments])
            return compare.main()

    yield run
    for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)
