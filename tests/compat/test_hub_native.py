"""Contexts that the recorded behaviour has no word for: functions, TPU contexts, specs of another kind."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import function
from tensorflow.python.ops.control_flow_ops import ControlFlowContext

from compat import hub
from compat.hub import colocation, module, module_spec, native_module, stateful, tensor_info

v1 = tf.compat.v1


class TPUReplicateContext(ControlFlowContext):
    """Stands in for TensorFlow's: hub knows it by its name."""

    def __init__(self):
        super().__init__()
        self._name = "TPUReplicateContext"

    def AddOp(self, op):
        pass

    def AddValue(self, value):
        return value

    def to_control_flow_context_def(self, context_def, export_scope=None):
        super().to_control_flow_context_def(context_def, export_scope)


def _stateful():
    """x + r; and an assignment, to a second variable, that no output needs."""
    x = v1.placeholder(tf.float32, name="x")
    y = v1.placeholder(tf.float32, name="y")
    r = v1.get_variable("r", initializer=10.0)
    t = v1.get_variable("t", initializer=1.0)
    t.assign(y)
    hub.add_signature(inputs={"x": x}, outputs=x + r)


def _square():
    x = v1.placeholder(tf.int64, name="x")
    unused = v1.placeholder(tf.int64, name="unused")
    hub.add_signature(inputs={"x": x, "unused": unused}, outputs=x * x)


def _run(tensors):
    with v1.Session() as session:
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        return session.run(tensors)


def test_on_a_tpu_state_is_made_once_and_unneeded_ops_are_left_out():
    spec = hub.create_module_spec(_stateful)

    @function.Defun()
    def compute(first, second):
        TPUReplicateContext().Enter()
        instance = hub.Module(spec, name="module_", trainable=True)
        return [instance({"x": first}), instance({"x": second})]

    with tf.Graph().as_default():
        assert list(_run(compute(9.0, 6.0))) == [19.0, 16.0]


def test_on_a_tpu_unused_inputs_are_left_out():
    spec = hub.create_module_spec(_square)

    @function.Defun()
    def compute(x):
        TPUReplicateContext().Enter()
        instance = hub.Module(spec, name="module_")
        return instance({"x": tf.cast(x, tf.int64), "unused": tf.constant(2, tf.int64)})

    with tf.Graph().as_default():
        assert _run(compute(5)) == 25


def test_on_a_tpu_collections_of_an_application_are_refused():
    def module_fn():
        v = v1.get_variable("v", initializer=1.0)
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, v.assign_add(1.0))
        hub.add_signature(outputs=v.value())

    spec = hub.create_module_spec(module_fn)

    @function.Defun()
    def compute():
        TPUReplicateContext().Enter()
        return hub.Module(spec, name="module_", trainable=True)()

    with tf.Graph().as_default(), pytest.raises(NotImplementedError, match="update_ops"):
        compute()


def test_on_a_tpu_inside_wrap_function():
    spec = hub.create_module_spec(_stateful)

    def compute(first, second):
        TPUReplicateContext().Enter()
        instance = hub.Module(spec, trainable=True)
        return [instance({"x": first}), instance({"x": second})]

    with tf.Graph().as_default():
        scalar = tf.TensorSpec((), tf.float32)
        wrapped = v1.wrap_function(compute, [scalar, scalar])
        assert list(_run(wrapped(9.0, 6.0))) == [19.0, 16.0]


def test_wrap_function_under_eager_execution():
    spec = hub.create_module_spec(_stateful)
    initializers = []

    def use_module(x, y):
        instance = hub.Module(spec, trainable=True)
        initializers.append(v1.global_variables_initializer())
        return [instance({"x": x}), instance({"x": y})]

    scalar = tf.TensorSpec((), tf.float32)
    wrapped = v1.wrap_function(use_module, [scalar, scalar])
    wrapped.prune([], initializers)()
    assert [value.numpy() for value in wrapped(9.0, 6.0)] == [19.0, 16.0]


