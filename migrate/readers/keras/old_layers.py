"""Layers of Keras 1 that Keras 2 dropped, after keras/layers of Keras 1.2.2: what they compute, with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras


class _Unit(tf_keras.layers.Layer):  # type: ignore[misc]
    """What these layers share: the weights' initialisers and regularizers as Keras 2 spells them."""

    def __init__(
        self,
        units: int | None = None,
        *,
        activation: Any = "linear",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        activity_regularizer: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self.units = units
        self.activation = tf_keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_options = {
            "initializer": kernel_initializer,
            "regularizer": tf_keras.regularizers.get(kernel_regularizer),
            "constraint": tf_keras.constraints.get(kernel_constraint),
        }
        self.bias_options = {
            "initializer": "zeros",
            "regularizer": tf_keras.regularizers.get(bias_regularizer),
            "constraint": tf_keras.constraints.get(bias_constraint),
        }
        self.activity_regularizer = tf_keras.regularizers.get(activity_regularizer)


class Highway(_Unit):
    """y = carry * activation(x W + b) + (1 - carry) * x, carry = sigmoid(x W_carry + b_carry); [batch, dim] -> same."""

    def build(self, shape: Any) -> None:
        dim = int(shape[-1])
        self.kernel = self.add_weight("W", (dim, dim), **self.kernel_options)
        self.carry = self.add_weight("W_carry", (dim, dim), **{**self.kernel_options, "regularizer": None})
        if self.use_bias:
            self.bias = self.add_weight("b", (dim,), **self.bias_options)
            self.carry_bias = self.add_weight("b_carry", (dim,), initializer="ones")
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        carry, value = tf.matmul(inputs, self.carry), tf.matmul(inputs, self.kernel)
        if self.use_bias:
            carry, value = carry + self.carry_bias, value + self.bias
        gate = tf.sigmoid(carry)
        return self.activation(value) * gate + (1 - gate) * inputs


class MaxoutDense(_Unit):
    """The largest of `nb_feature` linear maps; [batch, dim] -> [batch, units]."""

    def __init__(self, units: int, *, nb_feature: int = 4, **options: Any) -> None:
        super().__init__(units, **options)
        self.features = nb_feature

    def build(self, shape: Any) -> None:
        kernel_shape = (self.features, int(shape[-1]), self.units)
        self.kernel = self.add_weight("W", kernel_shape, **self.kernel_options)
        if self.use_bias:
            self.bias = self.add_weight("b", (self.features, self.units), **self.bias_options)
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        value = tf.einsum("bi,fio->bfo", inputs, self.kernel)
        return tf.reduce_max(value + self.bias if self.use_bias else value, axis=1)


class _PerUnit(tf_keras.layers.Layer):  # type: ignore[misc]
    """Advanced activations: weights of the input's shape without the batch, shared along some axes."""

    def __init__(
        self, *, shared_axes: Any = None, name: str | None = None, trainable: bool = True, dtype: Any = None
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self.shared_axes = list(shared_axes or ())

    def make_shape(self, shape: Any) -> list[int]:
        sizes = [int(size) for size in shape[1:]]
        for axis in self.shared_axes:
            sizes[axis - 1] = 1
        return sizes


class ParametricSoftplus(_PerUnit):
    """alpha * log(1 + exp(beta * x))."""

    def __init__(self, *, alpha_init: float = 0.2, beta_init: float = 5.0, **options: Any) -> None:
        options.pop("weights", None)
        super().__init__(**options)
        self.start = {"alphas": alpha_init, "betas": beta_init}

    def build(self, shape: Any) -> None:
        self.alphas, self.betas = (
            self.add_weight(name, self.make_shape(shape), initializer=tf_keras.initializers.Constant(value))
            for name, value in self.start.items()
        )
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        return tf.math.softplus(self.betas * inputs) * self.alphas


class SReLU(_PerUnit):
    """S-shaped rectifier: linear between two thresholds, with slopes of its own outside."""

    def __init__(
        self,
        *,
        t_left_init: Any = "zeros",
        a_left_init: Any = "glorot_uniform",
        t_right_init: Any = "glorot_uniform",
        a_right_init: Any = "ones",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.start = {"t_left": t_left_init, "a_left": a_left_init, "t_right": t_right_init, "a_right": a_right_init}

    def build(self, shape: Any) -> None:
        names = {"zero": "zeros", "one": "ones"}
        self.t_left, self.a_left, self.t_right, self.a_right = (
            self.add_weight(name, self.make_shape(shape), initializer=names.get(value, value))
            for name, value in self.start.items()
        )
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        upper = self.t_left + tf.abs(self.t_right)
        left = tf.nn.relu(inputs - self.t_left) - tf.nn.relu(inputs - upper)
        below = self.t_left + left + self.a_left * (tf.minimum(inputs, self.t_left) - self.t_left)
        return below + self.a_right * tf.nn.relu(inputs - upper)


class StatelessNormalization(tf_keras.layers.Layer):  # type: ignore[misc]
    """BatchNormalization of mode 1 (each sample by itself, along its last axis) and 2 (each batch by itself, in
    testing too). Moving averages are there, and never used."""

    def __init__(
        self,
        *,
        mode: int,
        epsilon: float = 1e-3,
        axis: int = -1,
        momentum: float = 0.99,
        gamma_regularizer: Any = None,
        beta_regularizer: Any = None,
        gamma_initializer: Any = "ones",
        beta_initializer: Any = "zeros",
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self.mode, self.epsilon, self.axis = mode, epsilon, axis
        self.start = {"gamma": (gamma_initializer, gamma_regularizer), "beta": (beta_initializer, beta_regularizer)}

    def build(self, shape: Any) -> None:
        size = int(shape[self.axis])
        self.gamma, self.beta = (
            self.add_weight(name, (size,), initializer=start, regularizer=tf_keras.regularizers.get(penalty))
            for name, (start, penalty) in self.start.items()
        )
        self.mean = self.add_weight("running_mean", (size,), initializer="zeros", trainable=False)
        self.spread = self.add_weight("running_std", (size,), initializer="ones", trainable=False)
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        rank = inputs.shape.rank
        if self.mode == 1:
            mean = tf.reduce_mean(inputs, -1, keepdims=True)
            spread = tf.sqrt(tf.math.reduce_variance(inputs, -1, keepdims=True) + self.epsilon)
            return self.gamma * (inputs - mean) / (spread + self.epsilon) + self.beta
        axes = [axis for axis in range(rank) if axis != self.axis % rank]
        mean, variance = tf.nn.moments(inputs, axes, keepdims=True)
        shape = [inputs.shape[self.axis] if axis == self.axis % rank else 1 for axis in range(rank)]
        gamma, beta = tf.reshape(self.gamma, shape), tf.reshape(self.beta, shape)
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, self.epsilon)


class _PlainNormalization(tf_keras.layers.BatchNormalization):  # type: ignore[misc]
    """BatchNormalization of Keras 1 and of 2.0.0 to 2.0.8: the variance of a batch enters the moving average as it is.
    TF's fused op, which tf_keras takes for images, would correct it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(fused=False, **options)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        count = tf.size(inputs) // tf.size(self.moving_variance)
        self.samples = tf.cast(count, self.moving_variance.dtype)
        self.is_image = inputs.shape.rank == 4 and list(self.axis) == [3]
        return super().call(inputs, training=training, mask=mask)

    def _assign_moving_average(self, variable: Any, value: Any, momentum: Any, inputs_size: Any) -> Any:
        # What tf_keras (2.16 to 2.21) calls to move an average; it offers no public place to correct it.
        if variable is self.moving_variance:
            value = self.correct(value)
        return super()._assign_moving_average(variable, value, momentum, inputs_size)

    def correct(self, variance: Any) -> Any:
        return variance


class _CorrectedNormalization(_PlainNormalization):
    """BatchNormalization of standalone Keras 2.1.4 to 2.3: it corrects the variance of a batch of n values by
    n / (n - (1 + epsilon)) (keras/layers/normalization.py), after TF's fused op has corrected that of images."""

    def correct(self, variance: Any) -> Any:
        corrected = variance * (self.samples / (self.samples - (1.0 + self.epsilon)))
        return corrected * (self.samples / (self.samples - 1.0)) if self.is_image else corrected


def find_layers(version: str, *, is_first: bool) -> Mapping[str, Any]:
    """Classes by name for a file of this version of Keras: where today's layer of the name does something else."""
    if is_first:
        return {**LAYERS, "BatchNormalization": type("BatchNormalization", (_PlainNormalization,), {})}
    parts = version.partition("-")
    numbers = tuple(int(part) for part in parts[0].split(".") if part.isdigit())
    # "2.2.4-tf" is TensorFlow's own, which does as today's does.
    if not parts[1] and (2,) <= numbers <= (2, 0, 8):
        return {**LAYERS, "BatchNormalization": type("BatchNormalization", (_PlainNormalization,), {})}
    if not parts[1] and (2, 1, 4) <= numbers < (2, 4):
        return {**LAYERS, "BatchNormalization": type("BatchNormalization", (_CorrectedNormalization,), {})}
    return LAYERS


LAYERS: Mapping[str, Any] = {
    layer.__name__: layer for layer in (Highway, MaxoutDense, ParametricSoftplus, SReLU, StatelessNormalization)
}
