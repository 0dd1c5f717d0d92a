"""Ops that reach for files, the network or other code, wherever a graph can hide them."""

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tests.scan.hostile.case import Hostile, add_node, make_attribute, make_meta_graph, tf1, write_model


def _write_op(outside):
    return tf.raw_ops.WriteFile(filename=str(outside / "written"), contents="x", name="hidden")


def _in_signature(folder, outside):
    def build(x, y):
        with tf1.control_dependencies([_write_op(outside)]):
            return tf.identity(y)

    write_model(folder, make_meta_graph(build))


def _in_collection(collection):
    def write(folder, outside):
        write_model(folder, make_meta_graph(lambda x, y: (_write_op(outside), None)[1], collections=[collection]))

    return write


def _in_init_signature(folder, outside):
    meta_graph = make_meta_graph(lambda x, y: (_write_op(outside), None)[1])
    meta_graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "hidden"
    write_model(folder, meta_graph)


def _read_secret(folder, outside):
    def build(x, y):
        secret = tf.io.read_file(str(outside / "secret.txt"))
        return y + tf.cast(tf.strings.length(secret), tf.float32)

    write_model(folder, make_meta_graph(build))


def _read_from_parts(folder, outside):
    """The name is put together in the graph, so that no constant shows it."""

    def build(x, y):
        name = tf.strings.join(list(str(outside / "secret.txt")))
        return y + tf.cast(tf.strings.length(tf.io.read_file(name)), tf.float32)

    write_model(folder, make_meta_graph(build))


def _read_into_variable(folder, outside):
    """The secret would be published as a weight."""

    def build(x, y):
        secret = tf.io.decode_raw(tf.io.read_file(str(outside / "secret.txt")), tf.uint8)
        variable = tf1.get_variable("v", [3], use_resource=True, initializer=tf1.zeros_initializer())
        variable.assign(tf.cast(secret[:3], tf.float32), name="hidden", read_value=False)
        return y + tf.reduce_sum(variable)

    write_model(folder, make_meta_graph(build, collections=["legacy_init_op"]))


def _table_of_passwords(folder, outside):
    def build(x, y):
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(outside / "secret.txt"), tf.string, 0, tf.int64, -1, delimiter=":", name="init"
            ),
            -1,
        )
        tf.group(tf1.tables_initializer(), name="hidden")
        return y + tf.cast(table.lookup(tf.constant(["root"])), tf.float32)

    write_model(folder, make_meta_graph(build, collections=["legacy_init_op"]))


def _table_behind_default(folder, outside):
    """The asset's name has a default; the table does not take the asset, but another tensor."""

    def build(x, y):
        name = tf1.placeholder_with_default(str(outside / "secret.txt"), [], name="not_the_asset")
        table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
        tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=name, key_index=-2, value_index=-1, name="hidden"
        )
        return None

    write_model(folder, make_meta_graph(build, collections=["table_initializer"]))


def _in_function(folder, outside):
    def build(x, y):
        @tf.function
        def inner(value):
            with tf.control_dependencies([_write_op(outside)]):
                return tf.identity(value)

        @tf.function
        def outer(value):
            return inner(value) + 1.0

        return outer(y)

    write_model(folder, make_meta_graph(build))


def _in_branch(functional):
    def write(folder, outside):
        def build(x, y):
            def dangerous():
                with tf.control_dependencies([_write_op(outside)]):
                    return tf.identity(y)

            chosen = tf.reduce_sum(x) > 1e6
            if functional:
                return tf.function(lambda: tf.cond(chosen, dangerous, lambda: y))()
            tf1.disable_control_flow_v2()
            return tf1.cond(chosen, dangerous, lambda: y)

        write_model(folder, make_meta_graph(build))

    return write


def _in_loop(folder, outside):
    def build(x, y):
        @tf.function
        def loop(value):
            def body(i, v):
                with tf.control_dependencies([_write_op(outside)]):
                    return i + 1, tf.identity(v)

            return tf.while_loop(lambda i, v: i < 2, body, [0, value])[1]

        return loop(y)

    write_model(folder, make_meta_graph(build))


