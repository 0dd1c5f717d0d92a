"""Keras files of strangers: what runs code, calls functions or opens other files is refused, before anything of it."""

import base64
import json
import marshal
import zipfile

import h5py
import pytest
import tf_keras
import yaml

import migrate
from migrate import errors, inspection
from migrate.options import ReadOptions
from migrate.readers.keras import loading, safety


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same harmless model in both forms."""
    folder = tmp_path_factory.mktemp("files")
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,), name="dense")])
    for name in ("m.h5", "m.keras"):
        model.save(folder / name)
    return folder


def _change(source, target, change):
    """A copy of a model file with another config."""
    if source.suffix == ".keras":
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "config.json":
                    config = json.loads(data)
                    change(config["config"]["layers"][-1])
                    data = json.dumps(config).encode()
                new.writestr(name, data)
        return target
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"][-1])
        file.attrs["model_config"] = json.dumps(config)
    return target


def _write_code(path):
    function = eval(f"lambda x: open({str(path)!r}, 'w')")
    return base64.b64encode(marshal.dumps(function.__code__)).decode()


def _function(module, name):
    return lambda layer: layer["config"].update(
        activation={"module": module, "class_name": "function", "config": name, "registered_name": name}
    )


def _layer(kind, **config):
    def change(layer):
        layer.pop("module", None)
        layer.pop("registered_name", None)
        layer.update(class_name=kind, config={"name": "it", "trainable": True, "dtype": "float32", **config})

    return change


CHANGES = {
    "another module's function": (_function("os", "system"), "os.system"),
    "a function of Python": (_function("builtins", "exec"), "builtins.exec"),
    "a function that Keras has for programs": (_function("keras.utils", "get_file"), "keras.utils.get_file"),
    "a module that a room of Keras imports": (_function("keras.src.backend", "os.system"), "os.system"),
    "a class of another module": (
        lambda layer: layer.update(class_name="Popen", module="subprocess", registered_name=None), "subprocess.Popen"
    ),
    "a function of TensorFlow": (_layer("TFOpLambda", function="io.write_file"), "tf.io.write_file"),
    "the same, by an old name": (_layer("TFOpLambda", function="compat.v1.load_op_library"), "load_op_library"),
    "a vocabulary elsewhere": (_layer("StringLookup", vocabulary="/etc/passwd"), "the file '/etc/passwd'"),
    "a lambda in a wrapper": (_layer("ResidualWrapper", residual_fn_type="lambda"), "Python code under residual_fn"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", CHANGES)
def test_config_that_reaches_beyond_the_model(files, tmp_path, suffix, name):
    change, expected = CHANGES[name]
    path = _change(files / f"m{suffix}", tmp_path / f"bad{suffix}", change)
    with pytest.raises(errors.BlockedError) as caught:
        loading.load_keras(str(path), ReadOptions())
    assert expected in caught.value.message and "--allow_lambda" in caught.value.hint
    assert any(expected in finding.message for finding in inspection.scan_source(path))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("form", [lambda code: [code, None, None], lambda code: code])
def test_bytecode_does_not_run(files, tmp_path, suffix, form):
    """Neither in the form that Keras writes, nor as the bare text that it reads as well; with consent it does run."""
    mark = tmp_path / "ran"
    change = _layer(
        "Lambda", function=form(_write_code(mark)), function_type="lambda", module=None, output_shape=None,
        output_shape_type="raw", output_shape_module=None, arguments={},
    )  # fmt: skip
    path = _change(files / f"m{suffix}", tmp_path / f"bad{suffix}", change)
    with pytest.raises(errors.BlockedError, match="Python code, which loading would run: Lambda it"):
        loading.load_keras(str(path), ReadOptions())
    assert [finding.code for finding in inspection.scan_source(path)] == ["keras-code"]
    assert not mark.exists()
    with pytest.raises(errors.CorruptModelError, match="TextIOWrapper"):  # no tensor
        loading.load_keras(str(path), ReadOptions(allow_lambda=True))
    assert mark.exists(), "the code is harmless, and the test sees nothing"


def test_unsafe_function_is_not_called(files, tmp_path):
    """Through the whole of it: the file that the model would write is not there."""
    mark = tmp_path / "written"
    path = _change(files / "m.h5", tmp_path / "bad.h5", _layer("TFOpLambda", function="io.write_file"))
    outcome = migrate.migrate_model(path, tmp_path / "out")
    assert outcome.status.value == "blocked" and "tf.io.write_file" in outcome.error
    assert not mark.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("symbol", ["math.add", "__operators__.getitem", "compat.v1.nn.relu", "concat", "image.resize"])
def test_functions_that_compute(symbol):
    assert safety.is_computing(symbol)


@pytest.mark.parametrize(
    "symbol",
    [
        "io.gfile.remove",
        "raw_ops.WriteFile",
        "raw_ops.ReadFile",
        "raw_ops.RestoreV2",
        "saved_model.load",
        "py_function",
        "Session",
    ],
)
def test_functions_that_do_more(symbol):
    assert not safety.is_computing(symbol)


def test_custom_class_of_a_strange_module(tmp_path):
    """What the user gives is taken from the user, whatever module the file names."""
    tf_keras.Sequential([Mine(2, input_shape=(3,))]).save(tmp_path / "m.keras")
    change = lambda layer: layer.update(class_name="Mine", module="evil.layers", registered_name="evil>Mine")  # noqa: E731
    path = _change(tmp_path / "m.keras", tmp_path / "own.keras", change)
    options = ReadOptions(custom_objects=(f"{__name__}:OBJECTS",))
    assert type(loading.load_keras(str(path), options).model.layers[-1]) is Mine
    with pytest.raises(errors.BlockedError, match=r"evil\.layers\.Mine"):
        loading.load_keras(str(path), ReadOptions())


class Mine(tf_keras.layers.Dense):
    """A layer of the user's."""


