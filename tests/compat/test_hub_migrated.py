"""hub.Module over a model that this toolkit migrated gives what it gave over the old module."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

import migrate
from compat import hub
from compat.hub import migrated
from migrate.options import MigrateOptions

v1 = tf.compat.v1
ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"
MODULE = str(ZOO / "hub_image_batch_norm" / "model")
TEXT_MODULE = str(ZOO / "hub_text_partitioned" / "model")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("migrated") / "model")
    outcome = migrate.migrate_model(MODULE, path, MigrateOptions(verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    return path


def test_a_migrated_model_is_told_from_a_module(model):
    assert migrated.is_migrated(model)
    assert not migrated.is_migrated(MODULE)


def test_the_spec_says_the_same(model):
    old, new = hub.load_module_spec(MODULE), hub.load_module_spec(model)
    assert {*old.get_tags()} == {*new.get_tags()}
    assert sorted(old.get_signature_names()) == sorted(new.get_signature_names())
    for signature in old.get_signature_names():
        assert repr(old.get_input_info_dict(signature)) == repr(new.get_input_info_dict(signature))
        outputs = old.get_output_info_dict(signature)
        assert {key: repr(info) for key, info in new.get_output_info_dict(signature).items()} == {
            key: repr(info) for key, info in outputs.items()
        }
    assert hub.get_expected_image_size(new) == hub.get_expected_image_size(old)
    with pytest.raises(ValueError, match="nope"):
        new.get_input_info_dict("nope")
    with pytest.raises(KeyError, match="nope"):
        new.get_signature_names({"nope"})


@pytest.mark.parametrize("tags", [(), ("train",)])
def test_an_instance_computes_the_same(model, tags):
    images = np.random.default_rng(0).random((2, 8, 6, 3), np.float32)
    found = []
    for path in (MODULE, model):
        with tf.Graph().as_default() as graph, v1.Session() as session, v1.variable_scope("scope"):
            instance = hub.Module(path, trainable=True, tags=tags, name="m")
            outputs = instance(images, signature="image_feature_vector", as_dict=True)
            losses = graph.get_collection(v1.GraphKeys.REGULARIZATION_LOSSES)
            gradients = tf.gradients(
                outputs["default"], [instance.variable_map[k] for k in sorted(instance.variable_map)]
            )
            known = [gradient for gradient in gradients if gradient is not None]
            session.run(v1.global_variables_initializer())
            values, losses, known = session.run([outputs, losses, known])
            found.append(
                {
                    "values": [values, sorted(losses)],
                    "gradients": known,
                    "has_gradient": [gradient is not None for gradient in gradients],
                    "variables": sorted(variable.op.name for variable in v1.global_variables()),
                    "trainable": sorted(variable.op.name for variable in v1.trainable_variables()),
                    "map": {key: value.op.name for key, value in instance.variable_map.items()},
                }
            )
    old, new = found
    assert old["trainable"] and old["values"][1]
    for key in ("variables", "trainable", "map", "has_gradient"):
        assert old[key] == new[key], key
    for key in ("values", "gradients"):
        for one, other in zip(tf.nest.flatten(old[key]), tf.nest.flatten(new[key]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    """With a table, an asset and a partitioned variable."""
    path = str(tmp_path_factory.mktemp("migrated") / "model")
    outcome = migrate.migrate_model(TEXT_MODULE, path, MigrateOptions(verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    return path


def _open(session, path, tags, **arguments):
    """An initialised instance, trainable, with outputs of the default signature."""
    instance = hub.Module(path, trainable=True, tags=tags, **arguments)
    (info,) = instance.get_input_info_dict().values()
    inputs = ["hello world", "a"] if info.dtype == tf.string else np.linspace(0, 1, 288).reshape(2, 8, 6, 3)
    outputs = instance(inputs)
    session.run([v1.global_variables_initializer(), v1.tables_initializer()])
    return instance, outputs


def test_partitioned_variables_are_those_of_the_old_module(text_model, tmp_path):
    names, checkpoint = [], str(tmp_path / "program")
    for path in (TEXT_MODULE, text_model):
        with tf.Graph().as_default(), v1.Session() as session:
            instance, outputs = _open(session, path, None, name="m")
            names.append({key: [v.op.name for v in tf.nest.flatten(vs)] for key, vs in instance.variable_map.items()})
            if path == TEXT_MODULE:  # The program ran with the old module, and left a checkpoint.
                for variable in instance.variables:
                    variable.load(session.run(variable) + 1, session)
                v1.train.Saver().save(session, checkpoint)
                wanted = session.run(outputs)
            else:
                assert not np.allclose(session.run(outputs), wanted)
                v1.train.Saver().restore(session, checkpoint)
                np.testing.assert_allclose(session.run(outputs), wanted, rtol=1e-5)
    assert names[0] == names[1]
    assert names[1]["emb"] == ["m/emb/part_0", "m/emb/part_1", "m/emb/part_2"]


@pytest.mark.parametrize(("fixture", "tags"), [("text_model", ()), ("model", ()), ("model", ("train",))])
def test_it_is_written_as_a_module_again(fixture, tags, tmp_path, request):
    """With the session's values; what the new module computes, trains and tells is what the migrated model does."""
    source, exported = request.getfixturevalue(fixture), str(tmp_path / "m")
    found = []
    for path in (source, exported):
        with tf.Graph().as_default() as graph, v1.Session() as session:
            instance, outputs = _open(session, path, tags)
            if path == source:
                for variable in v1.trainable_variables():
                    variable.load(session.run(variable) * 1.5, session)
                instance.export(exported, session)
            gradients = [g for g in tf.gradients(outputs, v1.trainable_variables()) if g is not None]
            losses = graph.get_collection(v1.GraphKeys.REGULARIZATION_LOSSES)
            values = session.run([[tf.convert_to_tensor(g) for g in gradients], losses])  # Before the averages move.
            found.append(
                {
                    "values": [session.run(outputs), *values],
                    "variables": sorted(variable.name for variable in v1.global_variables()),
                    "trainable": sorted(variable.name for variable in v1.trainable_variables()),
                    "map": {key: len(tf.nest.flatten(value)) for key, value in instance.variable_map.items()},
                }
            )
    for one, other in zip(*(tf.nest.flatten(f.pop("values")) for f in found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert found[0] == found[1]
    old, new = hub.load_module_spec(source), hub.load_module_spec(exported)
    assert {*old.get_tags()} == {*new.get_tags()}
    assert sorted(old.get_signature_names(tags)) == sorted(new.get_signature_names(tags))
    if fixture == "model":
        assert hub.get_expected_image_size(new) == hub.get_expected_image_size(old)
    definition = new._handler.get_meta_graph(tags).graph_def
    assert not [node.name for node in definition.node if node.op.endswith("PartitionedCall") and "apply" in node.name]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "migration.json").write_text("{}")
    with pytest.raises(OSError, match=r"migration\.json"):
        hub.load_module_spec(str(tmp_path))