def _in_gradient(folder, outside):
    """Only the gradient of a function does it."""
    meta_graph = make_meta_graph(None)
    library = meta_graph.graph_def.library
    for name in ("forward", "backward"):
        function = library.function.add()
        function.signature.name = name
        function.signature.input_arg.add(name="v", type=1)
        function.signature.output_arg.add(name="r", type=1)
        function.ret["r"] = "i:output:0"
        node = function.node_def.add(name="i", op="Identity", input=["v"])
        node.attr["T"].CopyFrom(make_attribute(tf.float32))
    library.gradient.add(function_name="forward", gradient_func="backward")
    backward = library.function[1]
    for name, value in (("n", str(outside / "written")), ("c", "x")):
        node = backward.node_def.add(name=name, op="Const")
        node.attr["dtype"].CopyFrom(make_attribute(tf.string))
        node.attr["value"].CopyFrom(make_attribute(value))
    backward.node_def.add(name="w", op="WriteFile", input=["n:output:0", "c:output:0"])
    call = add_node(meta_graph.graph_def, "call", "forward", ["y"])
    del call
    write_model(folder, meta_graph)


def _in_unused_meta_graph(folder, outside):
    hidden = make_meta_graph(lambda x, y: (_write_op(outside), None)[1], tags=["train", "gpu"])
    write_model(folder, make_meta_graph(None), hidden)


def _in_text(folder, outside):
    write_model(folder, make_meta_graph(lambda x, y: (_write_op(outside), None)[1]), text=True)


def _lone(op, inputs=(), **attributes):
    """A node of an op that no API of this TensorFlow makes, which nothing consumes."""

    def write(folder, outside):
        meta_graph = make_meta_graph(None)
        graph = meta_graph.graph_def
        names = []
        for position, value in enumerate(inputs):
            text = value.format(outside=outside) if isinstance(value, str) else value
            dtype = tf.as_dtype(tf.make_tensor_proto(text).dtype)
            add_node(graph, f"c{position}", "Const", dtype=dtype, value=tf.make_tensor_proto(text))
            graph.node[-1].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))
            names.append(f"c{position}")
        add_node(graph, "hidden", op, names, **attributes)
        write_model(folder, meta_graph)

    return write


def _restore_elsewhere(folder, outside):
    """A checkpoint of somebody else's, restored into an output."""

    def build(x, y):
        weights = tf.raw_ops.RestoreV2(
            prefix=str(outside / "model.ckpt"), tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
        )
        return y + tf.reduce_sum(weights[0])

    write_model(folder, make_meta_graph(build))


