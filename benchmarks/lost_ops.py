"""Ops that TF 1.15 could run on a CPU and this TensorFlow cannot, by the number of models that hold them.

Run as `python benchmarks/lost_ops.py [folder of models ...]`: Markdown for benchmarks/LOST_OPS.md. Models are all
`saved_model.pb`, `saved_model.pbtxt` and frozen `*.pb` files below the folders.
"""

from __future__ import annotations

import collections
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from google.protobuf import message, text_format
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from migrate.graph import availability, removed_ops

RECORDED = pathlib.Path(__file__).with_name("ops_of_tf115.txt")


def read_graphs(path: pathlib.Path) -> list[Any]:
    """GraphDefs of one file, none where it is no model."""
    try:
        if path.name.startswith("saved_model.pb"):
            model = saved_model_pb2.SavedModel()
            if path.suffix == ".pbtxt":
                text_format.Parse(path.read_text(encoding="utf-8"), model)
            else:
                model.ParseFromString(path.read_bytes())
            return [meta_graph.graph_def for meta_graph in model.meta_graphs]
        return [graph_pb2.GraphDef.FromString(path.read_bytes())]
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError):
        return []


def find_models(folders: list[str]) -> Iterator[set[str]]:
    """Ops that cannot run here, for each model that has any node."""
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*.pb*")):
            graphs = [graph for graph in read_graphs(path) if graph.node] if path.is_file() else []
            if graphs:
                yield {op.op for graph in graphs for op in availability.find_missing_ops(graph)}


def main(folders: list[str]) -> None:
    ops = RECORDED.read_text(encoding="utf-8").split()
    everything = graph_pb2.GraphDef(node=[graph_pb2.GraphDef().node.add(name=op, op=op) for op in ops])
    lost = {op.op: op.reason for op in availability.find_missing_ops(everything)}
    models = list(find_models(folders))
    counts = collections.Counter(op for missing in models for op in missing)
    handled = {*removed_ops.REWRITES, *removed_ops._HANDLES}
    print(f"Of {len(ops)} ops that TF 1.15 runs on a CPU, {len(lost)} are lost; {len(models)} models were searched.\n")
    print("| op | models | in TF 1.15 | rewritten |\n|---|---|---|---|")
    for op, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"| `{op}` | {count} | {'yes' if op in lost else 'no: custom'} | {'yes' if op in handled else 'no'} |")
    for rewritten in (True, False):
        found = sorted(op for op in lost if op not in counts and (op in handled) == rewritten)
        print(
            f"\nIn no model, {'rewritten' if rewritten else 'not rewritten'}: {', '.join(f'`{op}`' for op in found)}."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
