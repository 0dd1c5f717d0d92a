"""What a run shows of itself while it runs: to people on a terminal, to Prometheus; and what it begins at once."""

import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest

from migrate import errors
from migrate.options import MigrateOptions
from migrate.outcome import Outcome, Status
from migrate.zoo.engines import Running
from migrate.zoo.metrics import MetricsFile
from migrate.zoo.schedule import Schedule, estimate_memory
from migrate.zoo.tasks import Task
from tests.zoo.faulty import make_runaways

_SHOW = """
import os, time
from migrate.cli.display import make_display
from migrate.outcome import Outcome, Status
from migrate.zoo.engines import Running
display = make_display(1.0)
display.start(40)
for number, status in enumerate([Status.MIGRATED, Status.MIGRATED, Status.BLOCKED]):
    source = f"zoo/\\x1b[31mred{number}"
    display.advance(Outcome(source=source, dest="", format="", status=status, stage="", error="no\\rgraph"), 40)
display.tick([Running(relative=f"in/work\\n{n}", stage="verify", seconds=float(n)) for n in range(20)])
time.sleep(0.6)
os.write(2, b"MARK")
display.close()
"""


def _run_on_terminal(command):
    """All that a command writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "90", "LINES": "40"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and select.select([ours], [], [], 60)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # its other end is closed
                break
            written += data
        assert process.wait(10) == 0, written
    os.close(ours)
    return written.decode()


def _draw(written):
    """Lines of the screen; of a terminal's commands those that the display uses."""
    lines, row = [""], 0
    for text in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if text == "\n":
            row += 1
            lines.extend([""] * (row + 1 - len(lines)))
        elif text.startswith("\x1b") and text.endswith("A"):
            row = max(row - int(text[2:-1] or 1), 0)
        elif text.startswith("\x1b") and text.endswith("K"):
            lines[row] = ""
        elif not text.startswith("\x1b") and text != "\r":
            lines[row] += text
    return [line.rstrip() for line in lines]


def test_live_display():
    written = _run_on_terminal([sys.executable, "-c", _SHOW])
    before, after = written.split("MARK", 1)
    shown = _draw(before)
    counts = next(line for line in shown if line.startswith("3 of 40 models (1 blocked, 2 migrated)"))
    assert "a minute, about" in counts and counts.endswith("left")
    assert any("━" in line for line in shown[: shown.index(counts)]), "the bar stands on a line of its own"
    rows = [line.split() for line in shown[shown.index(counts) + 1 :] if "in/work" in line]
    assert rows[0] == ["19", "s", "verify", "in/work\\n19"] and len(rows) == 12, "the longest first"
    assert "and 8 more" in "\n".join(shown)
    assert any(line.startswith("blocked: zoo/\\x1b[31mred2: no\\rgraph") for line in shown)
    assert "\x1b[31m" not in written, "a name commands no terminal"
    assert [line for line in _draw(written) if line][-1].startswith("3 of 40 models"), "nothing but the counts stays"
    assert after.count("\x1b[?25h") == 1, "the cursor is back"


_SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z_]+)="((?:[^"\\]|\\.)*)"\})? ([-+0-9.eE]+)\Z')


def test_metrics_are_prometheus_text(tmp_path):
    """Each sample belongs to the metric whose HELP and TYPE stand before it; counters end in _total."""
    path = tmp_path / "zoo.prom"
    metrics = MetricsFile(str(path))
    metrics.start(3)
    for status in (Status.MIGRATED, Status.CRASHED, Status.MIGRATED):
        outcome = Outcome(source="m", dest="", format="", status=status, stage="done", seconds=1.5, peak_rss_bytes=7)
        metrics.advance(outcome, 3)
    metrics.tick([Running(relative="m", stage="read", seconds=2.0)])
    metrics.write()
    text = path.read_text(encoding="ascii")
    assert text.endswith("\n") and os.listdir(tmp_path) == ["zoo.prom"]
    values, kinds, helped = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in kinds and kind in ("counter", "gauge")
            kinds[name] = kind
        else:
            name, _, label, value = _SAMPLE.match(line).groups()
            assert name == list(kinds)[-1] and (kinds[name] == "counter") == name.endswith("_total"), line
            assert (name, label) not in values
            values[name, label] = float(value)
    assert values["migrate_models", None] == 3 and values["migrate_models_running", None] == 1
    assert values["migrate_models_done_total", "migrated"] == 2 and values["migrate_models_done_total", "crashed"] == 1
    assert values["migrate_model_seconds_total", None] == 4.5 and values["migrate_peak_rss_bytes", None] == 7
    assert {label for name, label in values if name == "migrate_models_done_total"} == {s.value for s in Status}


