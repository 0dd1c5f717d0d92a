"""No v1 control flow is left anywhere in what was written."""

from tests.catalogue.check_interface import parse_saved_model

V1 = {"Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"}


def _all_ops(meta_graph):
    yield from (node.op for node in meta_graph.graph_def.node)
    for function in meta_graph.graph_def.library.function:
        yield from (node.op for node in function.node_def)


def test_no_v1_control_flow(folder, loaded):
    ops = [op for meta_graph in parse_saved_model(folder).meta_graphs for op in _all_ops(meta_graph)]
    assert ops
    assert not {op for op in ops if op.removeprefix("Ref") in V1}
    assert not [finding for finding in loaded.record["findings"] if finding["code"] == "control-flow-not-raised"]


def test_no_tensor_arrays(folder):
    """All became lists, and so did the stacks of gradients."""
    ops = {op for meta_graph in parse_saved_model(folder).meta_graphs for op in _all_ops(meta_graph)}
    assert not {op for op in ops if op.startswith(("TensorArray", "Stack"))}


def test_the_source_has_v1_control_flow(truth):
    """Or the catalogue would test nothing; tf.switch_case alone never was v1."""
    ops = [op for meta_graph in parse_saved_model(truth.model).meta_graphs for op in _all_ops(meta_graph)]
    assert (truth.slug == "switch_case") != bool({op.removeprefix("Ref") for op in ops} & V1)
