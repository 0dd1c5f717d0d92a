"""The page that goes with a model: what it is, how to call and fine-tune it, what proved it. From its record alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

FILE = "README.md"
_LISTED = 12


def write_card(name: str, record: Mapping[str, Any], example: str) -> str:
    """Markdown.

    Args:
      name: of the model.
      record: migration.json.
      example: Python that loads the model from the working directory and calls it, "" where none could be made.
    """
    sections = [
        [f"# {name}", "", _describe(record)],
        ["## Signatures", "", *_list_signatures(record)],
        ["## Use", "", *_describe_use(record, example)],
        ["## Fine-tuning", "", *_describe_training(record)],
        ["## Proof", "", *_describe_proof(record)],
    ]
    if record["findings"]:
        sections.append(["## Findings", "", *_list_findings(record["findings"])])
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def rename_card(text: str, name: str, source: str) -> str:
    """The page as `write_card` writes it for the same model under another name, from a source of another name."""
    body = text.partition("\n")[2]
    return f"# {name}\n" + re.sub(r"migrated from `[^`]*`", lambda _: f"migrated from `{source}`", body, count=1)


def _describe(record: Mapping[str, Any]) -> str:
    source = record["source"]
    origin = f" It came from `{source['origin']}`." if source.get("origin") else ""
    written = f", written by TensorFlow {source['tensorflow']}" if source["tensorflow"] else ""
    return (
        f"A TF2 SavedModel, migrated from `{source['name']}` ({source['format'].replace('_', ' ')}{written}) by "
        f"{record['tool']['name']} {record['tool']['version']}.{origin} It loads in TensorFlow "
        f"{record['oldest_tensorflow']['version']} and newer. SHA-256 of the source: `{source['sha256']}`."
    )


def _list_signatures(record: Mapping[str, Any]) -> list[str]:
    lines = ["| signature | called as | inputs | outputs |", "|---|---|---|---|"]
    for piece in record["pieces"]:
        attribute = f"model.{piece['attribute']}" if piece["attribute"] else "model"
        flags = (("training", "has_training"), ("return_endpoints", "has_endpoints"))
        keywords = [name for name, flag in flags if piece[flag]]
        arguments = ", ".join(["inputs"] * bool(piece["positional"]) + [*keywords, *piece["keywords"]])
        sides = ["<br>".join(_describe_tensor(k, t) for k, t in piece[side].items()) for side in ("inputs", "outputs")]
        lines.append(f"| `{piece['signature_def']}` | `{attribute}({arguments})` | {sides[0] or 'none'} | {sides[1]} |")
    return lines


def _describe_tensor(key: str, tensor: Mapping[str, Any]) -> str:
    if tensor["shape"] is None:
        shape = "any shape"
    else:
        shape = "[" + ", ".join("?" if size is None else str(size) for size in tensor["shape"]) + "]"
    kind = {"coo_sparse": " sparse", "ragged": " ragged"}.get(tensor["encoding"], "")
    return f"`{key}`: {tensor['dtype']} {shape}{kind}{', optional' if tensor['optional'] else ''}"


def _describe_use(record: Mapping[str, Any], example: str) -> list[str]:
    if example:
        return ["In the model's folder:", "", "```python", example.rstrip("\n"), "```"]
    return ["No example could be made up for its inputs; `tf.saved_model.load` gives the object."]


def _describe_training(record: Mapping[str, Any]) -> list[str]:
    trained = record["trainable_variables"]
    if not trained:
        return ["Nothing in it trains: its variables, if any, are constants of the model."]
    main = next((piece for piece in record["pieces"] if not piece["attribute"]), None)
    lines = [
        f"{len(trained)} of {len(record['variables'])} variables train, as `hub.KerasLayer(path, trainable=True)` and "
        f"`model.trainable_variables` have them: {_shorten(trained)}.",
    ]
    still = [name for name in record["variables"] if name not in trained]
    if still:
        lines.append(f"The others do not: {_shorten(still)}.")
    if record["regularization_losses"]:
        lines.append(
            f"Add its {record['regularization_losses']} regularization losses to the task's: "
            "`tf.add_n([loss() for loss in model.regularization_losses])` (KerasLayer does so by itself)."
        )
    if main is not None and main["has_training"]:
        lines.append("`training=True` is another graph (dropout, batch statistics) and runs the update ops.")
    if main is not None and main["keywords"]:
        lines.append(f"Hyperparameters of the call: {', '.join(f'`{name}`' for name in main['keywords'])}.")
    return lines


def _shorten(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"`{name}`" for name in names[:_LISTED]) + more


def _describe_proof(record: Mapping[str, Any]) -> list[str]:
    verification = record.get("verification")
    if not verification:
        return ["Old and new were not run against each other."]
    lines = [
        f"Verdict: **{verification['verdict']}**. {verification['outputs_compared']} outputs of the original and of "
        "this model were compared on the same inputs."
    ]
    if verification["max_absolute"] is not None:
        lines.append(f"Largest difference: {verification['max_absolute']:.3g}.")
    lines += [f"Not compared: {line}" for line in verification["not_compared"]]
    return lines


def _list_findings(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"- {f['severity']}: {f['where']}: {f['message']}{' (' + f['hint'] + ')' if f['hint'] else ''}"
        for f in findings
    ]
