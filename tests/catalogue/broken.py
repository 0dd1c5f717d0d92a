"""Ways to break a migrated model on purpose. Each changes a copy; the catalogue stays whole."""

import dataclasses
import pathlib

import tensorflow as tf

from migrate import readers
from migrate.options import RebuildOptions
from migrate.rebuild import module
from migrate.write import provenance, writer

from .check_interface import parse_saved_model


def rewrite_checkpoint(folder, change):
    """Replaces the checkpoint of a SavedModel: `change` takes and returns {key: array}."""
    prefix = str(pathlib.Path(folder) / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    values = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    dtypes = reader.get_variable_to_dtype_map()
    values = change(dict(sorted(values.items())))
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value, dtypes[key]) for key, value in values.items()],
    )


def add_to_first_weight(values):
    """One element of the first float variable grows by 1e-2."""
    key = next(key for key, value in values.items() if getattr(value, "dtype", None) == "float32" and value.size)
    value = values[key].copy()
    value.flat[0] += 1e-2
    return values | {key: value}


def shift_table(values):
    """The values of a mutable table move on by one key."""
    key = next(key for key in values if key.endswith("-values"))
    return values | {key: tf.roll(values[key], 1, axis=0).numpy()}


def rewrite_saved_model(folder, change):
    """Replaces saved_model.pb: `change` edits the proto in place."""
    proto = parse_saved_model(folder)
    change(proto.meta_graphs[0])
    (pathlib.Path(folder) / "saved_model.pb").write_bytes(proto.SerializeToString(deterministic=True))


def rename_signature(meta_graph, old, new):
    meta_graph.signature_def[new].CopyFrom(meta_graph.signature_def[old])
    del meta_graph.signature_def[old]


def migrate_broken(source, folder, *, change_model=None, change_rebuilt=None):
    """Migrates in this process, with a fault put in between reading and rebuilding, or before writing."""
    model = readers.read_model(str(source))
    if change_model is not None:
        model = dataclasses.replace(model, variants=tuple(change_model(variant) for variant in model.variants))
    digest = provenance.digest_source(str(source))
    options = RebuildOptions()
    rebuilt = module.rebuild_model(model, options, digest)
    if change_rebuilt is not None:
        change_rebuilt(rebuilt)
    written = writer.write_model(rebuilt, str(folder))
    record = provenance.describe_migration(
        model, rebuilt, options, digest, tf.__version__, (*rebuilt.findings, *written.findings), written.oldest
    )
    provenance.write_record(str(folder), record)


def without_update_ops(variant):
    """Moving averages that nothing moves."""
    collections = {name: values for name, values in variant.collections.items() if name != "update_ops"}
    return dataclasses.replace(variant, collections=collections)


def with_frozen(name):
    """A variable that is no longer marked trainable."""

    def change(variant):
        specs = (
            dataclasses.replace(spec, trainable=spec.trainable and spec.name != name) for spec in variant.variables
        )
        return dataclasses.replace(variant, variables=tuple(specs))

    return change
