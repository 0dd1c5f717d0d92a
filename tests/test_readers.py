"""What a reader hands on: variables, values' places, assets, init ops, signatures, as the files state them."""

import json
import pathlib

import pytest

from migrate import errors, readers
from migrate.model import READABLE, Encoding, Format
from migrate.options import ReadOptions
from migrate.readers import checkpoint, metagraph

ZOO = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "zoo"
SLUGS = sorted(path.parent.name for path in ZOO.glob("*/origin.json"))


def _read(slug, scratch=""):
    origin = json.loads((ZOO / slug / "origin.json").read_text(encoding="utf-8"))
    told = ReadOptions.from_json(origin.get("options", {}))
    return readers.read_model(str(ZOO / slug / "model"), told, str(scratch))


def _only(slug):
    (variant,) = _read(slug).variants
    return variant


@pytest.mark.parametrize("slug", SLUGS)
def test_zoo(slug, tmp_path):
    """Tag sets, signature keys and methods, variables and their trainability are what TF1 recorded."""
    origin = json.loads((ZOO / slug / "origin.json").read_text(encoding="utf-8"))
    model = _read(slug, tmp_path)
    assert model.source.format.value == origin["format"]
    assert {variant.tags for variant in model.variants} == {tuple(sorted(tags)) for tags in origin["tags"]}
    for variant in model.variants:
        label = next(",".join(tags) for tags in origin["tags"] if tuple(sorted(tags)) == variant.tags)
        keys = {key for key in origin["signature_keys"][label] if not key.startswith("__saved_model")}
        if keys:
            assert set(variant.signatures) == keys
        for key in keys:
            recorded = origin["signatures"][key]
            signature = variant.signatures[key]
            assert set(signature.inputs) == set(recorded["inputs"])
            # The record holds one entry a key: the outputs of all tag sets together.
            others = [v.signatures[key].outputs for v in model.variants if key in v.signatures]
            assert set().union(*others) == set(recorded["outputs"])
            assert all(tensor.dtype for tensor in (*signature.inputs.values(), *signature.outputs.values()))
        specs = {spec.name: spec for spec in variant.variables}
        assert set(origin["variables"][label]) <= set(specs)
        trainable = {name for name, spec in specs.items() if spec.trainable}
        assert trainable == set(origin["trainable_variables"][label])
        assert len(variant.collections.get("regularization_losses", ())) == origin["regularization_losses"][label]


def test_piece_that_describes_nothing():
    """It is refused, not passed over."""
    told = ReadOptions(pieces=("first:last",))
    with pytest.raises(errors.UsageError, match="--piece"):
        readers.read_model(str(ZOO / "frozen_constants" / "model"), told)


def test_partitioned_variables_know_their_slice():
    """SaveV2's spelling: the whole's shape, then start,length of each dimension."""
    specs = {spec.name: spec for spec in _only("tf18_partitioned").variables}
    parts = [specs[f"rows/part_{i}"] for i in range(2)]
    assert {part.checkpoint_key for part in parts} == {"rows"}
    starts = [part.slice_spec.split(" ")[-1].split(":")[0] for part in parts]
    assert starts[0].startswith("0,") and starts[1] == f"{parts[0].shape[0]},{parts[1].shape[0]}"


def test_every_checkpoint_key_exists(tmp_path):
    for slug in SLUGS:
        model = _read(slug, tmp_path / slug)
        entries = checkpoint.parse_entries(model.checkpoint)
        named = {spec.checkpoint_key for variant in model.variants for spec in variant.variables}
        assert named - {None} <= set(entries), slug


def test_v1_checkpoint_is_one_file():
    assert set(checkpoint.parse_entries(_read("variables_v1_checkpoint").checkpoint))


def test_assets_of_one_base_name_stay_apart():
    (variant,) = [v for v in _read("hub_text_same_asset_names").variants if v.tags == ()]
    assert len({asset.tensor for asset in variant.assets}) == len(variant.assets)
    assert len({asset.path for asset in variant.assets}) == 2, "two files of one base name"
    assert all(pathlib.Path(asset.path).is_file() for asset in variant.assets)


def test_encodings():
    signatures = _only("saved_model_sparse").signatures
    numbers = signatures["serving_default"].inputs["numbers"]
    assert numbers.encoding is Encoding.SPARSE and len(numbers.components) == 3 == len(numbers.tensor_names)
    ragged = _only("hub_ragged").signatures["default"].inputs["default"]
    assert ragged.encoding is Encoding.RAGGED and ragged.ragged_rank >= 1


def test_optional_inputs_know_their_default():
    (variant,) = _read("hub_several_signatures").variants
    inputs = variant.signatures["sharpen"].inputs
    assert inputs["x"].default is None and inputs["temperature"].default is not None


@pytest.mark.parametrize("slug", ["init_signature", "saved_model_legacy_init", "tables_chained"])
def test_init_ops(slug):
    """The init signature, main_op or legacy_init_op; never a callable signature."""
    variant = _only(slug)
    assert variant.init_ops
    assert not any(key.startswith("__saved_model") for key in variant.signatures)


def test_attachments():
    variants = _read("hub_image_batch_norm").variants
    assert any("image_module_info" in variant.attachments for variant in variants)


def test_collections_of_every_kind():
    from tensorflow.core.protobuf import meta_graph_pb2

    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.collection_def["nodes"].node_list.value.append("a:0")
    meta_graph.collection_def["bytes"].bytes_list.value.append(b"\xff")
    meta_graph.collection_def["numbers"].int64_list.value.append(7)
    meta_graph.collection_def["empty"].SetInParent()
    assert metagraph.parse_collections(meta_graph) == {
        "nodes": ("a:0",), "bytes": (b"\xff",), "numbers": (7,), "empty": (),
    }  # fmt: skip


def test_formats_that_are_not_read(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    with pytest.raises(errors.UnknownFormatError, match="tf1_hub_module"):
        readers.read_model(str(tmp_path / "m.tflite"))


def test_every_reader_is_of_a_format():
    assert set(readers.READERS) == set(READABLE) >= {Format.TF1_HUB_MODULE, Format.ESTIMATOR_EXPORT}
