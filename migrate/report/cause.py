"""The card on top of a page: what went wrong, in as few words as it takes, and what follows from it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from migrate.report import style
from migrate.verdict import INTERFACE, OutputDiff, Verdict, Verification

_MOST_CAUSES, _MOST_OUTPUTS, _WIDTH = 4, 12, 400
_HEADS = ("what", "baseline", "candidate")


def render_cause(verification: Verification) -> str:
    """Each op at which values begin to differ, its two sides side by side, with the outputs that follow from it; where
    none is known, the first thing that differs. Nothing for a model that passed."""
    if verification.verdict is not Verdict.FAIL:
        return ""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in verification.bisection:
        if item["node"]:
            groups.setdefault((item["node"], item["op"]), []).append(item)
    if not groups:
        return _render_first(verification)
    cards = [_render_op(node, op, found) for (node, op), found in list(groups.items())[:_MOST_CAUSES]]
    more = f"<p class=soft>and {len(groups) - _MOST_CAUSES} other places</p>" if len(groups) > _MOST_CAUSES else ""
    unknown = [item["message"] for item in verification.bisection if not item["node"]]
    return "".join(cards) + more + style.render_list("Where it begins is not known for", unknown[:_MOST_CAUSES])


def _render_op(node: str, op: str, found: Sequence[Mapping[str, Any]]) -> str:
    differences = [tuple(row) for row in found[0].get("differences", ())]
    rows = [style.render_row(_HEADS, [style.render_cell(str(cell), "text") for cell in row]) for row in differences]
    heads = "".join(f"<th>{head}</th>" for head in _HEADS)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>" if rows else ""
    outputs = list(dict.fromkeys(f"{item['where']}: {item['output']}" for item in found))
    listed = "".join(f"<li>{html.escape(text)}</li>" for text in outputs[:_MOST_OUTPUTS])
    listed += f"<li>and {len(outputs) - _MOST_OUTPUTS} more</li>" if len(outputs) > _MOST_OUTPUTS else ""
    return (
        f"<section class=card><h2>It begins at {html.escape(op)} <code>{html.escape(node)}</code></h2>"
        f"<p>{html.escape(found[0]['message'])}</p>{table}"
        f"<details{' open' if len(outputs) < 4 else ''}><summary>{len(outputs)} outputs follow from it</summary>"
        f"<ul>{listed}</ul></details></section>"
    )


def _render_first(verification: Verification) -> str:
    bad = sorted((diff for diff in verification.diffs if not diff.equal), key=_weigh)
    if bad and bad[0].level == INTERFACE:
        title, text = "The interfaces differ", f"{bad[0].where}: {bad[0].output}: {bad[0].message}"
    elif verification.problems:
        title, text = "The candidate fails where the baseline runs", verification.problems[0]
    elif bad:
        title, text = f"{bad[0].output} differs", f"{bad[0].where}: {bad[0].message}"
    else:
        title, text = "Not everything was compared", next(iter(verification.not_compared), "")
    hint = "" if verification.bisection else "<p class=soft>--bisect finds the op at which it begins</p>" if bad else ""
    shown = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
    return f"<section class=card><h2>{html.escape(title)}</h2><p>{html.escape(shown)}</p>{hint}</section>"


def _weigh(diff: OutputDiff) -> tuple[bool, float]:
    return diff.level != INTERFACE, -(diff.max_relative or 0.0)
