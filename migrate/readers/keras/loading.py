"""A Keras source -> the model, rebuilt by Keras: what Keras 1 and 2 wrote by tf_keras, what Keras 3 wrote by keras."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from migrate import detect, errors
from migrate.model import Finding, Severity
from migrate.options import ReadOptions
from migrate.readers.keras import (
    architecture,
    configs,
    custom,
    hdf5,
    lambdas,
    naming,
    numbered_weights,
    recurrent,
    safety,
    scanning,
    stored_weights,
    upgrade,
)

_NAMELESS = "in a format that names no layers"
_HINT = "give layers and functions of your own with --custom_objects=module:name"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedKeras:
    """A Keras model with its weights.

    Attributes:
      model: of tf_keras or of keras.
      input_names, output_names: as Keras names them in a SavedModel: input layers, and layers that give the outputs.
      names: id of a variable (see `naming.unwrap`) -> its name, as the file has it where it has one.
      producer: "Keras 2.2.4-tf".
      findings: what a person should know of the file.
    """

    model: Any
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    names: Mapping[int, str]
    producer: str
    findings: tuple[Finding, ...] = ()

    @property
    def variables(self) -> dict[str, Any]:
        """tf.Variables of the model by name, in Keras' order."""
        return {self.names[id(v)]: v for v in map(naming.unwrap, self.model.variables)}

    @property
    def trainable(self) -> list[str]:
        return [self.names[id(naming.unwrap(v))] for v in self.model.trainable_variables]


def load_keras(path: str, options: ReadOptions) -> LoadedKeras:
    """Loads what `path` holds.

    Raises:
      CorruptModelError: damaged, or Keras cannot rebuild it.
      BlockedError: it holds code that is not to be run, or cannot be.
      UsageError: an option names what cannot be imported.
    """
    with recurrent.no_gpu_implementations():
        return _load(path, options)


def _load(path: str, options: ReadOptions) -> LoadedKeras:
    custom.add_import_paths(options.import_paths)
    objects = custom.import_objects(options.custom_objects)
    if os.path.isfile(os.path.join(path, detect.KERAS_CONFIG)):
        # What TF 1.10 to 1.15 exported: the config beside the graph, the weights as `save_weights` writes them.
        given = options.architecture or ("" if options.builder else os.path.join(path, detect.KERAS_CONFIG))
        options = dataclasses.replace(options, architecture=given)
        return _load_checkpoint(os.path.join(path, "variables", "variables.index"), options, objects)
    if hdf5.is_hdf5(path):
        return _load_hdf5(path, options, objects)
    load = _load_archive if scanning.is_archive(path) else _load_checkpoint
    return load(path, options, objects)


def _load_hdf5(path: str, options: ReadOptions, objects: dict[str, Any]) -> LoadedKeras:
    if numbered_weights.is_numbered(path):
        return _load_numbered(path, options, objects)
    described = hdf5.parse_hdf5(path)
    if options.builder:
        return _fill_built(path, described, options)
    chosen: tuple[Finding, ...] = ()
    if described.config is None:
        options, chosen = _choose_architecture(path, options, _list_layers(described.layers))
    if options.architecture:
        config = architecture.parse_architecture(options.architecture)
        described = dataclasses.replace(
            described, config=config, version=described.version or str(config.get("keras_version", ""))
        )
    assert described.config is not None, "it is the file's own, or that of an architecture"
    model = _rebuild(path, described.config, described.version, options, objects)
    with _translated(path, described.version):
        findings = stored_weights.set_weights(model, described, options)
    return describe_loaded(
        model,
        path,
        naming.name_stored(model, described.layers),
        f"Keras {described.version or 1}",
        (*chosen, *_describe_training(described.training), *findings),
    )


def _choose_architecture(path: str, options: ReadOptions, what: str) -> tuple[ReadOptions, tuple[Finding, ...]]:
    """The options with an architecture for weights that have none: a config that lies beside them, if the user gives
    neither file nor function. Whether it is theirs, the weights' names and shapes say.

    Raises:
      BlockedError: there is none; `what` describes the weights.
    """
    if options.architecture or options.builder:
        return options, ()
    found = detect.find_architecture(path)
    if not found:
        raise _miss_model(path, what)
    named = detect.bears_name(found, path)
    why = "which bears the weights' name" if named else "the only config of Keras in the folder"
    finding = Finding(
        code="architecture-beside",
        severity=Severity.INFO if named else Severity.WARNING,
        where=os.path.basename(path),
        message=f"the model is that of {os.path.basename(found)}, {why}",
        hint="another one is given with --architecture or --builder",
    )
    return dataclasses.replace(options, architecture=found), (finding,)


