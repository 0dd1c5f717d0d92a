"""Builds a small TF1 graph, synthesises inputs for it, and runs them in a session."""

import dataclasses

import tensorflow as tf

from migrate.arrays import RaggedValue, SparseValue
from migrate.inputs.synthesis import synthesize_cases
from migrate.model import Asset, Encoding, GraphVariant, Signature, SignatureTensor

v1 = tf.compat.v1


@dataclasses.dataclass
class Run:
    """The cases, and the outputs of each (by output key)."""

    cases: dict
    outputs: dict

    def inputs(self, key):
        return [case.inputs[key] for case in self.cases.values() if key in case.inputs]


def describe_tensor(tensor, default=None):
    if isinstance(tensor, tf.SparseTensor):
        shape = tensor.shape
        return SignatureTensor(
            name=tensor.values.name,
            dtype=tensor.dtype.name,
            shape=None if shape.rank is None else tuple(shape.as_list()),
            encoding=Encoding.SPARSE,
            components=(tensor.values.name, tensor.indices.name, tensor.dense_shape.name),
        )
    if isinstance(tensor, tf.RaggedTensor):
        return SignatureTensor(
            name=tensor.flat_values.name,
            dtype=tensor.dtype.name,
            shape=tuple(tensor.shape.as_list()),
            encoding=Encoding.RAGGED,
            components=(tensor.flat_values.name, *(split.name for split in tensor.nested_row_splits)),
            ragged_rank=tensor.ragged_rank,
            row_splits_dtype=tensor.row_splits.dtype.name,
        )
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return SignatureTensor(name=tensor.name, dtype=tensor.dtype.base_dtype.name, shape=shape, default=default)


def make_signature(inputs, outputs, key="serving_default"):
    described = {}
    for name, tensor in inputs.items():
        default = None
        if not isinstance(tensor, tf.SparseTensor | tf.RaggedTensor) and tensor.op.type == "PlaceholderWithDefault":
            default = tensor.op.inputs[0].name
        described[name] = describe_tensor(tensor, default)
    return Signature(
        key=key,
        method="",
        inputs=described,
        outputs={name: describe_tensor(tensor) for name, tensor in outputs.items()},
    )


def make_variant(graph, assets=()):
    return GraphVariant(
        tags=("serve",),
        graph_def=graph.as_graph_def(),
        signatures={},
        collections={},
        variables=(),
        assets=tuple(Asset(tensor=tensor, filename="", path=path) for tensor, path in assets),
        attachments={},
    )


def feed_of(signature, inputs):
    feed = {}
    for key, value in inputs.items():
        tensor = signature.inputs[key]
        if isinstance(value, SparseValue):
            parts = (value.values, value.indices, value.dense_shape)
        elif isinstance(value, RaggedValue):
            parts = (value.flat_values, *value.row_splits)
        else:
            parts = (value,)
        feed.update(zip(tensor.tensor_names, parts, strict=True))
    return feed


def run_graph(build, *, batch_sizes=(1, 3), seed=0, assets=(), **options):
    """`build()` makes the graph and returns (inputs, outputs); runs every case, which must not fail."""
    with tf.Graph().as_default() as graph:
        inputs, outputs = build()
        signature = make_signature(inputs, outputs)
        variant = make_variant(graph, assets)
        cases = synthesize_cases(variant, signature, seed=seed, batch_sizes=batch_sizes, **options)
        results = {}
        with v1.Session(graph=graph) as session:
            session.run([v1.global_variables_initializer(), v1.local_variables_initializer(), v1.tables_initializer()])
            for case in cases:
                results[case.name] = session.run(outputs, feed_of(signature, case.inputs))
    return Run({case.name: case for case in cases}, results)
