"""The how-tos do what they say."""

import re

import pytest

from .how_to import DOCS, read_blocks, run_how_to

HOW_TOS = sorted(path.name for path in DOCS.glob("*.md") if path.name != "README.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", HOW_TOS)
def test_how_to(name, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    run_how_to(DOCS / name, folder)


def test_index_names_every_how_to():
    assert sorted(re.findall(r"\]\((\w+\.md)\)", (DOCS / "README.md").read_text(encoding="utf-8"))) == HOW_TOS


@pytest.mark.parametrize("name", HOW_TOS)
def test_every_block_is_run_or_text(name):
    """A fence of another language would be a promise that nobody keeps."""
    text = (DOCS / name).read_text(encoding="utf-8")
    assert set(re.findall(r"^```(\w+)$", text, re.MULTILINE)) <= {"bash", "python", "text"}
    assert any(language == "bash" for language, _ in read_blocks(text))
    fences = len(re.findall(r"^```", text, re.MULTILINE))
    assert fences % 2 == 0


def test_blocks(tmp_path):
    """In order, comments too; Python blocks in a row share what they know, and a failure names its block."""
    document = tmp_path / "x.md"
    document.write_text(
        "<!-- bash\necho 1 > a\n-->\n```bash\ncat a\n```\n```python\nx = 2\n```\ntext\n```python\nprint(x)\n```\n"
        "```text\nexit 1\n```\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    assert run_how_to(document, work) == "1\n2\n"
    document.write_text("```bash\nfalse | true\necho no\n```\n")
    with pytest.raises(AssertionError, match="block 0"):
        run_how_to(document, work)
