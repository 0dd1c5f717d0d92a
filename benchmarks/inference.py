"""Inference time of migrated recurrent modules beside the originals in a v1 session.

    python benchmarks/inference.py [--calls=N] [--rounds=N] [--batch=N] [--steps=N] [--units=N] [slug ...]

All sides run in this process, in turn, so that other load hits them alike. The original is loaded by TF1's loader
and run by `Session.make_callable`. The migrated one is run twice: `served` in a v1 session as well, as TF Serving
does, which compares the graphs; and `called` from Python through its signature's function, which adds what any call
of a tf.function costs. The modules of testdata/control_flow have 4 units, so that a step is little but the loop
itself; the `wide` ones are made here, as TF1 code made them, with as many units as models in use have. Prints medians
over rounds of the ratios to the original, with quartiles; the goal is 1.1.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # tf.compat.v1.nn.rnn_cell

import numpy as np
import tensorflow as tf

from migrate import migrate_model
from migrate.options import MigrateOptions

v1 = tf.compat.v1
tf.get_logger().setLevel("ERROR")
warnings.simplefilter("ignore")
CATALOGUE = pathlib.Path(__file__).resolve().parents[1] / "testdata" / "control_flow"
SLUGS = (
    "lstm",
    "gru",
    "layer_norm_lstm",
    "stacked_projections",
    "sequence_lengths",
    "bidirectional",
    "raw_rnn",
    "time_major_state",
)


WIDE = ("wide_lstm", "wide_gru", "wide_stacked", "wide_bidirectional")


def write_wide(slug: str, path: str, units: int) -> None:
    """A TF1 SavedModel of a recurrent network with v1 control flow and reference variables."""
    cells = v1.nn.rnn_cell
    v1.disable_control_flow_v2()
    with tf.Graph().as_default(), v1.variable_scope("", use_resource=False), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, None, units], name="x")
        if slug == "wide_bidirectional":
            forward, backward = cells.LSTMCell(units), cells.LSTMCell(units)
            outputs = tf.concat(v1.nn.bidirectional_dynamic_rnn(forward, backward, x, dtype=tf.float32)[0], -1)
        else:
            make = {"wide_lstm": cells.LSTMCell, "wide_gru": cells.GRUCell, "wide_stacked": cells.LSTMCell}[slug]
            stack = [make(units) for _ in range(2 if slug == "wide_stacked" else 1)]
            outputs, _ = v1.nn.dynamic_rnn(cells.MultiRNNCell(stack), x, dtype=tf.float32)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(path)
        define = v1.saved_model.predict_signature_def
        signatures = {"default": define({"default": x}, {"outputs": outputs})}
        builder.add_meta_graph_and_variables(session, [], signatures)
        builder.save()
    v1.enable_control_flow_v2()


def make_inputs(slug: str, batch: int, steps: int, units: int) -> dict[str, np.ndarray]:
    """Longer sequences than the recorded ones: a call of 4 steps measures little but the call."""
    random = np.random.RandomState(0)
    if slug in WIDE:
        return {"default": random.randn(batch, steps, units).astype(np.float32)}
    shape = (steps, batch, 3) if slug == "time_major_state" else (batch, steps, 3)
    inputs = {"x": random.randn(*shape).astype(np.float32)}
    if slug in ("sequence_lengths", "bidirectional", "raw_rnn"):
        inputs["lengths"] = random.randint(1, steps + 1, batch).astype(np.int32)
    if slug == "time_major_state":
        inputs |= {key: random.randn(batch, 4).astype(np.float32) for key in "ch"}
    return inputs if len(inputs) > 1 else {"default": inputs["x"]}


def in_session(path: str, tags: list[str], inputs: dict[str, np.ndarray]) -> Callable[[], Any]:
    """A call in a v1 session."""
    with tf.Graph().as_default():
        session = v1.Session()
        meta_graph = v1.saved_model.loader.load(session, tags, path)
        definition = meta_graph.signature_def["default"]
        run = session.make_callable(
            {key: info.name for key, info in definition.outputs.items()},
            [definition.inputs[key].name for key in inputs],
        )
    return lambda: run(*inputs.values())


def from_python(path: str, inputs: dict[str, np.ndarray]) -> Callable[[], Any]:
    """A call from Python; the outputs are fetched as arrays too."""
    loaded = tf.saved_model.load(path)
    function = loaded.signatures["default"]
    names = {name: name for name in function.structured_input_signature[1]}
    return lambda loaded=loaded: {
        key: value.numpy() for key, value in function(**{n: tf.constant(inputs[n]) for n in names}).items()
    }


def measure(call: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


@dataclasses.dataclass(frozen=True, slots=True)
class Module:
    """Milliseconds of a call of the original, and quartiles of the ratios to it."""

    slug: str
    milliseconds: float
    quartiles: tuple[tuple[float, float, float], tuple[float, float, float]]

    @property
    def served(self) -> float:
        return self.quartiles[0][1]

    @property
    def called(self) -> float:
        return self.quartiles[1][1]


def measure_modules(
    slugs: Sequence[str] = SLUGS + WIDE,
    *,
    calls: int = 5,
    rounds: int = 21,
    batch: int = 8,
    steps: int = 50,
    units: int = 128,
) -> list[Module]:
    """Migrates each module and measures it; at least two rounds."""
    print(f"batch {batch}, {steps} steps, {rounds} rounds of {calls} calls")
    print(f"{'module':20} {'original ms':>11} {'served':>16} {'called':>16}")
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for slug in slugs:
            path = str(CATALOGUE / slug / "model")
            if slug in WIDE:
                path = os.path.join(folder, f"{slug}_v1")
                write_wide(slug, path, units)
            inputs = make_inputs(slug, batch, steps, units)
            target = os.path.join(folder, slug)
            migrate_model(path, target, MigrateOptions(verify="none"))
            sides = in_session(path, [], inputs), in_session(target, ["serve"], inputs), from_python(target, inputs)
            expected, *others = (side() for side in sides)
            for key, value in expected.items():
                for found in others:
                    np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5)
            for side in sides:
                measure(side, 2 * calls)
            timed = [[measure(side, calls) for side in sides] for _ in range(rounds)]
            served, called = (_quartiles([row[side] / row[0] for row in timed]) for side in (1, 2))
            measured.append(Module(slug, statistics.median(row[0] for row in timed) * 1e3, (served, called)))
            line = f"{slug:20} {measured[-1].milliseconds:11.2f}"
            for first, middle, third in measured[-1].quartiles:
                line += f"  {middle:4.2f} ({first:4.2f}-{third:4.2f})"
            print(line, flush=True)
    return measured


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    first, middle, third = statistics.quantiles(values, n=4)
    return first, middle, third


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slugs", nargs="*", default=SLUGS + WIDE)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--units", type=int, default=128)
    measure_modules(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