def _save_elsewhere(folder, outside):
    def build(x, y):
        save = tf.raw_ops.SaveV2(
            prefix=str(outside / "written"), tensor_names=["w"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
        )
        with tf1.control_dependencies([save]):
            return tf.identity(y)

    write_model(folder, make_meta_graph(build))


def _saver_that_is_none(folder, outside):
    """The SaverDef's own restore op reads another file than the one that the loader names."""

    def build(x, y):
        tf1.placeholder_with_default("model", [], name="filename")
        tf.raw_ops.RestoreV2(
            prefix=str(outside / "model.ckpt"),
            tensor_names=["w"],
            shape_and_slices=[""],
            dtypes=[tf.float32],
            name="hidden",
        )
        return None

    meta_graph = make_meta_graph(build)
    meta_graph.saver_def.filename_tensor_name = "filename:0"
    meta_graph.saver_def.restore_op_name = "hidden"
    meta_graph.saver_def.save_tensor_name = "filename:0"
    write_model(folder, meta_graph)


def _asset_and_more(folder, outside):
    """An asset's path, and a way out of it behind."""

    def build(x, y):
        path = tf.constant("", name="asset")
        name = tf.strings.join([path, "/../../../secret.txt"])
        return y + tf.cast(tf.strings.length(tf.io.read_file(name)), tf.float32)

    meta_graph = make_meta_graph(build)
    meta_graph.asset_file_def.add(filename="a.txt", tensor_info=meta_graph_pb2.TensorInfo(name="asset:0"))
    write_model(folder, meta_graph)
    (folder / "assets").mkdir()
    (folder / "assets" / "a.txt").write_text("a", encoding="utf-8")


def _print_to_file(folder, outside):
    def build(x, y):
        out = tf.raw_ops.PrintV2(input="x", output_stream=f"file://{outside / 'written'}")
        with tf1.control_dependencies([out]):
            return tf.identity(y)

    write_model(folder, make_meta_graph(build))


def _python(folder, outside):
    def build(x, y):
        return tf1.py_func(lambda value: value, [y], tf.float32)

    write_model(folder, make_meta_graph(build))


def _read_dataset(folder, outside):
    def build(x, y):
        lines = tf1.data.make_initializable_iterator(tf1.data.TextLineDataset(str(outside / "secret.txt")))
        tf.group(lines.initializer, name="hidden")
        return y + tf.cast(tf.strings.length(lines.get_next()), tf.float32)

    write_model(folder, make_meta_graph(build, collections=["legacy_init_op"]))


def _dataset_in_flat_map(folder, outside):
    def build(x, y):
        names = tf1.data.Dataset.from_tensors(str(outside / "secret.txt"))
        lines = tf1.data.make_one_shot_iterator(names.flat_map(tf1.data.TFRecordDataset))
        return y + tf.cast(tf.strings.length(lines.get_next()), tf.float32)

    write_model(folder, make_meta_graph(build))


def _summaries(folder, outside):
    def build(x, y):
        writer = tf.raw_ops.SummaryWriter()
        tf.raw_ops.CreateSummaryFileWriter(
            writer=writer, logdir=str(outside), max_queue=1, flush_millis=1, filename_suffix="", name="hidden"
        )
        return None

    write_model(folder, make_meta_graph(build, collections=["saved_model_main_op"]))


def _called(op, name, **attributes):
    """An op that runs another by its name, as if that were a function."""

    def write(folder, outside):
        meta_graph = make_meta_graph(None)
        node = add_node(meta_graph.graph_def, "hidden", op, ["y"], **attributes)
        node.attr["f"].func.name = name
        write_model(folder, meta_graph)

    return write


def _called_within_attributes(folder, outside):
    meta_graph = make_meta_graph(None)
    function = add_node(meta_graph.graph_def, "hidden", "MapDataset", ["y"]).attr["f"].func
    function.name = "Identity"
    function.attr["g"].list.func.add().name = "Sub"
    function.attr["g"].list.func[0].attr["h"].func.name = "WriteFile"
    write_model(folder, meta_graph)


def _in_library(change):
    def write(folder, outside):
        meta_graph = make_meta_graph(None)
        change(meta_graph.graph_def.library)
        write_model(folder, meta_graph)

    return write


def _named_by_function(library):
    function = library.function.add()
    function.signature.name = "f"
    function.attr["_gradient"].func.name = "WriteFile"


def _copy_for_debugger(folder, outside):
    meta_graph = make_meta_graph(None)
    spec = f"DebugIdentity;file://{outside}/written;0".encode()
    add_node(meta_graph.graph_def, "hidden", "CopyHost", ["y"], T=tf.float32, debug_ops_spec=[spec])
    write_model(folder, meta_graph)


_OUT = "{outside}/written"
_SECRET = "{outside}/secret.txt"
CASES = (
    Hostile("write_in_signature", _in_signature, ("WriteFile", "writes files", "written"), ("WriteFile",)),
    *(
        Hostile(f"write_in_{name}", _in_collection(name), ("WriteFile", "'hidden'"), ("WriteFile",))
        for name in (
            "saved_model_main_op",
            "legacy_init_op",
            "table_initializer",
            "update_ops",
            "regularization_losses",
        )
    ),
    Hostile("write_in_init_signature", _in_init_signature, ("WriteFile",), ("WriteFile",)),
    Hostile("read_secret", _read_secret, ("ReadFile", "secret.txt", "--allow_unsafe_ops=ReadFile"), ("ReadFile",)),
    Hostile("read_from_parts", _read_from_parts, ("ReadFile",), ("ReadFile",)),
    Hostile("read_into_variable", _read_into_variable, ("ReadFile", "secret.txt"), ("ReadFile",)),
    Hostile("table_of_passwords", _table_of_passwords, ("InitializeTableFromTextFileV2", "secret.txt")),
    Hostile("table_behind_default", _table_behind_default, ("InitializeTableFromTextFileV2", "secret.txt")),
    Hostile("write_in_function", _in_function, ("WriteFile", "function"), ("WriteFile",)),
    Hostile("write_in_cond", _in_branch(False), ("WriteFile", "written"), ("WriteFile",)),
    Hostile("write_in_functional_if", _in_branch(True), ("WriteFile", "function"), ("WriteFile",)),
    Hostile("write_in_while", _in_loop, ("WriteFile", "function"), ("WriteFile",)),
    Hostile("write_in_gradient", _in_gradient, ("WriteFile", "'backward'")),
    Hostile("write_in_unused_meta_graph", _in_unused_meta_graph, ("WriteFile", "gpu,train"), ("WriteFile",)),
    Hostile("write_in_text", _in_text, ("WriteFile",), ("WriteFile",)),
    Hostile("restore_elsewhere", _restore_elsewhere, ("RestoreV2", "model.ckpt"), ("RestoreV2",)),
    Hostile("save_elsewhere", _save_elsewhere, ("SaveV2", "written"), ("SaveV2",)),
    Hostile("saver_that_is_none", _saver_that_is_none, ("RestoreV2", "model.ckpt"), ("RestoreV2",)),
    Hostile("asset_and_more", _asset_and_more, ("ReadFile", "secret.txt"), ("ReadFile",)),
    Hostile("print_to_file", _print_to_file, ("PrintV2", "file://"), ("PrintV2",)),
    Hostile("python_function", _python, ("PyFunc", "executes code"), ("PyFunc",)),
    Hostile("text_dataset", _read_dataset, ("TextLineDataset", "secret.txt"), ("TextLineDataset",)),
    Hostile("dataset_in_flat_map", _dataset_in_flat_map, ("TFRecordDataset", "function")),
    Hostile("summary_writer", _summaries, ("CreateSummaryFileWriter",)),
    Hostile("matching_files", _lone("MatchingFiles", ["/etc/*"]), ("MatchingFiles", "/etc/*"), ("MatchingFiles",)),
    Hostile("tensorrt", _lone("TRTEngineOp", serialized_segment=b"x"), ("TRTEngineOp",), ("TRTEngineOp",)),
    Hostile("rpc", _lone("RpcClient", ["evil:1", 1]), ("RpcClient", "evil:1", "network"), ("RpcClient",)),
    Hostile("record_input", _lone("RecordInput", file_pattern=b"/etc/*"), ("RecordInput", "/etc/*")),
    Hostile("memory_mapped", _lone("ImmutableConst", memory_region_name=b"/etc/passwd"), ("ImmutableConst",)),
    Hostile("vocabulary", _lone("FixedUnigramCandidateSampler", vocab_file=b"/etc/passwd"), ("/etc/passwd",)),
    Hostile("descriptor", _lone("DecodeProtoV2", descriptor_source=b"/etc/passwd"), ("DecodeProtoV2", "/etc/passwd")),
    Hostile("debug_url", _lone("DebugIdentity", [1.0], debug_urls=[b"file:///tmp/x"]), ("DebugIdentity", "file:///")),
    Hostile("dump_tensor", _lone("DumpTensor", [1.0], log_dir_path=b"/tmp"), ("DumpTensor", "/tmp")),
    Hostile("graph_in_a_string", _lone("DatasetFromGraph", ["..."]), ("DatasetFromGraph", "executes code")),
    Hostile("ffmpeg", _lone("DecodeVideo", ["..."]), ("DecodeVideo",)),
    Hostile("kafka", _lone("KafkaDataset", ["evil"]), ("KafkaDataset", "evil")),
    Hostile("abort", _lone("Abort"), ("Abort", "stops the process")),
    Hostile("xla_module", _lone("XlaCallModule", module=b"x"), ("XlaCallModule", "executes code")),
    Hostile("cache_file", _lone("CacheDatasetV2", [1, _OUT]), ("CacheDatasetV2", "written")),
    Hostile("merge_checkpoints", _lone("MergeV2Checkpoints", ["a", _OUT]), ("MergeV2Checkpoints", "written")),
    *(
        Hostile(f"{name.lower()}_by_{op.lower()}", _called(op, name), (name, f"{op} calls it"), (name,))
        for op, name in (
            ("MapDefun", "ReadFile"),
            ("SymbolicGradient", "SaveV2"),
            ("BatchFunction", "RestoreV2"),
            ("ParallelMapDatasetV2", "InitializeTableFromTextFileV2"),
            ("ScanDataset", "PrintV2"),
            ("FilterDataset", "CacheDatasetV2"),
        )
    ),
    Hostile(
        "called_within_attributes", _called_within_attributes, ("WriteFile", "MapDataset calls it"), ("WriteFile",)
    ),
    Hostile(
        "gradient_of_an_op",
        _in_library(lambda library: library.gradient.add(function_name="Mul", gradient_func="WriteFile")),
        ("WriteFile", "gradient of 'Mul'"),
    ),
    Hostile(
        "registered_gradient",
        _in_library(lambda library: library.registered_gradients.add(registered_op_type="Mul", gradient_func="PyFunc")),
        ("PyFunc", "gradient of 'Mul'"),
    ),
    Hostile("attribute_of_a_function", _in_library(_named_by_function), ("WriteFile", "function 'f'")),
    Hostile("copy_for_debugger", _copy_for_debugger, ("CopyHost", "file://"), ("CopyHost",)),
)