def _miss_model(path: str, what: str) -> errors.BlockedError:
    return errors.BlockedError(
        f"the file holds weights without a model ({what})",
        where=path,
        hint="give the architecture: --architecture=model.json, or --builder=module:function with a function that "
        "returns the model, for example tf_keras.applications.VGG16(weights=None)",
    )


def _list_layers(layers: Sequence[hdf5.StoredLayer]) -> str:
    """By which a person knows the model again: names, and shapes of their weights."""
    told = [
        f"{layer.name} {' '.join('x'.join(map(str, weight.shape)) or 'scalar' for weight in layer.weights)}"
        for layer in layers
        if layer.weights
    ]
    return f"{len(layers)} layers, with weights {stored_weights.spell_names(told)}"


def _rebuild(
    path: str, config: Mapping[str, Any], version: str, options: ReadOptions, objects: Mapping[str, Any]
) -> Any:
    """The model of a config of Keras 1 or 2, with its first values."""
    import tf_keras

    from migrate.readers.keras import channels_first, lambda_layer, old_layers

    major = hdf5.find_major(version)
    lambdas.check_lambdas(config, path, allowed=options.allow_lambda, known=objects)
    safety.check_config(config, path, allowed=options.allow_lambda, known=objects)
    objects = safety.name_registered(config, objects)
    config = upgrade.upgrade_config(lambdas.give_functions(config, objects), major, path)
    with _translated(path, version):
        known = {
            **old_layers.find_layers(version, is_first=major <= 1),
            **channels_first.find_layers(config),
            "Lambda": lambda_layer.make_layer(objects, allowed=options.allow_lambda),
            **objects,
        }
        try:
            return tf_keras.models.model_from_json(json.dumps(config), custom_objects=known)
        except Exception as error:  # Keras 2.13 and newer configs: "'str' object is not callable", and no name
            unknown = _find_unknown_layers(config, known)
            if not unknown or any(name in str(error) for name in unknown):
                raise
            raise ValueError(f"unknown layers: {', '.join(unknown)}") from error


