"""Folders that are not what they seem."""

import os
import socket

from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tests.scan.hostile.case import Hostile, make_meta_graph, plain, write_model


def _link(name, target):
    """A model in which `name` is a link to `target` (in the folder outside, unless it is absolute or within)."""

    def write(folder, outside):
        plain(folder)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.unlink()
        path.symlink_to(target.format(outside=outside))

    return write


def _linked_proto(folder, outside):
    plain(outside / "real")
    _link("saved_model.pb", "{outside}/real/saved_model.pb")(folder, outside)


def _linked_folder(name):
    def write(folder, outside):
        (outside / "real").mkdir()
        (outside / "real" / "a.txt").write_text("secret", encoding="utf-8")
        _link(name, "{outside}/real")(folder, outside)

    return write


def _relative_link(folder, outside):
    _link("assets/a.txt", os.path.relpath(outside / "secret.txt", folder / "assets"))(folder, outside)


def _pipe(name):
    def write(folder, outside):
        plain(folder)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.unlink()
        os.mkfifo(path)

    return write


def _socket(folder, outside):
    plain(folder)
    here = os.getcwd()
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("s")
    finally:
        os.chdir(here)


def _asset(name, make=None):
    def write(folder, outside):
        def build(x, y):
            import tensorflow as tf

            tf.constant("", name="asset")

        meta_graph = make_meta_graph(build)
        meta_graph.asset_file_def.add(filename=name, tensor_info=meta_graph_pb2.TensorInfo(name="asset:0"))
        write_model(folder, meta_graph)
        (folder / "assets").mkdir()
        if make is not None:
            make(folder / "assets" / name)

    return write


def _asset_of_bytes(text):
    """A name that is no Unicode: half a surrogate pair, which no API writes."""

    def write(folder, outside):
        _asset("XXX")(folder, outside)
        path = folder / "saved_model.pb"
        if text:
            path = folder / "saved_model.pbtxt"
            saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
            path.write_text(text_format.MessageToString(saved_model), encoding="utf-8")
            (folder / "saved_model.pb").unlink()
        path.write_bytes(path.read_bytes().replace(b"XXX", rb"\355\240\200" if text else b"\xed\xa0\x80"))

    return write


def _hole(folder, outside):
    plain(folder)
    (folder / "variables").mkdir()
    for name, size in (("variables.index", 1), ("variables.data-00000-of-00001", 2**40)):
        with open(folder / "variables" / name, "wb") as file:
            file.truncate(size)


def _pipe_as_module(folder, outside):
    plain(folder)
    os.mkfifo(folder / "tfhub_module.pb")


CASES = (
    Hostile("link_proto", _linked_proto, ("saved_model.pb", "outside of the model", "cp -rL")),
    Hostile("link_to_passwords", _link("saved_model.pb", "/etc/passwd"), ("'/etc/passwd'", "outside of the model")),
    Hostile("link_assets", _linked_folder("assets"), ("assets", "outside of the model")),
    Hostile("link_assets_extra", _linked_folder("assets.extra"), ("assets.extra", "outside of the model")),
    Hostile("link_variables", _linked_folder("variables"), ("variables", "outside of the model")),
    Hostile("link_asset", _link("assets/a.txt", "{outside}/secret.txt"), ("assets/a.txt", "outside of the model")),
    Hostile("link_relative", _relative_link, ("assets/a.txt", "outside of the model")),
    Hostile("link_device", _link("assets.extra/zeros", "/dev/zero"), ("'/dev/zero'", "outside of the model")),
    Hostile("link_dangling", _link("assets/a.txt", "nowhere"), ("assets/a.txt", "is not there")),
    Hostile("link_dangling_proto", _link("saved_model.pb", "nowhere"), ("saved_model.pb", "is not there")),
    Hostile("link_circle", _link("assets/a.txt", "a.txt"), ("assets/a.txt", "leads to itself")),
    Hostile("link_upwards", _link("assets.extra/again", ".."), ("assets.extra/again", "no end")),
    Hostile("pipe_proto", _pipe("saved_model.pb"), ("saved_model.pb", "named pipe")),
    Hostile("pipe_asset", _pipe("assets/a.txt"), ("assets/a.txt", "named pipe")),
    Hostile("pipe_extra", _pipe("assets.extra/pipe"), ("assets.extra/pipe", "named pipe")),
    Hostile("pipe_shard", _pipe("variables/variables.data-00000-of-00001"), ("named pipe",)),
    Hostile("pipe_module", _pipe_as_module, ("tfhub_module.pb", "named pipe")),
    Hostile("socket", _socket, ("a socket",)),
    Hostile("asset_absolute", _asset("/etc/passwd"), ("'/etc/passwd'", "outside the folder of assets")),
    Hostile("asset_upwards", _asset("../../secret.txt"), ("outside the folder of assets",)),
    Hostile("asset_upwards_and_back", _asset("a/../b"), ("outside the folder of assets",)),
    Hostile("asset_of_windows", _asset("a\\..\\b"), ("outside the folder of assets",)),
    Hostile("asset_nul", _asset("a.txt\0b"), (r"'a.txt\x00b'", "no file is called so")),
    Hostile("asset_nameless", _asset(""), ("asset ''", "is a folder")),
    Hostile("asset_surrogate", _asset_of_bytes(text=False), ("saved_model.pb", "UTF-8")),
    Hostile("asset_surrogate_text", _asset_of_bytes(text=True), ("saved_model.pbtxt", "utf-8")),
    Hostile("asset_folder", _asset("a.txt", lambda path: path.mkdir()), ("'a.txt'", "is a folder")),
    Hostile("hole", _hole, ("variables.data-00000-of-00001", "claims")),
)
