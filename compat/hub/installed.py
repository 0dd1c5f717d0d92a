"""What the installed tensorflow_hub still has, imported when it is asked for.

tensorflow_hub 0.16.1 imports pkg_resources, which setuptools >= 82 no longer ships: `import compat.hub` must not
need it. Its name may be taken by this package (alias.py) or by a shim of one's own: then the installed package is
imported beside it, and the name stays with who has it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

from absl import flags

NAMES = ("KerasLayer",)
PACKAGE = "tensorflow_hub"
_DISTRIBUTION = "tensorflow-hub"
_FLAGS = ("tfhub_cache_dir", "tfhub_model_load_format")

# The package once it was imported beside another owner of its name.
_beside: dict[str, Any] = {}


def get(name: str) -> Any:
    """`tensorflow_hub.<name>`, for a name of NAMES.

    Raises:
      ImportError: tensorflow_hub or tf_keras is not installed.
    """
    return getattr(_beside.get(PACKAGE) or _import_package(), name)


def _import_package() -> Any:
    path = _find_package()
    owner = sys.modules.get(PACKAGE)
    with _keep_flags(), _lend_pkg_resources():
        if owner is None and path == getattr(importlib.util.find_spec(PACKAGE), "origin", None):
            return importlib.import_module(PACKAGE)
        if owner is not None and path == getattr(owner, "__file__", None):
            return owner
        with _lend_name():
            spec = importlib.util.spec_from_file_location(
                PACKAGE, path, submodule_search_locations=[os.path.dirname(path)]
            )
            assert spec is not None and spec.loader is not None
            _beside[PACKAGE] = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(_beside[PACKAGE])
    return _beside[PACKAGE]


def _find_package() -> str:
    """Where the installed package begins, whoever has its name.

    Raises:
      ImportError: it is not installed.
    """
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE) from error
    return str(distribution.locate_file(f"{PACKAGE}/__init__.py"))


@contextlib.contextmanager
def _keep_flags() -> Iterator[None]:
    """tensorflow_hub defines its flags anew: what was set stays set."""
    values = {name: flags.FLAGS[name].value for name in _FLAGS if name in flags.FLAGS}
    yield
    for name, value in values.items():
        if value:
            flags.FLAGS[name].value = value


@contextlib.contextmanager
def _lend_pkg_resources() -> Iterator[None]:
    """tensorflow_hub takes one function from it, to compare TensorFlow's version with the one that it needs."""
    if "pkg_resources" in sys.modules:
        yield
        return
    from packaging import version

    stand_in = types.ModuleType("pkg_resources")
    stand_in.parse_version = version.parse  # type: ignore[attr-defined]
    sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]


@contextlib.contextmanager
def _lend_name() -> Iterator[None]:
    """Takes the name away from its owner for as long as the package is imported, which imports its own modules."""
    owners = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_below(name)}
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_below(name)]:
            del sys.modules[name]
        sys.modules.update(owners)


def _is_below(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")
