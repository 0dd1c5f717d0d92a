"""What all pages share: their frame, their looks in light and dark, and tables that sort and filter.

Pages are self-contained: no font, script or image comes from elsewhere, so that they can be mailed and archived.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

from migrate import errors

# Rows of a table that a browser lays out before somebody asks for all.
_SHOWN = 100
# Without a script there is nobody to ask.
_UNSCRIPTED = "<noscript><style>tbody[hidden] { display: table-row-group; }</style></noscript>"
_STYLE = """
:root { color-scheme: light dark; --page: #fff; --card: #f6f8fa; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0;
  --good: #1a7f37; --bad: #c3202c; --wait: #8a5a00; --mark: #0757ba; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --card: #161b22; --ink: #e6edf3; --soft: #9aa5b1;
  --line: #30363d; --good: #4ac26b; --bad: #ff7b72; --wait: #d9a441; --mark: #79b8ff; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; padding: 1.2rem clamp(.8rem, 3vw, 2rem);
  background: var(--page); color: var(--ink); overflow-wrap: anywhere; }
h1 { font-size: 1.45rem; margin: 0 0 .4rem; } h2 { font-size: 1.1rem; margin: 1.8rem 0 .5rem; }
a { color: var(--mark); } code, pre { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; margin: .4rem 0;
  white-space: pre-wrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: .3rem 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
.badge { display: inline-block; padding: .05rem .55rem; border-radius: 1rem; border: 1.5px solid; font-weight: 650; }
.good { color: var(--good); } .bad { color: var(--bad); } .wait { color: var(--wait); } .soft { color: var(--soft); }
.tools { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; align-items: center; margin: .5rem 0; }
input[type=search] { font: inherit; padding: .3rem .6rem; width: min(22rem, 100%); border: 1px solid var(--line);
  border-radius: 6px; background: var(--page); color: inherit; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .32rem .55rem; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; }
th { font-weight: 600; background: var(--card); } .scroll { overflow-x: auto; } table { font-size: 14px; }
th button { all: unset; cursor: pointer; white-space: nowrap; }
th button:focus-visible { outline: 2px solid var(--mark); }
th button::after { content: " \\2195"; opacity: .45; }
th[aria-sort] button::after { opacity: 1; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
tbody[hidden] { display: none; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { text-align: right; } .spaced li { margin: .35rem 0; }
td.path { overflow-wrap: anywhere; min-width: 13rem; } td.text { overflow-wrap: anywhere; min-width: 13rem; }
.clamp { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.chips { display: flex; flex-wrap: wrap; gap: .35rem; }
.chip, .copy { font: inherit; font-size: 13px; padding: .1rem .6rem; border: 1px solid var(--line); border-radius: 1rem;
  background: var(--card); color: inherit; cursor: pointer; }
.chip[aria-pressed=true] { background: var(--mark); border-color: var(--mark); color: var(--page); }
.command { display: flex; gap: .5rem; align-items: flex-start; } .command pre { flex: 1; min-width: 0; }
.copy { margin-top: .6rem; border-radius: 6px; white-space: nowrap; }
.share { display: flex; height: 1.1rem; border-radius: 6px; overflow: hidden; gap: 2px; margin: .5rem 0 .3rem; }
.share span { background: currentColor; min-width: 3px; } .legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; }
.legend b { font-variant-numeric: tabular-nums; }
.share .s0, .legend .s0 { opacity: 1; } .share .s1, .legend i.s1 { opacity: .72; }
.share .s2, .legend i.s2 { opacity: .5; }
.share .s3, .legend i.s3 { opacity: .32; }
.legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: 3px; background: currentColor; }
.card { border: 1.5px solid var(--line); border-left: 5px solid var(--bad); border-radius: 6px; background: var(--card);
  padding: .6rem .9rem; margin: .8rem 0; } .card h2 { margin: 0 0 .3rem; } .card p { margin: .3rem 0; }
.badges { display: flex; flex-wrap: wrap; gap: .4rem; margin: .4rem 0; } .badges .badge { font-size: 13px; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); gap: .8rem; }
figure { margin: 0; padding: .6rem; border: 1px solid var(--line); border-radius: 6px; background: var(--card); }
figcaption { font-size: 13px; overflow-wrap: anywhere; } svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 10px system-ui, sans-serif; }
.axis { stroke: var(--line); fill: none; } .guide { stroke: var(--soft); stroke-dasharray: 3 3; }
.dot { fill: var(--mark); fill-opacity: .65; } .bar { fill: var(--mark); }
.band { fill: var(--good); fill-opacity: .16; } .limit { stroke: var(--good); stroke-width: 1.5; }
img.input { max-width: 96px; max-height: 96px; min-width: 48px;
  image-rendering: pixelated; border: 1px solid var(--line); }
