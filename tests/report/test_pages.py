"""The pages: whole, escaped, self-contained; looked at in a real browser where there is one."""

import dataclasses
import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from migrate.inputs import preview
from migrate.inputs.calls import Call
from migrate.outcome import Outcome, Status
from migrate.report import comparison, page, plots, summary, write_reports
from migrate.verify.judging.judgement import Criteria, compare_results
from migrate.verify.judging.statistics import measure_floats
from migrate.verify.results import Results

NASTY = "<script>alert('x')</script>"
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


def make_verification():
    rng = np.random.default_rng(3)
    old = {f"out{i}": rng.normal(size=(5, 4)).astype(np.float32) for i in range(4)} | {NASTY: np.arange(3)}
    new = {key: value + np.float32(1e-3) if key == "out1" else value for key, value in old.items()}
    found = compare_results(
        Results(outputs={("", "serve/f/batch_1"): old}),
        Results(outputs={("callable", "serve/f/batch_1"): new}, notes=[NASTY]),
        Criteria(),
    )
    pixel = preview.preview_calls([Call(tags=(), signature="f", case="0", inputs={"x": np.ones((1, 8, 8, 3))})])
    given = {
        "where": "serve/f/batch_1",
        "key": NASTY,
        "dtype": "float32",
        "shape": [1],
        "text": NASTY,
        "image": pixel[0]["image"],
    }
    return dataclasses.replace(found, inputs=(given,), reproduce=f"migrate-compare --baseline='{NASTY}'")


@pytest.fixture(scope="module")
def verification():
    return make_verification()


class Checker(html.parser.HTMLParser):
    """Collects what would be loaded, and whether tags are closed."""

    def __init__(self):
        super().__init__()
        self.loads, self.open, self.scripts = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.loads += [value for name, value in attrs if name in ("src", "href", "action") and value]
        if tag not in ("meta", "link", "img", "input", "br", "wbr") and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def check_page(text):
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.scripts == 1, "a model's text runs as a script"
    outside = [load for load in checker.loads if re.match(r"\w+:|//", load) and not load.startswith("data:")]
    assert not outside, f"the page loads {outside}"


def test_comparison_page(verification):
    text = page.render_comparison(NASTY, "new", verification)
    check_page(text)
    assert text.count("<figure>") == 4 and text.count("<svg") == 8
    assert "FAIL" in text and "to repeat it" in text.lower() and "data:image/png" in text


def test_text(verification):
    text = comparison.format_text("old", "new", verification)
    assert text.startswith("FAIL  5 values compared, 1 differ")
    assert "again: migrate-compare" in text and "/out1 (callable): 20 of 20 elements differ" in text


def test_summary_of_an_exact_pass():
    one = Results(outputs={("", "serve/f/0"): {"y": np.arange(3)}})
    assert summary.describe(compare_results(one, one, Criteria())) == "1 values compared, bit-identical"


def test_reports_are_written(verification, tmp_path):
    comparison.write_report(str(tmp_path / "sub" / "r.json"), "old", "new", verification)
    assert sorted(p.name for p in (tmp_path / "sub").iterdir()) == ["r.html", "r.json", "r.xml"]
    assert json.loads((tmp_path / "sub" / "r.json").read_text())["baseline"] == "old"
    assert comparison.find_folder(str(tmp_path / "r.json")) == str(tmp_path / "r.files")


def test_zoo_pages(verification, tmp_path):
    write_zoo(verification, tmp_path)
    index = (tmp_path / "report.html").read_text()
    check_page(index)
    links = re.findall(r"href='(models/[^']+)'", index)
    assert len(links) == len(set(links)) == 12
    for link in links:
        check_page((tmp_path / link).read_text())


def write_zoo(verification, folder):
    outcomes = [
        Outcome(
            source=f"/zoo/{'x' * 40}{i}/model",
            dest="/out",
            format="tf1_hub_module",
            status=Status.REGRESSED if i % 3 == 0 else Status.MIGRATED,
            stage="verify",
            seconds=float(i),
            verification=verification,
            error=NASTY if i % 3 == 0 else "",
        )
        for i in range(12)
    ]
    write_reports(str(folder), outcomes, {"migrated": 8, "regressed": 4})