def _find_unknown_layers(config: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Layers of a config that neither Keras 2 nor the user has."""
    import tf_keras

    names = {str(entry["class_name"]) for entry in configs.iterate_layers(config) if configs.name_of(entry)}
    return sorted(n for n in names if n not in known and not any(hasattr(m, n) for m in (tf_keras.layers, tf_keras)))


def _fill_built(path: str, described: hdf5.KerasHdf5, options: ReadOptions) -> LoadedKeras:
    """The weights of a file in the model that the user's code makes."""
    model = architecture.build_model(options.builder)
    with _translated(path, described.version):
        findings = stored_weights.set_weights(model, described, options)
    names = naming.name_stored(model, described.layers)
    return describe_loaded(model, path, names, f"Keras {described.version or 'weights'}", findings)


def _load_checkpoint(path: str, options: ReadOptions, objects: dict[str, Any]) -> LoadedKeras:
    """Weights in TF format: a folder, or a file of a checkpoint."""
    from migrate.readers.keras import checkpoint_weights

    prefix, chosen = checkpoint_weights.find_prefix(path, options)
    options, beside = _choose_architecture(path, options, _NAMELESS)
    model, version = _make_model(path, options, objects)
    with _translated(path, version):
        names, findings = checkpoint_weights.set_weights(model, prefix)
    return describe_loaded(model, path, names, f"Keras {version or 'weights'}", (*beside, *chosen, *findings))


def _load_numbered(path: str, options: ReadOptions, objects: dict[str, Any]) -> LoadedKeras:
    """Weights as Keras saves them since 2.12, of either Keras."""
    hdf5.check_links(path, path)
    options, beside = _choose_architecture(path, options, _NAMELESS)
    model, version = _make_model(path, options, objects)
    with _translated(path, version):
        numbered_weights.set_weights(model, path)
    return describe_loaded(model, path, {}, f"Keras {version or 'weights'}", beside)


def _make_model(path: str, options: ReadOptions, objects: dict[str, Any]) -> tuple[Any, str]:
    """The model that weights belong to, with its first values, and the version of Keras that described it."""
    if options.builder:
        return architecture.build_model(options.builder), ""
    config = architecture.parse_architecture(options.architecture)
    if not architecture.is_third(config):
        version = str(config.get("keras_version", ""))
        return _rebuild(path, config, version or "2", options, objects), version
    import keras

    lambdas.check_lambdas(config, path, allowed=options.allow_lambda, known=objects)
    safety.check_config(config, path, allowed=options.allow_lambda, known=objects)
    objects = safety.name_registered(config, objects)
    with _translated(path, "3"), _fixed_seeds():
        return keras.models.model_from_json(json.dumps(config), custom_objects=objects), "3"


def _load_archive(path: str, options: ReadOptions, objects: dict[str, Any]) -> LoadedKeras:
    """A .keras file.

    Raises:
      UnsafeModelError: a name leads out of it, it unpacks to more than it should, its weights lie in another file.
    """
    metadata, config = scanning.read_archive(path)
    version = str(metadata.get("keras_version", ""))
    lambdas.check_lambdas(config, path, allowed=options.allow_lambda, known=objects)
    # What the model was compiled with is not loaded.
    described = {key: value for key, value in config.items() if key != "compile_config"}
    safety.check_config(described, path, allowed=options.allow_lambda, known=objects)
    objects = safety.name_registered(config, objects)
    library: Any
    if version.startswith("3"):
        import keras

        library = keras
    else:
        import tf_keras

        library = tf_keras
    with _translated(path, version), _fixed_seeds():
        model = library.saving.load_model(
            path, compile=False, custom_objects=objects, safe_mode=not options.allow_lambda
        )
    found = _describe_training(config.get("compile_config"))
    return describe_loaded(model, path, {}, f"Keras {version}", found)


def describe_loaded(
    model: Any, path: str, stored: Mapping[int, str], producer: str, findings: tuple[Finding, ...]
) -> LoadedKeras:
    """A model with its names.

    Raises:
      UnknownFormatError: it does not state its inputs.
    """
    if not getattr(model, "inputs", None):
        raise errors.UnknownFormatError(
            "the model does not state its inputs", where=path, hint="call it once before it is saved"
        )
    return LoadedKeras(
        model=model,
        input_names=tuple(getattr(model, "input_names", None) or [i.name for i in model.inputs]),
        # A Sequential of Keras 3 does not name its output: it is that of the last layer.
        output_names=tuple(getattr(model, "output_names", None) or [model.layers[-1].name]),
        names=naming.name_variables(model, stored),
        producer=producer,
        findings=findings,
    )


@contextlib.contextmanager
def _fixed_seeds() -> Iterator[None]:
    """Keras 3 makes the state of a random generator that no file holds of Python's own random numbers
    (keras/src/random/seed_generator.py): equal files are to give equal bytes."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


@contextlib.contextmanager
def _translated(path: str, version: str) -> Iterator[None]:
    try:
        yield
    except errors.MigrateError:
        raise
    except Exception as error:  # Keras raises whatever its layers raise.
        lines = str(error).strip().splitlines() or [""]
        raise errors.CorruptModelError(
            f"Keras cannot rebuild it (written by Keras {version or 'unknown'}): {type(error).__name__}: "
            f"{lines[0][:300]}",
            where=path,
            hint=_HINT,
        ) from error


def _describe_training(training: Mapping[str, Any] | None) -> tuple[Finding, ...]:
    """What a compiled model loses: its optimizer, and what only that knows."""
    optimizer = (training or {}).get("optimizer_config") or (training or {}).get("optimizer")
    if not optimizer:
        return ()
    name = optimizer.get("class_name", "") if isinstance(optimizer, Mapping) else str(optimizer)
    name = name.rpartition(">")[2]  # Keras 2.11 to 2.15: "Custom>Ftrl"
    config = optimizer.get("config", {}) if isinstance(optimizer, Mapping) else {}
    found = [
        Finding(
            code="optimizer-left-behind",
            severity=Severity.INFO,
            where=name,
            message=f"saved without the optimizer {name} and its state (include_optimizer=False)",
            hint="compile the model anew to train on",
        )
    ]
    regularized = {
        key: config[key] for key in sorted(config) if "regularization" in key or key in ("l1", "l2", "weight_decay")
    }
    active = {key: value for key, value in regularized.items() if value}
    if active:
        spelled = ", ".join(f"{key}={value}" for key, value in active.items())
        found.append(
            Finding(
                code="optimizer-regularization-left-behind",
                severity=Severity.WARNING,
                where=name,
                message=f"regularisation set in the optimizer does not travel: {spelled}",
                hint="it is in no regularization loss: set it again in the optimizer",
            )
        )
    return tuple(found)
