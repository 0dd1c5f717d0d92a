"""What genuine TensorFlow 1 recorded of the zoo, and how a value is held against it.

The comparison is the tests' own: it must not share a mistake with `migrate.verify.judging.values`.
"""

import dataclasses
import functools
import importlib.util
import json
import pathlib

import numpy as np
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from migrate.arrays import RaggedValue, SparseValue

TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "testdata"
ZOO = TESTDATA / "zoo"
# slug -> why it cannot be under the property suite.
NOT_IN_CATALOGUE = {"no_signature": "recorded by tensor names, not by signatures: test_complete.py runs it"}
SLUGS = sorted(path.parent.name for path in ZOO.glob("*/origin.json") if path.parent.name not in NOT_IN_CATALOGUE)
# Key under which `updates.npz` was recorded: the first of these that the variant has.
UPDATE_SIGNATURES = ("default", "serving_default", "train")
# What one rounding step of half precision is worth.
_NARROW = {"float16": 2e-3, "bfloat16": 1.6e-2}


def _load_codec():
    spec = importlib.util.spec_from_file_location("codec", TESTDATA / "generate" / "codec.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


codec = _load_codec()


@dataclasses.dataclass(frozen=True)
class Call:
    """One recorded call. `tags` are sorted; `outputs` hold what was recorded, random outputs left out."""

    tags: tuple
    signature: str
    case: int
    inputs: dict
    outputs: dict


@dataclasses.dataclass(frozen=True)
class Truth:
    """The recorded truth of one model; all tag sets are sorted tuples, whatever the order they were written in."""

    slug: str
    origin: dict
    calls: tuple
    gradients: dict
    losses: dict
    loss_gradients: dict
    updates: dict

    @property
    def model(self):
        """Folder of the source SavedModel or checkpoint, or the one file that is the model."""
        return find_model(self.slug_path)

    def parse_meta_graphs(self):
        """The source's MetaGraphs; of what is no SavedModel, one with the signature that was recorded."""
        if self.model.is_dir() and list(self.model.glob("saved_model.pb*")):
            found = list(parse_saved_model(self.model).meta_graphs)
            if self.origin.get("phase"):  # that nobody feeds: once more, with 1
                copy = meta_graph_pb2.MetaGraphDef.FromString(found[0].SerializeToString())
                copy.meta_info_def.tags.append("train")
                found.append(copy)
            return found
        made = meta_graph_pb2.MetaGraphDef()
        made.meta_info_def.tags.append("serve")
        for key, recorded in self.origin["signatures"].items():
            definition = made.signature_def[key]
            definition.method_name = recorded["method"]
            for side in ("inputs", "outputs"):
                for name in recorded[side]:
                    getattr(definition, side)[name].name = name
        return [made]

    @property
    def slug_path(self):
        return ZOO / self.slug

    @property
    def tag_sets(self):
        return [parse_tags(",".join(tags)) for tags in self.origin["tags"]]

    @property
    def deciding_tags(self):
        """The variant whose collections count: the training variant, else the one for inference."""
        training = sorted((len(tags), tags) for tags in self.tag_sets if "train" in tags)
        if training:
            return training[0][1]
        return next((tags for tags in ((), ("serve",)) if tags in self.tag_sets), self.tag_sets[0])

    def by_tags(self, name):
        """An entry of origin.json that is keyed by tag set."""
        return {parse_tags(label): value for label, value in self.origin[name].items()}

    def is_stateful(self, signature):
        return signature in self.origin["stateful_signatures"]

    def has_gradient_error(self, call, output):
        wanted = (call.tags, str(call.case), call.signature, output)
        return any(_split_key(key, 4) == wanted for key in self.origin["gradient_errors"])


def find_model(folder):
    """The folder of a SavedModel or checkpoint below a folder of the zoo, or the one file that is the model."""
    files = sorted((folder / "model").rglob("saved_model.pb*"))
    if files:
        return files[0].parent
    alone = list((folder / "model").iterdir())
    return alone[0] if len(alone) == 1 else folder / "model"


def parse_saved_model(folder):
    proto = saved_model_pb2.SavedModel()
    binary = pathlib.Path(folder) / "saved_model.pb"
    if binary.exists():
        proto.ParseFromString(binary.read_bytes())
    else:
        text_format.Parse(binary.with_suffix(".pbtxt").read_text(encoding="utf-8"), proto, allow_unknown_field=True)
    return proto


def parse_tags(label):
    return tuple(sorted(tag for tag in label.split(",") if tag))


def _split_key(key, parts):
    label, *rest = key.split("|", parts - 1)
    return (parse_tags(label), *rest)


@functools.cache
def load_truth(slug):
    """Reads one folder of the zoo."""
    folder = ZOO / slug
    origin = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    arrays = {
        name: codec.load_npz(folder / f"{name}.npz") for name in ("inputs", "outputs", "gradients", "losses", "updates")
    }
    random = {_split_key(key, 3) for key in origin["random_outputs"]}
    inputs = {}
    for key, value in arrays["inputs"].items():
        case, signature, name = key.split("|", 2)
        inputs.setdefault((int(case), signature), {})[name] = _value(value)
    outputs = {}
    for key, value in arrays["outputs"].items():
        tags, case, signature, name = _split_key(key, 4)
        if (tags, signature, name) not in random:
            outputs.setdefault((tags, signature, int(case)), {})[name] = _value(value)
    return Truth(
        slug=slug,
        origin=origin,
        calls=tuple(
            Call(tags, signature, case, inputs.get((case, signature), {}), found)
            for (tags, signature, case), found in sorted(outputs.items())
        ),
        gradients={_split_key(key, 5): value for key, value in arrays["gradients"].items()},
        losses={_split_key(key, 2): value for key, value in arrays["losses"].items() if key.count("|") == 1},
        loss_gradients={_split_key(key, 3): value for key, value in arrays["losses"].items() if key.count("|") > 1},
        updates={_split_key(key, 2): value for key, value in arrays["updates"].items()},
    )


def _value(value):
    if isinstance(value, codec.Sparse):
        return SparseValue(indices=value.indices, values=value.values, dense_shape=value.dense_shape)
    if isinstance(value, codec.Ragged):
        return RaggedValue(flat_values=value.flat_values, row_splits=value.nested_row_splits)
    return value


def assert_same(expected, actual, where, *, rtol=1e-5, atol=1e-6):
    """Floats within the tolerance, everything else exactly; shapes, dtypes and encodings always exactly."""
    kinds = [SparseValue, RaggedValue]
    assert [isinstance(expected, kind) for kind in kinds] == [isinstance(actual, kind) for kind in kinds], (
        f"{where}: {type(expected).__name__} became {type(actual).__name__}"
    )
    if isinstance(expected, SparseValue):
        for part in ("indices", "values", "dense_shape"):
            assert_same(getattr(expected, part), getattr(actual, part), f"{where} {part}", rtol=rtol, atol=atol)
    elif isinstance(expected, RaggedValue):
        assert len(expected.row_splits) == len(actual.row_splits), f"{where}: another ragged rank"
        for old, new in zip(expected.row_splits, actual.row_splits, strict=True):
            assert_same(old, new, f"{where} row_splits")
        assert_same(expected.flat_values, actual.flat_values, f"{where} flat_values", rtol=rtol, atol=atol)
    else:
        _assert_same_array(np.asarray(expected), np.asarray(actual), where, rtol, atol)


def _assert_same_array(expected, actual, where, rtol, atol):
    narrow = _NARROW.get(actual.dtype.name, 0.0)
    if actual.dtype.name == "bfloat16":  # the record holds it as float32
        actual, expected = actual.astype(np.float32), expected.astype(np.float32)
    assert expected.dtype == actual.dtype, f"{where}: dtype {expected.dtype} became {actual.dtype}"
    assert expected.shape == actual.shape, f"{where}: shape {expected.shape} became {actual.shape}"
    if expected.dtype.kind in "fc":
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(
            actual.astype(wide), expected.astype(wide), rtol=max(rtol, narrow), atol=atol, err_msg=where
        )
    else:
        assert actual.tolist() == expected.tolist(), where
