"""How many rows a verification feeds."""

import pytest
import tensorflow as tf

import migrate
from migrate.model import Signature, SignatureTensor
from migrate.options import BATCH_SIZES
from migrate.verify.planning import choose_batch_sizes


@pytest.mark.parametrize(
    ("shapes", "sizes"),
    [
        ([(None, 299, 299, 3)], (3, 0)),
        ([(None, 8), (None, 300, 300, None)], (3, 0)),
        ([(None, 32, 32, 3)], BATCH_SIZES),
        ([()], BATCH_SIZES),
        ([None], BATCH_SIZES),
        ([], BATCH_SIZES),
    ],
)
def test_large_rows_come_in_small_batches(shapes, sizes):
    inputs = {str(i): SignatureTensor(name=f"x{i}:0", dtype="float32", shape=shape) for i, shape in enumerate(shapes)}
    assert choose_batch_sizes(Signature(key="s", method="", inputs=inputs, outputs={})) == sizes


def test_signatures_over_the_same_images_are_fed_the_same(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, [None, 160, 160, 3], name="images")
        others = tf.compat.v1.placeholder(tf.float32, [None, 160, 160, 3], name="others")
        weight = tf.compat.v1.get_variable("weight", [3, 2], use_resource=True)
        session.run(weight.initializer)
        describe = tf.compat.v1.saved_model.predict_signature_def
        signatures = {
            key: describe({key: tensor}, {"y": tf.reduce_mean(tensor, [1, 2]) @ weight})
            for key, tensor in (("serving_default", images), ("same", images), ("other", others))
        }
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "model"))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    verification = migrate.migrate_model(tmp_path / "model", tmp_path / "migrated").verification
    assert verification.verdict.value == "PASS"
    texts = {preview["where"]: preview["text"] for preview in verification.inputs}
    fed = [texts[f"serve/{key}/batch_3"] for key in ("serving_default", "same", "other")]
    assert fed[0] == fed[1] != fed[2]
