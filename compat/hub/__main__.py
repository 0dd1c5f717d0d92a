"""python -m compat.hub PROGRAM [ARGUMENT...]: runs an old program whose tensorflow_hub is compat.hub."""

import os
import runpy
import sys

from compat import hub


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    hub.install_as_tensorflow_hub()
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))  # As python itself does for a program.
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
