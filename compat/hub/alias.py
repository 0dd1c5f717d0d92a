"""`import tensorflow_hub` gives compat.hub: for programs that nobody wants to touch."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from compat.hub import installed


def install_as_tensorflow_hub() -> None:
    """Makes `tensorflow_hub` and its submodules, as far as compat.hub has them, names of compat.hub's.

    To be called before the program imports tensorflow_hub, in the same process: in a notebook's first cell, in
    sitecustomize, or by `python -m compat.run program.py`. It can be called again.

    Raises:
      RuntimeError: the process has imported another tensorflow_hub already, and may hold objects of it.
    """
    hub = sys.modules["compat.hub"]
    owner = sys.modules.get(installed.PACKAGE)
    if owner is hub:
        return
    if owner is not None:
        raise RuntimeError(
            f"tensorflow_hub was already imported from {getattr(owner, '__file__', None)}: call "
            "install_as_tensorflow_hub() before anything imports it."
        )
    sys.modules[installed.PACKAGE] = hub
    for found in pkgutil.iter_modules(hub.__path__):
        if not found.name.startswith("__"):
            sys.modules[f"{installed.PACKAGE}.{found.name}"] = importlib.import_module(f"compat.hub.{found.name}")
