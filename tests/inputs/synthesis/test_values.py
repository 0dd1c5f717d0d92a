"""Values come from what the inputs flow into: tables, bounds, buckets, switches."""

import numpy as np
import pytest
import tensorflow as tf

from .harness import run_graph, v1

WORDS = ["rot", "weiss", "blau", "grün"]


def weights(*shape):
    return v1.get_variable(f"w{len(v1.global_variables())}", shape, initializer=v1.glorot_uniform_initializer())


def index_table(keys=WORDS, default=-1):
    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.range(len(keys), dtype=tf.int64))
    return tf.lookup.StaticHashTable(initializer, default)


def test_tokens_of_a_constant_table_and_one_outside():
    def build():
        x = v1.placeholder(tf.string, [None, None])
        return {"x": x}, {"ids": index_table().lookup(v1.strings.lower(x))}

    run = run_graph(build, batch_sizes=(1, 3))
    ids = run.outputs["batch_3"]["ids"]
    assert (ids >= 0).any() and (ids == -1).any()
    unusual = run.cases["unusual"].inputs["x"].reshape(-1).tolist()
    assert b"" in unusual and any(any(byte > 127 for byte in token) for token in unusual)


def test_the_smallest_batch_has_no_negative_floats():
    def build():
        x = v1.placeholder(tf.float32, [None, 4])
        return {"x": x}, {"y": tf.math.log(tf.math.ceil(x) + 1)}

    run = run_graph(build, batch_sizes=(1, 3))
    assert np.isfinite(run.outputs["batch_1"]["y"]).all()
    assert (run.cases["batch_3"].inputs["x"] < 0).any()


def test_inputs_that_are_compared_with_each_other_come_close():
    def build():
        tip, fare = (v1.placeholder(tf.float32, [None, 2]) for _ in range(2))
        return {"tip": tip, "fare": fare}, {"generous": tip - 1 > fare * 0.2}

    run = run_graph(build, batch_sizes=(1, 8))
    inputs = run.cases["edges"].inputs
    distance = (inputs["tip"] - 1) / (inputs["fare"] * 0.2) - 1
    close = distance[np.abs(distance) < 2e-3]
    assert (close > 0).any() and (close < 0).any() and close.size < distance.size


def test_tokens_of_a_vocabulary_file(tmp_path):
    path = tmp_path / "vocabulary.txt"
    path.write_text("apple\npear\nplum\n")

    def build():
        x = v1.placeholder(tf.string, [None])
        file = v1.placeholder_with_default(str(path), [], name="asset")
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(file, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                                          tf.lookup.TextFileIndex.LINE_NUMBER), 1)  # fmt: skip
        return {"x": x}, {"ids": table.lookup(x)}

    run = run_graph(build, assets=[("asset:0", str(path))])
    ids = run.outputs["batch_3"]["ids"]
    assert (ids < 3).any() and 3 in ids


def test_unknown_tokens_are_left_out_where_they_would_leave_the_embedding():
    def build():
        x = v1.placeholder(tf.string, [None])
        ids = index_table().lookup(x)
        return {"x": x}, {"y": tf.gather(weights(4, 2), ids)}

    run = run_graph(build, batch_sizes=(1, 9))
    assert set(run.cases["batch_9"].inputs["x"]) <= {word.encode() for word in WORDS}


def test_keys_of_a_table_from_numbers_to_strings():
    def build():
        x = v1.placeholder(tf.int64, [None])
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant([70, 71, 99], tf.int64), tf.constant(["a", "b", "c"])
        )
        return {"x": x}, {"y": tf.lookup.StaticHashTable(initializer, "?").lookup(x)}

    assert {b"a", b"b", b"c"} & set(run_graph(build, batch_sizes=(1, 5)).outputs["batch_5"]["y"])


