"""What Keras makes up anew in each process reaches no file that is written."""

import collections
import pathlib

import tensorflow as tf
import tf_keras

import migrate
from migrate.options import MigrateOptions
from migrate.readers.keras import tracing


def build_recurrent():
    """Two layers whose functions Keras names by uuids, for its optimizer to choose from by device."""
    x = tf_keras.Input([3, 2], name="x")
    hidden = tf_keras.layers.LSTM(2, return_sequences=True, name="first")(x)
    return tf_keras.Model(x, tf_keras.layers.GRU(2, name="second")(hidden))


def read_implemented(functions):
    """Name of what is implemented -> names of the functions that do."""
    found = collections.defaultdict(set)
    for function in functions:
        if "api_implements" in function.attr:
            found[function.attr["api_implements"].s.decode()].add(function.signature.name)
    return found


def test_implementations_of_one_thing_still_share_its_name():
    model = build_recurrent()
    traced = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.TensorSpec([None, 3, 2]))
    functions = traced.graph.as_graph_def().library.function
    before = read_implemented(functions)
    tracing._name_implementations(functions)
    after = read_implemented(functions)
    assert len(before) == 2 and min(len(names) for names in before.values()) >= 3  # by device, forwards and backwards
    assert sorted(map(sorted, before.values())) == sorted(map(sorted, after.values()))
    assert {name.partition("_")[0] for name in after} == {"lstm", "gru"} and not set(before) & set(after)


def test_two_migrations_give_equal_files(tmp_path):
    build_recurrent().save(tmp_path / "model.h5")
    written = []
    for place in ("first", "again"):
        outcome = migrate.migrate_model(
            tmp_path / "model.h5", tmp_path / place / "model", MigrateOptions(verify="none")
        )
        assert outcome.status.value == "migrated", outcome.error
        root = pathlib.Path(outcome.dest)
        written.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()})
    first, again = written
    # TensorFlow writes a random uuid into the fingerprint.
    assert first.keys() == again.keys()
    assert [str(name) for name in first if first[name] != again[name] and name.name != "fingerprint.pb"] == []
