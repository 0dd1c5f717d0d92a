"""Which ops of a graph today's TensorFlow lacks, or has no CPU kernel for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from migrate.schema import ops

# Where an op came from, by op name or name prefix (a trailing "*").
_PROVIDERS = {
    "BucketizeWithInputBoundaries": "tf.contrib.boosted_trees / tensorflow_transform of TF 1.x (removed in TF 2.0)",
    "BoostedTrees*": "tensorflow.python.ops.boosted_trees_ops (kernels removed in TF 2.9)",
    "TRTEngineOp": "a TensorFlow build with TensorRT",
    "TRTEngineOpV*": "a TensorFlow build with TensorRT",
    "Tokenizer*": "pip package tensorflow-text",
    "SentencepieceTokenize*": "pip package tensorflow-text or tf-sentencepiece",
    "Sentencepiece*": "pip package tensorflow-text or tf-sentencepiece",
    "WordpieceTokenize*": "pip package tensorflow-text",
    "UnicodeScriptTokenize*": "pip package tensorflow-text",
    "RegexSplit*": "pip package tensorflow-text",
    "NormalizeUTF8*": "pip package tensorflow-text",
    "CaseFoldUTF8": "pip package tensorflow-text",
    "SimpleMLInferenceOp*": "pip package tensorflow-decision-forests",
    "DecodeProtoSparse*": "pip package struct2tensor",
    "TPU*": "a TensorFlow build for TPU",
    "DecisionTree*": "tf.contrib.tensor_forest of TF 1.x (removed in TF 2.0)",
    "TreePredictions*": "tf.contrib.tensor_forest of TF 1.x (removed in TF 2.0)",
    "GatherTree": "tf.contrib.seq2seq / pip package tensorflow-addons",
    "Addons>*": "pip package tensorflow-addons",
    "CudnnRNN*": "TensorFlow on a GPU (cuDNN kernels only)",
    "LSTMBlock*": "tf.contrib.rnn of TF 1.x",
}


# Ops that `removed_ops.REWRITES` replaces (a test holds them together), by name, so that nobody loads it to ask.
REPLACED_OPS = frozenset(
    {
        "BoostedTreesBucketize",
        "BoostedTreesCreateEnsemble",
        "BoostedTreesCreateQuantileStreamResource",
        "BoostedTreesDeserializeEnsemble",
        "BoostedTreesExampleDebugOutputs",
        "BoostedTreesGetEnsembleStates",
        "BoostedTreesPredict",
        "BoostedTreesQuantileStreamResourceDeserialize",
        "BoostedTreesQuantileStreamResourceGetBucketBoundaries",
        "BoostedTreesSerializeEnsemble",
        "BucketizeWithInputBoundaries",
        "CompareAndBitpack",
        "GatherTree",
        "ImageProjectiveTransform",
        "IsBoostedTreesEnsembleInitialized",
        "IsBoostedTreesQuantileStreamResourceInitialized",
        "Resampler",
        "ResamplerGrad",
        "SparseFeatureCrossV2",
    }
)
# Handles of resources whose kernels are gone.
LOST_HANDLES = frozenset({"BoostedTreesEnsembleResourceHandleOp", "BoostedTreesQuantileStreamResourceHandleOp"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class MissingOp:
    """An op that cannot run: `reason` says whether op or kernel is missing, `provider` who had it ("" unknown)."""

    op: str
    reason: str
    provider: str = ""

    def __str__(self) -> str:
        return f"{self.op} ({self.reason}{'; from ' + self.provider if self.provider else ''})"


def find_missing_ops(graph_def: Any, nodes: Iterable[str] | None = None) -> tuple[MissingOp, ...]:
    """Ops of the graph, and of its function library, that cannot run here. Executes nothing.

    Args:
      graph_def: GraphDef.
      nodes: names of the nodes to look at; None for all of them.
    """
    chosen = None if nodes is None else set(nodes)
    library = {function.signature.name: function for function in graph_def.library.function}
    # A node may call a function by using its name as the op.
    ops = {node.op for node in graph_def.node if chosen is None or node.name in chosen}
    if chosen is None or ops & set(library) or _mentions_function(graph_def, chosen):
        ops |= {node.op for function in library.values() for node in function.node_def}
    found = []
    for op in sorted(ops - set(library)):
        reason = _missing_reason(op)
        if reason:
            found.append(MissingOp(op=op, reason=reason, provider=find_provider(op)))
    return tuple(found)


def find_irreplaceable_ops(graph_def: Any) -> tuple[MissingOp, ...]:
    """Ops that cannot run here and have no replacement."""
    return tuple(op for op in find_missing_ops(graph_def) if op.op not in REPLACED_OPS | LOST_HANDLES)


def _mentions_function(graph_def: Any, chosen: set[str]) -> bool:
    return any(
        value.HasField("func") or value.list.func
        for node in graph_def.node
        if node.name in chosen
        for value in node.attr.values()
    )


def _missing_reason(op: str) -> str:
    if op in PYTHON_OPS:
        return "it calls Python code that the model does not carry"
    if ops.find_op_def(op) is None:
        return "this TensorFlow has no such op"
    # Structural ops have no kernel: the runtime handles them itself.
    if op in _KERNELLESS:
        return ""
    if ops.has_cpu_kernel(op):
        return ""
    return "the op is known, but its kernel is gone"


# tf.py_func: the function lived in the process that wrote the model.
PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_KERNELLESS = frozenset({"SymbolicGradient", "_Arg", "_Retval", "Placeholder", "PlaceholderV2"})


def find_provider(op: str) -> str:
    """The package known to provide an op, "" where none is known."""
    if op in _PROVIDERS:
        return _PROVIDERS[op]
    return next((text for key, text in _PROVIDERS.items() if key.endswith("*") and op.startswith(key[:-1])), "")
