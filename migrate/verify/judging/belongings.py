"""Judges what belongs to a model beside its graph: files line by line, tables key by key, the parts of each piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from migrate.verdict import CALLABLE, INFERENCE, TRAINING, Coverage, OutputDiff
from migrate.verify.results import Results

FILES, TABLES = "files", "tables"


def compare_files(baseline: Results, candidate: Results) -> list[OutputDiff]:
    """Each file of the baseline with the candidate's of equal content, else of its name, else of its kind."""
    left = dict(candidate.files)
    pending: dict[str, Any] = {}
    diffs = []
    for name, lines in baseline.files.items():
        same = [other for other, new in left.items() if _kind(other) == _kind(name) and _equal(lines, new)]
        if same:
            # A copy of one asset may well serve several.
            diffs.append(_differ(FILES, name, "", INFERENCE))
            if name in same or _kind(name) != "asset":
                left.pop(name if name in same else same[0], None)
        else:
            pending[name] = lines
    for name, lines in pending.items():
        other = name if name in left else next((o for o in left if _kind(o) == _kind(name)), None)
        if other is None and _kind(name) == "asset":
            continue  # what TF1 read once, on loading, lies in a table by now; what is needed and lost cannot be loaded
        if other is None:
            diffs.append(_differ(FILES, name, "the candidate lacks it", INFERENCE))
        else:
            message = _explain_lines(lines, left.pop(other))
            diffs.append(_differ(FILES, name, message, INFERENCE))
    return diffs


def _kind(name: str) -> str:
    return name.partition(" ")[0]


def _equal(old: Any, new: Any) -> bool:
    return bool(old.dtype == new.dtype and old.shape == new.shape and (old == new).all())


def _explain_lines(old: Any, new: Any) -> str:
    if old.dtype != new.dtype:
        return "the file has another size"
    shared = min(len(old), len(new))
    different = np.flatnonzero(np.asarray(old[:shared] != new[:shared], bool))
    unit = "line" if old.dtype == object else "megabyte"
    lengths = f"; {len(old)} {unit}s became {len(new)}" if len(old) != len(new) else ""
    if not different.size:
        return f"cut off or grown at its end{lengths}"
    first = int(different[0])
    spelled = f": {_spell(old[first])} became {_spell(new[first])}" if unit == "line" else ""
    return f"{different.size} of {shared} {unit}s differ, first {unit} {first + 1}{spelled}{lengths}"


