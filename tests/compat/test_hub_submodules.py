"""What tensorflow_hub's submodules offered beside the names in its root."""

import os

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from compat import hub, reading
from compat.hub import (
    config,
    module_def_pb2,
    module_v2,
    native_module,
    registry,
    resolver,
    saved_model_lib,
    tensor_info,
    tf_utils,
)

v1 = tf.compat.v1


class _Implementation:
    def __init__(self, supported, result):
        self._supported, self._result = supported, result

    def is_supported(self, handle):
        return handle in self._supported

    def __call__(self, handle):
        return self._result


def test_the_implementation_added_last_is_asked_first():
    register = registry.MultiImplRegister("test")
    for supported, result in (("abc", 1), ("bc", 2), ("c", 3)):
        register.add_implementation(_Implementation(supported, result))
    assert [register(handle) for handle in "abc"] == [1, 2, 3]
    with pytest.raises(RuntimeError, match=r"supports: test\(\*\('d',\), \*\*{}\). Tried \['_Imple"):
        register("d")
    register.clear_implementations()
    with pytest.raises(RuntimeError, match=r"Tried \[\]"):
        register("a")


def _plus_one():
    x = v1.placeholder(tf.float32, name="x")
    hub.add_signature(inputs=x, outputs=x + 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("plus_one") / "module")
    with tf.Graph().as_default():
        instance = hub.Module(hub.create_module_spec(_plus_one))
        with v1.Session() as session:
            instance.export(path, session)
    return path


class _Shelf(resolver.Resolver):
    """What an organisation adds for its own handles."""

    def __init__(self, path):
        self._path = path

    def is_supported(self, handle):
        return handle.startswith("@shelf/")

    def __call__(self, handle):
        return self._path


def test_a_resolver_of_ones_own(exported):
    registry.resolver.add_implementation(_Shelf(exported))
    try:
        assert hub.resolve("@shelf/plus_one/1") == exported
        with hub.eval_function_for_module("@shelf/plus_one/1") as f:
            assert f(2.0) == 3.0
    finally:
        registry._clear()
        config._run()
    with pytest.raises(OSError, match="@shelf/plus_one/1 does not exist"):
        hub.resolve("@shelf/plus_one/1")
    assert hub.load_module_spec(exported).get_signature_names() == ["default"]


def test_load(exported, tmp_path):
    loaded = hub.load(exported)
    assert loaded._is_hub_module_v1
    assert loaded.signatures["default"](tf.constant(1.0))["default"].numpy() == 2.0

    model = tf.train.Checkpoint()
    model.__call__ = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec(None, tf.float32)])
    tf.saved_model.save(model, str(tmp_path / "v2"))
    for tags in (None, ["serve"]):
        loaded = module_v2.load(str(tmp_path / "v2"), tags)
        assert not loaded._is_hub_module_v1
        assert loaded(1.0).numpy() == 2.0

    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="contains neither"):
        hub.load(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="Expected a string, got 0"):
        hub.load(0)


def test_files_appear_whole_and_only_once(tmp_path):
    path = str(tmp_path / "file")
    tf_utils.atomic_write_string_to_file(path, "one", overwrite=False)
    with pytest.raises(tf.errors.AlreadyExistsError):
        tf_utils.atomic_write_string_to_file(path, "two", overwrite=False)
    assert tf_utils.read_file_to_string(path) == "one"
    tf_utils.atomic_write_string_to_file(path, b"three", overwrite=True)
    assert tf_utils.read_file_to_string(f"file://{path}") == "three"
    with pytest.raises(tf.errors.AlreadyExistsError):
        tf_utils.atomic_write_string_to_file(f"file://{path}", "four", overwrite=False)
    assert os.listdir(tmp_path) == ["file"]


def test_composite_tensors():
    ragged, sparse = tf.ragged.constant([[1], []]), tf.sparse.from_dense([[1]])
    specs = [tf_utils.get_composite_tensor_type_spec(value) for value in (ragged, sparse, tf.constant(1))]
    assert [type(spec) for spec in specs] == [tf.RaggedTensorSpec, tf.SparseTensorSpec, type(None)]
    assert not tf_utils.is_composite_tensor(tf.Variable(1.0))


