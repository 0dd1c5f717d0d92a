"""Configs of Keras 1 and early Keras 2 -> configs that tf_keras takes. Pure functions on JSON; no TensorFlow.

Keras 2 renamed most arguments and classes (keras/legacy/interfaces.py of Keras 2.0 lists them); what it dropped is in
`old_layers`. What neither has is refused by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from migrate import errors
from migrate.readers.keras import configs, merging

Config = dict[str, Any]

_CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}
_ARGUMENTS = {
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "depthwise_init": "depthwise_initializer",
    "pointwise_init": "pointwise_initializer",
    "gamma_init": "gamma_initializer",
    "beta_init": "beta_initializer",
    "W_regularizer": "kernel_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "U_constraint": "recurrent_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "pool_length": "pool_size",
    "stride": "strides",
    "dim_ordering": "data_format",
    "input_dtype": "dtype",
}
_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first", "default": "channels_last"}
_INITIALIZERS = {"uniform": "random_uniform", "normal": "random_normal", "zero": "zeros", "one": "ones"}
_RECURRENT = ("LSTM", "GRU", "SimpleRNN")
# Arguments that meant nothing for what a layer computes, or are known from the layer's input.
_DROPPED = ("weights", "consume_less", "cache_enabled", "create_input_layer")


def upgrade_config(config: Mapping[str, Any], major: int, path: str) -> Config:
    """A config for tf_keras.

    Args:
      config: {"class_name", "config"} of the model.
      major: major version of the Keras that wrote it; 0 where that is unknown.
      path: of the file, for errors.

    Raises:
      BlockedError: layers that no later Keras can express; all are named at once.
    """
    is_first = major == 1 or (major == 0 and _looks_first(config))
    upgraded: Config = copy.deepcopy(dict(config))
    if is_first:
        upgraded = merging.flatten_merges(merging.spell_inputs(upgraded), path)
    strange: list[str] = []

    def change(entry: Config) -> Config:
        if not isinstance(entry["config"], dict):
            return entry
        if not is_first:
            return _upgrade_second(entry)
        try:
            return _upgrade_second(_upgrade_first(entry))
        except _InexpressibleError as error:
            strange.append(f"{entry['class_name']} {configs.name_of(entry)!r}: {error}")
            return entry

    upgraded = configs.replace_layers(upgraded, change)
    if strange:
        raise errors.BlockedError(
            f"no later Keras can express what Keras 1 meant: {'; '.join(strange)}",
            where=path,
            hint="give a layer of that name with --custom_objects=module:name",
        )
    return upgraded


def _looks_first(config: Mapping[str, Any]) -> bool:
    """Whether argument names are those of Keras 1, in a file that does not say."""
    first = {"border_mode", "dim_ordering", "nb_filter", "W_regularizer", "inner_activation", "input_dtype"}
    return any(
        first & set(entry["config"]) for entry in configs.iterate_layers(config) if isinstance(entry["config"], dict)
    )


class _InexpressibleError(Exception):
    """What Keras 2 cannot say."""


def _upgrade_first(entry: Config) -> Config:
    """One entry of Keras 1."""
    old, name = entry["config"], entry["class_name"]
    special = _SPECIAL.get(name)
    if special is not None:
        return {**entry, **special(old)}
    new = _rename(old)
    kind = str(_CLASSES.get(name, name))
    if kind in ("Dense", "TimeDistributedDense", "Highway", "MaxoutDense", *_RECURRENT) and "output_dim" in new:
        new["units"] = new.pop("output_dim")
    if kind in _RECURRENT:
        forget = new.pop("forget_bias_init", "one")
        if kind == "LSTM":
            new["unit_forget_bias"] = forget in ("one", "ones")
        if kind == "GRU":
            new["reset_after"] = False
        for key in ("input_dim", "input_length"):
            new.pop(key, None)
    if kind.startswith(("Conv", "SeparableConv", "Locally")):
        _make_kernel_size(new)
    return {**entry, "class_name": kind, "config": new}


def _rename(old: Config) -> Config:
    new: Config = {}
    for key, value in old.items():
        if key in _DROPPED:
            continue
        renamed = _ARGUMENTS.get(key, key)
        new[renamed] = _convert(renamed, value)
    if "p" in new:
        new["rate"] = new.pop("p")
    return new


def _convert(key: str, value: Any) -> Any:
    if key == "data_format":
        return _DATA_FORMATS.get(str(value), value)
    if key.endswith("_initializer") and isinstance(value, str):
        return _INITIALIZERS.get(value, value)
    if key.endswith("_regularizer"):
        return _convert_regularizer(value)
    if key.endswith("_constraint"):
        return _convert_constraint(value)
    if key == "padding" and value not in ("valid", "same", "causal"):
        raise _InexpressibleError(f"border_mode={value!r}, which only Theano had")
    return value


def _convert_regularizer(value: Any) -> Any:
    """{"name": "WeightRegularizer", "l1", "l2"} (also "L1L2Regularizer", "ActivityRegularizer") -> L1L2."""
    if not isinstance(value, dict) or "class_name" in value:
        return value
    if value.get("name") == "EigenvalueRegularizer":
        raise _InexpressibleError("EigenvalueRegularizer")
    return {"class_name": "L1L2", "config": {"l1": value.get("l1", 0.0), "l2": value.get("l2", 0.0)}}


def _convert_constraint(value: Any) -> Any:
    """{"name": "MaxNorm", "m": 2, "axis": 0} -> {"class_name", "config"}."""
    if not isinstance(value, dict) or "class_name" in value:
        return value
    own = {("max_value" if key == "m" else key): item for key, item in value.items() if key != "name"}
    return {
        "class_name": {"maxnorm": "MaxNorm", "nonneg": "NonNeg", "unitnorm": "UnitNorm"}.get(
            str(value["name"]).lower(), value["name"]
        ),
        "config": own,
    }


def _make_kernel_size(new: Config) -> None:
    parts = [new.pop(key) for key in ("nb_row", "nb_col") if key in new]
    if not parts:
        parts = [new.pop(f"kernel_dim{n}") for n in (1, 2, 3) if f"kernel_dim{n}" in new]
    if parts:
        new["kernel_size"] = parts
    for key in ("input_dim", "input_length", "output_shape"):
        new.pop(key, None)


def _normalization(old: Config) -> Config:
    mode = old.get("mode", 0)
    new = {key: value for key, value in _rename(old).items() if key != "mode"}
    if mode == 0:
        return {"class_name": "BatchNormalization", "config": new}
    if mode in (1, 2):
        return {"class_name": "StatelessNormalization", "config": {**new, "mode": mode}}
    raise _InexpressibleError(f"mode={mode}")


def _embedding(old: Config) -> Config:
    new = _rename(old)
    new["embeddings_initializer"] = new.pop("kernel_initializer", "random_uniform")
    new["embeddings_regularizer"] = new.pop("kernel_regularizer", None)
    new["embeddings_constraint"] = new.pop("kernel_constraint", None)
    if new.pop("dropout", 0):
        raise _InexpressibleError("dropout of whole rows")
    return {"class_name": "Embedding", "config": new}


def _pooling(name: str) -> Callable[[Config], Config]:
    def convert(old: Config) -> Config:
        new = _rename(old)
        if "strides" in new and new["strides"] is None:
            new["strides"] = new["pool_size"]
        return {"class_name": name, "config": new}

    return convert


def _upsampling(name: str) -> Callable[[Config], Config]:
    def convert(old: Config) -> Config:
        new = _rename(old)
        for key in ("length", "pool_length"):
            if key in new:
                new["size"] = new.pop(key)
        return {"class_name": name, "config": new}

    return convert


def _noise(old: Config) -> Config:
    new = _rename(old)
    new["stddev"] = new.pop("sigma", new.get("stddev"))
    return {"class_name": "GaussianNoise", "config": new}


def _dense_in_time(old: Config) -> Config:
    """TimeDistributedDense of Keras 1.0."""
    dense = _upgrade_first({"class_name": "Dense", "config": dict(old)})["config"]
    outer = {key: dense.pop(key) for key in ("batch_input_shape", "dtype") if key in dense}
    for key in ("input_dim", "input_length"):
        dense.pop(key, None)
    inner = {"class_name": "Dense", "config": {**dense, "name": f"{dense['name']}_dense"}}
    return {"class_name": "TimeDistributed", "config": {"name": dense["name"], **outer, "layer": inner}}


def _input(old: Config) -> Config:
    kept = ("batch_input_shape", "dtype", "sparse", "name")
    return {"class_name": "InputLayer", "config": {key: value for key, value in _rename(old).items() if key in kept}}


def _softplus(old: Config) -> Config:
    return {"class_name": "ParametricSoftplus", "config": {k: v for k, v in old.items() if k not in _DROPPED}}


def _dense(name: str) -> Callable[[Config], Config]:
    def convert(old: Config) -> Config:
        new = _rename(old)
        if "output_dim" in new:
            new["units"] = new.pop("output_dim")
        new.pop("input_dim", None)
        return {"class_name": name, "config": new}

    return convert


_SPECIAL: Mapping[str, Callable[[Config], Config]] = {
    "BatchNormalization": _normalization,
    "Embedding": _embedding,
    "MaxPooling1D": _pooling("MaxPooling1D"),
    "AveragePooling1D": _pooling("AveragePooling1D"),
    "UpSampling1D": _upsampling("UpSampling1D"),
    "GaussianNoise": _noise,
    "TimeDistributedDense": _dense_in_time,
    "InputLayer": _input,
    "Dense": _dense("Dense"),
    "Highway": _dense("Highway"),
    "MaxoutDense": _dense("MaxoutDense"),
    "ParametricSoftplus": _softplus,
}


def _upgrade_second(entry: Config) -> Config:
    """One entry of Keras 2: defaults that changed since, and layers that need a GPU."""
    name, config = entry["class_name"], dict(entry["config"])
    if name == "GRU" and "units" in config:
        config.setdefault("reset_after", False)  # the only form before Keras 2.1.3
    if name in ("CuDNNLSTM", "CuDNNGRU"):
        # No CPU has their kernels; the plain layers compute the same, their weights are converted on loading.
        name = name.removeprefix("CuDNN")
        config |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
        if name == "GRU":
            config["reset_after"] = True
    return {**entry, "class_name": name, "config": config}
