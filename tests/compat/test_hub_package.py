"""The package: its names, what it imports, its messages, its advice."""

import os
import pathlib
import pkgutil
import subprocess
import sys
import warnings

import pytest
import tensorflow as tf
from google.protobuf import any_pb2

from compat import hub, spellings
from compat.hub import advice, protos

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = ROOT / "testdata" / "zoo" / "hub_dense_l2" / "model"

# __all__ of tensorflow_hub 0.15, and eval_function_for_module, which it exports without naming it there.
NAMES = [
    "LatestModuleExporter",
    "register_module_for_export",
    "image_embedding_column",
    "sparse_text_embedding_column",
    "text_embedding_column",
    "text_embedding_column_v2",
    "attach_image_module_info",
    "get_expected_image_size",
    "get_num_image_channels",
    "ImageModuleInfo",
    "KerasLayer",
    "Module",
    "ModuleSpec",
    "add_signature",
    "attach_message",
    "create_module_spec",
    "create_module_spec_from_saved_model",
    "load",
    "load_module_spec",
    "resolve",
    "eval_function_for_module",
]


def test_all_names_are_there():
    assert sorted(hub.__all__) == sorted(NAMES)
    for name in NAMES:
        assert callable(getattr(hub, name)), name
    for name in spellings.HUB_SUBMODULES:
        assert getattr(hub, name).__name__ == f"compat.hub.{name}"
    with pytest.raises(AttributeError, match="no_such_name"):
        hub.no_such_name  # noqa: B018


def _run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


def test_neither_pkg_resources_nor_tf_estimator_is_needed():
    """The import takes nothing from tensorflow_hub; KerasLayer takes it, without pkg_resources."""
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('pkg_resources', 'tensorflow_estimator'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from compat import hub\n"
        "assert 'tensorflow_hub' not in sys.modules\n"
        "assert hub.LatestModuleExporter('n', lambda: {}).name == 'n'\n"
        "layer = hub.KerasLayer\n"
        "assert 'pkg_resources' not in sys.modules\n"
        "print(layer.__name__, hub.load.__name__)\n"
    )
    assert _run(code) == "KerasLayer load"


def test_messages_are_those_of_tensorflow_hub():
    assert protos.ModuleDef(format=protos.ModuleDef.FORMAT_V3).SerializeToString() == b"\x08\x03"
    packed = any_pb2.Any()
    info = hub.ImageModuleInfo()
    info.default_image_size.height = 3
    packed.Pack(info)
    assert packed.type_url == "type.googleapis.com/tensorflow_hub.ImageModuleInfo"
    assert protos.ModuleAttachment(key="k", value=b"v").SerializeToString() == b"\x0a\x01k\x12\x01v"
    assert protos.ModuleDef.DESCRIPTOR.file.name == "tensorflow_hub/module_def.proto"


def test_advice_is_silent_unless_asked_for(monkeypatch):
    monkeypatch.delenv("HUB_COMPAT_WARN", raising=False)
    with warnings.catch_warnings(), tf.Graph().as_default():
        warnings.simplefilter("error", advice.HubCompatWarning)
        hub.Module(str(MODULE))


def test_advice_names_the_tf2_spelling_where_the_name_was_used(monkeypatch):
    monkeypatch.setenv("HUB_COMPAT_WARN", "1")
    with (
        tf.Graph().as_default(),
        pytest.warns(advice.HubCompatWarning, match=r"hub\.Module .*hub\.KerasLayer") as caught,
    ):
        hub.Module(str(MODULE))
    assert [warning.filename for warning in caught if warning.category is advice.HubCompatWarning] == [__file__]
    with (
        pytest.warns(advice.HubCompatWarning, match="eval_function_for_module") as caught,
        hub.eval_function_for_module(str(MODULE)),
    ):
        pass
    assert [warning.filename for warning in caught if warning.category is advice.HubCompatWarning] == [__file__]


def test_every_name_has_advice_or_was_kept():
    assert set(NAMES) <= set(spellings.HUB) | spellings.HUB_KEPT
    assert not set(spellings.HUB) & spellings.HUB_KEPT
    for name in {name.partition(".")[0] for name in spellings.HUB} | spellings.HUB_KEPT:
        assert hasattr(hub, name), name
    assert {found.name for found in pkgutil.iter_modules(hub.__path__)} >= spellings.HUB_SUBMODULES