def test_sentences_of_tokens():
    def build():
        x = v1.placeholder(tf.string, [None])
        tokens = v1.string_split(x, " ")
        ids = tf.SparseTensor(tokens.indices, index_table().lookup(tokens.values), tokens.dense_shape)
        return {"x": x}, {"ids": tf.sparse.to_dense(ids, default_value=-2)}

    ids = run_graph(build).outputs["batch_3"]["ids"]
    assert ids.shape[1] >= 2 and (ids >= 0).any()


@pytest.mark.parametrize("partitions", [1, 3])
def test_ids_below_the_rows_of_the_embedding(partitions):
    def build():
        x = v1.placeholder(tf.int32, [None, None])
        tables = [weights(5, 2) for _ in range(partitions)]
        return {"x": x}, {
            "y": tf.nn.embedding_lookup(tables[0], x) if partitions == 1 else v1.nn.embedding_lookup(tables, x)
        }

    run = run_graph(build, batch_sizes=(1, 40))
    ids = run.cases["batch_40"].inputs["x"]
    assert ids.min() >= 0 and ids.max() < 5 * partitions and len(np.unique(ids)) > 2


def test_one_hot_and_offsets():
    def build():
        x = v1.placeholder(tf.int64, [None])
        return {"x": x}, {"y": tf.matmul(tf.one_hot(x - 10, 4), weights(4, 2))}

    ids = run_graph(build, batch_sizes=(1, 30)).cases["batch_30"].inputs["x"]
    assert ids.min() >= 10 and ids.max() < 14


def test_labels_below_the_classes_by_assert():
    def build():
        labels = v1.placeholder(tf.int64, [None])
        with tf.control_dependencies([v1.assert_less_equal(labels, np.int64(3)), v1.assert_non_negative(labels)]):
            return {"labels": labels}, {"y": tf.identity(labels)}

    run_graph(build, batch_sizes=(1, 50))


def test_values_around_bucket_boundaries():
    def build():
        x = v1.placeholder(tf.float32, [None])
        return {"x": x}, {"y": tf.raw_ops.Bucketize(input=x, boundaries=[100.0, 200.0, 300.0])}

    assert len(np.unique(run_graph(build, batch_sizes=(1, 30)).outputs["batch_30"]["y"])) == 4


def test_dropout_and_training_switches_are_off():
    def build():
        x = v1.placeholder(tf.float32, [None, 4])
        keep = v1.placeholder(tf.float32, [])
        rate = v1.placeholder(tf.float32, [])
        training = v1.placeholder(tf.bool, [])
        noise = v1.random_uniform(tf.shape(x))
        y = x / keep * tf.floor(keep + noise) * tf.cast(noise >= rate, tf.float32)
        y = v1.cond(training, lambda: y + 1, lambda: y)
        return {"x": x, "keep": keep, "rate": rate, "training": training}, {"y": y}

    v1.disable_control_flow_v2()
    run = run_graph(build)
    inputs = run.cases["batch_3"].inputs
    assert inputs["keep"] == 1 and inputs["rate"] == 0 and not inputs["training"]
    assert np.allclose(run.outputs["batch_3"]["y"], inputs["x"])


def test_defaults_are_given_and_omitted():
    def build():
        x = v1.placeholder(tf.float32, [None, 2])
        scale = v1.placeholder_with_default(2.0, [])
        return {"x": x, "scale": scale}, {"y": x * scale}

    run = run_graph(build)
    assert "scale" in run.cases["batch_3"].inputs and "scale" not in run.cases["defaults_omitted"].inputs
    omitted = run.cases["defaults_omitted"].inputs["x"]
    assert np.array_equal(run.outputs["defaults_omitted"]["y"], omitted * 2)


def test_numbers_in_strings_and_words_that_are_compared():
    def build():
        number = v1.placeholder(tf.string, [None])
        word = v1.placeholder(tf.string, [None])
        ids = tf.strings.to_number(number, tf.int32)
        return {"number": number, "word": word}, {
            "row": tf.gather(weights(6, 2), ids),
            "yes": tf.cast(tf.equal(word, "yes"), tf.int32),
        }

    run = run_graph(build, batch_sizes=(1, 12))
    assert run.outputs["batch_12"]["yes"].any()


