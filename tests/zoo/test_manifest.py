"""Tables and JSON lines with options of single models; selection; the plan."""

import json
import shutil

import pytest

from migrate import errors, zoo
from migrate.options import (
    Limits,
    MigrateOptions,
    ReadOptions,
    RebuildOptions,
    Selection,
    Tolerance,
    ZooOptions,
    parse_size,
)  # fmt: skip
from migrate.zoo import discover_models, parse_manifest, plan, run
from migrate.zoo.changes import change_options, list_changes
from migrate.zoo.discovery import select_models
from migrate.zoo.manifest import CONSENTS
from tests.zoo.conftest import copy_model


def test_table(small):
    manifest = small / "list.csv"
    manifest.write_text(
        "source,dest,verify,rtol,memory_limit,partial\nhub_dense_l2,a/b,none,0.5,2GB,true\nfrozen_constants,,,,,\n",
        encoding="utf-8",
    )
    one, two = parse_manifest(str(manifest))
    changed = one.change_options(MigrateOptions())
    assert (one.relative, changed.verify, changed.tolerance.relative) == ("a/b", "none", 0.5)
    assert (changed.limits.memory_limit, changed.rebuild.partial) == (2 * 2**30, True)
    assert two.relative == "frozen_constants" and two.change_options(MigrateOptions()) == MigrateOptions()


def test_json_lines(small, tmp_path):
    manifest = small / "list.jsonl"
    lines = [{"source": "hub_dense_l2", "options": {"verify": "none"}}, {"source": "hub_dense_l2", "dest": "again"}]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    first, second = parse_manifest(str(manifest))
    assert (first.relative, first.options, second.relative) == ("hub_dense_l2", {"verify": "none"}, "again")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "path\nm\n", "no column 'source'"),
        ("x.csv", "source,verify\nhub_dense_l2,perhaps\n", "line 2"),
        ("x.csv", "source,colour\nhub_dense_l2,red\n", "'colour' is no option"),
        ("x.csv", "source\nhub_dense_l2,x\n", "as many cells"),
        ("x.jsonl", "{", "line 1 is no JSON"),
        ("x.jsonl", '{"dest": "a"}', "no text under 'source'"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "../a"}', "no path below"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "a/../../b"}', "no path below"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "/a"}', "no path below"),
        ("x.jsonl", r'{"source": "hub_dense_l2", "dest": "a\u0000b"}', "no place for a model"),
        ("x.jsonl", r'{"source": "hub_dense_l2", "dest": "a\ud800"}', "no text in Unicode"),
        ("x.jsonl", json.dumps({"source": "hub_dense_l2", "dest": "a" * 256}), "the longest name of 256"),
        pytest.param(
            "x.jsonl",
            json.dumps({"source": "hub_dense_l2", "dest": "a/" * 1500 + "a"}),
            "a place of 3,001 bytes",
            id="deep",
        ),
        ("x.jsonl", '{"source": "/"}', "no place for a model"),
        ("x.jsonl", '{"source": "hub_dense_l2", "options": {"timeout": true}}', "no value of timeout"),
        (
            "x.jsonl",
            '{"source": "hub_dense_l2"}\n{"source": "frozen_constants", "dest": "hub_dense_l2/in"}',
            "one place",
        ),
        pytest.param("x.jsonl", "[" * 100_000, "line 1 is no JSON", id="deep"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "/a"}', "no path below"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "b/../../a"}', "no path below"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "b/.."}', "no path below"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "a\\u0000b"}', "no place for"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "a\\nb"}', "cannot be seen"),
        ("x.jsonl", '{"source": "hub_dense_l2", "dest": "\\ud800"}', "no text in Unicode"),
        pytest.param("x.jsonl", '{"source": "hub_dense_l2", "dest": "%s"}' % ("n" * 256), "256 bytes", id="long"),
        pytest.param("x.jsonl", '{"source": "hub_dense_l2", "dest": "%s"}' % ("n/" * 2000), "3,999 bytes", id="far"),
        ("x.jsonl", '{"source": "/"}', "no place for a model"),
        ("x.jsonl", '{"source": "hub_dense_l2"}\n{"source": "hub_dense_l2"}', "line 2 would be written over"),
        ("x.jsonl", '{"source": "hub_dense_l2", "options": {"timeout": -1}}', "line 1: a limit of -1"),
        ("x.jsonl", '{"source": "hub_dense_l2", "options": {"timeout": NaN}}', "line 1: a limit of nan"),
        ("x.jsonl", '{"source": "hub_dense_l2", "options": {"quarantine": "/x"}}', "is no option"),
        ("x.csv", "source,dest,dest\nhub_dense_l2,a,b\n", "two columns"),
    ],
)
def test_wrong_manifests(small, name, text, message):
    (small / "outer").mkdir()
    (small / name).write_text(text, encoding="utf-8")
    with pytest.raises(errors.UsageError, match=message):
        parse_manifest(str(small / name))


