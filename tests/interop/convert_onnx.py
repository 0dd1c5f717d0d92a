"""Converts signatures of a SavedModel with tf2onnx, in its own process: python convert_onnx.py MODEL FOLDER KEY ...

tf2onnx registers functions under fixed names in TensorFlow's one table of functions, so two models do not go into
one process. Prints a JSON object: key -> "" or the error. Writes FOLDER/<number of the key>.onnx.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import onnxruntime
import tensorflow as tf
from tf2onnx import optimizer, tf_loader, tfonnx


def convert(model, key):
    """An ONNX model with the signature's keys; an input whose key an output has too becomes "<key>_input"."""
    graph_def, inputs, outputs, tables, names = tf_loader.from_saved_model(
        model, None, None, signatures=[key], return_initialized_tables=True, return_tensors_to_rename=True
    )
    taken = {names.get(tensor) for tensor in outputs}
    names |= {tensor: f"{names[tensor]}_input" for tensor in inputs if names.get(tensor) in taken}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with tf_loader.tf_session(graph=graph):
            converted = tfonnx.process_tf_graph(
                graph,
                input_names=inputs,
                output_names=outputs,
                tensors_to_rename=names,
                initialized_tables=tables,
                opset=18,
            )
    return optimizer.optimize_graph(converted).make_model(key)


def main(model, folder, *keys):
    found = {}
    for number, key in enumerate(keys):
        try:
            data = convert(model, key).SerializeToString()
            onnxruntime.InferenceSession(data)
            with open(os.path.join(folder, f"{number}.onnx"), "wb") as stream:
                stream.write(data)
            found[key] = ""
        except Exception as error:  # Whatever tf2onnx or onnxruntime raises is the answer.
            found[key] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