OBJECTS = {"Mine": Mine}


def _link(file):
    del file["model_weights/dense"]
    file["model_weights/dense"] = h5py.ExternalLink("/etc/hostname", "/")


def _lie_elsewhere(file):
    file.create_dataset("model_weights/more", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def _be_virtual(file):
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
    file.create_virtual_dataset("more", layout)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("change", [_link, _lie_elsewhere, _be_virtual])
def test_hdf5_that_opens_other_files(files, tmp_path, suffix, change):
    path = tmp_path / f"bad{suffix}"
    inner = tmp_path / "weights.h5"
    inner.write_bytes((files / "m.h5").read_bytes())
    with h5py.File(inner, "r+") as file:
        change(file)
    if suffix == ".h5":
        inner.rename(path)
    else:
        with zipfile.ZipFile(files / "m.keras") as old, zipfile.ZipFile(path, "w") as new:
            for name in ("config.json", "metadata.json"):
                new.writestr(name, old.read(name))
            new.write(inner, "model.weights.h5")
    with pytest.raises(errors.UnsafeModelError, match=r"lie in other files: .*/etc/"):
        loading.load_keras(str(path), ReadOptions())
    (found,) = inspection.scan_source(path)
    assert found.code == "external-file" and "/etc/" in found.message


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("../../evil.py", 1, "leads out of it"),
        ("/evil.py", 1, "leads out of it"),
        ("assets/zeros", 80 * 2**20, "times its"),
    ],
)
def test_archive_that_is_none(files, tmp_path, name, size, message):
    path = tmp_path / "bad.keras"
    path.write_bytes((files / "m.keras").read_bytes())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    for read in (lambda: loading.load_keras(str(path), ReadOptions()), lambda: inspection.scan_source(path)):
        with pytest.raises(errors.UnsafeModelError, match=message):
            read()


def test_scan_of_what_is_harmless(files):
    for path in sorted(files.iterdir()):
        assert inspection.scan_source(path) == ()


def _write_weights(folder, form):
    """A model's weights alone, as `m`, and the path of them."""
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,), name="dense")])
    path = folder / {"hdf5": "m_weights.h5", "numbered": "m.weights.h5", "checkpoint": "m/cp.ckpt"}[form]
    path.parent.mkdir(exist_ok=True)
    model.save_weights(path)
    return folder / "m" if form == "checkpoint" else path


def _spell_config(suffix, *layers):
    """A config of a Sequential of some layers, by name and what else their configs hold."""
    listed = [{"class_name": kind, "config": {"name": kind.lower(), **config}} for kind, config in layers]
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": listed}, "keras_version": "2.15.0"}
    return json.dumps(config) if suffix == ".json" else yaml.safe_dump(config)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("form", ["hdf5", "numbered", "checkpoint"])
def test_scan_of_weights_looks_through_the_config_that_they_are_read_with(tmp_path, form, suffix):
    """Beside them, or given; what the user's own code builds has none."""
    path, config = _write_weights(tmp_path, form), tmp_path / f"m{suffix}"
    dense = ("Dense", {"units": 2})
    config.write_text(_spell_config(suffix, dense))
    assert inspection.scan_source(path) == ()
    code = ("Lambda", {"function": ["4wEAAAA=\n", None, None], "function_type": "lambda"})
    config.write_text(_spell_config(suffix, dense, code, ("TFOpLambda", {"function": "io.write_file"})))
    found = inspection.scan_source(path)
    assert [finding.code for finding in found] == ["keras-code", "keras-object"]
    assert all(finding.message.startswith(f"{config.name}: ") for finding in found)
    assert inspection.scan_source(path, options=ReadOptions(builder="os:getcwd")) == ()
    given = config.rename(tmp_path / "other.txt")
    assert inspection.scan_source(path) == ()
    assert inspection.scan_source(path, options=ReadOptions(architecture=str(given))) != ()


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("depth", [450, 25_000])
def test_config_without_end(files, tmp_path, suffix, depth):
    """Nested so deep that Python's own recursion would end, in the parser or behind it."""
    path = _change(files / f"m{suffix}", tmp_path / f"bad{suffix}", lambda layer: layer.update(deep="DEEP"))
    deep = "[" * depth + "]" * depth
    if suffix == ".keras":
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "deep.keras", "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(b'"DEEP"', deep.encode()))
        path = tmp_path / "deep.keras"
    else:
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace('"DEEP"', deep)
    for read in (lambda: loading.load_keras(str(path), ReadOptions()), lambda: inspection.scan_source(path)):
        with pytest.raises(errors.CorruptModelError) as caught:
            read()
        assert "\n" not in str(caught.value)
