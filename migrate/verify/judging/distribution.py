"""Random outputs: compared in distribution. numpy only.

Draws of both sides are reduced (`verify/draws.py`) and turned into statistics: single components, the size of the
signal and of the noise, what rows, positions, channels and outputs have in common, and those projections in which the
first draws of the two sides differed most. Each is tested by ranks alone (Kolmogorov-Smirnov; Mann and Whitney), which
asks nothing of the distribution; Bonferroni's correction keeps the chance that two equal distributions are called
different below the stated error rate, however the statistics depend.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from migrate.verify.draws import GRID, NAMES, STEADY, describe_component, read_grid

# Outputs of one call that are held against one another, and elements that are tested one by one.
_MOST_TOGETHER, _MOST_ELEMENTS = 5, 32
# What must be told: a rate of dropout that is off by 0.05 changes the variance of what comes of it by 18 % at least
# (at a rate of 0.5), a weight that is off by 5 % the mean by 5 % or, where there is none, the variance by 10 %.
RATE, WEIGHT = 0.05, 0.05
_RATE_IN_VARIANCE, _WEIGHT_IN_VARIANCE = 0.18, 0.10
_POWER = 0.95
SIGNAL, NOISE = "size of the mean", "size of the noise"

Draws = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TwoSampleTest:
    """Outcome: `p_value` is the smallest over the components times their number, at most 1."""

    p_value: float
    statistic: float
    component: str
    baseline_mean: float
    candidate_mean: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What first draws of both sides taught.

    Attributes:
      grids: output -> extents, of outputs of one shape.
      centers, scales: output -> [elements], over both sides; a steady element has the scale 0.
      shifts: output -> [elements], by how many scales the candidate's means were higher.
      ties: (output, output) -> [elements, elements], by how much products of two elements were higher.
    """

    grids: dict[str, tuple[int, int, int]]
    centers: dict[str, np.ndarray]
    scales: dict[str, np.ndarray]
    shifts: dict[str, np.ndarray]
    ties: dict[tuple[str, str], np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What would have been told, at the stated error rate, 95 times in 100; inf where nothing of the kind.

    Attributes:
      rate: of dropout, off by so much.
      weight: off by this share.
    """

    rate: float
    weight: float

    @property
    def is_reached(self) -> bool:
        return self.rate <= RATE and self.weight <= WEIGHT

    @property
    def lacking(self) -> float:
        """How many times as many draws it takes."""
        return max(self.rate / RATE, self.weight / WEIGHT, 1.0) ** 2

    def describe(self) -> str:
        return f"a dropout rate off by {_spell(self.rate)}, a weight off by {_spell(100 * self.weight)} %"


def _spell(number: float) -> str:
    return f"{number:.2g}" if number < 100 else f"{number:.0f}"


def learn_reference(baseline: Draws, candidate: Draws) -> Reference:
    """From draws of one call, output key -> [n, components] of each side."""
    grids, centers, scales, shifts = {}, {}, {}, {}
    scaled: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for key in baseline:
        grid = read_grid([baseline[key], candidate[key]])
        if grid is None:
            continue
        grids[key] = grid
        old, new = (_elements(rows, grid) for rows in (baseline[key], candidate[key]))
        both = np.concatenate([old, new])
        centers[key] = both.mean(axis=0)
        steady = np.ptp(both, axis=0) <= STEADY * np.abs(both).max(axis=0, initial=0.0)
        scales[key] = np.where(steady, 0.0, both.std(axis=0))
        scaled[key] = tuple(_scale(rows, centers[key], scales[key]) for rows in (old, new))  # type: ignore[assignment]
        shifts[key] = scaled[key][1].mean(axis=0) - scaled[key][0].mean(axis=0)
    ties = {}
    for left, right in itertools.combinations_with_replacement(list(grids)[:_MOST_TOGETHER], 2):
        products = [scaled[left][side].T @ scaled[right][side] / len(scaled[left][side]) for side in (0, 1)]
        tie = products[1] - products[0]
        if left == right:
            np.fill_diagonal(tie, 0.0)
        ties[left, right] = tie
    return Reference(grids=grids, centers=centers, scales=scales, shifts=shifts, ties=ties)


def _elements(rows: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    return rows[:, GRID.stop : GRID.stop + math.prod(grid)]


def _scale(rows: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(scale > 0, (rows - center) / np.where(scale > 0, scale, 1.0), 0.0))


def compute_statistics(reference: Reference, draws: Draws) -> dict[tuple[str, str], np.ndarray]:
    """(output key, name of the statistic) -> [draws]."""
    found: dict[tuple[str, str], np.ndarray] = {}
    scaled: dict[str, np.ndarray] = {}
    for key, rows in draws.items():
        found |= {(key, name): rows[:, position] for position, name in enumerate(NAMES)}
        if key not in reference.grids:
            continue
        grid, center = reference.grids[key], reference.centers[key]
        values = _elements(rows, grid)
        for place in np.unique(np.linspace(0, values.shape[1] - 1, _MOST_ELEMENTS).astype(int)):
            found[key, describe_component(GRID.stop + int(place))] = values[:, place]
        scaled[key] = _scale(values, center, reference.scales[key])
        random = reference.scales[key] > 0
        if not random.any():
            continue
        # Elements with little noise tell most of the signal.
        weights = np.where(random, center / np.where(random, reference.scales[key], 1.0) ** 2, 0.0)
        norm = float(weights @ center)
        if norm > 0:
            found[key, SIGNAL] = values @ weights / norm
        found[key, NOISE] = np.square(scaled[key]).sum(axis=1) / random.sum()
        found |= {(key, name): value for name, value in _find_common(scaled[key].reshape(-1, *grid)).items()}
        found[key, "means that differed in the first draws"] = scaled[key] @ reference.shifts[key]
    for (left, right), tie in reference.ties.items():
        if left in scaled and right in scaled:
            name = "of its own values" if left == right else f"with output {right}"
            found[left, f"correlation {name} that differed in the first draws"] = np.einsum(
                "ni,ij,nj->n", scaled[left], tie, scaled[right], optimize=True
            )
            if left != right and scaled[left].shape[1] == scaled[right].shape[1]:
                found[left, f"correlation with output {right}"] = (scaled[left] * scaled[right]).mean(axis=1)
    return found


def _find_common(scaled: np.ndarray) -> dict[str, np.ndarray]:
    """Mean product of two elements that differ along one axis alone, of [draws, rows, positions, channels]."""
    found = {}
    for axis, name in enumerate(("rows", "positions", "channels"), start=1):
        extent = scaled.shape[axis]
        if extent > 1:
            products = np.square(scaled.sum(axis=axis)) - np.square(scaled).sum(axis=axis)
            found[f"correlation between {name}"] = products.mean(axis=(1, 2)) / (extent * (extent - 1))
    return found


def compare_statistics(
    baseline: Mapping[tuple[str, str], np.ndarray], candidate: Mapping[tuple[str, str], np.ndarray]
) -> dict[tuple[str, str], TwoSampleTest]:
    """Each statistic by itself, the better of two tests, corrected for being two alone; none of what is steady."""
    found = {}
    for (key, name), old in baseline.items():
        new = candidate[key, name]
        both = np.concatenate([old, new])
        if np.ptp(both) <= STEADY * np.abs(both).max():
            continue  # not random: two roundings of one number are not two distributions
        distance = find_ks_statistic(old, new)
        p_value = min(find_ks_p_value(distance, old.size, new.size), find_rank_p_value(old, new))
        found[key, name] = TwoSampleTest(
            p_value=min(1.0, 2 * p_value),
            statistic=distance,
            component=name,
            baseline_mean=float(old.mean()),
            candidate_mean=float(new.mean()),
        )
    return found


def find_power(key: str, values: Sequence[Mapping[tuple[str, str], np.ndarray]], error_rate: float) -> Power:
    """Of the statistics of both sides, at the error rate of one of them (corrected for their number)."""
    normal = statistics.NormalDist()
    factor = (normal.inv_cdf(1 - error_rate / 4) + normal.inv_cdf(_POWER)) / math.sqrt(3 / math.pi)

    def shift(name: str) -> float:
        if any((key, name) not in side for side in values):
            return math.inf
        samples = [side[key, name] for side in values]
        return factor * math.sqrt(sum(float(sample.var()) / sample.size for sample in samples))

    def relative(name: str) -> float:
        """Of outputs of varying shape, which have no places of their own."""
        level = abs(float(np.concatenate([side[key, name] for side in values]).mean()))
        return shift(name) / level if level else math.inf

    is_shaped = all((key, NOISE) in side for side in values)
    noise = shift(NOISE) if is_shaped else relative("mean square")
    signal = shift(SIGNAL) if is_shaped else relative("mean")
    rate = RATE * noise / _RATE_IN_VARIANCE
    zeros = shift("share of zeros")
    if 0 < zeros < math.inf:
        rate = min(rate, zeros)
    return Power(rate=rate, weight=min(signal, WEIGHT * noise / _WEIGHT_IN_VARIANCE))


def compare_draws(baseline: np.ndarray, candidate: np.ndarray) -> TwoSampleTest:
    """Tests reduced draws [n, components] against [m, components]: as they are, without what first draws taught."""
    old, new = (
        {("", describe_component(i)): column for i, column in enumerate(rows.T)} for rows in (baseline, candidate)
    )
    tests = list(compare_statistics(old, new).values())
    if not tests:
        mean = float(np.concatenate([baseline, candidate])[:, 1].mean())
        return TwoSampleTest(p_value=1.0, statistic=0.0, component="mean", baseline_mean=mean, candidate_mean=mean)
    worst = min(tests, key=lambda test: test.p_value)
    return dataclasses.replace(worst, p_value=min(1.0, worst.p_value * len(tests)))


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


def find_rank_p_value(old: np.ndarray, new: np.ndarray) -> float:
    """Two-sided p-value of the Mann-Whitney test by the normal approximation, corrected for ties and continuity."""
    _, inverse, counts = np.unique(np.concatenate([old, new]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m, total = old.size, new.size, old.size + new.size
    ties = float((counts.astype(np.float64) ** 3 - counts).sum()) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - ties)
    if variance <= 0:
        return 1.0
    distance = abs(float(ranks[:n].sum()) - n * (total + 1) / 2)
    return math.erfc(max(0.0, distance - 0.5) / math.sqrt(2 * variance))