def test_logarithms_get_positive_numbers():
    def build():
        x = v1.placeholder(tf.float32, [None, 3])
        return {"x": x}, {"y": tf.math.log(x)}

    for outputs in run_graph(build).outputs.values():
        assert np.isfinite(outputs["y"]).all()


def test_special_floats_in_a_case_of_their_own():
    def build():
        x = v1.placeholder(tf.float32, [None, 3])
        return {"x": x}, {"y": x + 1}

    run = run_graph(build)
    values = run.cases["unusual"].inputs["x"].reshape(-1)
    assert values[0] == 0 and np.signbit(values[1]) and 0 < values[2] < np.finfo(np.float32).tiny
    assert not (run.cases["batch_3"].inputs["x"] == 0).any()


def test_sparse_inputs_share_their_batch_and_fit_the_weights():
    def build():
        ids = v1.sparse_placeholder(tf.int64, [None, None])
        strengths = v1.sparse_placeholder(tf.float32, [None, None])
        wide = v1.sparse_placeholder(tf.float32, [None, None])
        pooled = v1.nn.embedding_lookup_sparse(weights(6, 2), ids, strengths, combiner="sum")
        return {"ids": ids, "strengths": strengths, "wide": wide}, {
            "pooled": pooled + tf.sparse.sparse_dense_matmul(wide, weights(11, 2))
        }

    run = run_graph(build)
    inputs = run.cases["batch_3"].inputs
    assert inputs["wide"].dense_shape.tolist() == [3, 11]
    assert (inputs["wide"].indices < [3, 11]).all()
    assert sorted(map(tuple, inputs["wide"].indices)) == list(map(tuple, inputs["wide"].indices))
    assert np.array_equal(inputs["ids"].indices, inputs["strengths"].indices)


def test_ragged_inputs():
    def build():
        ragged = v1.ragged.placeholder(tf.float32, 1, [])
        return {"x": ragged}, {"y": tf.reduce_sum(ragged, axis=1)}

    value = run_graph(build).cases["batch_3"].inputs["x"]
    assert len(value.row_splits[0]) == 4 and value.row_splits[0][-1] == len(value.flat_values)


def test_two_keys_of_one_tensor_take_one_value():
    def build():
        x = v1.placeholder(tf.float32, [None, 2])
        return {"a": x, "b": x}, {"y": x * 2}

    inputs = run_graph(build).cases["batch_3"].inputs
    assert np.array_equal(inputs["a"], inputs["b"])


def test_functions_are_looked_into():
    def build():
        x = v1.placeholder(tf.int32, [None])
        table = weights(5, 2)

        @tf.function
        def look_up(ids):
            return tf.gather(tf.constant(np.eye(5, dtype=np.float32)), ids)

        return {"x": x}, {"y": tf.matmul(look_up(x), table)}

    ids = run_graph(build, batch_sizes=(1, 40)).cases["batch_40"].inputs["x"]
    assert ids.max() == 4 and ids.min() >= 0


def test_unknown_tokens_go_to_hash_buckets_behind_the_embedding():
    def build():
        x = v1.placeholder(tf.string, [None])
        table = index_table()
        found = table.lookup(x)
        buckets = tf.strings.to_hash_bucket_fast(x, 2) + 4
        ids = tf.where(tf.not_equal(found, -1), found, buckets)
        return {"x": x}, {"y": tf.gather(weights(6, 2), ids), "found": found}

    found = run_graph(build, batch_sizes=(1, 3)).outputs["batch_3"]["found"]
    assert (found == -1).any() and len(set(found)) == 3