def test_types_that_an_application_takes_can_be_narrowed(monkeypatch):
    def module_fn():
        x = v1.sparse.placeholder(tf.int64, [2, 3])
        hub.add_signature(inputs={"x": x}, outputs=x.values)
        hub.add_signature("dense", {"x": x.values}, {"default": tf.RaggedTensor.from_row_lengths(x.values, [1, 2])})

    with tf.Graph().as_default():
        instance = hub.Module(hub.create_module_spec(module_fn))
        monkeypatch.setattr(tf_utils, "SUPPORTED_ARGUMENT_TYPES", (tf.Tensor,))
        with pytest.raises(ValueError, match="'default' expects a SparseTensor for input 'x', which is not supported"):
            instance(tf.sparse.from_dense(np.ones([2, 3], np.int64)))
        with pytest.raises(ValueError, match="'dense' expects a RaggedTensor for output 'default', which is not"):
            instance(np.ones([3], np.int64), signature="dense")


def test_tensor_infos_match_by_kind_dtype_and_shape():
    build = v1.saved_model.utils.build_tensor_info
    with tf.Graph().as_default():
        one, same, open_ = (build(v1.placeholder(tf.int32, shape)) for shape in ([2], [2], [None]))
        sparse = build(v1.sparse_placeholder(tf.int32, [2]))
    match = tensor_info.tensor_info_proto_maps_match
    assert match({"x": one}, {"x": same})
    assert not match({"x": one}, {"y": same})
    assert not match({"x": one}, {"x": open_})
    assert not match({"x": one}, {"x": sparse})


def test_one_graph_under_several_tag_sets():
    with tf.Graph().as_default() as graph:
        saved_model_lib.add_signature("default", {}, {"default": tf.constant(1)})
        saved_model_lib.attach_bytes("key", b"old")
        saved_model_lib.attach_bytes("key", b"new")
        assert graph.get_all_collection_keys() == []
    handler = saved_model_lib.SavedModelHandler()
    handler.add_graph_copy(graph, ["a"])
    handler.add_graph_copy(graph, ["a", "b"])
    assert handler.get_tags() == [{"a"}, {"a", "b"}]
    copy = handler.get_meta_graph_copy(["b", "a"])
    assert saved_model_lib.get_attached_bytes_map(copy) == {"key": b"new"}
    copy.Clear()
    assert list(handler.get_meta_graph(["a", "b"]).signature_def) == ["default"]
    with pytest.raises(KeyError, match="no graph with tags"):
        handler.get_meta_graph_copy(["b"])


def test_collections_that_were_emptied_are_no_collections():
    with tf.Graph().as_default() as graph:
        tf.Variable("name")
        assert graph.get_all_collection_keys()
        for key in graph.get_all_collection_keys():
            del graph.get_collection_ref(key)[:]
        saved_model_lib.add_signature("default", {}, {})
    handler = saved_model_lib.SavedModelHandler()
    handler.add_graph_copy(graph)
    (meta_graph,) = handler.meta_graphs
    assert not meta_graph.collection_def


@pytest.mark.parametrize("convert", [str, os.fsencode])
def test_assets_of_one_name(convert, tmp_path):
    paths = [tmp_path / folder / "hello.txt" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    with tf.Graph().as_default() as graph:
        for number, path in enumerate(paths):
            graph.add_to_collection(
                v1.GraphKeys.ASSET_FILEPATHS, tf.constant(convert(str(path)), name=f"file_{number}")
            )
        saved_model_lib.add_signature("default", {}, {})
    handler = saved_model_lib.SavedModelHandler()
    handler.add_graph_copy(graph)
    handler.export(str(tmp_path / "model"))
    loaded = saved_model_lib.load(str(tmp_path / "model"))
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(loaded.get_meta_graph())
        found = [session.run(f"file_{number}:0").decode() for number in range(2)]
    assert [tf.io.gfile.GFile(path).read() for path in found] == ["a", "b"]
    assert sorted(os.listdir(tmp_path / "model" / "assets")) == ["hello.txt", "hello.txt0"]
    (written,) = reading.read_saved_model(str(tmp_path / "model")).meta_graphs
    definitions = written.collection_def["saved_model_assets"].any_list.value
    assert all(isinstance(packed, any_pb2.Any) for packed in definitions)
    names = [meta_graph_pb2.AssetFileDef.FromString(packed.value).tensor_info.name for packed in definitions]
    assert names == ["file_0:0", "file_1:0"]


def test_module_definitions_with_unknown_features(exported, tmp_path):
    path = native_module.get_module_proto_path(str(tmp_path))
    for definition, named in (
        (module_def_pb2.ModuleDef(format=3, required_features=["teleport"]), "teleport"),
        (module_def_pb2.ModuleDef(), "format"),
    ):
        with open(path, "wb") as file:
            file.write(definition.SerializeToString())
        with pytest.raises(ValueError, match=named):
            hub.load_module_spec(str(tmp_path))
