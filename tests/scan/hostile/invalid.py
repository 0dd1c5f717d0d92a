"""Graphs that are none."""

import tensorflow as tf

from tests.scan.hostile.case import Hostile, add_node, find_node, make_meta_graph, write_model


def _changed(change, **options):
    def write(folder, outside):
        meta_graph = make_meta_graph(None, **options)
        change(meta_graph)
        write_model(folder, meta_graph)

    return write


def _circle(meta_graph):
    find_node(meta_graph, "y").input[1] = "result"


def _long_circle(meta_graph):
    graph = meta_graph.graph_def
    for position in range(2_000):
        add_node(graph, f"n{position}", "Neg", [f"n{(position + 1) % 2_000}"]).attr["T"].type = 1


def _self_edge(meta_graph):
    find_node(meta_graph, "y").input.append("^y")


def _unknown_input(meta_graph):
    find_node(meta_graph, "y").input[1] = "nowhere:0"


def _same_name(meta_graph):
    meta_graph.graph_def.node.add().CopyFrom(find_node(meta_graph, "y"))


def _bad_name(meta_graph):
    find_node(meta_graph, "result").name = "re\x1b[31msult"
    meta_graph.signature_def["serving_default"].outputs["result"].name = "re\x1b[31msult:0"


def _function(meta_graph, name, calls):
    function = meta_graph.graph_def.library.function.add()
    function.signature.name = name
    function.signature.input_arg.add(name="v", type=1)
    function.signature.output_arg.add(name="r", type=1)
    function.node_def.add(name="call", op=calls, input=["v"])
    function.ret["r"] = "call:r:0"


def _recursive(*names):
    def change(meta_graph):
        for position, name in enumerate(names):
            _function(meta_graph, name, names[(position + 1) % len(names)])
        add_node(meta_graph.graph_def, "call", names[0], ["y"])
        find_node(meta_graph, "result").input[0] = "call"

    return change


def _deep_calls(meta_graph):
    for level in range(3_000):
        _function(meta_graph, f"f{level}", f"f{level - 1}" if level else "Neg")


def _same_function(meta_graph):
    for _ in range(2):
        _function(meta_graph, "f", "Neg")


def _lost_in_function(meta_graph):
    _function(meta_graph, "f", "Neg")
    meta_graph.graph_def.library.function[0].node_def[0].input[0] = "nowhere"


def _unknown_type(meta_graph):
    find_node(meta_graph, "x").attr["dtype"].type = 999


def _lost_call(meta_graph):
    call = add_node(meta_graph.graph_def, "call", "PartitionedCall", ["y"])
    call.attr["f"].func.name = "nowhere"


def _false_constant(meta_graph):
    """TensorFlow's session dies of it."""
    find_node(meta_graph, "y/y").attr["value"].tensor.CopyFrom(tf.make_tensor_proto(2))


def _garbage_variable(meta_graph):
    meta_graph.collection_def["variables"].bytes_list.value.append(b"\xff\xff\xff")


def _control_first(meta_graph):
    find_node(meta_graph, "y").input.insert(0, "^x")


def _no_type(meta_graph):
    find_node(meta_graph, "x").attr["dtype"].type = 0


def _lost_restore(meta_graph):
    meta_graph.saver_def.restore_op_name = meta_graph.saver_def.filename_tensor_name = "nowhere"


def _wrong_beside(meta_graph):
    """No signature needs it."""
    add_node(meta_graph.graph_def, "z", "Neg", ["y"], T=tf.int32)


def _open_loop(meta_graph):
    """TensorFlow's executor dies of it."""
    add_node(meta_graph.graph_def, "out", "Exit", ["y"]).attr["T"].type = 1
    find_node(meta_graph, "result").input[0] = "out"


CASES = (
    Hostile("false_constant", _changed(_false_constant), ("'y/y'", "holds a value of type 3")),
    Hostile("unknown_type", _changed(_unknown_type), ("'x'", "999")),
    Hostile("lost_call", _changed(_lost_call), ("'call'", "'nowhere'", "not in the library")),
    Hostile("open_loop", _changed(_open_loop), ("'out'", "nothing enters")),
    Hostile("circle", _changed(_circle), ("has a circle", "result")),
    Hostile("circle_of_2000", _changed(_long_circle), ("has a circle", "...")),
    Hostile("circle_of_one", _changed(_self_edge), ("has a circle", "y -> y")),
    Hostile("unknown_input", _changed(_unknown_input), ("'y'", "'nowhere:0'", "not in the graph")),
    Hostile("same_name", _changed(_same_name), ("'y'", "two nodes")),
    Hostile("bad_name", _changed(_bad_name), ("no name of a node",)),
    Hostile("recursion", _changed(_recursive("f")), ("'f'", "calls itself: f -> f")),
    Hostile("mutual_recursion", _changed(_recursive("f", "g", "h")), ("calls itself", "-> g ->")),
    Hostile("deep_calls", _changed(_deep_calls), ("3000 deep",)),
    Hostile("same_function", _changed(_same_function), ("'f'", "several functions")),
    Hostile("lost_in_function", _changed(_lost_in_function), ("function 'f'", "'nowhere'")),
)

# What only TensorFlow itself finds: the scan lets them pass, and the migration of what is left of them would succeed.
LATE = (
    Hostile("garbage_variable", _changed(_garbage_variable), ("cannot load the original",)),
    Hostile("control_first", _changed(_control_first), ("'y'", "Control dependencies")),
    Hostile("no_type", _changed(_no_type), ("cannot load the original", "DataType")),
    Hostile("lost_restore", _changed(_lost_restore), ("cannot load the original", "saver_def")),
    Hostile("wrong_beside", _changed(_wrong_beside), ("node z", "int32")),
)