def test_metrics_do_not_end_a_run(tmp_path):
    """Where they cannot be written is told at the start; what fails later, or was never begun, changes nothing."""
    with pytest.raises(errors.DestinationError, match="--metrics_file"):
        MetricsFile(str(tmp_path / "nowhere" / "zoo.prom")).start(1)
    os.mkfifo(tmp_path / "pipe")
    device = MetricsFile(str(tmp_path / "pipe"))
    with pytest.raises(errors.DestinationError, match="no file"):
        device.start(1)
    device.close()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)  # a file in its place would be read by nobody
    folder = tmp_path / "folder"
    folder.mkdir()
    metrics = MetricsFile(str(folder / "zoo.prom"))
    refused = MetricsFile(str(folder / "zoo.prom"))
    metrics.start(3)
    before = (folder / "zoo.prom").read_text(encoding="ascii")
    refused.close()
    assert (folder / "zoo.prom").read_text(encoding="ascii") == before
    shutil.rmtree(folder)
    metrics.tick([])
    metrics.close()
    assert not folder.exists()


def _plan(name, memory):
    return Task(
        path=name, relative=name, target="", quarantine="", report_dir="", receipts="", options=MigrateOptions(),
        choices="", memory=memory,
    )  # fmt: skip


def test_no_more_at_once_than_fit():
    """Small ones go before a large one that waits, but not for ever; one that fits nowhere runs alone."""
    schedule = Schedule([_plan("a", 6), _plan("large", 9), *(_plan(f"s{n}", 3) for n in range(100))], 10, 2**60)
    first, second = schedule.take(), schedule.take()
    assert (first.relative, second.relative) == ("a", "s0") and schedule.take() is None
    before = 1
    while second.relative != "large":
        schedule.release(second)
        second = schedule.take()
        if second is None:  # it has waited long enough: nothing passes it any more
            schedule.release(first)
            second = schedule.take()
            break
        before += 1
    assert second.relative == "large" and before == 50
    assert schedule.take() is None
    alone = Schedule([_plan("huge", 99), _plan("small", 1)], 10, 2**60)
    assert alone.take().relative == "huge" and alone.take() is None


def test_estimate_grows_with_files_and_graph():
    base = estimate_memory(0, 0)
    assert estimate_memory(2**30, 0) - base >= 2**31 and estimate_memory(2**20, 2**20) > estimate_memory(2**20, 0)


@pytest.mark.slow
def test_interrupted_twice(tmp_path):
    """Once waits for what runs, which here never ends; twice ends it now. Nothing is left."""
    source, temp = tmp_path / "zoo", tmp_path / "temp"
    make_runaways(source)
    temp.mkdir()
    command = [sys.executable, "-m", "migrate.cli.zoo", f"--source={source}", f"--dest={tmp_path / 'out'}"]
    environment = {**os.environ, "TMPDIR": str(temp)}
    chosen = ["--include=*hang*", "--jobs=2", "--progress_interval=1"]
    process = subprocess.Popen([*command, *chosen], env=environment, stderr=subprocess.PIPE, text=True)
    while "verify" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(5)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=15)
    assert process.returncode == 1 and "--resume" in printed
    assert os.listdir(temp) == [] and not list((tmp_path / "out").rglob("*.partial"))
    assert (tmp_path / "out" / "_migration" / "report.json").exists()
