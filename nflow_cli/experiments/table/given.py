"""Draws of rows given conditions on any columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.proposals import proposals
from nflow_cli.errors import DataError
from nflow_cli.evaluation.importance import pareto_k
from nflow_cli.evaluation.warnings import verdict
from nflow_cli.experiments.table.completions import WeightedDraws, weights_of
from nflow_cli.random_streams import stream
from nflow_cli.terminal.output import tell

FEWEST, MOST = 256, 20_000  # proposals at a time
TRIED, AT_A_CONDITION = 100, 1_000  # proposals a draw, and at a condition, that may be tried
ALL_TRIED = 200_000  # at all conditions
LEAST_EFFECTIVE = 32  # proposals, however few draws
EQUAL = 1e-9  # relative: weights so close are equal
SPARE = 1.2  # times as many proposals as seem necessary


@dataclass(frozen=True, eq=False)
class Conditions:
    """m conditions on the cells of a row.

    Attributes:
        rows: ``(m, C)``; a NaN is no condition, but of a given column a missing cell.
        ranges: Ends of the numbers allowed in a column, by its place.
    """

    rows: np.ndarray
    ranges: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def only_on(self, n_given: int) -> bool:
        """Whether no column but given ones has a condition."""
        return not self.ranges and bool(np.isnan(self.rows[:, n_given:]).all())

    def allow(self, rows: np.ndarray) -> np.ndarray:
        """Whether rows ``(n, C)`` are within the ranges."""
        allowed = np.ones(len(rows), bool)
        for place, (low, high) in self.ranges.items():
            allowed &= (low <= rows[:, place]) & (rows[:, place] <= high)
        return allowed


def draws_given(
    density: CellDensity, conditions: Conditions, n: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Draw ``n`` rows at each condition; yield the number of rows before, and the rows ``(n, C)``.

    By importance sampling, with twice as many effective proposals as draws, and 32 at least, if 100
    proposals a draw suffice, 1,000 at a condition, or 200,000 in all. A note on their reliability
    follows.
    """
    told = []
    for i in range(len(conditions) if n else 0):
        rng = stream(seed, "conditional draws", i)
        pool, log_weights = _pool(density, conditions, i, n, rng)
        if not (found := pool.draws.shape[1]):
            raise DataError(
                f"given: none of {len(log_weights):,} draws meets the conditions: they are too rare"
            )
        if _are_equal(pool) and found >= n:
            yield i * n, pool.draws[0, :n]
            continue
        told.append((len(log_weights), pool.effective[0] / n, _k_hat(pool, log_weights)))
        yield i * n, pool.resampled(n, rng)[0]
    if told:
        _tell_reliability(n, told)


def _pool(
    density: CellDensity, conditions: Conditions, i: int, n: int, rng: np.random.Generator
) -> tuple[WeightedDraws, np.ndarray]:
    """Possible proposals at a condition, and the log-weights ``(N,)`` of all, in nats."""
    rows, log_weights, total = [], [], 0
    size = min(max(n, FEWEST), MOST)
    most = max(TRIED * n, AT_A_CONDITION, ALL_TRIED // len(conditions))
    while True:
        at = np.repeat(conditions.rows[[i]], size, axis=0)
        unknown = np.isnan(at) & (np.arange(at.shape[1]) >= density.n_given)
        drawn, log_weight = proposals(density, at, unknown, rng, present=False)
        log_weight = np.where(conditions.allow(drawn), log_weight, -np.inf)
        rows.append(drawn[log_weight > -np.inf])
        log_weights.append(log_weight)
        total += size
        every = np.concatenate(log_weights)
        pool = WeightedDraws(np.concatenate(rows)[None], weights_of(every[None, every > -np.inf]))
        enough = n if _are_equal(pool) else max(2 * n, LEAST_EFFECTIVE)
        effective = pool.effective[0]
        if effective * (1 + EQUAL) >= enough or total >= most:
            return pool, every
        more = SPARE * total * (enough / max(effective, 0.5) - 1)
        size = int(min(max(more, FEWEST), MOST, most - total))


def _are_equal(pool: WeightedDraws) -> bool:
    """Whether there are draws, of one weight."""
    weights = pool.weights[0]
    return len(weights) > 0 and bool(weights.min() >= weights.max() * (1 - EQUAL))


def _k_hat(pool: WeightedDraws, log_weights: np.ndarray) -> float:
    if _are_equal(pool):
        return 0.0
    return pareto_k(-log_weights) if len(log_weights) >= FEWEST else np.nan


def _tell_reliability(n: int, told: Sequence[tuple[int, float, float]]) -> None:
    counts, shares, shapes = (np.array(values) for values in zip(*told))
    k = float(shapes.max())
    where = "" if len(told) == 1 else f" at the least reliable of {len(told):,} conditions"
    text = (
        f"given: importance sampling, {int(counts.sum()):,} proposals, effective sample size "
        f"{shares.min() * n:,.0f}{where}, k-hat {k:.2f} ({verdict(k)})"
    )
    few = f"; fewer than the {n:,} draws, some of which are equal" if shares.min() < 1 else ""
    tell(text + few)
