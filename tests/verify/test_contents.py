"""Files by their lines, tables by their keys."""

import numpy as np

from migrate.verify import contents


def test_no_line_is_lost(tmp_path):
    for data in (b"", b"a", b"a\n", b"a\r\nb\n\n"):
        (tmp_path / "file").write_bytes(data)
        assert b"\n".join(contents.read_lines(str(tmp_path / "file"))) == data


def test_large_files_are_checksums_of_their_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "_LARGEST", 10)
    monkeypatch.setattr(contents, "_CHUNK", 4)
    path = tmp_path / "file"
    path.write_bytes(b"aaaabbbbcccc")
    old = contents.read_lines(str(path))
    path.write_bytes(b"aaaabXbbcccc")
    new = contents.read_lines(str(path))
    assert old.dtype == np.uint32 and (old != new).tolist() == [False, True, False]


def test_files_below_a_folder(tmp_path):
    for name in ("b", "a/c", "left/out", "origin.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(contents.list_files(str(tmp_path), ("left/", "origin"))) == ["b", "a/c"]


def test_entries_are_sorted_by_key():
    keys, values = contents.sort_entries(np.array([b"b", b"a", b"c"], object), np.array([1, 0, 2]))
    assert keys.tolist() == [b"a", b"b", b"c"] and values.tolist() == [0, 1, 2]
    keys, values = contents.sort_entries(np.array([10, 9, -1]), np.array([[1.0], [2.0], [3.0]]))
    assert keys.tolist() == [-1, 9, 10] and values.ravel().tolist() == [3, 2, 1]
    keys, values = contents.sort_entries(np.array([], np.int64), np.array([], np.int64))
    assert keys.size == values.size == 0