def test_eager_execution_is_refused_with_a_way_out():
    spec = hub.create_module_spec(_square)
    with pytest.raises(RuntimeError, match=r"tf\.Graph\(\)\.as_default"):
        hub.Module(spec)


def test_a_body_of_functional_control_flow_runs_no_initialiser():
    """The trained value survives a run of the body, and the gradient reaches the variable."""
    spec = hub.create_module_spec(_stateful)
    with tf.Graph().as_default(), v1.Session() as session:
        instance = hub.Module(spec, trainable=True)
        _, output = tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, instance({"x": x})), [0, 1.0])
        assert output.op.type != "Exit", "this test is about functional control flow"
        (gradient,) = tf.gradients(output, instance.variable_map["r"])
        session.run(v1.global_variables_initializer())
        session.run(instance.variable_map["r"].assign(2.0))
        assert session.run([output, gradient]) == [7.0, 3.0]
        assert session.run(instance.variable_map["r"]) == 2.0


def test_modules_with_functional_control_flow():
    def module_fn():
        x = v1.placeholder(tf.float32, [], name="x")
        v = v1.get_variable("v", initializer=3.0)
        _, y = tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y * v), [0, x])
        hub.add_signature(inputs=x, outputs=tf.cond(x > 0, lambda: y, lambda: -y))

    spec = hub.create_module_spec(module_fn)
    assert any(node.op in ("While", "StatelessWhile") for node in spec._handler.get_meta_graph().graph_def.node)
    with tf.Graph().as_default():
        instance = hub.Module(spec, trainable=True)
        x = tf.constant(-2.0)
        output = instance(x)
        assert _run([output, *tf.gradients(output, [x, *instance.variables])]) == [18.0, -9.0, 12.0]


class _OtherSpec(module_spec.ModuleSpec):
    """A spec that is not made of MetaGraphs."""

    def get_tags(self):
        return [set(), {"special"}]

    def get_signature_names(self, tags=None):
        return iter(["default", "extra"] if tags == {"special"} else ["default"])

    def get_input_info_dict(self, signature=None, tags=None):
        info = tensor_info.ParsedTensorInfo(tf.float32, tf.TensorShape([None]), is_sparse=False)
        return {"x": info, "y": info} if signature == "extra" else {"x": info}

    def get_output_info_dict(self, signature=None, tags=None):
        return {"default": tensor_info.ParsedTensorInfo(tf.float32, tf.TensorShape([None]), is_sparse=False)}

    def _get_attached_bytes(self, key, tags):
        return None

    def _create_impl(self, name, trainable, tags):
        return _OtherImpl()


class _OtherImpl(module_spec.ModuleImpl):
    def create_apply_graph(self, signature, input_tensors, name):
        with v1.name_scope(name):
            return {"default": 2 * input_tensors["x"] + 3 * input_tensors.get("y", 0.0)}

    def export(self, path, session):
        raise NotImplementedError

    @property
    def variable_map(self):
        return {}


def test_specs_of_another_kind():
    with tf.Graph().as_default():
        with v1.variable_scope("foo"):
            instance = hub.Module(_OtherSpec(), tags={"special"})
        outputs = [instance([1, 2]), instance({"x": [1], "y": [2]}, signature="extra")]
        assert [value.tolist() for value in _run(outputs)] == [[2.0, 4.0], [8.0]]
        assert instance.variables == []
    with hub.eval_function_for_module(_OtherSpec()) as f:
        assert f([1, 2]).tolist() == [2, 4]


def test_a_spec_must_be_complete():
    with pytest.raises(TypeError, match="abstract"):
        hub.ModuleSpec()


@pytest.mark.parametrize("mark", [True, False])
def test_state_scopes(mark):
    with tf.Graph().as_default():
        assert module._try_get_state_scope("a", mark) == "a/"
        with v1.name_scope("a") as scope:
            assert scope == ("a_1/" if mark else "a/")
        with v1.name_scope("elsewhere"), v1.variable_scope("vs"):
            assert module._try_get_state_scope("a", mark) == "vs/a/"


