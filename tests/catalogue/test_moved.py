"""A migrated model stands on its own: source gone, directory renamed, no path back in any of its files."""

import json
import shutil

from migrate.write import provenance

from .loaded import load, to_values
from .truth import assert_same


def test_nothing_of_the_source_is_left(catalogue):
    """What all catalogue tests rely on: neither the source nor the place of writing exists any more."""
    assert not catalogue.source.exists()
    assert not catalogue.written.exists()


def test_second_move(truth, folder, tmp_path):
    """In one more place, a path with a space, assets and all: the outputs are TF1's. A copy, for other processes of the
    test run read the first; nothing in it can know where that lies, which was renamed after it was written."""
    target = tmp_path / "a place" / truth.slug
    shutil.copytree(folder, target)
    call = truth.calls[0]
    found = to_values(load(target).run(call))
    for key, expected in call.outputs.items():
        assert_same(expected, found[key], key)


def test_no_path_is_written(truth, folder, catalogue):
    """No file holds the path of the source, of the staging folder or of this checkout; assets are relative."""
    places = [catalogue.source.parent, truth.slug_path.parents[1], catalogue.root.parent]
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        for place in places:
            assert str(place).encode() not in data, f"{file.relative_to(folder)} holds {place}"
        assert b".partial" not in data, f"{file.relative_to(folder)} names the staging folder"


def test_record_tells_the_source(truth, folder):
    """The provenance record names what the model was, without saying where."""
    record = json.loads((folder / provenance.FOLDER / provenance.FILE).read_text(encoding="utf-8"))
    assert record["source"]["format"] == truth.origin["format"]
    assert record["source"]["tag_sets"] and record["source"]["name"] == truth.model.name
    assert record["source"]["sha256"] == provenance.digest_source(str(truth.model))
    assert sorted(map(tuple, map(sorted, record["source"]["tag_sets"]))) == sorted(truth.tag_sets)
