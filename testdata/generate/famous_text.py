"""Modules of text as published in 2019, at full size: functions that famous.py exports. CPython 3.7, TF 1.15.

`bert` has the signatures `tokens`, `mlm` and `tokenization_info`; `elmo` takes sentences or padded tokens, cuts words
into bytes, and runs a character CNN, a highway and two layers of LSTMs with projections, forward and backward.
"""

import math
import os
import tempfile

import tensorflow as tf
import tensorflow_hub as hub
from tensorflow.contrib import layers

VOCABULARY, HIDDEN, HEADS, LAYERS, POSITIONS = 30522, 768, 12, 12, 512
WORD_BYTES, CHARACTERS, PROJECTED, UNITS = 50, 262, 512, 4096
FILTERS = [(1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024)]
_SMALL = tf.truncated_normal_initializer(stddev=0.02)


def gelu(x):
    return x * 0.5 * (1.0 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * tf.pow(x, 3))))


def dense(x, units, name, activation=None):
    return tf.layers.dense(x, units, activation, name=name, kernel_initializer=_SMALL)


def drop(x, is_training):
    return tf.nn.dropout(x, rate=0.1) if is_training else x


def attention(x, mask, is_training):
    batch, length = tf.shape(x)[0], tf.shape(x)[1]

    def heads(name):
        split = tf.reshape(dense(x, HIDDEN, name), [batch, length, HEADS, HIDDEN // HEADS])
        return tf.transpose(split, [0, 2, 1, 3])

    scores = tf.matmul(heads("query"), heads("key"), transpose_b=True) / math.sqrt(HIDDEN // HEADS)
    weights = drop(tf.nn.softmax(scores + (1.0 - mask[:, None, None, :]) * -10000.0), is_training)
    joined = tf.transpose(tf.matmul(weights, heads("value")), [0, 2, 1, 3])
    return tf.reshape(joined, [batch, length, HIDDEN])


def encode(ids, mask, segments, is_training):
    with tf.variable_scope("bert"):
        with tf.variable_scope("embeddings"):
            words = tf.get_variable("word_embeddings", [VOCABULARY, HIDDEN], initializer=_SMALL)
            kinds = tf.get_variable("token_type_embeddings", [2, HIDDEN], initializer=_SMALL)
            places = tf.get_variable("position_embeddings", [POSITIONS, HIDDEN], initializer=_SMALL)
            x = tf.nn.embedding_lookup(words, ids) + tf.nn.embedding_lookup(kinds, segments)
            x = layers.layer_norm(x + places[: tf.shape(ids)[1]], begin_norm_axis=-1, begin_params_axis=-1)
            x = drop(x, is_training)
        for i in range(LAYERS):
            with tf.variable_scope(f"layer_{i}"):
                mixed = drop(dense(attention(x, mask, is_training), HIDDEN, "mixed"), is_training)
                x = layers.layer_norm(x + mixed, begin_norm_axis=-1, begin_params_axis=-1, scope="attention_norm")
                inner = dense(x, 4 * HIDDEN, "intermediate", gelu)
                inner = drop(dense(inner, HIDDEN, "output"), is_training)
                x = layers.layer_norm(x + inner, begin_norm_axis=-1, begin_params_axis=-1, scope="output_norm")
        pooled = dense(x[:, 0], HIDDEN, "pooler", tf.tanh)
    return x, pooled, words


def predict_words(x, positions, words):
    with tf.variable_scope("cls/predictions"):
        picked = tf.gather(x, positions, batch_dims=1)
        picked = dense(picked, HIDDEN, "transform", gelu)
        picked = layers.layer_norm(picked, begin_norm_axis=-1, begin_params_axis=-1)
        bias = tf.get_variable("output_bias", [VOCABULARY], initializer=tf.zeros_initializer())
        return tf.einsum("bph,vh->bpv", picked, words) + bias


def bert_module(tags):
    folder = tempfile.mkdtemp()
    vocabulary = os.path.join(folder, "vocab.txt")
    with open(vocabulary, "w") as file:
        file.write("\n".join(f"[word{i}]" for i in range(VOCABULARY)))

    def module_fn(is_training):
        def numbers(name):
            return tf.placeholder(tf.int32, [None, None], name)

        inputs = {name: numbers(name) for name in ("input_ids", "input_mask", "segment_ids")}
        mask = tf.cast(inputs["input_mask"], tf.float32)
        x, pooled, words = encode(inputs["input_ids"], mask, inputs["segment_ids"], is_training)
        outputs = {"sequence_output": x, "pooled_output": pooled}
        hub.add_signature("tokens", inputs, outputs)
        positions = numbers("mlm_positions")
        logits = predict_words(x, positions, words)
        hub.add_signature("mlm", dict(inputs, mlm_positions=positions), dict(outputs, mlm_logits=logits))
        file = tf.constant(vocabulary, name="vocab_file")
        tf.add_to_collection(tf.GraphKeys.ASSET_FILEPATHS, file)
        info = {"vocab_file": file, "do_lower_case": tf.constant(True)}
        hub.add_signature("tokenization_info", {}, info)

    return hub.create_module_spec(module_fn, tags, drop_collections=["summaries"])


def to_bytes(word):
    """[WORD_BYTES] numbers: the bytes of a word between its begin and its end, padded."""
    text = tf.decode_raw(tf.substr(word, 0, WORD_BYTES - 2), tf.uint8)
    numbers = tf.concat([[258], tf.cast(text, tf.int32), [259]], 0)
    padded = tf.pad(numbers, [[0, WORD_BYTES - tf.shape(numbers)[0]]], constant_values=260)
    return tf.reshape(padded, [WORD_BYTES]) + 1


def embed_words(tokens):
    """[batch, words] strings -> [batch, words, PROJECTED]"""
    flat = tf.map_fn(to_bytes, tf.reshape(tokens, [-1]), dtype=tf.int32, back_prop=False)
    with tf.variable_scope("char"):
        table = tf.get_variable("char_embed", [CHARACTERS, 16], initializer=tf.random_uniform_initializer(-1, 1))
        x = tf.nn.embedding_lookup(table, flat)
        maps = [tf.nn.relu(tf.reduce_max(tf.layers.conv1d(x, n, w, name=f"cnn_{w}"), 1)) for w, n in FILTERS]
        x = tf.concat(maps, 1)
        for i in range(2):
            gate = tf.layers.dense(x, x.shape[1].value, tf.sigmoid, name=f"gate_{i}")
            x = gate * tf.layers.dense(x, x.shape[1].value, tf.nn.relu, name=f"transform_{i}") + (1 - gate) * x
        x = tf.layers.dense(x, PROJECTED, name="projection")
    return tf.reshape(x, tf.concat([tf.shape(tokens), [PROJECTED]], 0))


def read_both_ways(words, lengths):
    outputs, forward, backward = [], words, words
    for i in range(2):
        with tf.variable_scope(f"layer_{i}"):
            cells = [tf.nn.rnn_cell.LSTMCell(UNITS, num_proj=PROJECTED, cell_clip=3, proj_clip=3) for _ in range(2)]
            ahead, _ = tf.nn.dynamic_rnn(cells[0], forward, lengths, dtype=tf.float32, scope="forward")
            turned = tf.reverse_sequence(backward, lengths, seq_axis=1)
            back, _ = tf.nn.dynamic_rnn(cells[1], turned, lengths, dtype=tf.float32, scope="backward")
            back = tf.reverse_sequence(back, lengths, seq_axis=1)
            forward, backward = (ahead + forward, back + backward) if i else (ahead, back)
            outputs.append(tf.concat([forward, backward], 2))
    return outputs


def elmo_module(tags):
    def module_fn(is_training):
        def embed(tokens, lengths):
            with tf.variable_scope("elmo", reuse=tf.AUTO_REUSE):
                words = embed_words(tokens)
                lower, upper = read_both_ways(drop(words, is_training), lengths)
                scales = tf.nn.softmax(tf.get_variable("aggregation", [3], initializer=tf.zeros_initializer()))
                doubled = tf.concat([words, words], 2)
                mixed = scales[0] * doubled + scales[1] * lower + scales[2] * upper
                kept = tf.sequence_mask(lengths, tf.shape(tokens)[1], dtype=tf.float32)[:, :, None]
                count = tf.maximum(tf.cast(lengths, tf.float32)[:, None], 1.0)
            outputs = {"word_emb": words, "lstm_outputs1": lower, "lstm_outputs2": upper, "elmo": mixed}
            return dict(outputs, default=tf.reduce_sum(mixed * kept, 1) / count)

        sentences = tf.placeholder(tf.string, [None], "strings")
        split = tf.string_split(sentences)
        lengths = tf.bincount(tf.cast(split.indices[:, 0], tf.int32), minlength=tf.shape(sentences)[0])
        hub.add_signature("default", {"strings": sentences}, embed(tf.sparse_tensor_to_dense(split, ""), lengths))
        tokens = tf.placeholder(tf.string, [None, None], "tokens")
        lengths = tf.placeholder(tf.int32, [None], "sequence_len")
        hub.add_signature("tokens", {"tokens": tokens, "sequence_len": lengths}, embed(tokens, lengths))

    return hub.create_module_spec(module_fn, tags, drop_collections=["summaries"])