def test_plots_of_odd_values():
    zeros = np.zeros(5, np.float32)
    same = measure_floats(zeros, zeros)
    assert "<circle" in plots.render_scatter(same) and "<rect" in plots.render_histogram(same)
    gone = measure_floats(zeros * np.nan, zeros)
    assert plots.render_scatter(gone) == "" and plots.render_histogram(gone) == ""
    far = measure_floats(np.float32([0, 1e-30, 1e30]), np.float32([0, 2e-30, -1e30]))
    assert "nan" not in (plots.render_scatter(far) + plots.render_histogram(far)).replace("aria", "")


PROBE = """
<script>
window.addEventListener('load', () => {
  const box = document.querySelector('.sortable'), search = box.querySelector('input[type=search]');
  const rows = () => [...box.querySelectorAll('tbody tr')].filter(row => !row.hidden);
  const cells = column => rows().map(row => row.cells[column].textContent);
  const out = {all: rows().length, wide: document.documentElement.scrollWidth, window: window.innerWidth};
  const head = box.querySelectorAll('th')[SORT].querySelector('button');
  head.click(); out.up = cells(SORT); head.click(); out.down = cells(SORT);
  box.querySelector('input[type=checkbox]').click(); out.bad = rows().length;
  box.querySelector('input[type=checkbox]').click();
  search.value = 'FILTER'; search.dispatchEvent(new Event('input')); out.filtered = rows().length;
  out.background = getComputedStyle(document.body).backgroundColor;
  out.errors = window.seen;
  document.title = 'probe'; document.body.textContent = JSON.stringify(out);
});
</script>
"""
WATCH = "<script>window.seen = []; window.onerror = text => { window.seen.push(String(text)); };</script>"


def probe(path, folder, *, width, sort, word, dark=False):
    """What a page does in the browser. A frame gives the width: a headless window is never below 500 pixels."""
    text = path.read_text().replace("<head>", f"<head>{WATCH}")
    text = text.replace("</body>", PROBE.replace("SORT", str(sort)).replace("FILTER", word) + "</body>")
    (folder / "probed.html").write_text(text)
    frame = f"""<!doctype html><iframe id=f style="width:{width}px;height:900px;border:0" src="probed.html"></iframe>
<pre id=out></pre><script>setTimeout(() => {{ const inner = document.getElementById('f').contentDocument;
document.getElementById('out').textContent = 'PROBE' + inner.body.textContent + 'END'; }}, 1000);</script>"""
    (folder / "frame.html").write_text(frame)
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}", "--allow-file-access-from-files", "--virtual-time-budget=4000",
        "--window-size=1400,1000", "--dump-dom", *(["--force-dark-mode"] if dark else []),
        (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"PROBE(\{.*\})END", done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.skipif(not CHROMIUM, reason="no chromium, chromium-browser or google-chrome on the PATH")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_in_a_browser(verification, tmp_path, width, dark):
    write_zoo(verification, tmp_path)
    found = probe(tmp_path / "report.html", tmp_path, width=width, sort=7, word="x7", dark=dark)
    assert found["errors"] == []
    assert found["window"] == width and found["wide"] <= width, "the page scrolls sideways"
    assert (found["all"], found["bad"], found["filtered"]) == (12, 4, 1)
    seconds = [f"{i}.0" for i in range(12)]
    assert found["up"] == seconds and found["down"] == seconds[::-1], "numbers sort as texts"
    assert (found["background"] == "rgb(255, 255, 255)") is not dark


@pytest.mark.skipif(not CHROMIUM, reason="no chromium, chromium-browser or google-chrome on the PATH")
@pytest.mark.parametrize("width", [1280, 390])
def test_comparison_in_a_browser(verification, tmp_path, width):
    (tmp_path / "r.html").write_text(page.render_comparison("old", "new", verification))
    found = probe(tmp_path / "r.html", tmp_path, width=width, sort=3, word="out2")
    assert found["errors"] == [] and found["wide"] <= width
    assert (found["all"], found["bad"], found["filtered"]) == (5, 1, 1)
    assert found["down"][0] == "0.001"