def _spell(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def compare_tables(baseline: Results, candidate: Results) -> list[OutputDiff]:
    """Each exported table of the baseline has its like in the candidate; what is left over goes by its keys."""
    left = list(candidate.tables)
    diffs: list[OutputDiff] = []
    pending: list[tuple[int, Any]] = []
    seen: list[Any] = []
    for number, table in enumerate(baseline.tables):
        # Variants have tables of their own, which may be one in the candidate.
        known = [new for new in candidate.tables if _equal(table[0], new[0]) and _equal(table[1], new[1])]
        if any(table is other or (_equal(table[0], other[0]) and _equal(table[1], other[1])) for other in seen):
            continue
        seen.append(table)
        if known:
            left = [new for new in left if not any(new is other for other in known)]
            diffs.append(_differ(TABLES, _name_table(number, table), "", INFERENCE))
        else:
            pending.append((number, table))
    if not candidate.tables:
        return diffs  # none of the candidate's could be exported
    for number, table in pending:
        name = _name_table(number, table)
        near = max(left, key=lambda new: _count_common(table, new), default=None)
        if near is None:
            diffs.append(_differ(TABLES, name, "the candidate lacks this table", INFERENCE))
            continue
        left = [new for new in left if new is not near]
        diffs.append(_differ(TABLES, name, _explain_table(table, near), INFERENCE))
    return diffs


def _name_table(number: int, table: tuple[Any, Any]) -> str:
    first = _spell(table[0].ravel()[0]) if table[0].size else "nothing"
    return f"table {number} ({len(table[0])} keys, first {first})"


def _entries(table: tuple[Any, Any]) -> dict[Any, Any]:
    keys, values = table
    flat = keys.reshape(len(keys), -1) if len(keys) else keys
    return {(row[0] if row.size == 1 else row.tobytes()): values[i] for i, row in enumerate(flat)}


def _count_common(old: tuple[Any, Any], new: tuple[Any, Any]) -> int:
    if old[0].dtype != new[0].dtype:
        return -1
    return len(_entries(old).keys() & _entries(new).keys())


def _explain_table(old: tuple[Any, Any], new: tuple[Any, Any]) -> str:
    before, after = _entries(old), _entries(new)
    lost = [key for key in before if key not in after]
    extra = [key for key in after if key not in before]
    moved = [key for key in before if key in after and not np.array_equal(before[key], after[key])]
    parts = [f"lost {len(lost)} keys, first {_spell(lost[0])}"] if lost else []
    parts += [f"has {len(extra)} new keys, first {_spell(extra[0])}"] if extra else []
    if moved:
        key = moved[0]
        parts.append(f"maps {len(moved)} keys otherwise, first {_spell(key)}: {before[key]} became {after[key]}")
    return "; ".join(parts) or "another dtype"


def compare_pieces(baseline: Results, candidate: Results, *, trainable: bool) -> list[OutputDiff]:
    """`variables`, `trainable_variables` and `regularization_losses` of each piece against what its graph uses.

    Args:
      baseline, candidate: what both sides say.
      trainable: whether what trains is to be the same.
    """
    # A TF1 session says what each signature uses, a migrated model what its pieces hold: one is held against the other.
    by_place = {(tuple(entry["tags"]), entry["signature"]): entry for entry in baseline.pieces if "tags" in entry}
    modes = [(mode, piece["attribute"]) for piece in candidate.pieces for mode in piece.get("modes", ())]
    modes = sorted(modes, key=lambda entry: (not entry[0]["training"], entry[1] != ""))
    holding = tuple(modes[0][0]["tags"]) if modes else ()
    thawed = {name for entry in candidate.pieces for name in entry.get("variables", ())}
    diffs = []
    for piece in (entry for entry in candidate.pieces if by_place and "attribute" in entry):
        places = [by_place.get((tuple(mode["tags"]), piece["signature"])) for mode in piece["modes"]]
        known = [entry for entry in places if entry is not None]
        if not (piece["attribute"] or piece.get("is_core")) or len(known) < len(places):
            continue
        wanted: set[str] = set()
        for entry, mode in zip(known, piece["modes"], strict=True):
            moves = mode["training"] or (piece["has_training"] and len(known) == 1)
            wanted |= thawed & set(entry.get("constants", ()))
            wanted |= set(entry["variables"]) | (set(entry["updated"]) if moves else set())
        where = f"piece {piece['attribute'] or '(core)'}"
        diffs.append(_compare_names(where, "variables", wanted, piece["variables"]))
        if trainable and baseline.trainable is not None:
            trains = wanted & set(baseline.trainable)
            diffs.append(_compare_names(where, "trainable_variables", trains, piece["trainable"]))
        # The collection of one graph counts for all pieces: of that which trains, else of the root's.
        holder = next((entry for place, entry in by_place.items() if place[0] == holding), known[0])
        diffs.append(_compare_piece_losses(where, holder, wanted, piece["losses"]))
    return diffs


def _compare_piece_losses(where: str, holder: dict[str, Any], wanted: set[str], found: list[int]) -> OutputDiff:
    """A piece has the losses of the original that its variables suffice for: `found` are positions among the root's."""
    names = holder["loss_names"]
    due = [i for i, used in enumerate(holder["losses"]) if set(used) <= wanted]
    lost = [names[i] for i in due if i not in found]
    more = [names[i] if 0 <= i < len(names) else "a loss that the root has not" for i in found if i not in due]
    parts = [f"lacks {', '.join(lost[:4])}"] if lost else []
    parts += [f"holds {', '.join(more[:4])}, which its variables have no part in"] if more else []
    if not parts and found != due:
        parts = ["holds them in another order"] if sorted(found) == due else ["holds one of them twice"]
    return _differ(where, "regularization_losses", "; ".join(parts), TRAINING)


def compare_root(baseline: Results, candidate: Results) -> list[OutputDiff]:
    """The root lists every variable that some signature uses; a core is compared as a piece."""
    root = next((piece for piece in candidate.pieces if piece.get("attribute") == ""), None)
    if root is None or not baseline.pieces or root.get("is_core"):
        return []
    used = {name for entry in baseline.pieces for name in (*entry["variables"], *entry.get("updated", ()))}
    lost = used - set(root["variables"])
    return [_compare_names("the root", "variables", used, [*used - lost])]


def _compare_names(where: str, what: str, wanted: set[str], found: list[str]) -> OutputDiff:
    lost, more = sorted(wanted - set(found)), sorted(set(found) - wanted)
    parts = [f"lacks {', '.join(lost[:4])}"] if lost else []
    parts += [f"holds {', '.join(more[:4])}, which its graph does not use"] if more else []
    return _differ(where, what, "; ".join(parts), TRAINING)


def _differ(where: str, what: str, message: str, level: str) -> OutputDiff:
    # Digests, names and keys are compared exactly: what is equal is the same to the bit.
    return OutputDiff(
        where=where,
        route=CALLABLE,
        output=what,
        equal=not message,
        message=message,
        level=level,
        bit_identical=not message,
    )


def cover_belongings(diffs: list[OutputDiff]) -> list[Coverage]:
    found = []
    for name in (FILES, TABLES):
        of_kind = [diff for diff in diffs if diff.where == name]
        found.append(Coverage(name=name, level=INFERENCE, reached=len(of_kind), total=len(of_kind)))
    return found


def compare_belongings(baseline: Results, candidate: Results, *, trainable: bool) -> list[OutputDiff]:
    """All of the above, where both sides say something."""
    if not candidate.pieces or not baseline.pieces:
        return []
    return [
        *compare_files(baseline, candidate),
        *compare_tables(baseline, candidate),
        *compare_pieces(baseline, candidate, trainable=trainable),
        *compare_root(baseline, candidate),
    ]
