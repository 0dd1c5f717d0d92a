"""Properties of a migrated model's interface: variables, signatures, shapes. Each raises AssertionError."""

from tensorflow.core.framework import types_pb2

from .loaded import spell_name
from .truth import parse_saved_model

_VARIABLE_OPS = ("Variable", "VariableV2", "VarHandleOp")
_INTERNAL_KEYS = ("__saved_model_init_op", "__saved_model_train_op")
_REFERENCE = 100  # types.proto: DT_FLOAT_REF = DT_FLOAT + 100


def check_trainable_variables(truth, loaded):
    """Exactly the deciding variant's trainable_variables collection, each of them trainable in fact."""
    found = [spell_name(variable) for variable in loaded.object.trainable_variables]
    expected = truth.by_tags("trainable_variables")[truth.deciding_tags]
    assert sorted(found) == sorted(expected), f"trainable: {sorted(expected)} became {sorted(found)}"
    for variable in loaded.object.variables:
        named = spell_name(variable) in expected
        assert variable.trainable == named, f"{spell_name(variable)}.trainable is {variable.trainable}"


def check_variables(truth, loaded):
    """Every global variable of every tag set, once; beyond them only variables of the source's graphs."""
    found = [spell_name(variable) for variable in loaded.object.variables]
    assert len(found) == len(set(found)), f"a variable is there twice: {found}"
    collected = {name for names in truth.origin["variables"].values() for name in names}
    assert collected <= set(found), f"variables are lost: {sorted(collected - set(found))}"
    in_graphs = {
        node.name
        for meta_graph in truth.parse_meta_graphs()
        for node in meta_graph.graph_def.node
        if node.op in _VARIABLE_OPS
    }
    invented = set(found) - collected - in_graphs
    assert not invented, f"variables that the source does not have: {sorted(invented)}"
    assert found == loaded.record["variables"], "the record names other variables"


def check_signature_defs(truth, folder, record):
    """Keys, dtypes, shapes, encodings and method names of the source, in the one MetaGraph with tag `serve`."""
    meta_graphs = parse_saved_model(folder).meta_graphs
    assert [list(m.meta_info_def.tags) for m in meta_graphs] == [["serve"]]
    found = dict(meta_graphs[0].signature_def)
    left_out = {f["where"] for f in record["findings"] if f["code"] == "signature-left-out"}
    assert left_out <= set(truth.origin["skipped_signatures"]), f"left out without reason: {left_out}"
    expected = {}
    for meta_graph in truth.parse_meta_graphs():
        for key, definition in meta_graph.signature_def.items():
            if key not in _INTERNAL_KEYS and key not in left_out:
                expected[tuple(sorted(meta_graph.meta_info_def.tags)), key] = definition
    stands_for = {}
    for piece in record["pieces"]:
        # A SignatureDef stands for its first mode; the training variant's is the same one.
        stands_for[piece["signature_def"]] = (tuple(piece["modes"][0]["tags"]), piece["signature"])
        for mode in piece["modes"][1:]:
            assert expected.pop((tuple(mode["tags"]), piece["signature"])).inputs
    assert set(stands_for.values()) == set(expected), "signatures came or went"
    assert set(found) - set(_INTERNAL_KEYS) == set(stands_for), f"SignatureDefs: {sorted(found)}"
    _check_keys_kept(truth, stands_for)
    for serving_key, origin in stands_for.items():
        _check_definition(expected[origin], found[serving_key], serving_key)


def _check_keys_kept(truth, stands_for):
    """A key is spelled differently only where two tag sets have a signature of that key."""
    every = [key for _, key in stands_for.values()]
    for serving_key, (tags, key) in stands_for.items():
        assert serving_key == key or every.count(key) > 1, f"{truth.slug}: {tags}/{key} became {serving_key}"


def _check_definition(old, new, where):
    # A hub module has no method names; TF writes its own.
    expected = old.method_name or "tensorflow/serving/predict"
    assert new.method_name == expected, f"{where}: method {old.method_name} became {new.method_name}"
    for side in ("inputs", "outputs"):
        before, after = getattr(old, side), getattr(new, side)
        assert set(before) == set(after), f"{where}: {side} {sorted(before)} became {sorted(after)}"
        for key in before:
            _check_tensor_info(before[key], after[key], f"{where}/{side}/{key}")


def _check_tensor_info(old, new, where):
    encodings = old.WhichOneof("encoding"), new.WhichOneof("encoding")
    assert encodings[0] == encodings[1], f"{where}: {encodings[0]} became {encodings[1]}"
    dtype = old.dtype - _REFERENCE if old.dtype > _REFERENCE else old.dtype
    if dtype:
        assert new.dtype == dtype, f"{where}: {types_pb2.DataType.Name(dtype)} became {new.dtype}"
    if old.HasField("tensor_shape"):
        assert is_refined(parse_shape(old.tensor_shape), parse_shape(new.tensor_shape)), (
            f"{where}: shape {parse_shape(old.tensor_shape)} became {parse_shape(new.tensor_shape)}"
        )
    if encodings[0] == "composite_tensor":
        kinds = [i.composite_tensor.type_spec.type_spec_class for i in (old, new)]
        assert kinds[0] == kinds[1], f"{where}: another type spec"
        assert len(old.composite_tensor.components) == len(new.composite_tensor.components), where


def parse_shape(proto):
    """None for an unknown rank, None for an unknown dimension."""
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in proto.dim)


def is_refined(promised, found):
    """Whether a shape keeps every dimension that was promised; an unknown one may have become known."""
    if promised is None:
        return True
    return (
        found is not None
        and len(promised) == len(found)
        and all(a is None or a == b for a, b in zip(promised, found, strict=True))
    )


def check_static_shapes(truth, loaded):
    """The traced functions promise the output shapes that the source's TensorInfos state; returns how many."""
    compared = 0
    stated = {
        (tuple(sorted(meta_graph.meta_info_def.tags)), key): definition.outputs
        for meta_graph in truth.parse_meta_graphs()
        for key, definition in meta_graph.signature_def.items()
    }
    for piece in loaded.record["pieces"]:
        outputs = stated[tuple(piece["modes"][0]["tags"]), piece["signature"]]
        traced = loaded.object.signatures[piece["signature_def"]].structured_outputs
        for key, info in outputs.items():
            if info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank:
                shape = traced[key].shape
                found = None if shape.rank is None else tuple(shape.as_list())
                promised = parse_shape(info.tensor_shape)
                assert is_refined(promised, found), f"{piece['signature_def']}/{key}: {promised} became {found}"
                compared += 1
    return compared
