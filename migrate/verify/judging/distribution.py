"""Random outputs: compared in distribution, by the two-sample Kolmogorov-Smirnov test. numpy only.

Each call is repeated on both sides and each draw reduced (`verify/draws.py`); each component is tested, and
Bonferroni's correction keeps the chance that two equal distributions are called different below the stated error rate,
however the components depend.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from migrate.verify.draws import describe_component

_STEADY = 1e-4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TwoSampleTest:
    """Outcome: `p_value` is the smallest over the components times their number, at most 1."""

    p_value: float
    statistic: float
    component: str
    baseline_mean: float
    candidate_mean: float


def compare_draws(baseline: np.ndarray, candidate: np.ndarray) -> TwoSampleTest:
    """Tests reduced draws [n, components] against [m, components]."""
    # Equal columns (a short output fills several places) are one component.
    both = np.concatenate([baseline, candidate])
    _, columns = np.unique(both, axis=1, return_index=True)
    worst: TwoSampleTest | None = None
    for column in sorted(columns):
        old, new = baseline[:, column], candidate[:, column]
        if np.ptp(both[:, column]) <= _STEADY * np.abs(both[:, column]).max():
            continue  # not random: two roundings of one number are not two distributions
        statistic = find_ks_statistic(old, new)
        p_value = min(1.0, find_ks_p_value(statistic, old.size, new.size) * len(columns))
        if worst is None or p_value < worst.p_value:
            worst = TwoSampleTest(
                p_value=p_value,
                statistic=statistic,
                component=describe_component(int(column)),
                baseline_mean=float(old.mean()),
                candidate_mean=float(new.mean()),
            )
    if worst is None:
        mean = float(both[:, 1].mean())
        return TwoSampleTest(p_value=1.0, statistic=0.0, component="mean", baseline_mean=mean, candidate_mean=mean)
    return worst


def find_ks_statistic(old: np.ndarray, new: np.ndarray) -> float:
    """Largest distance of the two empirical distribution functions."""
    points = np.concatenate([old, new])
    left = np.searchsorted(np.sort(old), points, side="right") / old.size
    right = np.searchsorted(np.sort(new), points, side="right") / new.size
    return float(np.abs(left - right).max())


def find_ks_p_value(statistic: float, n: int, m: int) -> float:
    """Asymptotic p-value with Stephens' correction for small samples (J. R. Stat. Soc. B 32, 1970); ties make it
    larger than it is, which errs on the safe side."""
    root = np.sqrt(n * m / (n + m))
    scaled = (root + 0.12 + 0.11 / root) * statistic
    if scaled < 0.2:
        return 1.0
    k = np.arange(1, 101)
    return float(np.clip(2 * np.sum((-1.0) ** (k - 1) * np.exp(-2 * (k * scaled) ** 2)), 0.0, 1.0))
