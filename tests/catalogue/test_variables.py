"""The variables of a migrated model are TF1's: by name, value and trainability."""

import tensorflow as tf

from .check_interface import check_trainable_variables, check_variables


def test_trainable_variables(truth, loaded):
    """The training variant's collection decides, else the inference variant's; no more, no less."""
    check_trainable_variables(truth, loaded)


def test_variables(truth, loaded):
    """Every variable of every collection is there once, and nothing that the source lacks."""
    check_variables(truth, loaded)


def test_named_pieces(truth, loaded):
    """A named piece has the interface of the root, over a part of the root's variables."""
    whole = {id(variable) for variable in loaded.object.variables}
    for piece in loaded.record["pieces"]:
        if piece["attribute"]:
            part = getattr(loaded.object, piece["attribute"])
            assert callable(part)
            assert {id(variable) for variable in part.variables} <= whole
            trainable = {id(variable) for variable in part.trainable_variables}
            assert trainable == {id(variable) for variable in part.variables if variable.trainable}


def test_values_are_the_checkpoints(truth, loaded):
    """A variable that lies whole in TF1's checkpoint holds the value that lies there."""
    prefix = truth.model / "variables" / "variables"
    if truth.model.is_dir() and tf.train.latest_checkpoint(str(truth.model)):
        prefix = tf.train.latest_checkpoint(str(truth.model))
    elif not (prefix.with_suffix(".index").exists() or prefix.exists()):
        if truth.origin.get("options", {}).get("thaw"):
            return  # they were constants
        assert not truth.origin["variables"] or not any(truth.origin["variables"].values())
        return
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    for name, value in zip(loaded.record["variables"], loaded.initial, strict=True):
        if name in shapes:
            assert value.shape.as_list() == list(shapes[name]), name
            assert (value.numpy() == reader.get_tensor(name)).all(), name
