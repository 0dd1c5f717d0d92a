"""Merge layers of Keras 1, and Sequential models that begin with one, as functional models. No TensorFlow."""

from __future__ import annotations

from collections import Counter
from typing import Any

from migrate import errors
from migrate.readers.keras import configs

Config = dict[str, Any]

_LAYERS = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot"}


def flatten_merges(config: Config, path: str) -> Config:
    """A config without Merge layers: each is the layer of Keras 2 that does the same; a Sequential that begins with
    one, over branches of its own, is a functional model of all their layers.

    Raises:
      BlockedError: a merge mode that is code of its author, or that no layer has.
    """

    def change(entry: Config) -> Config:
        if entry["class_name"] == "Sequential":
            layers = _listed(entry)
            if layers and layers[0]["class_name"] == "Merge" and layers[0]["config"].get("layers"):
                return _spread(entry, path)
            if layers and layers[0].get("class_name") == "Sequential":
                return _join(entry)
        if entry["class_name"] == "Merge" and not entry["config"].get("layers"):
            return {**entry, **make_merge(entry["config"], path)}
        return entry

    flat: Config = configs.replace_layers(config, change)
    return flat


def spell_inputs(config: Config) -> Config:
    """An InputLayer before a Sequential's first layer: only that can say the input's own dtype. It gets the name that
    Keras 1 gives it in a fresh process, "embedding_input_1"."""
    counts: Counter[str] = Counter()

    def change(entry: Config) -> Config:
        layers = _listed(entry) if entry["class_name"] == "Sequential" else []
        if not layers or not isinstance(layers[0]["config"], dict) or "batch_input_shape" not in layers[0]["config"]:
            return entry
        first = dict(layers[0]["config"])
        if layers[0]["class_name"] == "InputLayer":
            return entry
        prefix = f"{layers[0]['class_name'].lower()}_input"
        counts[prefix] += 1
        own = {
            "batch_input_shape": first.pop("batch_input_shape"),
            "input_dtype": first.pop("input_dtype", "float32"),
            "sparse": False,
            "name": f"{prefix}_{counts[prefix]}",
        }
        spelled = [{"class_name": "InputLayer", "config": own}, {**layers[0], "config": first}, *layers[1:]]
        name = configs.name_of(entry) or str(entry.get("name") or "sequential")
        return {**entry, "config": {"name": name, "layers": spelled}}

    found: Config = configs.replace_layers(config, change)
    return found


def make_merge(config: Config, path: str) -> Config:
    """{"class_name", "config"} of the layer of Keras 2 for a Merge.

    Raises:
      BlockedError: its mode has none.
    """
    mode = config.get("mode", "sum")
    name = config.get("name", "merge")
    own: Config = {"name": name, "trainable": config.get("trainable", True)}
    if mode not in _LAYERS:
        raise errors.BlockedError(
            f"Merge {name!r} has mode {mode if isinstance(mode, str) and len(mode) < 20 else 'of its author'!r}, "
            "which no layer of Keras 2 has",
            where=path,
            hint="rebuild the model in code: --builder=module:function",
        )
    if mode == "concat":
        own["axis"] = config.get("concat_axis", -1)
    if mode == "dot":
        own |= {"axes": config.get("dot_axes", -1), "normalize": False}
    return {"class_name": _LAYERS[mode], "config": own}


def _listed(entry: Config) -> list[Config]:
    config = entry["config"]
    return list(config if isinstance(config, list) else config.get("layers", []))


def _join(entry: Config) -> Config:
    """A Sequential whose first layer is a Sequential: the inner one's layers come first."""
    layers = _listed(entry)
    name = configs.name_of(entry) or configs.name_of(layers[0]) or "sequential"
    return {**entry, "config": {"name": name, "layers": [*_listed(layers[0]), *layers[1:]]}}


def _spread(entry: Config, path: str) -> Config:
    """A Sequential that begins with a Merge of branches, as a functional model."""
    layers: list[Config] = []
    inputs: list[list[Any]] = []
    merge, *rest = _listed(entry)
    name = configs.name_of(entry) or entry.get("name") or "model"
    ends = [_add_branch(branch, layers, inputs, path) for branch in merge["config"]["layers"]]
    end = _add(layers, make_merge(merge["config"], path), ends)
    for layer in rest:
        end = _add(layers, layer, [end])
    config = {"name": name, "layers": layers, "input_layers": inputs, "output_layers": [[end, 0, 0]]}
    return {**entry, "class_name": "Model", "config": config}


def _add_branch(branch: Config, layers: list[Config], inputs: list[list[Any]], path: str) -> str:
    """Adds a branch's layers; returns the name of its last one."""
    if branch["class_name"] == "Model":  # a branch that began with a Merge of its own
        known = {layer["name"] for layer in layers}
        layers.extend(layer for layer in branch["config"]["layers"] if layer["name"] not in known)
        inputs.extend(entry for entry in branch["config"]["input_layers"] if entry not in inputs)
        return str(branch["config"]["output_layers"][0][0])
    if branch["class_name"] != "Sequential":
        raise errors.BlockedError(
            f"Merge over a {branch['class_name']}", where=path, hint="rebuild the model in code: --builder"
        )
    source, *rest = _listed(branch)
    end = _add(layers, source, [])
    inputs.append([end, 0, 0])
    for layer in rest:
        end = _add(layers, layer, [end])
    return end


def _add(layers: list[Config], layer: Config, sources: list[str]) -> str:
    name = str(layer["config"]["name"])
    nodes = [[[source, 0, 0, {}] for source in sources]] if sources else []
    layers.append({"class_name": layer["class_name"], "name": name, "config": layer["config"], "inbound_nodes": nodes})
    return name
