"""Runs a how-to: its bash and python blocks, in order, in one folder.

Blocks in HTML comments (`<!-- bash`, `<!-- python`, up to `-->`) run too: they prepare what the reader has, and check
what came out. Python blocks that follow one another are one program.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^(?:```|<!-- )(bash|python)\n(.*?)^(?:```|-->)$", re.MULTILINE | re.DOTALL)


def read_blocks(text):
    """[(language, code)], Python blocks joined that no bash block parts."""
    blocks = []
    for language, code in _BLOCK.findall(text):
        if blocks and language == "python" == blocks[-1][0]:
            blocks[-1] = (language, blocks[-1][1] + code)
        else:
            blocks.append((language, code))
    return blocks


def run_how_to(path, folder):
    """Raises AssertionError with what a block printed, where it fails; returns all that was printed."""
    environment = {
        **os.environ,
        "ROOT": str(ROOT),
        "TESTDATA": str(ROOT / "testdata"),
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    printed = []
    for number, (language, code) in enumerate(read_blocks(path.read_text(encoding="utf-8"))):
        program = folder.parent / f"block_{number}.{language}"
        program.write_text(code, encoding="utf-8")
        command = ["bash", "-euo", "pipefail"] if language == "bash" else [sys.executable]
        done = subprocess.run(
            [*command, str(program)], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{path.name}, block {number}:\n{code}\n{done.stdout[-4000:]}"
        printed.append(done.stdout)
    return "".join(printed)
