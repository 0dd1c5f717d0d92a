"""A folder with a model of every kind of source, under the names that the README's table gives them.

Most are files of the genuine old library out of `testdata`; what only packs them, or is TF2's own, is made here.
"""

import hashlib
import pathlib
import shutil
import tarfile
import zipfile

import tensorflow as tf
import tf_keras

TESTDATA = pathlib.Path(__file__).resolve().parent.parent / "testdata"
ZOO, KERAS = TESTDATA / "zoo", TESTDATA / "keras"
HANDLE = "https://tfhub.dev/publisher/model/1"
CACHE = "cache"
# Name in the folder -> what is copied there.
COPIES = {
    "module": ZOO / "hub_dense_l2/model",
    "export": ZOO / "estimator_dnn_classifier/model",
    "saved_model": ZOO / "saved_model_pbtxt/model",
    "m.h5": KERAS / "keras_231_dense/model.h5",
    "old.h5": KERAS / "keras_122_dense/model.h5",
    "second.keras": KERAS / "archive_2150_dense/model.keras",
    "third.keras": KERAS / "archive_3151_dense/model.keras",
    "m_weights.h5": KERAS / "tfkeras_224_weights_h5/model/model_weights.h5",
    "m.json": KERAS / "tfkeras_224_weights_h5/model.json",
    "ckpts": KERAS / "tfkeras_224_weights_callback/model",
    "ckpts.json": KERAS / "tfkeras_224_weights_callback/model.json",
    "saved": KERAS / "tfkeras_224_nested_saved/model",
    "frozen.pb": ZOO / "frozen_thawed/model/frozen.pb",
    "ckpt": ZOO / "checkpoint_image_classifier/model",
    "ckpt_v1": ZOO / "checkpoint_v1_sharded/model",
    "phase": ZOO / "keras_open_phase/model",
}
PACKED = ZOO / "frozen_constants/model"


def write_kinds(root):
    """Fills the folder `root`, which is made."""
    root.mkdir(parents=True)
    for name, source in COPIES.items():
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, root / name)
    graph = tf.compat.v1.GraphDef.FromString((ZOO / "frozen_classifier/model/frozen.pb").read_bytes())
    (root / "frozen.pbtxt").write_text(str(graph), encoding="utf-8")
    with tarfile.open(root / "module.tar.gz", "w:gz") as archive:
        archive.add(ZOO / "hub_no_variables/model", arcname=".")
    with zipfile.ZipFile(root / "packed.zip", "w") as archive:
        for path in sorted(path for path in PACKED.rglob("*") if path.is_file()):
            archive.write(path, f"model/{path.relative_to(PACKED)}")
    _write_model_dir(root / "model_dir")
    _write_cache(root / CACHE)
    _write_second(root / "tf2")


def write_code(path):
    """A model with a Lambda of this Python."""
    tf_keras.Sequential([tf_keras.layers.Lambda(lambda x: x + 1, input_shape=[4], name="code")]).save(path)


def _write_model_dir(folder):
    """Checkpoints of TF 1.8 in a folder as tf.estimator leaves it: the graph as text, events, its evaluations, and what
    its exporter wrote."""
    shutil.copytree(ZOO / "tf18_checkpoint/model", folder)
    meta = tf.compat.v1.MetaGraphDef.FromString((folder / "model.ckpt-40.meta").read_bytes())
    (folder / "graph.pbtxt").write_text(str(meta.graph_def), encoding="utf-8")
    for place in (folder, folder / "eval"):
        tf.summary.create_file_writer(str(place)).close()
    shutil.copytree(ZOO / "tf18_dnn_classifier/model", folder / "export" / "best")


def _write_cache(cache):
    """What tensorflow_hub keeps of a handle that it downloaded (tensorflow_hub/resolver.py)."""
    asked = f"{HANDLE}?tf-hub-format=compressed"
    folder = cache / hashlib.sha1(asked.encode()).hexdigest()
    shutil.copytree(ZOO / "hub_text_mean/model", folder)
    folder.with_name(f"{folder.name}.descriptor.txt").write_text(f"Module: {asked}\n", encoding="utf-8")


def _write_second(folder):
    """A SavedModel of Keras in TF2, with its keras_metadata.pb."""
    x = tf_keras.Input([4], name="x")
    tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(x)).save(folder, save_format="tf")