@media (max-width: 720px) {
  table, tbody, tr, td { display: block; } thead tr { display: flex; flex-wrap: wrap; gap: .3rem; }
  thead { display: block; }
  th { border: 1px solid var(--line); border-radius: 6px; padding: .15rem .5rem; }
  tbody tr { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .3rem .2rem; }
  td, td.number { border: 0; text-align: left; white-space: normal; padding: .1rem .5rem; min-width: 0; }
  td.path, td.text { min-width: 0; }
  td::before { color: var(--soft); } td:empty { display: none; }
  LABELS
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .3rem; } tr[hidden], tbody[hidden] { display: none; }
}
"""

# On narrow screens each cell bears its column's name, which the table says once: in each of thousands of rows the names
# would be half of the page.
_COLUMNS = 16
_STYLE = _STYLE.replace(
    "LABELS", "\n  ".join(f"td:nth-child({i})::before {{ content: var(--h{i}, ''); }}" for i in range(1, _COLUMNS + 1))
)

_SCRIPT = """
// All of a text of which two lines are shown.
document.addEventListener('mouseover', event => {
  const cut = event.target.closest('.clamp');
  if (cut && !cut.title) cut.title = cut.textContent;
});
document.querySelectorAll('.sortable').forEach(box => {
  const table = box.querySelector('table'), body = table.tBodies[0];
  const rows = [...table.tBodies].flatMap(part => [...part.rows]);
  const search = box.querySelector('input[type=search]'), only = box.querySelector('input[type=checkbox]');
  const count = box.querySelector('.count'), chips = [...box.querySelectorAll('.chip')];
  const more = box.querySelector('.more');
  // Thousands of rows take seconds to lay out: what is sorted and filtered are all, what stands in the page are some.
  let texts = null, limit = SHOWN;
  more.addEventListener('click', () => { limit = Infinity; show(); });
  const order = new Intl.Collator(undefined, {numeric: true}).compare;
  const show = () => {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    const wanted = new Set(chips.filter(chip => chip.getAttribute('aria-pressed') === 'true').map(c => c.dataset.chip));
    if (words.length && !texts) texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
    const fitting = rows.filter(row => words.every(word => texts.get(row).includes(word))
      && !(only && only.checked && row.dataset.bad !== '1') && !(wanted.size > 0 && !wanted.has(row.dataset.chip)));
    const shown = fitting.slice(0, limit);
    if (shown.length !== body.rows.length || shown.some((row, i) => row !== body.children[i]))
      body.replaceChildren(...shown);
    count.textContent = `${fitting.length} of ${rows.length}`;
    more.hidden = shown.length === fitting.length;
    more.textContent = `show all ${fitting.length} rows`;
  };
  chips.forEach(chip => chip.addEventListener('click', () => {
    chip.setAttribute('aria-pressed', chip.getAttribute('aria-pressed') !== 'true');
    show();
  }));
  search.addEventListener('input', show);
  // A link to a row that is filtered out, or not laid out yet.
  const visit = () => {
    const row = location.hash && rows.find(row => row.id === decodeURIComponent(location.hash.slice(1)));
    if (!row) return;
    if (!row.isConnected) {
      search.value = ''; limit = Infinity; if (only) only.checked = false;
      chips.forEach(chip => chip.setAttribute('aria-pressed', 'false'));
      show();
    }
    row.scrollIntoView({block: 'center'});
  };
  window.addEventListener('hashchange', visit);
  if (only) only.addEventListener('change', show);
  show();
  table.querySelectorAll('th').forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    table.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const keys = new Map(rows.map(row => {
      const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent;
      return [row, [text, text === '' ? NaN : Number(text)]];
    }));
    rows.sort((a, b) => {
      const [x, n] = keys.get(a), [y, m] = keys.get(b), difference = n - m;
      const found = Number.isNaN(difference) ? order(x, y) : difference;
      return down ? -found : found;
    });
    show();
  }));
});
document.querySelectorAll('.copy').forEach(button => button.addEventListener('click', () => {
  const text = button.parentElement.querySelector('pre').textContent;
  const done = () => { button.textContent = 'copied'; setTimeout(() => { button.textContent = 'copy'; }, 1500); };
  const byHand = () => {
    const area = document.createElement('textarea');
    area.value = text; document.body.append(area); area.select(); document.execCommand('copy'); area.remove(); done();
  };
  // A page that lies in a folder may not be allowed the clipboard.
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, byHand); else byHand();
}));
""".replace("SHOWN", str(_SHOWN))


def render_frame(title: str, body: str) -> str:
    """A whole page. Names in it are a stranger's: what turns the direction of text, say, is spelled out."""
    title, body = (errors.escape_control(text, keep="\n\t") for text in (title, body))
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'><link rel=icon href='data:,'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>{_UNSCRIPTED}</head>\n<body>{body}"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def render_badge(text: str, kind: str) -> str:
    """`kind` is good, bad or wait; the text says it too, for who cannot tell the colours."""
    return f"<span class='badge {kind}'>{html.escape(text)}</span>"