def test_unequal_partitions_by_division():
    def build():
        x = v1.placeholder(tf.int64, [None])
        return {"x": x}, {"y": v1.nn.embedding_lookup([weights(3, 2), weights(2, 2)], x, partition_strategy="div")}

    assert set(run_graph(build, batch_sizes=(1, 20)).cases["batch_20"].inputs["x"]) == set(range(5))


def test_slots_of_a_variable_that_is_scattered_into():
    def build():
        x = v1.placeholder(tf.int32, [None])
        total = v1.get_variable("total", [4], use_resource=False)
        return {"x": x}, {"y": v1.scatter_add(total, x, tf.ones_like(x, tf.float32))}

    assert run_graph(build, batch_sizes=(1, 20)).cases["batch_20"].inputs["x"].max() == 3


def test_ids_that_are_clipped_may_be_anything():
    def build():
        x = v1.placeholder(tf.int32, [None])
        return {"x": x}, {"y": tf.gather(weights(2, 2), tf.minimum(x, 1))}

    assert run_graph(build, batch_sizes=(1, 40)).cases["batch_40"].inputs["x"].max() > 1


def test_batches_without_rows():
    def build():
        x = v1.placeholder(tf.float32, [None, 4])
        words = v1.sparse_placeholder(tf.string, [None, 3])
        return {"x": x, "words": words}, {"y": tf.matmul(x, tf.ones([4, 2])), "n": words.dense_shape}

    run = run_graph(build, batch_sizes=(1, 0))
    assert list(run.cases)[-1] == "batch_0", "what has rows comes first"
    assert run.outputs["batch_0"]["y"].shape == (0, 2) and run.outputs["batch_0"]["n"][0] == 0
    assert "batch_0" not in run_graph(lambda: fixed_batch(), batch_sizes=(1, 0)).cases


def fixed_batch():
    x = v1.placeholder(tf.float32, [2, 4])
    return {"x": x}, {"y": x * 2}


def test_nan_and_inf_on_request():
    def build():
        x = v1.placeholder(tf.float32, [None, 4])
        rate = v1.placeholder(tf.float32, [])
        ids = v1.placeholder(tf.int32, [None])
        return {"x": x, "rate": rate, "ids": ids}, {"y": tf.nn.dropout(x, rate=rate), "n": ids + 1}

    run = run_graph(build, nonfinite=True)
    given = run.cases["nonfinite"].inputs
    assert np.isnan(given["x"][0]).any() and np.isinf(given["x"][1:]).any(axis=1).all()
    assert np.isfinite(given["rate"]).all(), "a rate that is no rate tests nothing"
    assert "nonfinite" not in run_graph(build).cases


def test_unusual_images_have_two_signs():
    def build():
        x = v1.placeholder(tf.float32, [None, 8, 8, 3])
        return {"x": x}, {"y": tf.nn.conv2d(x, weights(3, 3, 3, 2), 1, "SAME")}

    run = run_graph(build)
    assert run.cases["batch_3"].inputs["x"].min() >= 0
    assert run.cases["unusual"].inputs["x"].min() < 0


@pytest.mark.parametrize("op", [tf.raw_ops.Less, tf.raw_ops.GreaterEqual, tf.raw_ops.Equal, tf.raw_ops.NotEqual])
def test_both_sides_of_what_is_compared_and_the_number_itself(op):
    def build():
        x = v1.placeholder(tf.float32, [None, 3])
        return {"x": x}, {"y": op(x=x, y=tf.constant(37.5))}

    run = run_graph(build)
    values = run.cases["edges"].inputs["x"]
    for column in values.T:  # each column may be another feature
        assert 37.5 in column
        assert column[column < 37.5].max() > 37 and column[column > 37.5].min() < 38
        assert column.min() < 30 and column.max() > 45
    assert len(np.unique(run.outputs["edges"]["y"])) == 2


