"""What signatures have in common is rebuilt once."""

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate import detect, readers
from migrate.options import RebuildOptions
from migrate.readers import protos
from migrate.rebuild import module
from migrate.write import writer

X = np.array([[1.0, 2.0], [-3.0, 0.5]], np.float32)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """`default` and `alias` compute the same, `other` does not."""
    folder = tmp_path_factory.mktemp("alike")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        kernel = tf.compat.v1.get_variable("kernel", initializer=[[0.5, -1.0], [2.0, 0.25]], use_resource=False)
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        y = tf.tanh(tf.matmul(x, kernel), name="told_apart")
        describe = tf.compat.v1.saved_model.predict_signature_def
        builder = tf.compat.v1.saved_model.Builder(str(folder / "model"))
        session.run(tf.compat.v1.global_variables_initializer())
        signatures = {key: describe({"x": x}, {"y": y}) for key in ("serving_default", "alias")}
        builder.add_meta_graph_and_variables(
            session, ["serve"], signatures | {"other": describe({"x": x}, {"y": y + 1})}
        )
        builder.save()
    outcome = migrate.migrate_model(folder / "model", folder / "migrated")
    assert outcome.status.value == "migrated", outcome.error
    return folder / "migrated"


def test_a_function_that_signatures_share_is_saved_once(migrated):
    (meta_graph,) = protos.parse_saved_model(str(migrated)).meta_graphs
    functions = meta_graph.graph_def.library.function
    holding = [f.signature.name for f in functions if any(node.op == "Tanh" for node in f.node_def)]
    assert len(holding) == 2  # of default and alias, and of other


def test_each_signature_is_called_by_itself(migrated):
    loaded = tf.saved_model.load(str(migrated))
    (same,) = loaded.signatures["alias"](x=tf.constant(X)).values()
    (other,) = loaded.signatures["other"](x=tf.constant(X)).values()
    with tf.GradientTape() as tape:
        (default,) = loaded(tf.constant(X)).values()
    np.testing.assert_array_equal(same, default)
    np.testing.assert_array_equal(other, default + 1)
    assert tape.gradient(default, loaded.trainable_variables)[0] is not None


def test_saving_traces_no_call_again(migrated, tmp_path):
    """Each trace of a large model takes seconds, and is made for the save that will need it."""
    model = readers.read_model(detect.detect_format(str(migrated.parent / "model")))
    rebuilt = module.rebuild_model(model, RebuildOptions(), "0" * 64)
    traces = [piece.call.experimental_get_tracing_count() for piece in rebuilt.pieces]
    writer.write_model(rebuilt, str(tmp_path / "written"))
    assert [piece.call.experimental_get_tracing_count() for piece in rebuilt.pieces] == traces == [1, 1, 1]
