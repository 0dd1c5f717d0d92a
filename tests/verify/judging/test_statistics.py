"""Statistics of arrays that are the same."""

import dataclasses

import numpy as np
import pytest

from migrate.verify.judging import statistics


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (4, 3), (5, 9), (2, 3, 7), (6, 1)])
@pytest.mark.parametrize("special", [(), (np.nan,), (np.inf, np.nan), (0.0, -0.0)])
def test_of_identical_arrays_the_short_way_says_the_same(dtype, shape, special):
    value = np.random.default_rng(0).normal(size=shape).astype(dtype)
    if value.ndim:
        value.reshape(-1)[: len(special)] = special[: value.size]
    assert statistics.has_same_bits(value, value.copy())
    long, short = statistics.measure_floats(value, value.copy()), statistics.measure_identical(value)
    assert short == dataclasses.replace(long, cosine=short.cosine)
    assert (long.cosine is None) == (short.cosine is None)
    assert long.cosine is None or abs(long.cosine - 1) < 1e-6