@pytest.mark.parametrize("op", [tf.raw_ops.Maximum, tf.raw_ops.Minimum])
def test_both_sides_of_a_clip_behind_arithmetic(op):
    def build():
        x = v1.placeholder(tf.float32, [None])
        return {"x": x}, {"y": op(x=x * 4.0 - 2.0, y=tf.constant(98.0))}

    values = run_graph(build).cases["edges"].inputs["x"]
    assert (values < 25).any() and (values > 25).any() and abs(values - 25).min() < 0.1
    assert 25 not in values  # two honest roundings may differ there


def test_every_bucket_its_boundaries_and_their_neighbours():
    boundaries = [float(n * n) for n in range(1, 21)]

    def build():
        x = v1.placeholder(tf.float32, [None, 1])
        return {"x": x}, {"y": tf.raw_ops.Bucketize(input=x, boundaries=boundaries)}

    run = run_graph(build)
    values = run.cases["edges"].inputs["x"].ravel()
    assert set(boundaries) <= set(values.tolist())
    assert set(run.outputs["edges"]["y"].ravel().tolist()) == set(range(21))
    for boundary in boundaries:
        near = values[abs(values - boundary) < 0.5]
        assert near.min() < boundary < near.max()


def test_whole_numbers_on_both_sides():
    def build():
        x = v1.placeholder(tf.int64, [None])
        return {"x": x}, {"y": tf.raw_ops.Equal(x=x, y=tf.constant(70, tf.int64))}

    assert {69, 70, 71} <= set(run_graph(build).cases["edges"].inputs["x"].tolist())


@pytest.mark.parametrize("shape", [[None], [None, 2]])
def test_every_row_of_a_small_embedding(shape):
    def build():
        x = v1.placeholder(tf.int32, shape)
        return {"x": x}, {"y": tf.nn.embedding_lookup(weights(26, 4), x)}

    ids = run_graph(build).cases["edges"].inputs["x"]
    for column in ids.reshape(len(ids), -1).T:
        assert set(column.tolist()) == set(range(26))


def test_large_embeddings_get_no_case_of_their_own():
    def build():
        x = v1.placeholder(tf.int32, [None])
        return {"x": x}, {"y": tf.nn.embedding_lookup(weights(5000, 4), x)}

    assert "edges" not in run_graph(build).cases


def test_edges_stay_within_what_is_demanded():
    def build():
        x = v1.placeholder(tf.int64, [None])
        with tf.control_dependencies([v1.assert_less(x, np.int64(4)), v1.assert_non_negative(x)]):
            return {"x": x}, {"y": tf.raw_ops.Greater(x=x, y=tf.constant(3, tf.int64))}

    assert set(run_graph(build).cases["edges"].inputs["x"].tolist()) == {0, 1, 2, 3}


def test_scalars_are_small_and_large():
    def build():
        n = v1.placeholder(tf.int32, [])
        scale = v1.placeholder(tf.float32, [])
        training = v1.placeholder(tf.bool, [])
        return {"n": n, "scale": scale, "training": training}, {"y": tf.cast(n, tf.float32) * scale}

    cases = [case.inputs for name, case in run_graph(build).cases.items() if name.startswith("scalars_")]
    for key in ("n", "scale"):
        assert {0, 1, 2, 3} < {inputs[key].item() for inputs in cases}
        assert max(inputs[key].item() for inputs in cases) >= 100
    assert not any(inputs["training"] for inputs in cases)


def test_scalars_that_are_compared_and_that_divide():
    def build():
        limit = v1.placeholder(tf.float32, [])
        divisor = v1.placeholder(tf.float32, [])
        return {"limit": limit, "divisor": divisor}, {"y": tf.cast(limit > 0.25, tf.float32) / divisor}

    cases = [case.inputs for name, case in run_graph(build).cases.items() if name.startswith("scalars_")]
    limits = [inputs["limit"].item() for inputs in cases]
    assert 0.25 in limits and any(0.24 < n < 0.25 for n in limits) and any(0.25 < n < 0.26 for n in limits)
    assert all(inputs["divisor"].item() > 0 for inputs in cases)