def test_sizes():
    assert [parse_size(text) for text in ("10", "1K", "1.5 GiB", "2gb")] == [10, 1024, 3 * 2**29, 2 * 2**30]
    with pytest.raises(ValueError, match="no size"):
        parse_size("many")


def test_unknown_option():
    with pytest.raises(errors.UsageError, match="'overwrite' is no option"):
        change_options(MigrateOptions(), {"overwrite": True})


def test_selection(small):
    copy_model("hub_dense_l2", small / "deep" / "er")
    entries = discover_models(str(small))

    def select(**choices):
        return [entry.relative for entry in select_models(entries, Selection(**choices))]

    assert select(include=("deep",)) == ["deep/er"]
    assert select(include=("*l2", "deep/*"), exclude=("hub*",)) == ["deep/er"]
    assert select(formats=("tf1_hub_module",)) == ["deep/er", "hub_dense_l2"]
    assert select(max_size=1) == [] and len(select(min_size=1)) == 4


def test_hub_cache(small):
    """The handle is told by the descriptor that tensorflow_hub leaves beside a module."""
    (small / "hub_dense_l2.descriptor.txt").write_text("Module: https://hub.example/dense/1\nDownload Time: x\n")
    handles = {entry.relative: entry.handle for entry in discover_models(str(small))}
    assert handles["hub_dense_l2"] == "https://hub.example/dense/1" and handles["frozen_constants"] == ""


def test_plan(small, tmp_path):
    (small / "damaged").mkdir()
    (small / "damaged" / "saved_model.pb").write_bytes(b"\x0a\xff")
    copy_model("hub_dense_l2", small / "twin")
    plan = zoo.plan_zoo(small, tmp_path / "out", ZooOptions(jobs=2))
    actions = {row.relative: row.action for row in plan.rows}
    assert actions == {
        "damaged": "blocked", "frozen_constants": "migrate", "hub_dense_l2": "migrate", "saved_model_pbtxt": "migrate",
        "twin": "duplicate",
    }  # fmt: skip
    assert not (tmp_path / "out").exists() and "5 models: 1 blocked, 1 duplicate, 3 migrate" in plan.to_text()


def _read(**choices):
    return MigrateOptions(read=ReadOptions(**choices))


# Option -> what a row asks for, and the options under which it may.
_CONSENTED = {
    "allow_unsafe_ops": ("ReadFile", MigrateOptions(allow_unsafe_ops=("ReadFile", "WriteFile"))),
    "allow_lambda": (True, _read(allow_lambda=True)),
    "op_library": ("/lib/x.so", MigrateOptions(op_library=("/lib/x.so",))),
    "custom_objects": ("os:system", _read(custom_objects=("a:B", "os:system"))),
    "builder": ("a:build", _read(builder="a:build")),
    "preprocessing": ("a:make", _read(preprocessing="a:make")),
    "import_paths": ("/tmp", _read(import_paths=("/tmp",))),
    "architecture": ("/etc/passwd", _read(architecture="/etc/passwd")),
    "vocab_file": ("../elsewhere.txt", _read(vocab_file="{folder}/../elsewhere.txt")),
    "weights": ("link", MigrateOptions(weights="link")),
    "check_weights": (False, MigrateOptions()),
    "partial": (True, MigrateOptions(rebuild=RebuildOptions(partial=True))),
    "publish": ("all", MigrateOptions(publish="all")),
    "target_tensorflow": ("2.20", MigrateOptions(target_tensorflow="2.20")),
    "verify": ("none", MigrateOptions(verify="none")),
    "relative": (0.5, MigrateOptions(tolerance=Tolerance(relative=1))),
    "rtol": (0.5, MigrateOptions(tolerance=Tolerance(relative=0.5))),
    "absolute": (0.5, MigrateOptions(tolerance=Tolerance(absolute=1))),
    "atol": (0.5, MigrateOptions(tolerance=Tolerance(absolute=0.5))),
    "ulp": (9, MigrateOptions(tolerance=Tolerance(ulp=9))),
    "timeout": (60, MigrateOptions(limits=Limits(timeout=60))),
    "memory_limit": ("2GB", MigrateOptions()),
    "disk_limit": ("2GB", MigrateOptions(limits=Limits(disk_limit=2**32))),
}
# What the command gives when nothing is consented to, where a refusal needs more than the defaults.
_STRICTER = {
    "check_weights": MigrateOptions(check_weights=True),
    "target_tensorflow": MigrateOptions(target_tensorflow="2.8"),
    "timeout": MigrateOptions(limits=Limits(timeout=30)),
    "memory_limit": MigrateOptions(limits=Limits(memory_limit=2**30)),
    "disk_limit": MigrateOptions(limits=Limits(disk_limit=2**30)),
}
# A new option belongs here or among CONSENTS: somebody has to decide.
_HARMLESS = {
    "already_tf2", "also", "archive", "checkpoint", "core", "coverage", "do_lower_case", "inference_tags", "inputs",
    "keras_backend", "outputs", "pieces", "seed", "side_by_side", "signature", "signature_map", "thaw", "trainable",
    "training_input", "training_tags", "xai",
}  # fmt: skip


