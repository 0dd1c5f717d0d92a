"""compat.hub under the name tensorflow_hub: old programs run as they are."""

import os
import pathlib
import subprocess
import sys
import types

import pytest

from compat import hub, run
from compat.hub import installed

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
from tensorflow_hub import native_module, saved_model_lib
import tensorflow_hub.image_util as image_util
import helper  # Beside the program.

tf.disable_v2_behavior()

def module_fn():
    x = tf.placeholder(tf.float32, [None, 2])
    hub.add_signature(inputs=x, outputs=tf.layers.dense(x, 3, kernel_initializer=tf.ones_initializer()))

assert native_module.create_module_spec is hub.create_module_spec
instance = hub.Module(hub.create_module_spec(module_fn), trainable=True)
output = instance([[1.0, 2.0]])
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    instance.export(sys.argv[1], session)
    print(session.run(output).tolist(), [v.name for v in tf.trainable_variables()])
with hub.eval_function_for_module(sys.argv[1]) as f:
    print(f([[3.0, 4.0]]).tolist(), hub.__version__)
layer = hub.KerasLayer
print(layer.__name__, sys.modules["tensorflow_hub"] is hub, __name__)
"""


def test_an_old_program_runs_as_it_is(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "helper.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    command = [sys.executable, "-m", "compat.run", "-m", "program", str(tmp_path / "exported")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-3:] == [
        "[[3.0, 3.0, 3.0]] ['module/dense/kernel:0', 'module/dense/bias:0']",
        "[[7.0, 7.0, 7.0]] 0.15.0",
        "KerasLayer True __main__",
    ]


@pytest.fixture
def no_tensorflow_hub(monkeypatch):
    """The name is free in this process; afterwards everything is as it was."""
    mine = {name: module for name, module in sys.modules.items() if installed._is_below(name)}
    for name in mine:
        del sys.modules[name]
    monkeypatch.setattr(installed, "_beside", {})
    yield
    for name in [name for name in sys.modules if installed._is_below(name)]:
        del sys.modules[name]
    sys.modules.update(mine)


def test_submodules_have_their_names(no_tensorflow_hub):
    hub.install_as_tensorflow_hub()
    hub.install_as_tensorflow_hub()
    import tensorflow_hub
    import tensorflow_hub.saved_model_lib as library
    from tensorflow_hub import image_module_info_pb2, module_attachment_pb2, module_def_pb2, module_impl

    assert tensorflow_hub is hub
    assert library.__name__ == "compat.hub.saved_model_lib"
    assert module_def_pb2.ModuleDef.DESCRIPTOR.full_name == "tensorflow_hub.ModuleDef"
    assert module_attachment_pb2.ModuleAttachment(key="k").key == "k"
    assert image_module_info_pb2.ImageModuleInfo is hub.ImageModuleInfo
    assert isinstance(module_impl.ModuleImpl, type)


def test_keras_layer_is_found_beside_another_owner_of_the_name(no_tensorflow_hub):
    shim = sys.modules["tensorflow_hub"] = types.ModuleType("tensorflow_hub")
    assert hub.KerasLayer is hub.keras_layer.KerasLayer
    assert issubclass(hub.KerasLayer, __import__("tf_keras").layers.Layer)
    assert sys.modules["tensorflow_hub"] is shim
    assert [name for name in sys.modules if name.startswith("tensorflow_hub.")] == []


def test_an_imported_tensorflow_hub_is_not_replaced(no_tensorflow_hub):
    sys.modules["tensorflow_hub"] = types.ModuleType("tensorflow_hub")
    with pytest.raises(RuntimeError, match="already imported"):
        hub.install_as_tensorflow_hub()


def test_a_program_by_its_path(no_tensorflow_hub, tmp_path, monkeypatch):
    (tmp_path / "beside.py").write_text("WORD = 'beside'\n")
    (tmp_path / "program.py").write_text(
        "import sys, tensorflow_hub as hub, beside\n"
        "open(sys.argv[1], 'w').write(f'{hub.__name__} {beside.WORD} {__name__} {sys.argv[2]}')\n"
    )
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    arguments = [str(tmp_path / "program.py"), str(tmp_path / "result"), "--flag=1"]
    monkeypatch.setattr(sys, "argv", ["compat.run", *arguments])
    assert run.main() == 0
    assert sys.argv == arguments
    assert (tmp_path / "result").read_text() == "compat.hub beside __main__ --flag=1"


@pytest.mark.parametrize("arguments", [[], ["-m"]])
def test_without_a_program(arguments, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["compat.run", *arguments])
    assert run.main() == 2
    assert "PROGRAM" in capsys.readouterr().err
