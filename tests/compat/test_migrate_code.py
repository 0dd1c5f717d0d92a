"""migrate-code: what it finds, what it says of hub.KerasLayer, what it rewrites and what it leaves alone."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

cst = pytest.importorskip("libcst", reason="migrate-code needs libcst, which nothing else needs")
from libcst import metadata  # noqa: E402

from compat.code import scan, usages  # noqa: E402
from migrate import errors  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = ROOT / "testdata" / "zoo" / "hub_dense_l2" / "model"


def _find(text):
    return usages.find_usages(metadata.MetadataWrapper(cst.parse_module(text)))


def _rewrite(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_bytes(text.encode())
    report = scan.scan_file(path, write=True)
    assert not report.error
    return path.read_bytes().decode(), report


@pytest.mark.parametrize(
    "text",
    [
        "import tensorflow_hub as hub\nhub.create_module_spec(f)\n",
        "import tensorflow_hub as h\nh.create_module_spec(f)\n",
        "import tensorflow_hub\ntensorflow_hub.create_module_spec(f)\n",
        "from tensorflow_hub import create_module_spec\ncreate_module_spec(f)\n",
        "from tensorflow_hub import create_module_spec as c\nc(f)\n",
        "from compat import hub\nhub.create_module_spec(f)\n",
        "def g():\n    import tensorflow_hub as hub\n    return hub.create_module_spec\n",
    ],
)
def test_names_are_told_by_their_imports(text):
    (usage,) = _find(text)
    assert usage.name == "hub.create_module_spec"
    assert "tf.Module" in usage.replacement
    assert usage.line == (3 if text.startswith("def") else 2)


@pytest.mark.parametrize(
    "text",
    [
        "hub.Module('x')\n",
        "import other as hub\nhub.Module('x')\n",
        "import tensorflow_hub as hub\nhub.KerasLayer('x')\nhub.load('x')\n",
        "import tensorflow_hub as hub\ntext = 'hub.Module(1)'  # hub.Module(2)\n",
        "import tensorflow_hub as hub\ndef f(hub):\n    return hub.Module('x')\n",
    ],
)
def test_other_names_are_left_alone(text, tmp_path):
    assert _find(text) == ()
    assert _rewrite(tmp_path, text)[0] == text


@pytest.mark.parametrize(
    ("use", "drop_in"),
    [
        ("m = hub.Module(p)\ny = m(x)", True),
        ("m = hub.Module(p, trainable=True, name='n', tags=None)\ny = m(inputs=x, signature='default')", True),
        ("y = hub.Module(p)(x, as_dict=False)", True),
        (
            "class A:\n  def __init__(self):\n    self.m = hub.Module(p)\n  def f(self, x):\n    return self.m(x)",
            True,
        ),
        ("m = hub.Module(p, tags={'train'})\ny = m(x)", "tags"),
        ("m = hub.Module(p, True, 'n', {'train'})\ny = m(x)", "tags"),
        ("m = hub.Module(p, **options)\ny = m(x)", "tags"),
        ("m = hub.Module(p)\ny = m(x, signature='encode')", "'encode'"),
        ("m = hub.Module(p)\ny = m(x, as_dict=True)", "return_endpoints"),
        ("m = hub.Module(p)\ny = m(x)\nm.export(q, s)", r"\.export"),
        ("m = hub.Module(p)\ny = m(x)\nz = m.variable_map['v']", r"\.variable_map"),
        ("m = hub.Module(p)\ny = m(x)\nf(m)", "as a value"),
        ("m = hub.Module(p)\ny = m()", "without inputs"),
        ("m = hub.Module(p)", "not applied"),
        ("f(hub.Module(p))", "cannot be told"),
        ("class B(hub.Module):\n    pass", "without a call"),
    ],
)
def test_whether_a_keras_layer_stands_in(use, drop_in):
    (usage,) = _find(f"import tensorflow_hub as hub\n{use}\n")
    assert usage.drop_in is (drop_in is True), usage.reason
    if drop_in is not True:
        assert re.search(drop_in, usage.reason), usage.reason


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import tensorflow_hub as hub  # why\n", "from compat import hub  # why\n"),
        ("import tensorflow_hub as h\n", "from compat import hub as h\n"),
        ("import tensorflow_hub\n", "from compat import hub as tensorflow_hub\n"),
        ("import os, tensorflow_hub as hub\n", "import os; from compat import hub\n"),
        ("from tensorflow_hub import Module, KerasLayer\n", "from compat.hub import Module, KerasLayer\n"),
        ("try:\n    import tensorflow_hub as hub\nexcept ImportError:\n    pass\n", None),
    ],
)
def test_imports_are_rewritten_and_nothing_else(before, after, tmp_path):
    name = {"import tensorflow_hub as h\n": "h.Module", "import tensorflow_hub\n": "tensorflow_hub.Module"}.get(before)
    name = name or ("Module" if before.startswith("from") else "hub.Module")
    body = f"\n\ndef  f( x ):\r\n\tm = {name}( 'a' ,\n\n        trainable = True )   # odd  style\n\treturn m( x )\n"
    after = after or before.replace("import tensorflow_hub as hub", "from compat import hub")
    text, report = _rewrite(tmp_path, before + body)
    assert text == after + body
    assert report.changed and report.written
    again, report = _rewrite(tmp_path, text)
    assert again == text and not report.changed and len(report.usages) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "import tensorflow as tf\np = tf.contrib.predictor.from_saved_model(d)\n",
            "import tensorflow as tf\nfrom compat import predictor\n\np = predictor.from_saved_model(d)\n",
        ),
        (
            "from tensorflow.contrib import predictor\np = predictor.from_saved_model(d)\n",
            "from compat import predictor\np = predictor.from_saved_model(d)\n",
        ),
        (
            "from tensorflow.contrib.predictor import from_saved_model\np = from_saved_model(d)\n",
            "from compat.predictor import from_saved_model\np = from_saved_model(d)\n",
        ),
        (
            "import tensorflow as tf\npredictor = tf.contrib.predictor.from_saved_model(d)\n",
            "import tensorflow as tf\npredictor = tf.contrib.predictor.from_saved_model(d)\n",
        ),
    ],
)
def test_predictors(before, after, tmp_path):
    text, report = _rewrite(tmp_path, before)
    assert [usage.name for usage in report.usages] == ["tensorflow.contrib.predictor.from_saved_model"]
    assert sorted(text.split("\n")) == sorted(after.split("\n"))


@pytest.mark.parametrize(
    "text",
    [
        "import tensorflow_hub as hub\nhub.Module('x')\nhub.tools.f()\n",
        "from tensorflow_hub import Module, meta_graph_lib\nModule('x')\n",
        "from tensorflow_hub import *\nimport tensorflow_hub as hub\nhub.Module('x')\n",
    ],
)
def test_files_that_need_more_of_tensorflow_hub_keep_their_imports(text, tmp_path):
    after, report = _rewrite(tmp_path, text)
    assert after == text and report.usages and not report.changed


def test_submodules_of_tensorflow_hub(tmp_path):
    text, report = _rewrite(
        tmp_path,
        "from tensorflow_hub.module import Module\n"
        "import tensorflow_hub.native_module as nm, os\n"
        "from tensorflow_hub import image_util\n"
        "Module('x'), nm.add_signature, image_util.get_expected_image_size, nm.Loader\n",
    )
    assert text.splitlines()[:3] == [
        "from compat.hub.module import Module",
        "import compat.hub.native_module as nm, os",
        "from compat.hub import image_util",
    ]
    assert [usage.name for usage in report.usages] == ["hub.Module", "hub.add_signature", "hub.get_expected_image_size"]
    again, report = _rewrite(tmp_path, text)
    assert again == text and not report.changed and len(report.usages) == 3


def test_a_rewritten_script_runs(tmp_path):
    script = (
        "import tensorflow.compat.v1 as tf\n"
        "tf.disable_v2_behavior()\n"
        "import tensorflow_hub as hub\n"
        f"m = hub.Module({str(MODULE)!r}, trainable=True)\n"
        "shape = m.get_input_info_dict()['default'].get_shape().as_list()\n"
        "y = m([[0.5] * shape[1]])\n"
        "with tf.Session() as session:\n"
        "    session.run(tf.global_variables_initializer())\n"
        "    print('computed', session.run(y).shape)\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    path.chmod(0o755)
    command = [sys.executable, "-m", "compat.code", f"--source={tmp_path}", "--write", "--format=json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    (record,) = json.loads(done.stdout)
    assert record["written"] and record["usages"][0]["line"] == 4
    assert path.stat().st_mode & 0o777 == 0o755
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert "computed (1," in done.stdout, done.stderr[-2000:]


def test_folders(tmp_path):
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a").mkdir()
    text = "import tensorflow_hub as hub\nhub.Module('x')\n"
    for name in ("a/one.py", ".hidden/two.py", "a/not_python.txt"):
        (tmp_path / name).write_text(text)
    (tmp_path / "old.py").write_text("print 'python 2'\n")
    (tmp_path / "bytes.py").write_bytes(b"# -*- coding: utf-8 -*-\nx = '\xff'\n")
    reports = {pathlib.Path(report.path).name: report for report in scan.scan_source(str(tmp_path))}
    assert sorted(reports) == ["bytes.py", "old.py", "one.py"]
    assert "line 1" in reports["old.py"].error and "read" in reports["bytes.py"].error
    assert len(reports["one.py"].usages) == 1 and reports["one.py"].changed and not reports["one.py"].written
    assert (tmp_path / "a" / "one.py").read_text() == text
    with pytest.raises(errors.SourceNotFoundError, match="absent"):
        list(scan.scan_source(str(tmp_path / "absent")))


def test_exit_codes(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "compat.code", *arguments], capture_output=True, text=True, cwd=ROOT
        )

    good = tmp_path / "good.py"
    good.write_text("import tensorflow_hub as hub\ny = hub.Module('x')(z)\n")
    done = run(f"--source={good}")
    assert done.returncode == 0
    assert f"{good}:2:5: hub.Module ->" in done.stdout and "a drop-in" in done.stdout
    (tmp_path / "bad.py").write_text("def f(:\n")
    done = run(f"--source={tmp_path}")
    assert done.returncode == 1 and "bad.py: line 1" in done.stderr
    assert run().returncode == 2
    assert run(f"--source={tmp_path / 'absent'}").returncode == 2


def _notebook(*sources):
    cells = [{"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [], "source": s} for s in sources]
    cells.insert(1, {"cell_type": "markdown", "metadata": {}, "source": ["import tensorflow_hub as hub\n", "ä"]})
    return (
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1, ensure_ascii=False)
        + "\n"
    )


def test_notebooks(tmp_path):
    """A name imported in one cell is used in another; magics and other cells stay as they are."""
    path = tmp_path / "book.ipynb"
    text = _notebook(
        ["%matplotlib inline\n", "import tensorflow_hub as hub\n", "!pip install x"],
        ["%%bash\n", "echo it's (fine\n"],
        "x = 1\nm = hub.Module('a')\ny = m(x)",
    )
    path.write_text(text)
    (report,) = scan.scan_source(str(tmp_path), write=True)
    (usage,) = report.usages
    assert (usage.cell, usage.line, usage.column, usage.drop_in) == (4, 2, 5, True)
    assert report.written
    assert path.read_text() == text.replace(
        '"import tensorflow_hub as hub\\n",\n    "!', '"from compat import hub\\n",\n    "!'
    )
    path.write_text("{}")
    assert "no notebook" in scan.scan_file(path).error
