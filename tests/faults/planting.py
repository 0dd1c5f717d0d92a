"""Plants faults in a copy of a migrated model: in its functions, variables, tables, lists and files.

What is planted is meant to be found: each planter raises if it finds nothing to change.
"""

import contextlib
import json
import pathlib
import struct

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.core.protobuf import saved_model_pb2

from migrate import tensorflow_private

LOADING = (
    "__inference__traced_save",
    "__inference__traced_restore",
    "__inference__initializer",
    "__inference__creator",
)


class NothingPlanted(Exception):
    """There is nothing of the kind in the model."""


def path_of(folder):
    return pathlib.Path(folder) / "saved_model.pb"


def read_meta(folder):
    """The MetaGraphDef of a SavedModel."""
    return saved_model_pb2.SavedModel.FromString(path_of(folder).read_bytes()).meta_graphs[0]


@contextlib.contextmanager
def edited(folder):
    """The MetaGraphDef of a SavedModel, written back at the end."""
    proto = saved_model_pb2.SavedModel.FromString(path_of(folder).read_bytes())
    yield proto.meta_graphs[0]
    path_of(folder).write_bytes(proto.SerializeToString(deterministic=True))


def functions_of(meta, part="all"):
    """FunctionDefs by part: "all" that calls run, "plain" that plain calls alone run, "losses"."""
    library = {f.signature.name: f for f in meta.graph_def.library.function}
    objects = meta.object_graph_def
    traces = {}
    for position, node in enumerate(objects.nodes):
        for child in node.children:
            target = objects.nodes[child.node_id]
            if target.WhichOneof("kind") == "function":
                traces.setdefault((position, child.local_name), list(target.function.concrete_functions))
    losses = {name for (_, local), names in traces.items() if local.isdigit() for name in names}
    calls = {name for (_, local), names in traces.items() if local == "__call__" for name in names}
    plain = {n for n in calls if objects.concrete_functions[n].output_signature.WhichOneof("kind") != "dict_value"}
    if part == "losses":
        names = reach(library, losses)
    elif part == "plain":
        served = {n for n in objects.concrete_functions if n not in plain}
        names = reach(library, plain) - reach(library, served)
    else:
        names = {name for name in library if not name.startswith(LOADING)} - reach(library, losses)
        names |= reach(library, calls)
    return [library[name] for name in library if name in names]


def reach(library, roots):
    """Names of functions that `roots` call, themselves included."""
    found, pending = set(), list(roots)
    while pending:
        name = pending.pop()
        if name not in library or name in found:
            continue
        found.add(name)
        for node in library[name].node_def:
            pending.append(node.op)
            for value in node.attr.values():
                pending.extend(item.name for item in (value.func, *value.list.func) if item.name)
    return found


def change_nodes(folder, op, change, *, name="", part="all", most=None):
    """Applies `change` to nodes of an op (and name, a substring); returns their names."""
    changed = []
    with edited(folder) as meta:
        for function in functions_of(meta, part):
            for node in function.node_def:
                fits = node.op == op and name in node.name and (most is None or len(changed) < most)
                if fits and change(node) is not False:
                    changed.append(node.name)
                    rename_results(function, node, op)
    if not changed:
        raise NothingPlanted(f"no {op} {name} in {part}")
    return changed


def change_one(folder, op, change, number=0):
    """Applies `change` to one op, the `number`-th of its kind by name, in every trace; its name."""
    names = sorted({n.name for f in functions_of(read_meta(folder)) for n in f.node_def if n.op == op})
    if not names:
        raise NothingPlanted(f"no {op}")
    chosen = names[number % len(names)]
    return change_nodes(folder, op, lambda node: node.name == chosen and change(node) is not False)[0]


def stop_gradient(folder, op, number=0):
    """Nothing is differentiated beyond one op's first result, in any trace; the op's name."""
    names = sorted({n.name for f in functions_of(read_meta(folder)) for n in f.node_def if n.op == op})
    if not names:
        raise NothingPlanted(f"no {op}")
    chosen = names[number % len(names)]
    with edited(folder) as meta:
        for function in functions_of(meta):
            for node in [n for n in function.node_def if n.op == op and n.name == chosen]:
                result = tensorflow_private.find_op_def(op).output_arg[0].name
                old, new = f"{chosen}:{result}:0", f"{chosen}/stopped:output:0"
                for other in function.node_def:
                    other.input[:] = [new if text == old else text for text in other.input]
                for key, text in list(function.ret.items()):
                    function.ret[key] = new if text == old else text
                stop = function.node_def.add(name=f"{chosen}/stopped", op="StopGradient", input=[old])
                stop.attr["T"].type = node.attr["T"].type
    return chosen


def rename_results(function, node, old):
    """Ops give their results under names of their own, by which a function's nodes refer to them."""
    if node.op == old:
        return
    results = [tensorflow_private.find_op_def(op).output_arg for op in (old, node.op)]
    if not all(results):
        return
    before, after = (listed[0].name for listed in results)
    spelled = f"{node.name}:{before}:", f"{node.name}:{after}:"
    for other in function.node_def:
        for position, text in enumerate(other.input):
            if text.startswith(spelled[0]):
                other.input[position] = text.replace(*spelled, 1)
    for key, text in list(function.ret.items()):
        if text.startswith(spelled[0]):
            function.ret[key] = text.replace(*spelled, 1)


def set_op(op):
    def change(node):
        node.op = op

    return change


def set_attr(name, value):
    def change(node):
        if name not in node.attr:
            return False
        attribute = node.attr[name]
        kind = attribute.WhichOneof("value")
        if getattr(attribute, kind) == value:
            return False
        setattr(attribute, kind, value)
        return True

    return change