def test_every_option_is_decided():
    assert set(list_changes()) == _HARMLESS | set(CONSENTS)
    assert set(CONSENTS) == set(_CONSENTED)


@pytest.mark.parametrize("name", _CONSENTED)
def test_a_list_gives_no_consent(small, tmp_path, name):
    """What a row gives its model the command line gives too, or the whole list is trusted."""
    value, given = _CONSENTED[name]
    if name == "vocab_file":  # as the row's path is placed
        given = _read(vocab_file=given.read.vocab_file.format(folder=small))
    manifest = small / "list.jsonl"
    manifest.write_text(json.dumps({"source": "hub_dense_l2", "options": {name: value}}), encoding="utf-8")
    stricter = _STRICTER.get(name, MigrateOptions())
    with pytest.raises(errors.UsageError, match=f"hub_dense_l2: {name} is the command line's to allow"):
        zoo.migrate_zoo(manifest, tmp_path / "out", ZooOptions(migrate=stricter))
    with pytest.raises(errors.UsageError, match="--trust_manifest"):
        zoo.plan_zoo(manifest, tmp_path / "out", ZooOptions(migrate=stricter))
    assert not (tmp_path / "out").exists()
    for options in (ZooOptions(migrate=given), ZooOptions(trust_manifest=True, migrate=stricter)):
        _, folders = run.find_places(manifest, tmp_path / "out", options)
        assert len(run.find_entries(str(manifest), folders, options)) == 1


def test_a_list_may_ask_for_more(small, tmp_path):
    """Stricter than the command, or files beside the manifest: nobody's consent is needed."""
    manifest = small / "list.csv"
    (small / "words.txt").write_text("a\n", encoding="utf-8")
    (small / "way.txt").symlink_to("/etc/passwd")
    heading = "source,verify,rtol,timeout,memory_limit,check_weights,vocab_file\n"
    manifest.write_text(f"{heading}hub_dense_l2,strict,0,30,1GB,true,words.txt\n", encoding="utf-8")
    options = ZooOptions(migrate=MigrateOptions(limits=Limits(timeout=60)))
    _, folders = run.find_places(manifest, tmp_path / "out", options)
    (entry,) = run.find_entries(str(manifest), folders, options)
    assert entry.options["vocab_file"] == str(small / "words.txt")
    manifest.write_text(f"{heading}hub_dense_l2,,,,,,way.txt\n", encoding="utf-8")
    with pytest.raises(errors.UsageError, match="vocab_file is the command line's"):
        run.find_entries(str(manifest), folders, options)


def test_places_that_are_taken(small, tmp_path):
    """Rows that would write over the run's own folders, over a source, out of the destination, over each other."""
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "way").symlink_to(tmp_path)
    shutil.copytree(small / "hub_dense_l2", dest / "old")
    rows = {
        "_migration/a": "the report folder", "_quarantine": "models that differ", ".migrate-zoo/x": "of the run itself",
        "way/a": "a link leads out", "old/within": "within a model to migrate",
        "b": "", "b.tar.gz": "another model of this run",
    }  # fmt: skip
    lines = [{"source": "hub_dense_l2", "dest": place, "options": {"archive": place == "b"}} for place in rows]
    lines.append({"source": str(dest / "old"), "dest": "kept"})
    manifest = small / "list.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    options = ZooOptions(resume=True)
    _, folders = run.find_places(manifest, dest, options)
    planned = plan.plan_models(run.find_entries(str(manifest), folders, options), folders, options)
    refused = {item.task.relative: item.task.refused for item in planned}
    assert refused.pop("kept") == ""
    assert {name: rows[name] and rows[name] in why and rows[name] for name, why in refused.items()} == rows
    lines = [{"source": str(dest / "old"), "dest": "old"}]
    manifest.write_text(json.dumps(lines[0]), encoding="utf-8")
    report = zoo.migrate_zoo(manifest, dest, ZooOptions(resume=True))
    assert report.summary == {"blocked": 1} and "within a model" in report.outcomes[0].error
    assert (dest / "old" / "tfhub_module.pb").exists()


def test_plan_is_a_line_each(small, tmp_path):
    copy_model("hub_dense_l2", small / "a\n\x1b[31mb")
    text = zoo.plan_zoo(small, tmp_path / "out", ZooOptions(jobs=2)).to_text()
    assert len(text.splitlines()) == 5 and "\x1b" not in text
