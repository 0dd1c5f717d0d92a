"""Outputs that are paths of a model's own files, as of BERT's `tokenization_info`: compared by what the files hold."""

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate import errors
from migrate.options import ReadOptions
from migrate.verdict import Verdict
from migrate.verify import results

v1 = tf.compat.v1


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A module that tells where its vocabulary lies; its graph holds the path on the machine that wrote it."""
    folder = tmp_path_factory.mktemp("assets")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("the\nquick\n", encoding="utf-8")
    with v1.Graph().as_default(), v1.Session() as session:
        path = tf.constant(str(vocabulary), name="vocab_file")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, path)
        outputs = {"vocab_file": v1.saved_model.build_tensor_info(tf.identity(path))}
        outputs["do_lower_case"] = v1.saved_model.build_tensor_info(tf.constant(True))
        signature = v1.saved_model.build_signature_def({}, outputs, "")
        builder = v1.saved_model.builder.SavedModelBuilder(str(folder / "legacy"))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"tokenization_info": signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
    return migrate.migrate_model(folder / "legacy", folder / "migrated")


def test_the_same_file_elsewhere_is_the_same(outcome):
    assert outcome.verification.verdict is Verdict.PASS, outcome.error
    compared = [diff for diff in outcome.verification.diffs if diff.output == "vocab_file"]
    assert {diff.route for diff in compared} >= {"callable", "signature", "v1 session"}
    assert all(diff.elements for diff in compared)


def test_what_the_module_says_of_its_tokens_is_on_the_root(outcome, tmp_path):
    """As Model Garden exports it; it is the signature's own file, and a flag that says otherwise is refused."""
    loaded = tf.saved_model.load(outcome.dest)
    assert loaded.do_lower_case.numpy() and loaded.do_lower_case.dtype == tf.bool
    path = loaded.vocab_file.asset_path.numpy()
    assert path == loaded.signatures["tokenization_info"]()["vocab_file"].numpy()
    assert tf.io.gfile.GFile(path).read() == "the\nquick\n"
    with pytest.raises(errors.UsageError, match="do_lower_case is True"):
        options = migrate.MigrateOptions(read=ReadOptions(do_lower_case="false"))
        migrate.migrate_model(outcome.source, tmp_path / "out", options)
    (tmp_path / "other.txt").write_text("x\n", encoding="utf-8")
    with pytest.raises(errors.UsageError, match="a vocabulary of its own"):
        options = migrate.MigrateOptions(read=ReadOptions(vocab_file=str(tmp_path / "other.txt")))
        migrate.migrate_model(outcome.source, tmp_path / "out", options)


def test_another_file_is_not(outcome, tmp_path):
    """The path is as it was; what lies there is not."""
    loaded = tf.saved_model.load(outcome.dest)
    told = loaded.signatures["tokenization_info"]()["vocab_file"].numpy().decode()
    with open(told, "a", encoding="utf-8") as file:
        file.write("brown\n")
    found = migrate.compare_models(outcome.source, outcome.dest)
    assert found.verdict is Verdict.FAIL
    assert any(not diff.equal and diff.output == "vocab_file" for diff in found.diffs)


def test_only_paths_of_the_models_own_files_are_read(tmp_path):
    """Another file's path, a missing file's, text that begins alike: told as they are."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "a").write_bytes(b"a")
    (tmp_path / "secret").write_bytes(b"s")
    found = results.Results(model=str(model))
    kept = [str(tmp_path / "secret"), str(model / "b"), f"{model}/../secret", "a", f"{model}/a\0"]
    values = np.array([text.encode() for text in (str(model / "a"), *kept)], object)
    found.record_outputs("", "call", {"y": values})
    recorded = found.outputs["", "call"]["y"]
    assert recorded[0].startswith(
        b"a file with sha256 ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    )
    assert [value.decode() for value in recorded[1:]] == kept
