"""Bad input gives one clear line with place and remedy, the exit code of the design, and leaves nothing behind."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

import migrate
from migrate import errors
from migrate.options import MigrateOptions, RebuildOptions

ZOO = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "zoo"
UNVERIFIED = MigrateOptions(verify="none")
MODEL = "saved_model_methods"  # several signatures, one checkpoint shard, one table


@pytest.fixture
def source(tmp_path):
    """A writable copy of a zoo model."""

    def make(slug=MODEL):
        target = tmp_path / "in" / slug
        shutil.copytree(ZOO / slug / "model", target)
        return target

    return make


@pytest.fixture
def dest(tmp_path):
    """A destination in a folder of its own, so that whatever is left behind is seen."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "migrated"


def assert_nothing_left(dest):
    assert not dest.exists()
    assert [path.name for path in dest.parent.iterdir()] == [], "a staging folder is left"


def assert_model_problem(source, dest, *words):
    """The model is at fault: an outcome, not an exception, whose one line names place and remedy."""
    outcome = migrate.migrate_model(source, dest, UNVERIFIED)
    assert not outcome.status.is_good
    assert outcome.status.value in ("blocked", "failed"), outcome
    assert outcome.dest == ""
    assert_one_line(outcome.error, *words)
    assert_nothing_left(dest)
    return outcome


def assert_one_line(text, *words):
    assert "\n" not in text.strip()
    assert "Traceback" not in text
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"
    assert text.strip().endswith("]"), f"no remedy in {text!r}"


def run_cli(*arguments):
    command = [sys.executable, "-m", "migrate.cli.model", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.2, 0.5, 0.9, 0.9999])
def test_truncated_saved_model(source, dest, fraction):
    path = source()
    file = path / "saved_model.pb"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * fraction)])
    assert_model_problem(path, dest, "saved_model.pb", str(path), "copy")


def test_saved_model_of_noise(source, dest):
    path = source()
    (path / "saved_model.pb").write_bytes(b"\xff" * 300)
    assert_model_problem(path, dest, "saved_model.pb", str(path))


def test_truncated_text_saved_model(source, dest):
    path = source("saved_model_pbtxt")
    file = path / "saved_model.pbtxt"
    file.write_text(file.read_text(encoding="utf-8")[:3000], encoding="utf-8")
    assert_model_problem(path, dest, "saved_model.pbtxt", "copy")


def test_missing_shard(source, dest):
    path = source("variables_sharded")
    shard = sorted((path / "variables").glob("*.data-*"))[1]
    shard.unlink()
    assert_model_problem(path, dest, shard.name, str(path / "variables"), "copy the variables folder")


def test_only_shard_missing(source, dest):
    path = source()
    (shard,) = (path / "variables").glob("*.data-*")
    shard.unlink()
    assert_model_problem(path, dest, shard.name, "copy the variables folder")


@pytest.mark.parametrize("keep", [0, 10])
def test_truncated_shard(source, dest, keep):
    path = source()
    (shard,) = (path / "variables").glob("*.data-*")
    shard.write_bytes(shard.read_bytes()[:keep])
    assert_model_problem(path, dest, str(path / "variables"), "copy the variables folder")


def test_missing_index(source, dest):
    path = source()
    (path / "variables" / "variables.index").unlink()
    assert_model_problem(path, dest, "variables", "copy the variables folder")


@pytest.mark.parametrize("keep", [0, 20])
def test_truncated_index(source, dest, keep):
    path = source()
    index = path / "variables" / "variables.index"
    index.write_bytes(index.read_bytes()[:keep])
    assert_model_problem(path, dest, "variables", "copy the variables folder")


def test_missing_variables_folder(source, dest):
    path = source()
    shutil.rmtree(path / "variables")
    assert_model_problem(path, dest, str(path / "variables"))


def test_missing_asset(source, dest):
    path = source("hub_text_mean")
    (asset,) = (path / "assets").iterdir()
    asset.unlink()
    assert_model_problem(path, dest, asset.name, str(path / "assets"), "copy the model again")


def _edit(path, change):
    file = path / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(proto.meta_graphs[0])
    file.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/hostname", "a\\..\\..\\secret.txt"])
def test_an_asset_outside_of_the_model(name, source, dest):
    """A hostile model must not make the migration copy other files."""
    path = source("hub_text_mean")
    (path.parent / "secret.txt").write_text("secret")

    def change(meta_graph):
        (packed,) = meta_graph.collection_def["saved_model_assets"].any_list.value
        definition = meta_graph_pb2.AssetFileDef.FromString(packed.value)
        definition.filename = name
        packed.Pack(definition)

    _edit(path, change)
    assert_model_problem(path, dest, repr(name), "outside")


def test_signature_names_no_tensor(source, dest):
    """All such names are given at once."""
    path = source()

    def change(meta_graph):
        meta_graph.signature_def["predict"].outputs["logits"].name = "nowhere:0"
        meta_graph.signature_def["regress"].inputs["inputs"].name = "neither:7"

    _edit(path, change)
    assert_model_problem(path, dest, "predict/logits -> nowhere:0", "regress/inputs -> neither:7")


