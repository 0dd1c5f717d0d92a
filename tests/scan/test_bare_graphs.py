"""Graphs without a SavedModel around them, frozen ones and those of a training session: looked through all the same."""

import pytest
import tensorflow as tf

from migrate import errors, pipeline, scan
from migrate.options import MigrateOptions, ReadOptions

tf1 = tf.compat.v1
READ = ReadOptions(inputs=("x:0",), outputs=("y:0",))


def _build(mark):
    """y = 2 x; whoever runs it writes a file."""
    x = tf1.placeholder(tf.float32, [None], name="x")
    with tf.control_dependencies([tf.io.write_file(str(mark), "was here")]):
        return tf.multiply(x, 2.0, name="y")


def _write_frozen(folder, mark, text):
    with tf1.Graph().as_default() as graph:
        _build(mark)
    tf1.train.write_graph(graph, str(folder), "g.pbtxt" if text else "g.pb", as_text=text)
    return folder / ("g.pbtxt" if text else "g.pb")


def _write_checkpoint(folder, mark, hidden):
    """A .meta in which the op stands in the graph, or in a function that it calls."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        scale = tf1.get_variable("scale", initializer=2.0, use_resource=False)
        if hidden:
            x = tf1.placeholder(tf.float32, [None], name="x")

            @tf.function(autograph=False)
            def double(value):
                with tf.control_dependencies([tf.io.write_file(str(mark), "was here")]):
                    return value * 2.0

            tf.identity(double(x) * scale, name="y")
        else:
            tf.multiply(_build(mark), scale, name="z")
        session.run(scale.initializer)
        tf1.train.Saver().save(session, str(folder / "model.ckpt"), global_step=1)
    return folder


WRITERS = {
    "frozen": lambda folder, mark: _write_frozen(folder, mark, False),
    "frozen text": lambda folder, mark: _write_frozen(folder, mark, True),
    "checkpoint": lambda folder, mark: _write_checkpoint(folder, mark, False),
    "checkpoint, in a function": lambda folder, mark: _write_checkpoint(folder, mark, True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_unsafe_op_is_blocked_before_anything_runs(tmp_path, name):
    """The file that the graph would write is not there, and no destination."""
    mark = tmp_path / "mark"
    (tmp_path / "model").mkdir()
    path = WRITERS[name](tmp_path / "model", mark)
    outcome = pipeline.migrate_model(path, tmp_path / "out", MigrateOptions(read=READ))
    assert outcome.status.value == "blocked", outcome.error
    assert "WriteFile writes files" in outcome.error and "--allow_unsafe_ops=WriteFile" in outcome.error
    assert not mark.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", WRITERS)
def test_scan_tells(tmp_path, name):
    (tmp_path / "model").mkdir()
    path = WRITERS[name](tmp_path / "model", tmp_path / "mark")
    with pytest.raises(errors.UnsafeModelError, match="WriteFile"):
        scan.check_model(str(path))


def test_the_graph_does_write(tmp_path):
    """Whoever runs it: the cases are what they claim."""
    mark = tmp_path / "mark"
    with tf1.Graph().as_default(), tf1.Session() as session:
        session.run(_build(mark), {"x:0": [1.0]})
    assert mark.read_text(encoding="utf-8") == "was here"
