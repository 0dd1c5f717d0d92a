"""A model with another graph beside it: the same files, so that one change of the graph can be run alone."""

from __future__ import annotations

import os
from typing import Any

from migrate.verify.runners.process import keep_as_written


def write_altered(saved_model: Any, path: str, folder: str) -> None:
    """Writes a changed SavedModel proto into a new folder that shares the files of the model it was read from.

    Args:
      saved_model: the changed proto.
      path: of the model; its variables and assets are linked to, not copied.
      folder: to make.
    """
    for meta_graph in saved_model.meta_graphs:
        keep_as_written(meta_graph.graph_def)
    os.makedirs(folder)
    with open(os.path.join(folder, "saved_model.pb"), "wb") as file:
        file.write(saved_model.SerializeToString())
    for name in ("variables", "assets"):
        if os.path.isdir(os.path.join(path, name)):
            os.symlink(os.path.join(os.path.abspath(path), name), os.path.join(folder, name))