def seed(node):
    """A generator that draws the same in each process."""
    node.attr["seed"].i, node.attr["seed2"].i = 7, 7


def share_rows(folder):
    """All rows of a batch share what is drawn for the first."""
    with edited(folder) as meta:
        for function in functions_of(meta):
            for node in [n for n in function.node_def if n.op == "RandomUniform"]:
                first, shape = f"{node.name}/first", f"{node.name}/one_row"
                value = tf.make_tensor_proto([1, 2**30], tf.int32)
                constant = function.node_def.add(name=first, op="Const")
                constant.attr["value"].tensor.CopyFrom(value)
                constant.attr["dtype"].type = tf.int32.as_datatype_enum
                least = function.node_def.add(name=shape, op="Minimum", input=[node.input[0], f"{first}:output:0"])
                least.attr["T"].type = tf.int32.as_datatype_enum
                node.input[0] = f"{shape}:z:0"


def swap_inputs(node):
    node.input[0], node.input[1] = node.input[1], node.input[0]


def flip_attr(name):
    def change(node):
        if name not in node.attr:
            return False
        node.attr[name].b = not node.attr[name].b
        return True

    return change


def scale_const(factor, *, only=lambda value: True):
    """Multiplies float constants."""

    def change(node):
        tensor = node.attr["value"].tensor
        if tensor.dtype not in (1, 2):
            return False
        value = tf.make_ndarray(tensor)
        if not value.size or not only(value):
            return False
        new = (value * factor).astype(value.dtype)
        if np.array_equal(new, value):
            new = np.full_like(value, 0.25)
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(new))
        return True

    return change


def add_const(amount):
    def change(node):
        tensor = node.attr["value"].tensor
        value = tf.make_ndarray(tensor)
        if value.dtype.kind not in "iuf" or not value.size:
            return False
        new = (value + np.asarray(amount, value.dtype)).astype(value.dtype)
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(new))
        return True

    return change


def change_table_values(folder, amount):
    """Adds to the values that tables are filled with, constants of their fillers."""
    found = False
    with edited(folder) as meta:
        for function in meta.graph_def.library.function:
            nodes = {node.name: node for node in function.node_def}
            for node in function.node_def:
                if node.op in ("LookupTableImportV2", "InitializeTableV2"):
                    filled = nodes.get(node.input[2].partition(":")[0])
                    found |= filled is not None and filled.op == "Const" and add_const(amount)(filled)
    if not found:
        raise NothingPlanted("no table that constants fill")


def swap_branches(node):
    old = attr_value_pb2.AttrValue.FromString(node.attr["then_branch"].SerializeToString())
    node.attr["then_branch"].CopyFrom(node.attr["else_branch"])
    node.attr["else_branch"].CopyFrom(old)


def change_checkpoint(folder, change):
    """`change` takes and returns {key: array} of the values that the model restores."""
    prefix = str(pathlib.Path(folder) / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    values = dict(sorted((key, reader.get_tensor(key)) for key in shapes))
    dtypes = reader.get_variable_to_dtype_map()
    values = change(values)
    for path in (pathlib.Path(folder) / "variables").iterdir():
        path.unlink()
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value, dtypes[key]) for key, value in values.items()],
    )


def variable_keys(values, name=""):
    return [
        key
        for key, value in values.items()
        if key.endswith("/.ATTRIBUTES/VARIABLE_VALUE") and value.size and name in key
    ]


def change_variable(folder, change, *, ndim=None, position=0):
    """Changes the `position`-th float variable (of a rank)."""

    def apply(values):
        keys = [
            key
            for key in variable_keys(values)
            if values[key].dtype.kind == "f" and (ndim is None or values[key].ndim == ndim)
        ]
        if not keys:
            raise NothingPlanted("no float variable")
        key = keys[position % len(keys)]
        new = change(values[key].copy())
        if np.array_equal(new, values[key]):
            raise NothingPlanted("it makes no difference")
        return values | {key: np.ascontiguousarray(new)}

    change_checkpoint(folder, apply)


def change_asset(folder, change, name=""):
    """Changes the lines of an asset file."""
    files = [p for p in sorted((pathlib.Path(folder) / "assets").glob("*")) if name in p.name]
    if not files:
        raise NothingPlanted("no asset")
    lines = files[0].read_bytes().splitlines(keepends=True)
    new = change(lines)
    if new == lines:
        raise NothingPlanted("it makes no difference")
    files[0].write_bytes(b"".join(new))


def misspell(position):
    def change(lines):
        at = position % len(lines)
        return [*lines[:at], b"q" + lines[at], *lines[at + 1 :]]

    return change


def change_record(folder, change):
    """Changes `migration.json`, by which the candidate is called."""
    path = pathlib.Path(folder) / "assets.extra" / "migration.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def drop_child(folder, holder, position=0, owner=""):
    """Takes an entry out of a list (`variables`, `trainable_variables`, `regularization_losses`) of the root, or of
    the sub-object `owner`."""
    with edited(folder) as meta:
        nodes = meta.object_graph_def.nodes
        root = nodes[0]
        if owner:
            root = nodes[next(c.node_id for c in root.children if c.local_name == owner)]
        lists = [c.node_id for c in root.children if c.local_name == holder]
        if not lists or not nodes[lists[0]].children:
            raise NothingPlanted(f"no {holder}")
        listed = [(c.local_name, c.node_id) for c in nodes[lists[0]].children]
        del listed[position % len(listed)]
        children = nodes[lists[0]].children
        del children[:]
        for number, (_, node_id) in enumerate(listed):
            children.add(local_name=str(number), node_id=node_id)


def float_bits(value):
    return struct.pack("<f", value)
