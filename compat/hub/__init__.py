"""The removed TF1 Hub API under its own names: `from compat import hub` for `import tensorflow_hub as hub`.

For graph mode: inside `tf.Graph().as_default()`, or with eager execution disabled. `KerasLayer` comes from the
installed tensorflow_hub when it is first used. With HUB_COMPAT_WARN=1 each use of an old name says
what its TF2 spelling is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from compat import spellings
from compat.hub import config, installed
from compat.hub.alias import install_as_tensorflow_hub as install_as_tensorflow_hub
from compat.hub.create import add_signature, attach_message, create_module_spec
from compat.hub.estimator import LatestModuleExporter, register_module_for_export
from compat.hub.feature_column import image_embedding_column, sparse_text_embedding_column, text_embedding_column
from compat.hub.feature_column_v2 import text_embedding_column_v2
from compat.hub.image_util import (
    ImageModuleInfo,
    attach_image_module_info,
    get_expected_image_size,
    get_num_image_channels,
)
from compat.hub.module import Module, eval_function_for_module, load_module_spec
from compat.hub.module_spec import ModuleSpec
from compat.hub.module_v2 import load, resolve
from compat.hub.saved_model_module import create_module_spec_from_saved_model
from compat.hub.source_models import create_module_spec_from_source as create_module_spec_from_source
from compat.hub.version import __version__ as __version__

if TYPE_CHECKING:
    KerasLayer: Any

__all__ = [
    "ImageModuleInfo",
    "KerasLayer",
    "LatestModuleExporter",
    "Module",
    "ModuleSpec",
    "add_signature",
    "attach_image_module_info",
    "attach_message",
    "create_module_spec",
    "create_module_spec_from_saved_model",
    "eval_function_for_module",
    "get_expected_image_size",
    "get_num_image_channels",
    "image_embedding_column",
    "load",
    "load_module_spec",
    "register_module_for_export",
    "resolve",
    "sparse_text_embedding_column",
    "text_embedding_column",
    "text_embedding_column_v2",
]


config._run()


def __getattr__(name: str) -> Any:
    if name in installed.NAMES:
        return installed.get(name)
    if name in spellings.HUB_SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
