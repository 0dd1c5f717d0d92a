"""Files that are no protocol buffer, or too much of one."""

from tests.scan.hostile.case import Hostile, make_meta_graph, plain, write_model


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number, data):
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _bytes(data):
    def write(folder, outside):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_bytes(data() if callable(data) else data)

    return write


def _empty_nodes():
    """12 million empty nodes of two bytes each, which would take gigabytes."""
    return _field(2, _field(2, b"\x0a\x00" * 12_000_000))


def _nested_attributes():
    """Functions in attributes of functions, deeper than protobuf goes."""
    value = b""
    for _ in range(3_000):
        value = _field(10, _field(2, _field(1, b"k") + _field(2, value)))
    node = _field(1, b"n") + _field(2, b"NoOp") + _field(5, _field(1, b"f") + _field(2, value))
    return _field(2, _field(2, _field(1, node)))


def _text(text):
    def write(folder, outside):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pbtxt").write_text(text, encoding="utf-8")

    return write


def _op_twice(folder, outside):
    """The op is given twice, the second time as a field of another kind, which protobuf skips."""
    graph = make_meta_graph(None)
    node = _field(1, b"hidden") + _field(2, b"WriteFile") + _varint(2 << 3 | 5) + b"NoOp"
    data = graph.SerializeToString() + _field(2, _field(1, node))
    _bytes(_field(2, data))(folder, outside)


def _graph_twice(folder, outside):
    """A second graph_def is merged into the first."""
    hidden = _field(2, _field(1, _field(1, b"hidden") + _field(2, b"WriteFile")))
    _bytes(_field(2, make_meta_graph(None).SerializeToString() + hidden))(folder, outside)


def _truncated(folder, outside):
    plain(folder)
    path = folder / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-7])


def _huge_length(folder, outside):
    plain(folder)
    path = folder / "saved_model.pb"
    path.write_bytes(path.read_bytes() + _varint(2 << 3 | 2) + _varint(2**62) + b"x")


def _deep_text(folder, outside):
    write_model(folder, make_meta_graph(None), text=True)
    path = folder / "saved_model.pbtxt"
    path.write_text(path.read_text(encoding="utf-8") + "unknown {" * 5_000 + "}" * 5_000, encoding="utf-8")


CASES = (
    Hostile("noise", _bytes(b"\xff" * 300), ("saved_model.pb",)),
    Hostile("empty", _bytes(b""), ("saved_model.pb", "empty")),
    Hostile("empty_nodes", _bytes(_empty_nodes), ("saved_model.pb", "fields")),
    Hostile("nested_attributes", _bytes(_nested_attributes), ("saved_model.pb", "parsed")),
    Hostile("truncated", _truncated, ("saved_model.pb",)),
    Hostile("huge_length", _huge_length, ("saved_model.pb",)),
    Hostile("deep_text", _deep_text, ("saved_model.pbtxt", "deep")),
    Hostile("text_noise", _text("meta_graphs { graph_def { node { name: 3 } } }"), ("saved_model.pbtxt",)),
    Hostile("op_twice", _op_twice, ("WriteFile",), ("WriteFile",)),
    Hostile("graph_twice", _graph_twice, ("WriteFile",)),
)
