"""Values of a TensorFlow checkpoint (`save_weights` in TF format, ModelCheckpoint, `tf.train.Checkpoint`) -> a model of
tf_keras: every one accounted for, both ways.

Such a checkpoint holds the graph of the objects that were saved (trackable_object_graph.proto), whose edges bear the
names of attributes ("layer_with_weights-0", "kernel"); the model's own objects are found by walking both. It also
keeps what each variable was called (`full_name`). One without that graph was written by TF1's Saver: its values bear
the names of variables.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from migrate.model import Finding, Format, Severity, Source
from migrate.options import ReadOptions
from migrate.readers import checkpoint, training_checkpoint
from migrate.readers.keras import naming, stored_weights

_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"
# What only training needs: the optimizer and its slots, Keras' metrics, counters of steps and of checkpoints.
_TRAINING = re.compile(
    r"(.*/)?(optimizer|keras_api|training|save_counter|_CHECKPOINTABLE_OBJECT_GRAPH)(/.*)?|global_step"
)
_SLOT = "/.OPTIMIZER_SLOT/"


def find_prefix(path: str, options: ReadOptions) -> tuple[str, tuple[Finding, ...]]:
    """The checkpoint that is meant: the file's own, that of `--checkpoint`, or the folder's newest.

    Raises:
      UsageError: `options.checkpoint` names none.
      CorruptModelError: there is none, or a data shard is missing.
    """
    place = training_checkpoint.find_place(Source(path=path, format=Format.CHECKPOINT), options)
    checkpoint.parse_entries(place.prefix)
    return place.prefix, tuple(finding for finding in place.findings if finding.code == "checkpoint-chosen")


def set_weights(model: Any, prefix: str) -> tuple[dict[int, str], tuple[Finding, ...]]:
    """Fills a model with the values of a checkpoint.

    Args:
      model: of tf_keras.
      prefix: of the checkpoint.

    Returns:
      id of a variable -> what it was called when it was saved, where the checkpoint says so; what is left behind.

    Raises:
      CorruptModelError: a variable has no value, a value no variable, or their shapes differ; all are named.
    """
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    variables = {id(variable): variable for variable in model.variables}
    names: dict[str, str] = {}
    if _GRAPH_KEY in shapes:
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH_KEY))
        keys, place = _match_objects(model, prefix, graph)
        names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes if a.full_name}
    else:
        keys, place = _match_names(variables, shapes), ""
    beside = [key for key in shapes if not key.startswith(place)]
    training = [key for key in shapes if key in beside or _SLOT in key or _is_training(key, keys)]
    strange = sorted(set(shapes) - set(training) - set(keys.values()))
    lost = [naming.spell(variable) for key, variable in variables.items() if key not in keys]
    stored_weights.check_names(lost, strange, "a value in the checkpoint", prefix)
    wrong = [
        f"{key} is {list(shapes[key])} in the checkpoint, {list(variables[owner].shape)} in the model"
        for owner, key in keys.items()
        if tuple(shapes[key]) != tuple(variables[owner].shape)
    ]
    stored_weights.check_fit(wrong, prefix)
    for owner, key in keys.items():
        variables[owner].assign(reader.get_tensor(key))
    left = Counter(_find_owner(key, place) for key in training if key != _GRAPH_KEY)
    called = {owner: names[key] for owner, key in keys.items() if key in names}
    return called, (_describe_left(left, prefix),) if left else ()


def _find_owner(key: str, place: str) -> str:
    """The object that a value which is left behind belongs to: the optimizer of a slot, else the first of its path."""
    _, slot, rest = key.removeprefix(place).partition(_SLOT)
    return (rest if slot else key.removeprefix(place)).partition("/")[0]


def _is_training(key: str, keys: Mapping[int, str]) -> bool:
    return key not in keys.values() and _TRAINING.fullmatch(key.partition("/.ATTRIBUTES")[0]) is not None


def _match_objects(model: Any, prefix: str, graph: Any) -> tuple[dict[int, str], str]:
    """id of a variable -> its key, by the names of attributes; and the place of the model, "" for the root."""
    known = {id(variable) for variable in model.variables}
    view = tf.train.CheckpointView(prefix)
    found: dict[int, str] = {}
    place = ""
    # The model itself was saved, or it hangs on a tf.train.Checkpoint by a name that its author chose.
    children = [child.local_name for child in graph.nodes[0].children]
    names = [name for name in children if name.isidentifier() and name not in ("root", "save_counter")]
    for name in ("", *names):
        root = tf.train.Checkpoint(**{name: model}) if name else model
        keys = {}
        for node, trackable in view.match(root).items():
            for attribute in graph.nodes[node].attributes:
                if attribute.name == _VALUE and id(trackable) in known:
                    keys[id(trackable)] = attribute.checkpoint_key
        if len(keys) > len(found):
            found, place = keys, f"{name}/" if name else ""
    return found, place


def _match_names(variables: Mapping[int, Any], shapes: Mapping[str, Any]) -> dict[int, str]:
    return {key: naming.spell(variable) for key, variable in variables.items() if naming.spell(variable) in shapes}


def _describe_left(owners: Counter[str], prefix: str) -> Finding:
    spelled = [f"{name} ({count} value{'s' if count > 1 else ''})" for name, count in sorted(owners.items())]
    return Finding(
        code="optimizer-left-behind",
        severity=Severity.INFO,
        where=os.path.basename(prefix),
        message=f"left behind, as no layer has it: {stored_weights.spell_names(spelled)}",
        hint="compile the model anew to train on",
    )
