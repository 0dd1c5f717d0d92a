"""The frozen values that cross from one room to the next. No TensorFlow import.

Protocol buffers (GraphDef) are carried as opaque objects, so that `detect`, `zoo` and `report` can use
these types without loading TensorFlow. Shapes are tuples with None for an unknown dimension; a shape
that is None has unknown rank. Dtypes are TensorFlow's own names ("float32", "string", ...).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

Shape = tuple[int | None, ...] | None

# Part of the name of a variable by which Keras 3 draws: ops without state take their seed from it, and each load of a
# file makes it anew.
SEED_STATE = "seed_generator_state"


class Format(enum.Enum):
    """What a path holds. The value is the name that reports use."""

    TF1_HUB_MODULE = "tf1_hub_module"
    ESTIMATOR_EXPORT = "estimator_export"
    TF1_SAVED_MODEL = "tf1_saved_model"
    TF2_SAVED_MODEL = "tf2_saved_model"
    KERAS_H5 = "keras_h5"
    KERAS_V3 = "keras_v3"
    KERAS_WEIGHTS = "keras_weights"
    KERAS_SAVED_MODEL = "keras_saved_model"
    CHECKPOINT = "checkpoint"
    FROZEN_GRAPH = "frozen_graph"
    TFLITE = "tflite"
    ONNX = "onnx"
    ARCHIVE = "archive"
    EMPTY_DIRECTORY = "empty_directory"
    UNKNOWN = "unknown"


# Formats that are migrated; `migrate.readers.READERS` holds how. Here, so that nobody loads TensorFlow to ask.
READABLE = (
    Format.TF1_HUB_MODULE,
    Format.ESTIMATOR_EXPORT,
    Format.TF1_SAVED_MODEL,
    Format.KERAS_H5,
    Format.KERAS_V3,
    Format.KERAS_WEIGHTS,
    Format.KERAS_SAVED_MODEL,
    Format.FROZEN_GRAPH,
    Format.CHECKPOINT,
)

# Formats that Keras reads.
KERAS = (Format.KERAS_H5, Format.KERAS_V3, Format.KERAS_WEIGHTS, Format.KERAS_SAVED_MODEL)


class Severity(enum.Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a person should know about one model.

    Attributes:
      code: stable kebab-case identifier, e.g. "signature-key-renamed".
      severity: INFO changes nothing; WARNING: the result differs in a stated way; ERROR: blocks.
      where: tag set / signature / node the finding is about.
      message: what was found.
      hint: what to do about it, "" where there is nothing to do.
    """

    code: str
    severity: Severity = Severity.INFO
    where: str = ""
    message: str
    hint: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A detected model: `path` is the directory or file that holds it, `origin` the handle or archive that it came
    from, "" where it was there."""

    path: str
    format: Format
    evidence: tuple[str, ...] = ()
    origin: str = ""


class Encoding(enum.Enum):
    """How a TensorInfo spells its tensor (tensorflow/core/protobuf/meta_graph.proto)."""

    DENSE = "dense"
    SPARSE = "coo_sparse"
    RAGGED = "ragged"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SignatureTensor:
    """One input or output of a signature.

    Attributes:
      name: tensor name, "x:0" (the values for a sparse or ragged tensor).
      dtype: dtype name, "" where neither TensorInfo nor graph tells.
      shape: dense shape of the whole tensor.
      encoding: dense, sparse, ragged.
      components: tensor names: sparse (values, indices, dense_shape); ragged (flat values, row splits
        outermost first); () for dense.
      default: name of the tensor that feeds a PlaceholderWithDefault, None where the input is required.
      ragged_rank: number of ragged partitions.
      row_splits_dtype: dtype of a ragged tensor's row splits.
    """

    name: str
    dtype: str
    shape: Shape
    encoding: Encoding = Encoding.DENSE
    components: tuple[str, ...] = ()
    default: str | None = None
    ragged_rank: int = 0
    row_splits_dtype: str = "int64"

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """The graph tensors that carry the value."""
        return self.components or (self.name,)

    def to_record(self) -> dict[str, Any]:
        """The JSON value by which inspections, provenance and interface comparisons describe it."""
        return {
            "tensor": self.name,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
            "encoding": self.encoding.value,
            "ragged_rank": self.ragged_rank,
            "optional": self.default is not None,
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A SignatureDef: `method` is "" for a hub module. Dict order is the order in the proto.

    `bare` says that a call returns the only output as it is, whatever its key, as Keras models do.
    """

    key: str
    method: str
    inputs: Mapping[str, SignatureTensor]
    outputs: Mapping[str, SignatureTensor]
    bare: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VariableSpec:
    """A variable of a variant: where it stands in the graph and where its value lies.

    Attributes:
      name: TF1 name without ":0"; variables of one name are one variable over all variants.
      node: name of the graph node that makes it (VarHandleOp, VariableV2, ...).
      dtype, shape: of the variable (of this part, for a partitioned one).
      trainable: whether the variant's trainable_variables collection holds it.
      checkpoint_key: entry of the checkpoint, None when the checkpoint has no value.
      slice_spec: which part of the entry, in the spelling of the ops SaveV2/RestoreV2 ("10 4 0,3:0,4": the
        whole's shape, then start,length of each dimension); "" for all of it.
      local: the local_variables collection holds it.
      initializer: name of the op that initialises it, "" where unknown.
    """

    name: str
    node: str
    dtype: str
    shape: Shape
    trainable: bool = False
    checkpoint_key: str | None = None
    slice_spec: str = ""
    local: bool = False
    initializer: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A tensor of the graph that TF1's saver fills from the checkpoint: entry `key`, part `slice_spec`."""

    tensor: str
    key: str
    slice_spec: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file that a Const of the graph names: `tensor` is fed with the path of `path` (absolute, source side)."""

    tensor: str
    filename: str
    path: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphVariant:
    """One MetaGraph.

    Attributes:
      tags: sorted tags.
      graph_def: tf.compat.v1.GraphDef; never changed in place.
      signatures: by key, init signatures left out.
      collections: node-list collections as tensor/op names, bytes collections as bytes.
      variables, assets, attachments: parsed.
      init_ops: ops that TF1's loader runs after restoring.
      table_initializers: ops of the table_initializer collection (a hub module has no init op).
      restore_op: the SaverDef's restore op, "" where there is none (a hub module).
      restored: what that op reads from the checkpoint.
      producer_ops: OpList that the writer stored, for attributes that later TensorFlows dropped.
      tensorflow_version: of the writer.
      phase: tensors that the original has to be fed beside its inputs, and what: the graph has constants for them.
      origin_tags: tags in the file, where a variant was made of one that lies there; None where they are `tags`.
    """

    tags: tuple[str, ...]
    graph_def: Any
    signatures: Mapping[str, Signature]
    collections: Mapping[str, tuple[Any, ...]]
    variables: tuple[VariableSpec, ...]
    assets: tuple[Asset, ...]
    attachments: Mapping[str, bytes]
    init_ops: tuple[str, ...] = ()
    table_initializers: tuple[str, ...] = ()
    restore_op: str = ""
    restored: tuple[Restored, ...] = ()
    producer_ops: Any = None
    tensorflow_version: str = ""
    phase: tuple[tuple[str, bool], ...] = ()
    origin_tags: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """The tag set as people write it; "(no tags)" for the empty one."""
        return ",".join(self.tags) or "(no tags)"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tokenization:
    """How text becomes the ids that a model takes: the file of its vocabulary (absolute, source side; "" for none), and
    whether text is lowercased before it is looked up (None where nobody says)."""

    vocab_file: str = ""
    do_lower_case: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LegacyModel:
    """What a reader returns.

    Attributes:
      checkpoint: prefix of the variables, None when there are none.
      core: key of the signature that is the core of a model whose other parts hold variables of their own: the root
        applies it, and lists its variables and losses alone; "" where the root lists everything.
      tokenization: becomes `vocab_file` and `do_lower_case` of the root.
    """

    source: Source
    variants: tuple[GraphVariant, ...]
    checkpoint: str | None
    producer: str
    findings: tuple[Finding, ...] = ()
    core: str = ""
    tokenization: Tokenization = Tokenization()
