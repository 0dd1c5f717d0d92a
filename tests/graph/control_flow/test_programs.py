"""Random programs compute the same and have the same gradients after the pass.

Many programs make one graph, each on rows of the inputs that are its own: one trace and one gradient for all of them,
and yet values and gradients of each. The default run takes 20 small programs, --run-slow 100 more and 300 larger ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from .harness import Raised, differentiate, list_control_flow, raise_legacy, run_legacy, v1
from .programs import Program

# (first seed, number of programs, depth of nesting, statements in a block at most)
SMALL = [(0, 10, 1, 3), (40, 10, 2, 1)]
LARGE = (
    [(80, 10, 2, 2)]
    + [(10, 30, 1, 3), (50, 30, 2, 1), (90, 30, 2, 2)]
    + [(seed, 10, 3, 4) for seed in range(1000, 1300, 10)]
)
OUTPUTS = 2


@pytest.fixture(autouse=True)
def without_grappler() -> Iterator[None]:
    """Half of the time would be Grappler's; the other tests run with it."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.mark.parametrize(
    ("first", "count", "depth", "statements"), [*SMALL, *(pytest.param(*c, marks=pytest.mark.slow) for c in LARGE)]
)
def test_programs(first: int, count: int, depth: int, statements: int) -> None:
    seeds = range(first, first + count)
    numbers = np.random.RandomState(first)
    rows = [numbers.randn(count, 3).astype(np.float32) for _ in range(2)]
    trips = np.arange(count, dtype=np.int32) % 4

    def build(x0: Any, x1: Any, n: Any) -> list[Any]:
        outputs = []
        for k, seed in enumerate(seeds):
            with v1.name_scope(f"seed_{seed}"):
                outputs += Program(seed, depth=depth, statements=statements).build(x0[k], x1[k], n[k])
        return outputs

    legacy = run_legacy(build, *rows, trips, add_shapes=first % 40 == 0)
    graph_def, findings = raise_legacy(legacy)
    assert not findings
    assert list_control_flow(legacy.graph_def) and not list_control_flow(graph_def)
    outputs, gradients = differentiate(Raised(legacy, graph_def).f, legacy, [])
    assert len(outputs) == OUTPUTS * count and len(gradients) == 2
    for k, seed in enumerate(seeds):
        for got, want in zip(outputs[OUTPUTS * k :][:OUTPUTS], legacy.outputs[OUTPUTS * k :][:OUTPUTS], strict=True):
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-6, err_msg=f"seed {seed}")
        for got, want in zip(gradients, legacy.gradients, strict=True):
            assert want is not None
            np.testing.assert_allclose(got.numpy()[k], want[k], rtol=1e-4, atol=1e-6, err_msg=f"seed {seed}: gradient")