def render_command(command: str) -> str:
    """A command line with a button that copies it; nothing where there is none."""
    if not command:
        return ""
    return f"<div class=command><pre>{html.escape(command)}</pre><button type=button class=copy>copy</button></div>"


def render_bar(label: str, parts: Sequence[tuple[str, int, str]]) -> str:
    """A bar of shares with its legend.

    Args:
      label: what it shows, for who does not see it.
      parts: (name, count, kind as of a badge); parts of one kind are told apart by their strength.
    """
    if not parts:
        return ""
    seen: dict[str, int] = {}
    spans, items = [], []
    for name, count, kind in parts:
        shade = f"s{min(seen.get(kind, 0), 3)}"
        seen[kind] = seen.get(kind, 0) + 1
        text = html.escape(f"{count} {name}", quote=True)
        spans.append(f"<span class='{kind} {shade}' style='flex:{count}' title='{text}'></span>")
        items.append(f"<span><i class='{kind} {shade}'></i> <b>{count}</b> {html.escape(name)}</span>")
    return (
        f"<div class=share role=img aria-label='{html.escape(label, quote=True)}'>{''.join(spans)}</div>"
        f"<div class=legend>{''.join(items)}</div>"
    )


def render_list(title: str, lines: Sequence[str], kind: str = "") -> str:
    """A heading and a list; nothing where there are no lines."""
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2 class='{kind}'>{html.escape(title)}</h2><ul>{items}</ul>"


def render_table(
    heads: Sequence[str],
    rows: Iterable[str],
    only: str = "",
    numbers: Collection[str] = frozenset(),
    chips: Mapping[str, int] | None = None,
) -> str:
    """A table that sorts and filters.

    Args:
      heads: column names.
      rows: as `render_row` makes them.
      only: label of a checkbox that hides all rows that are not bad; "" for none.
      numbers: names of columns that hold numbers.
      chips: name -> count: buttons that leave only rows of these chips.
    """
    marks = "".join(
        f"<th{' class=number' if head in numbers else ''}><button type=button>{html.escape(head)}</button></th>"
        for head in heads
    )
    box = f"<label><input type=checkbox> {html.escape(only)}</label>" if only else ""
    buttons = "".join(
        f"<button type=button class=chip aria-pressed=false data-chip='{html.escape(name, quote=True)}'>"
        f"{html.escape(name)} {count}</button>"
        for name, count in (chips or {}).items()
    )
    labels = ";".join(f'--h{i}:"{head}: "' for i, head in enumerate(heads, 1) if head)
    left = iter(rows)
    parts = ["\n".join(itertools.islice(left, _SHOWN)), "\n".join(left)]
    return (
        "<div class=sortable><div class=tools><input type=search placeholder='filter: words in any column' "
        f"aria-label='filter'>{box}"
        + (f"<div class=chips>{buttons}</div>" if buttons else "")
        + "<span class='count soft'></span></div>"
        f"<div class=scroll><table style='{html.escape(labels, quote=True)}'><thead><tr>{marks}</tr></thead><tbody>\n"
        + "\n</tbody><tbody hidden>\n".join(filter(None, parts))
        + "\n</tbody></table></div><button type=button class='copy more' hidden></button></div>"
    )


def render_row(
    heads: Sequence[str], cells: Sequence[str], *, bad: bool = False, chip: str = "", anchor: str = ""
) -> str:
    """`cells` are as `render_cell` makes them, one for each of `heads`; `chip` is what the buttons above the table
    choose by, `anchor` what a link within the page finds."""
    if len(cells) != len(heads):
        raise ValueError(f"{len(cells)} cells for {len(heads)} columns")
    chosen = f" data-chip='{html.escape(chip, quote=True)}'" if chip else ""
    named = f" id='{html.escape(anchor, quote=True)}'" if anchor else ""
    return f"<tr{named} data-bad={int(bad)}{chosen}>{''.join(cells)}</tr>"


def render_cell(text: str, kind: str = "", value: float | None = None) -> str:
    """Text is escaped; `value` is what a number sorts by."""
    sort_key = "" if value is None else f" data-value='{value!r}'"
    styled = f" class='{kind}'" if kind else ""
    return f"<td{styled}{sort_key}>{html.escape(text)}</td>"


def render_number(value: float | None, spelling: str = ".3g") -> str:
    """An empty cell, which sorts first, where there is no number."""
    if value is None:
        return render_cell("", "number", -1.0)
    return render_cell(format(value, spelling), "number", float(value))
