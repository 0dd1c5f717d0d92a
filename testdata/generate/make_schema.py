"""Makes the files of migrate/schema from the installed TensorFlow: python testdata/generate/make_schema.py."""

import pathlib

import tensorflow as tf  # noqa: F401  # registers ops and kernels
from google.protobuf import descriptor_pb2
from tensorflow.core.framework import op_def_pb2, variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import kernels

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "migrate" / "schema"
CPU = ("CPU", "DEFAULT")


def make_messages():
    """FileDescriptorSet of the .proto files behind the messages, dependencies first."""
    files = {}

    def add(file):
        for dependency in file.dependencies:
            add(dependency)
        if file.name not in files:
            files[file.name] = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(files[file.name])

    for module in (saved_model_pb2, meta_graph_pb2, variable_pb2, op_def_pb2):
        add(module.DESCRIPTOR)
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def make_ops():
    """OpList of what tells a node's outputs."""
    registered = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    result = op_def_pb2.OpList()
    for op in sorted(registered.op, key=lambda op: op.name):
        made = result.op.add(name=op.name, is_stateful=op.is_stateful)
        for output in op.output_arg:
            argument = made.output_arg.add()
            argument.CopyFrom(output)
            argument.description = ""
            argument.ClearField("experimental_full_type")
        needed = {n for o in op.output_arg for n in (o.type_attr, o.number_attr, o.type_list_attr)}
        for attr in op.attr:
            if attr.name in needed and attr.HasField("default_value"):
                made.attr.add(name=attr.name).default_value.CopyFrom(attr.default_value)
    return result


def make_without_kernel(ops):
    runnable = {kernel.op for kernel in kernels.get_all_registered_kernels().kernel if kernel.device_type in CPU}
    return sorted({op.name for op in ops.op} - runnable)


def main():
    ops = make_ops()
    (FOLDER / "messages.pb").write_bytes(make_messages().SerializeToString(deterministic=True))
    (FOLDER / "ops.pb").write_bytes(ops.SerializeToString(deterministic=True))
    (FOLDER / "without_cpu_kernel.txt").write_text("\n".join(make_without_kernel(ops)) + "\n")


if __name__ == "__main__":
    main()
