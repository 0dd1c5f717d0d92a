"""`from_saved_model`: what tf.contrib.predictor was, over any SavedModel that TF1's loader can load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from compat import reading

_DEFAULT_TAGS = "serve"
_DEFAULT_SIGNATURE = tf.compat.v1.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
# How TF 1.0's exporters renamed a signature that did not have the default key.
_OLD_KEY = "default_input_alternative:{}"


class SavedModelPredictor:
    """A session over a SavedModel with named inputs and outputs.

    Attributes:
      graph: the tf.Graph.
      session: the tf.compat.v1.Session; closed by `close()` or the end of a `with` block.
      feed_tensors: input key -> tensor to feed.
      fetch_tensors: output key -> tensor to fetch.
    """

    def __init__(
        self,
        graph: Any,
        session: Any,
        feed_tensors: Mapping[str, Any],
        fetch_tensors: Mapping[str, Any],
    ) -> None:
        self.graph = graph
        self.session = session
        self.feed_tensors = dict(feed_tensors)
        self.fetch_tensors = dict(fetch_tensors)

    def __call__(self, input_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Computes all outputs.

        Args:
          input_dict: input key -> value. An input with a default may be left out.

        Raises:
          ValueError: a key is no input.
        """
        unknown = sorted(set(input_dict) - set(self.feed_tensors))
        if unknown:
            raise ValueError(f"Got unexpected keys in input_dict: {unknown}\nexpected: {sorted(self.feed_tensors)}")
        feed = {self.feed_tensors[key]: value for key, value in input_dict.items()}
        return dict(self.session.run(self.fetch_tensors, feed))

    def __repr__(self) -> str:
        return f"{type(self).__name__} with feed tensors {self.feed_tensors} and fetch_tensors {self.fetch_tensors}"

    def __enter__(self) -> SavedModelPredictor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.session.close()


def from_saved_model(
    export_dir: str | os.PathLike[str],
    signature_def_key: str | None = None,
    signature_def: Any = None,
    input_names: Mapping[str, str] | None = None,
    output_names: Mapping[str, str] | None = None,
    tags: str | None = None,
    graph: Any = None,
    config: Any = None,
) -> SavedModelPredictor:
    """Loads a SavedModel for prediction.

    Args:
      export_dir: directory.
      signature_def_key: None: "serving_default".
      signature_def: a SignatureDef instead of a key.
      input_names, output_names: key -> tensor name, instead of a signature.
      tags: separated by commas; None: "serve".
      graph: to load into; None: a new one.
      config: of the session.

    Raises:
      ValueError: the signature is given twice or half, or the model has no such signature or tags.
      OSError: there is no SavedModel.
    """
    if (input_names is None) != (output_names is None):
        raise ValueError("input_names and output_names must both be specified or both be unspecified.")
    if sum(given is not None for given in (signature_def_key, signature_def, input_names)) > 1:
        raise ValueError(
            "You must specify at most one of signature_def_key OR signature_def OR (input_names AND output_names)."
        )
    path = os.fspath(export_dir)
    tag_list = [tag.strip() for tag in (tags or _DEFAULT_TAGS).split(",")]
    graph = graph or tf.Graph()
    meta_graph = _find_meta_graph(path, tag_list)
    if input_names is None or output_names is None:
        definition = signature_def or _find_signature(meta_graph, signature_def_key or _DEFAULT_SIGNATURE)
    with graph.as_default():
        session = tf.compat.v1.Session(config=config)
        try:
            tf.compat.v1.saved_model.load(session, tag_list, path)
            if input_names is None or output_names is None:
                feeds = {key: _get_tensor(graph, info) for key, info in definition.inputs.items()}
                fetches = {key: _get_tensor(graph, info) for key, info in definition.outputs.items()}
            else:
                feeds = {key: graph.get_tensor_by_name(name) for key, name in input_names.items()}
                fetches = {key: graph.get_tensor_by_name(name) for key, name in output_names.items()}
        except BaseException:
            session.close()
            raise
    return SavedModelPredictor(graph, session, feeds, fetches)


def _get_tensor(graph: Any, info: Any) -> Any:
    """The tensor of a TensorInfo; sparse and ragged ones, too, which Session.run feeds and fetches whole."""
    return tf.compat.v1.saved_model.utils.get_tensor_from_tensor_info(info, graph)


def _find_meta_graph(path: str, tags: list[str]) -> Any:
    found = [m for m in reading.read_saved_model(path).meta_graphs if set(m.meta_info_def.tags) == set(tags)]
    if not found:
        raise ValueError(f"Could not find MetaGraphDef with tags {','.join(tags)}")
    return found[0]


def _find_signature(meta_graph: Any, key: str) -> Any:
    definitions = meta_graph.signature_def
    old = _OLD_KEY.format(key)
    if key in definitions:
        return definitions[key]
    if old in definitions:
        logging.warning('Could not find signature def "%s". Using "%s" instead', key, old)
        return definitions[old]
    raise ValueError(f'Got signature_def_key "{key}". Available signatures are {sorted(definitions)}.')
