"""A zoo of many models with faults mixed in, each made so that exactly it is marked."""

import os
import pathlib
import shutil

from tests.zoo.conftest import ZOO, make_different

# Small models of the catalogue that are migrated in about a second each.
GOOD = ("frozen_constants", "hub_dense_l2", "saved_model_pbtxt", "hub_no_variables", "shapes_empty", "init_signature")


def make_zoo(root, count):
    """Makes `count` good models with unlike contents and names, and all faults.

    Returns:
      Relative path -> statuses that it may come out with.
    """
    expected = {}
    odd = ("mit Leerzeichen", "模型", "line\nbreak", 'it\'s <b>"quoted"</b>', "a" * 200)
    for number in range(count):
        slug = GOOD[number % len(GOOD)]
        name = odd[number] if number < len(odd) else f"part{number % 7}/{slug}-{number}"
        model = root / name
        shutil.copytree(ZOO / slug / "model", model)
        make_different(model, str(number))
        expected[name] = {"migrated"}
    for fault in (_truncated, _empty, _pipe, _dangling, _loop, _inside, _copy, _folder_of_reports):
        expected |= fault(root)
    return expected


def _good(root, name):
    return pathlib.Path(shutil.copytree(ZOO / "hub_dense_l2" / "model", root / name))


def _truncated(root):
    path = _good(root, "faults/truncated") / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-100])
    shard = next(_good(root, "faults/short_values").glob("variables/*.data-*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    return {"faults/truncated": {"blocked"}, "faults/short_values": {"blocked", "failed"}}


def _empty(root):
    (_good(root, "faults/empty") / "saved_model.pb").write_bytes(b"")
    return {"faults/empty": {"blocked"}}


def _pipe(root):
    model = _good(root, "faults/pipe")
    (model / "saved_model.pb").unlink()
    os.mkfifo(model / "saved_model.pb")
    return {"faults/pipe": {"blocked"}}


def _dangling(root):
    model = _good(root, "faults/dangling")
    (model / "saved_model.pb").unlink()
    (model / "saved_model.pb").symlink_to("nowhere")
    return {"faults/dangling": {"blocked"}}


def _loop(root):
    (root / "faults" / "loop").symlink_to(root, target_is_directory=True)
    return {}


def _inside(root):
    """A model within a model is a part of that one."""
    outer = make_different(_good(root, "outer"), "outer")
    shutil.copytree(ZOO / "frozen_constants" / "model", outer / "assets.extra" / "inner")
    return {"outer": {"migrated"}}


def _copy(root):
    """Equal to another; it is linked."""
    make_different(_good(root, "twin/one"), "twin")
    make_different(_good(root, "twin/two"), "twin")
    return {"twin/one": {"migrated"}, "twin/two": {"migrated"}}


def _folder_of_reports(root):
    _good(root, "_migration")
    return {"_migration": {"blocked"}}


def make_runaways(root):
    """Models that do harm only when they run: one aborts (let it, with --allow_unsafe_ops=Abort), one never ends, in a
    signature or in the init op, one asks for 8 GB.

    Returns:
      Relative path -> statuses that it may come out with.
    """
    import tensorflow as tf

    from tests.scan.hostile.case import make_meta_graph, tf1, write_model

    def abort(x, y):
        with tf1.control_dependencies([tf.raw_ops.Abort(error_msg="gone")]):
            return tf.identity(y)

    def hang(x, y):
        return y + tf1.while_loop(lambda i: i > -1.0, lambda i: tf.abs(i), [tf.constant(1.0)])

    def hang_at_start(x, y):
        tf1.group(hang(x, y[:1]), name="hidden")

    def hoard(x, y):
        rows = tf.maximum(tf.shape(x)[0], 1)
        return y + tf.reduce_sum(tf.fill(tf.stack([rows, 2**31 - 1]), 1.0))

    modern = tf1.control_flow_v2_enabled()
    tf1.disable_control_flow_v2()
    try:
        for build in (abort, hang, hoard):
            write_model(root / "runaways" / build.__name__, make_meta_graph(build))
        start = make_meta_graph(lambda x, y: (hang_at_start(tf.constant([1.0]), tf.constant([1.0])), None)[1],
                                collections=["legacy_init_op"])  # fmt: skip
        write_model(root / "runaways" / "hang_at_start", start)
    finally:
        if modern:
            tf1.enable_control_flow_v2()
    statuses = {"abort": "crashed", "hang": "timed_out", "hang_at_start": "timed_out", "hoard": "crashed"}
    return {f"runaways/{name}": {status} for name, status in statuses.items()}
