"""Draws of rows given conditions on any columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.proposals import proposals
from nflow_cli.errors import DataError
from nflow_cli.evaluation.importance import pareto_k
from nflow_cli.evaluation.warnings import verdict
from nflow_cli.random_streams import stream
from nflow_cli.terminal.layout import tell

FEWEST, MOST = 256, 20_000  # proposals at a time
TRIED, AT_A_CONDITION = 100, 1_000  # proposals a draw, and at a condition, that may be tried
ALL_TRIED = 200_000  # at all conditions
LEAST_EFFECTIVE = 32  # proposals, however few draws
EQUAL = 1e-9  # nats: weights so close are equal
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


class Pool(NamedTuple):
    """Weighted proposals.

    Attributes:
        rows: Possible ones ``(k, C)``.
        log_weights: In nats, of all ``(N,)``.
    """

    rows: np.ndarray
    log_weights: np.ndarray

    @property
    def possible(self) -> np.ndarray:
        """Log-weights ``(k,)`` of the possible proposals."""
        return self.log_weights[self.log_weights > -np.inf]

    @property
    def effective(self) -> float:
        """Effective sample size ``(Σw)²/Σw²``."""
        if not len(possible := self.possible):
            return 0.0
        weights = np.exp(possible - possible.max())
        return float(weights.sum() ** 2 / np.square(weights).sum())

    @property
    def is_equal(self) -> bool:
        """Whether all possible proposals have the same weight."""
        return len(self.rows) > 0 and bool(np.ptp(self.possible) <= EQUAL)

    def draws(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw ``n`` rows: the first ones of equal weight, else by systematic resampling."""
        if self.is_equal and len(self.rows) >= n:
            return self.rows[:n]
        ends = np.cumsum(np.exp(self.possible - self.possible.max()))
        chosen = np.searchsorted(ends, (np.arange(n) + rng.random()) / n * ends[-1])
        return self.rows[rng.permutation(np.minimum(chosen, len(ends) - 1))]


def draws_given(
    density: CellDensity, conditions: Conditions, n: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Draw ``n`` rows at each condition; yield the number of rows before, and the rows ``(n, C)``.

    By importance sampling, with twice as many effective proposals as draws, and 32 at least, if 100
    proposals a draw suffice, 1,000 at a condition, or 200,000 in all. A note on their reliability
    follows.
    """
    pools = []
    for i in range(len(conditions) if n else 0):
        rng = stream(seed, "conditional draws", i)
        pool = _pool(density, conditions, i, n, rng)
        if not len(pool.rows):
            count = len(pool.log_weights)
            raise DataError(
                f"given: none of {count:,} draws meets the conditions: they are too rare"
            )
        if not (pool.is_equal and len(pool.rows) >= n):
            pools.append((len(pool.log_weights), pool.effective / n, _k_hat(pool)))
        yield i * n, pool.draws(n, rng)
    if pools:
        _tell_reliability(n, pools)


def _pool(
    density: CellDensity, conditions: Conditions, i: int, n: int, rng: np.random.Generator
) -> Pool:
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
        pool = Pool(np.concatenate(rows), np.concatenate(log_weights))
        enough = n if pool.is_equal else max(2 * n, LEAST_EFFECTIVE)
        if pool.effective >= enough or total >= most:
            return pool
        more = SPARE * total * (enough / max(pool.effective, 0.5) - 1)
        size = int(min(max(more, FEWEST), MOST, most - total))


def _k_hat(pool: Pool) -> float:
    if pool.is_equal:
        return 0.0
    return pareto_k(-pool.log_weights) if len(pool.log_weights) >= FEWEST else np.nan


def _tell_reliability(n: int, pools: Sequence[tuple[int, float, float]]) -> None:
    counts, shares, shapes = (np.array(values) for values in zip(*pools))
    k = float(shapes.max())
    where = "" if len(pools) == 1 else f" at the least reliable of {len(pools):,} conditions"
    text = (
        f"given: importance sampling, {int(counts.sum()):,} proposals, effective sample size "
        f"{shares.min() * n:,.0f}{where}, k-hat {k:.2f} ({verdict(k)})"
    )
    few = f"; fewer than the {n:,} draws, some of which are equal" if shares.min() < 1 else ""
    tell(text + few)
