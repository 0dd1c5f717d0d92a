"""python -m compat.run PROGRAM|-m MODULE [ARGUMENT...]: runs an old program whose `tensorflow_hub` is compat.hub.

TF_USE_LEGACY_KERAS is 1 unless it is set: TensorFlow >= 2.16 has tf.layers and tf.keras.layers.DenseFeatures, which
such programs use, with Keras 2 only (the package tf_keras).
"""

from __future__ import annotations

import os
import runpy
import sys


def main() -> int:
    is_module = sys.argv[1:2] == ["-m"]
    arguments = sys.argv[2 if is_module else 1 :]
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    from compat import hub  # Imports TensorFlow, which looks at the variable.

    hub.install_as_tensorflow_hub()
    sys.argv[:] = arguments
    if is_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))  # As python itself does for a program.
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