def test_init_op_that_is_not_there(source, dest):
    path = source("saved_model_legacy_init")

    def change(meta_graph):
        keys = [key for key in ("saved_model_main_op", "legacy_init_op") if key in meta_graph.collection_def]
        for key in keys:
            meta_graph.collection_def[key].node_list.value[:] = ["no_such_op"]
        assert keys

    _edit(path, change)
    assert_model_problem(path, dest, "no_such_op")


def test_no_meta_graph(source, dest):
    path = source()
    (path / "saved_model.pb").write_bytes(saved_model_pb2.SavedModel(saved_model_schema_version=1).SerializeToString())
    assert_model_problem(path, dest, "no MetaGraph", "saved_model.pb")


def test_wrong_module_definition(source, dest):
    path = source("hub_dense_l2")
    (path / "tfhub_module.pb").write_bytes(b"\x08\x02")
    assert_model_problem(path, dest, "tfhub_module.pb", str(path), "V3")


def test_module_without_graph(source, dest):
    path = source("hub_dense_l2")
    (path / "saved_model.pb").unlink()
    assert_model_problem(path, dest, "no saved_model.pb", str(path))


def test_empty_folder(tmp_path, dest):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_model_problem(empty, dest, str(empty), "empty", "tf1_saved_model")


def test_no_model(tmp_path, dest):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    assert_model_problem(folder, dest, str(folder), "cat.jpg", "tf1_saved_model")


def test_missing_path(tmp_path, dest):
    with pytest.raises(errors.SourceNotFoundError) as failure:
        migrate.migrate_model(tmp_path / "nowhere", dest, UNVERIFIED)
    assert_one_line(str(failure.value), str(tmp_path / "nowhere"), "no such file or folder")
    assert_nothing_left(dest)


def test_existing_destination(source, dest):
    dest.mkdir()
    (dest / "mine.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(errors.DestinationError) as failure:
        migrate.migrate_model(source(), dest, UNVERIFIED)
    assert_one_line(str(failure.value), str(dest), "--overwrite")
    assert (dest / "mine.txt").read_text(encoding="utf-8") == "keep me"
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


def test_failed_overwrite_keeps_what_was_there(source, dest):
    """The old destination is replaced only by something whole."""
    path = source()
    (path / "saved_model.pb").write_bytes(b"\x0a")
    dest.mkdir()
    (dest / "mine.txt").write_text("keep me", encoding="utf-8")
    outcome = migrate.migrate_model(path, dest, MigrateOptions(verify="none", overwrite=True))
    assert not outcome.status.is_good
    assert (dest / "mine.txt").read_text(encoding="utf-8") == "keep me"
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


def test_unwritable_destination(source, tmp_path):
    """Below a regular file nobody can write, not even root."""
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    with pytest.raises(errors.DestinationError) as failure:
        migrate.migrate_model(source(), file / "below", UNVERIFIED)
    assert_one_line(str(failure.value), str(file), "cannot be written")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RebuildOptions(signature="nope"), ("nope", "predict")),
        (RebuildOptions(inference_tags=("nope",)), ("nope", "serve", "--inference_tags")),
        (RebuildOptions(training_tags=("nope",)), ("nope", "serve", "--training_tags")),
        (RebuildOptions(trainable="("), ("--trainable",)),
    ],
)
def test_unknown_choice(source, dest, options, words):
    """A choice that the model does not offer is the caller's mistake, and the answer lists what there is."""
    with pytest.raises(errors.UsageError) as failure:
        migrate.migrate_model(source(), dest, MigrateOptions(verify="none", rebuild=options))
    for word in words:
        assert word in str(failure.value)
    assert_nothing_left(dest)


def test_op_library_that_is_not_there(source, dest, tmp_path):
    options = MigrateOptions(verify="none", op_library=(str(tmp_path / "ops.so"),))
    with pytest.raises(errors.UsageError) as failure:
        migrate.migrate_model(source(), dest, options)
    assert_one_line(str(failure.value), "ops.so", "--op_library")
    assert_nothing_left(dest)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--source={missing}", "--dest={dest}"], "no such file"),
        (["--source={model}", "--dest={existing}"], "--overwrite"),
        (["--source={model}", "--dest={file}/below"], "cannot be written"),
        (["--source={model}", "--dest={dest}", "--colour=red"], "colour"),
        (["--source={model}", "--dest={dest}", "--verify=maybe"], "verify"),
        (["--dest={dest}"], "--source"),
        (["--source={model}"], "--dest"),
        (["{model}", "--dest={dest}"], "unexpected arguments"),
    ],
)
def test_usage_exits_with_2(tmp_path, dest, arguments, word):
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "existing").mkdir()
    (tmp_path / "existing" / "file").write_text("", encoding="utf-8")
    names = {
        "missing": tmp_path / "nowhere",
        "model": ZOO / MODEL / "model",
        "dest": dest,
        "existing": tmp_path / "existing",
        "file": tmp_path / "file",
    }
    done = run_cli(*(text.format(**names) for text in arguments))
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and word in lines[0], done.stderr
    assert_one_line(lines[0])
    assert "Traceback" not in done.stderr
    assert_nothing_left(dest)


def test_bad_model_exits_with_1(source, dest):
    path = source()
    (path / "saved_model.pb").write_bytes(b"")
    done = run_cli(f"--source={path}", f"--dest={dest}")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert_one_line(line, str(path / "saved_model.pb"), "empty")
    assert_nothing_left(dest)