def test_unknown_ops_are_named():
    with pytest.raises(tf.errors.NotFoundError, match="no-such-op"):
        stateful.check_ops_registered({"Add", "no-such-op"})


def test_unsupported_collections_are_named():
    assert native_module.get_unsupported_collections(["mine", "variables", "local_variables"]) == [
        "mine",
        "local_variables",
    ]


def test_inputs_of_one_op_are_named():
    with tf.Graph().as_default():
        first, _ = tf.split([[1, 2], [3, 4]], 2, name="split")
        sparse, _ = tf.compat.v1.sparse_split(sp_input=tf.sparse.from_dense([[1], [2]]), num_split=2, axis=0, name="sp")
        fine = tf.constant(1)
        message = colocation.find_signature_inputs_from_multivalued_ops({"a": first, "s": sparse, "fine": fine})
        assert message.endswith("a='split:0', s.indices='sp:0', s.values='sp:2', s.dense_shape='sp:4'")
        assert colocation.find_signature_inputs_from_multivalued_ops({"fine": fine}) is None


def test_two_instances_have_two_tables():
    def module_fn():
        x = v1.placeholder(tf.int64, [None])
        table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, default_value=-1)
        with tf.control_dependencies([table.insert(x, x)]):
            hub.add_signature(inputs=x, outputs=table.size())

    spec = hub.create_module_spec(module_fn, drop_collections=[v1.GraphKeys.SAVEABLE_OBJECTS])
    with tf.Graph().as_default(), v1.Session() as session:
        first, second = hub.Module(spec), hub.Module(spec)
        outputs = [first(np.array([1, 2])), second(np.array([7]))]
        session.run(v1.tables_initializer())
        assert session.run(outputs) == [2, 1]


def test_versions_that_are_none():
    """Early builds wrote "0.12.head", which TF 2.21's importer cannot parse."""
    spec = hub.create_module_spec(_square)
    spec._handler.get_meta_graph().meta_info_def.tensorflow_version = "0.12.head"
    with tf.Graph().as_default():
        instance = hub.Module(spec)
        assert _run(instance({"x": tf.constant(3, tf.int64), "unused": tf.constant(0, tf.int64)})) == 9
    assert spec._handler.get_meta_graph().meta_info_def.tensorflow_version == "0.12.head"


def test_ops_that_tensorflow_dropped():
    """BucketizeWithInputBoundaries, which TF 2.21 lacks, computes; the export keeps it."""

    def module_fn():
        x = v1.placeholder(tf.float32, [None], name="x")
        tf.constant([1.0, 5.0], name="limits")
        hub.add_signature(inputs=x, outputs=tf.raw_ops.Bucketize(input=x, boundaries=[0.0], name="buckets"))

    spec = hub.create_module_spec(module_fn)
    meta_graph = spec._handler.get_meta_graph()
    (node,) = (node for node in meta_graph.graph_def.node if node.name == "buckets")
    node.op = "BucketizeWithInputBoundaries"
    node.input.append("limits")
    del node.attr["boundaries"]
    meta_graph.meta_info_def.stripped_op_list.op.add(name=node.op)
    with tf.Graph().as_default():
        assert _run(hub.Module(spec)([0.0, 1.0, 4.0, 9.0])).tolist() == [0, 1, 1, 2]
    assert node.op == "BucketizeWithInputBoundaries"


def test_an_application_makes_no_state():
    """A module around it would take such state for its own."""
    spec = hub.create_module_spec(_stateful)
    with tf.Graph().as_default() as graph:
        instance = hub.Module(spec)
        handles = [op.name for op in graph.get_operations() if op.type == "VarHandleOp"]
        assert sorted(handles) == ["module/r", "module/t"]
        instance({"x": 1.0})
        assert [op.name for op in graph.get_operations() if op.type == "VarHandleOp"] == handles
