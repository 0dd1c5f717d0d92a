"""LatestModuleExporter: writes the modules of a model function below timestamped folders. Needs no tf.estimator."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import logging

from compat.hub import advice

# A key that is no string: TF's exporter leaves the collection alone.
_EXPORTS = ("__hub_export_modules",)
# tf.estimator.ModeKeys.PREDICT.
_PREDICT = "infer"
_TIMESTAMP_DIGITS = 10
_ATTEMPTS = 10


def _find_exporter_base() -> type:
    """tf.estimator.Exporter where there is one, so that EvalSpec takes the exporter; else `object`."""
    try:
        exporter: type = tf.compat.v1.estimator.Exporter
        return exporter
    except (AttributeError, ImportError):
        return object


def register_module_for_export(module: Any, export_name: str) -> None:
    """Marks a Module of the current graph for LatestModuleExporter.

    Args:
      module: Module.
      export_name: subfolder to write it to.

    Raises:
      ValueError: the name is taken in this graph.
    """
    advice.advise("register_module_for_export")
    if any(name == export_name for name, _ in tf.compat.v1.get_collection(_EXPORTS)):
        raise ValueError(f"There is already a module registered to be exported as {export_name!r}")
    tf.compat.v1.add_to_collection(_EXPORTS, (export_name, module))


class LatestModuleExporter(_find_exporter_base()):  # type: ignore[misc]
    """Exports the registered modules of a model, and removes old exports."""

    def __init__(self, name: str, serving_input_fn: Callable[[], Any], exports_to_keep: int | None = 5) -> None:
        """Stores the arguments.

        Args:
          name: of the exporter.
          serving_input_fn: returns a ServingInputReceiver, or the features themselves; no data flows.
          exports_to_keep: None: all.

        Raises:
          ValueError: `exports_to_keep` is not positive.
        """
        advice.advise("LatestModuleExporter")
        if exports_to_keep is not None and exports_to_keep <= 0:
            raise ValueError("`exports_to_keep`, if provided, must be a positive number")
        self._name = name
        self._serving_input_fn = serving_input_fn
        self._exports_to_keep = exports_to_keep

    @property
    def name(self) -> str:
        return self._name

    def export(
        self,
        estimator: Any,
        export_path: str,
        checkpoint_path: str | None = None,
        eval_result: Any = None,
        is_the_final_export: Any = None,
    ) -> bytes | None:
        """Writes `<export_path>/<seconds since 1970>/<export_name>/` for each registered module.

        Args:
          estimator: anything with `model_fn(features, labels, mode, config)`, and with `latest_checkpoint()` where
            `checkpoint_path` is None; `config` and `_session_config` are used where they are there.
          export_path: folder of the timestamped folders.
          checkpoint_path: prefix; None: the latest.
          eval_result, is_the_final_export: unused.

        Returns:
          The folder, as bytes; None where no module is registered.
        """
        checkpoint = checkpoint_path or estimator.latest_checkpoint()
        base = tf.compat.as_str_any(export_path)
        session = _make_serving_session(estimator, self._serving_input_fn, checkpoint)
        with session, session.graph.as_default():
            modules = tf.compat.v1.get_collection(_EXPORTS)
            if not modules:
                logging.warning(
                    "LatestModuleExporter found zero modules to export. Use hub.register_module_for_export() if needed."
                )
                return None
            target = _choose_export_dir(base)
            temporary = os.path.join(os.path.dirname(target), f"temp-{os.path.basename(target)}")
            for export_name, module in modules:
                module.export(os.path.join(temporary, export_name), session)
            tf.io.gfile.rename(temporary, target)
        _remove_old_exports(base, self._exports_to_keep)
        return bytes(tf.compat.as_bytes(target))


def _make_serving_session(estimator: Any, serving_input_fn: Callable[[], Any], checkpoint_path: str) -> Any:
    """A session over the model's graph in mode "infer", restored from a checkpoint."""
    config = getattr(estimator, "config", None)
    with tf.Graph().as_default() as graph:
        tf.compat.v1.train.create_global_step(graph)
        tf.compat.v1.set_random_seed(getattr(config, "tf_random_seed", None))
        received = serving_input_fn()
        spec = _call_model_fn(estimator.model_fn, getattr(received, "features", received), config)
        session = tf.compat.v1.Session(config=getattr(estimator, "_session_config", None))
        with session.as_default():
            scaffold = getattr(spec, "scaffold", None)
            saver = getattr(scaffold, "saver", None) or tf.compat.v1.train.Saver(sharded=True)
            saver.restore(session, checkpoint_path)
    return session


def _call_model_fn(model_fn: Callable[..., Any], features: Any, config: Any) -> Any:
    """Passes what the function takes: a model_fn may lack labels, mode, config."""
    given = {"labels": None, "mode": _PREDICT, "config": config}
    parameters = inspect.signature(model_fn).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        given = {key: value for key, value in given.items() if key in parameters}
    return model_fn(features=features, **given)


def _choose_export_dir(base: str) -> str:
    """A folder named by the current second that does not exist yet.

    Raises:
      RuntimeError: each of ten seconds was taken.
    """
    for _ in range(_ATTEMPTS):
        path = os.path.join(base, str(int(time.time())))
        if not tf.io.gfile.exists(path):
            return path
        time.sleep(1)
    raise RuntimeError(f"Failed to obtain a unique export directory name after {_ATTEMPTS} attempts.")


def _remove_old_exports(base: str, keep: int | None) -> None:
    if keep is None:
        return
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(base)]
    exports = sorted((n for n in names if len(n) == _TIMESTAMP_DIGITS and n.isdigit()), key=int)
    for name in exports[:-keep]:
        try:
            tf.io.gfile.rmtree(os.path.join(base, name))
        except tf.errors.NotFoundError:
            logging.warning("Another process removed %s.", name)
