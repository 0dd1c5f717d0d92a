"""Keras' recurrent layers as they are traced where there is no GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def no_gpu_implementations() -> Iterator[None]:
    """No LSTM or GRU of tf_keras that is called in a graph traces its cuDNN implementation as well, with its gradient.

    tf_keras 2.16-2.21 registers it beside the one that runs, so that on a GPU the graph's optimizer may choose it
    (tf_keras/src/layers/rnn/gru_lstm_utils.py, `function_register`); tracing it takes a quarter of the time in which a
    small model is migrated and verified, and what it gives is dropped where only CPUs run it. With a GPU all stays as
    it is.
    """
    from tf_keras.src.layers.rnn import gru_lstm_utils

    if tf.config.list_physical_devices("GPU"):
        yield
        return
    before = gru_lstm_utils.function_register
    gru_lstm_utils.function_register = lambda function, *arguments, **named: None
    try:
        yield
    finally:
        gru_lstm_utils.function_register = before
