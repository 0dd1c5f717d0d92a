"""What all pages share: their frame, their looks in light and dark, and tables that sort and filter.

Pages are self-contained: no font, script or image comes from elsewhere, so that they can be mailed and archived.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --card: #f6f8fa; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0;
  --good: #1a7f37; --bad: #c3202c; --wait: #8a5a00; --mark: #0757ba; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --card: #161b22; --ink: #e6edf3; --soft: #9aa5b1;
  --line: #30363d; --good: #4ac26b; --bad: #ff7b72; --wait: #d9a441; --mark: #79b8ff; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; padding: 1.2rem clamp(.8rem, 3vw, 2rem);
  background: var(--page); color: var(--ink); }
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
th, td { text-align: left; padding: .32rem .55rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; background: var(--card); } .scroll { overflow-x: auto; } table { font-size: 14px; }
th button { all: unset; cursor: pointer; white-space: nowrap; }
th button:focus-visible { outline: 2px solid var(--mark); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { text-align: right; } .spaced li { margin: .35rem 0; }
td.path { overflow-wrap: anywhere; min-width: 13rem; } td.text { overflow-wrap: anywhere; min-width: 13rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); gap: .8rem; }
figure { margin: 0; padding: .6rem; border: 1px solid var(--line); border-radius: 6px; background: var(--card); }
figcaption { font-size: 13px; overflow-wrap: anywhere; } svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 10px system-ui, sans-serif; }
.axis { stroke: var(--line); fill: none; } .guide { stroke: var(--soft); stroke-dasharray: 3 3; }
.dot { fill: var(--mark); fill-opacity: .65; } .bar { fill: var(--mark); }
img.input { max-width: 96px; max-height: 96px; min-width: 48px;
  image-rendering: pixelated; border: 1px solid var(--line); }
@media (max-width: 720px) {
  table, tbody, tr, td { display: block; } thead tr { display: flex; flex-wrap: wrap; gap: .3rem; }
  thead { display: block; }
  th { border: 1px solid var(--line); border-radius: 6px; padding: .15rem .5rem; }
  tbody tr { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .3rem .2rem; }
  td, td.number { border: 0; text-align: left; white-space: normal; padding: .1rem .5rem; min-width: 0; }
  td.path, td.text { min-width: 0; }
  td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); } td:empty { display: none; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .3rem; } tr[hidden] { display: none; }
}
"""

_SCRIPT = """
document.querySelectorAll('.sortable').forEach(box => {
  const table = box.querySelector('table'), body = table.tBodies[0], rows = [...body.rows];
  const search = box.querySelector('input[type=search]'), only = box.querySelector('input[type=checkbox]');
  const count = box.querySelector('.count');
  const show = () => {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach(row => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word)) || (only && only.checked && row.dataset.bad !== '1');
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length}`;
  };
  search.addEventListener('input', show);
  if (only) only.addEventListener('change', show);
  show();
  table.querySelectorAll('th').forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    table.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)], number = Number(x) - Number(y);
      const order = Number.isNaN(number) || x === '' || y === '' ? x.localeCompare(y) : number;
      return down ? -order : order;
    });
    body.append(...rows);
  }));
});
"""


def render_frame(title: str, body: str) -> str:
    """A whole page."""
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'><link rel=icon href='data:,'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>{body}"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def render_badge(text: str, kind: str) -> str:
    """`kind` is good, bad or wait; the text says it too, for who cannot tell the colours."""
    return f"<span class='badge {kind}'>{html.escape(text)}</span>"


def render_list(title: str, lines: Sequence[str], kind: str = "") -> str:
    """A heading and a list; nothing where there are no lines."""
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2 class='{kind}'>{html.escape(title)}</h2><ul>{items}</ul>"


def render_table(
    heads: Sequence[str], rows: Iterable[str], only: str = "", numbers: Collection[str] = frozenset()
) -> str:
    """A table that sorts and filters.

    Args:
      heads: column names.
      rows: as `render_row` makes them.
      only: label of a checkbox that hides all rows that are not bad; "" for none.
      numbers: names of columns that hold numbers.
    """
    marks = "".join(
        f"<th{' class=number' if head in numbers else ''}><button type=button>{html.escape(head)}</button></th>"
        for head in heads
    )
    box = f"<label><input type=checkbox> {html.escape(only)}</label>" if only else ""
    return (
        "<div class=sortable><div class=tools><input type=search placeholder='filter: words in any column' "
        f"aria-label='filter'>{box}<span class='count soft'></span></div>"
        f"<div class=scroll><table><thead><tr>{marks}</tr></thead><tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div></div>"
    )


def render_row(heads: Sequence[str], cells: Sequence[str], *, bad: bool = False) -> str:
    """`cells` are as `render_cell` makes them; each carries its column's name for narrow screens."""
    labelled = (
        cell.replace("<td", f"<td data-label='{html.escape(head, quote=True)}'", 1)
        for head, cell in zip(heads, cells, strict=True)
    )
    return f"<tr data-bad={int(bad)}>{''.join(labelled)}</tr>"


def render_cell(text: str, kind: str = "", value: float | None = None) -> str:
    """Text is escaped; `value` is what a number sorts by."""
    sort_key = "" if value is None else f" data-value='{value!r}'"
    return f"<td class='{kind}'{sort_key}>{html.escape(text)}</td>"


def render_number(value: float | None, spelling: str = ".3g") -> str:
    """An empty cell, which sorts first, where there is no number."""
    if value is None:
        return render_cell("", "number", -1.0)
    return render_cell(format(value, spelling), "number", float(value))
