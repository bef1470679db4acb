"""What draws tell of the rows that they are made from, beside what they tell of holdout rows.

Each figure is a mean of scores of rows, given the draws. Were the draws of the law of the rows and
made without them, training and holdout rows would be exchangeable, so a permutation of the labels
of the pooled rows tells a difference from chance.

Attacks are those of Giomi et al. (2023, A unified framework for quantifying privacy risk in
synthetic data, arXiv 2211.10459): singling out, linkability, inference.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.strict import Strict

PERMUTATIONS = 1_000
Z_95 = 1.96
BLOCK = 2_000_000  # distances at a time
TIED = 1e-6  # distances so near are equal
NEAR = 0.01  # quantile of the distances of holdout rows to training rows
TOLERANCE = 0.05  # of a number that is inferred, relative
PREDICATES = 1_000  # that one draw meets
TRIED_PREDICATES = 20_000
PREDICATE_COLUMNS = 3


class Rate(Strict):
    """Rate of an attack on training rows, beside that on holdout rows.

    Attributes:
        training: On training rows.
        holdout: On holdout rows.
        difference: Of the two.
        low: End of the 95 % interval of the difference.
        high: Its other end.
        p_value: Of a difference as large by chance.
    """

    training: float
    holdout: float
    difference: float
    low: float
    high: float
    p_value: float


class Pool(NamedTuple):
    """Training rows, then as many holdout rows ``(2m, C)``, and permutations of their labels.

    Attributes:
        rows: The rows.
        labels: ``(1 + PERMUTATIONS, 2m)``, 1 of training rows; the first are the true ones.
    """

    rows: np.ndarray
    labels: np.ndarray

    @property
    def n(self) -> int:
        """Number m of rows of either label."""
        return len(self.rows) // 2

    def rate(self, scores: np.ndarray) -> Rate:
        """Mean of the scores ``(2m,)`` of training rows, beside that of holdout rows."""
        n_training = self.labels.sum(axis=1)
        of_training = self.labels @ scores
        of_holdout = scores.sum() - of_training
        return rate_of(of_training / n_training, of_holdout / (len(scores) - n_training))


def pool_of(
    train: np.ndarray,
    holdout: np.ndarray,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
) -> Pool:
    """Pool of training and holdout rows, both ``(m, C)``; rows of one of ``groups`` ``(2m,)`` have
    one label.
    """
    rows = np.concatenate([train, holdout])
    own = np.repeat([1.0, 0.0], len(train))
    if groups is None:
        labels = [rng.permutation(own) for _ in range(PERMUTATIONS)]
    else:
        _, first, places = np.unique(groups, return_index=True, return_inverse=True)
        labels = [rng.permutation(own[first])[places] for _ in range(PERMUTATIONS)]
    return Pool(rows, np.array([own, *labels]))


def rate_of(training: np.ndarray, holdout: np.ndarray) -> Rate:
    """Rate of the true labels, the first, beside those of permuted ones ``(1 + PERMUTATIONS,)``."""
    difference = training - holdout
    own = float(difference[0])
    permuted = difference[1:]
    half = Z_95 * float(permuted.std())
    return Rate(
        training=float(training[0]),
        holdout=float(holdout[0]),
        difference=own,
        low=own - half,
        high=own + half,
        p_value=(1 + int((permuted >= own - TIED * abs(own)).sum())) / (1 + len(permuted)),
    )


class Metric(NamedTuple):
    """Distance of rows: the sum over columns of 1 for another level, or another gap, and of
    ``|x - y|`` of numbers over the range of the training numbers (Gower 1971).

    Attributes:
        are_levels: Whether a column ``(C,)`` has levels.
        ranges: Of numbers ``(C,)``.
    """

    are_levels: np.ndarray
    ranges: np.ndarray

    def of_columns(self, rows: np.ndarray, draws: np.ndarray) -> Iterator[np.ndarray]:
        """Distances ``(a, b)`` of rows ``(a, C)`` and draws ``(b, C)`` in each column."""
        for j, has_levels in enumerate(self.are_levels):
            x = rows[:, j, None]
            y = draws[None, :, j]
            if has_levels:
                x = np.nan_to_num(x, nan=-2.0)
                y = np.nan_to_num(y, nan=-2.0)
                yield (x != y).astype(np.float32)
                continue
            distance = np.minimum(np.abs(x - y) / self.ranges[j], 1.0)
            if np.isnan(distance).any():
                distance = np.where(
                    np.isnan(x) & np.isnan(y), 0.0, np.nan_to_num(distance, nan=1.0)
                )
            yield distance.astype(np.float32)

    def between(self, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Distances ``(a, b)`` of rows ``(a, C)`` and draws ``(b, C)``."""
        total = np.zeros((len(rows), len(draws)), np.float32)
        for distance in self.of_columns(rows, draws):
            total += distance
        return total

    def blocks(self, rows: np.ndarray, n_draws: int) -> Iterator[slice]:
        """Blocks of rows whose distances to draws are computed at a time."""
        size = max(BLOCK // max(n_draws, 1), 1)
        for start in range(0, len(rows), size):
            yield slice(start, start + size)

    def nearest(self, rows: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance ``(a,)`` of each row to the nearest draw, and its place."""
        distances = np.empty(len(rows))
        places = np.empty(len(rows), int)
        for block in self.blocks(rows, len(draws)):
            total = self.between(rows[block], draws)
            places[block] = total.argmin(axis=1)
            distances[block] = total.min(axis=1)
        return distances, places

    def times_nearest(self, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """How many draws ``(a,)`` have each row as their nearest; of equally near ones a part."""
        counts = np.zeros(len(rows))
        for block in self.blocks(draws, len(rows)):
            total = self.between(draws[block], rows)
            is_nearest = total <= total.min(axis=1, keepdims=True) + TIED
            counts += (is_nearest / is_nearest.sum(axis=1, keepdims=True)).sum(axis=0)
        return counts


def metric_of(kinds: Mapping[str, ColumnKind], train: np.ndarray) -> Metric:
    """Metric of the columns of training rows ``(N, C)``."""
    ranges = np.nanmax(train, axis=0, initial=-np.inf) - np.nanmin(train, axis=0, initial=np.inf)
    ranges = np.where(np.isfinite(ranges) & (ranges > 0), ranges, 1.0)
    return Metric(np.array([kind.kind == "levels" for kind in kinds.values()]), ranges)


def copies(pool: Pool, draws: np.ndarray) -> Rate:
    """Share of rows that equal a draw of ``(n, C)`` in every cell."""
    rows = np.nan_to_num(np.concatenate([pool.rows, draws]), nan=np.inf)
    keys = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    return pool.rate(np.isin(keys[: len(pool.rows)], keys[len(pool.rows) :]).astype(float))


def near_copies(pool: Pool, metric: Metric, draws: np.ndarray) -> Rate:
    """Share of rows with a draw nearer than 99 % of holdout rows have a training row."""
    apart, _ = metric.nearest(pool.rows[pool.n :], pool.rows[: pool.n])
    distances, _ = metric.nearest(pool.rows, draws)
    return pool.rate((distances <= np.quantile(apart, NEAR) + TIED).astype(float))


def nearness(pool: Pool, metric: Metric, draws: np.ndarray) -> Rate:
    """Share of draws whose nearest of all rows is a training row, beside that of holdout rows."""
    counts = metric.times_nearest(pool.rows, draws)
    return pool.rate(counts * pool.n / len(draws))


def linkability(pool: Pool, metric: Metric, draws: np.ndarray) -> Rate:
    """Share of rows of which both halves of the columns have one nearest draw."""
    is_linked = np.empty(len(pool.rows))
    for block in metric.blocks(pool.rows, len(draws)):
        halves: list[np.ndarray | float] = [0.0, 0.0]
        for j, distance in enumerate(metric.of_columns(pool.rows[block], draws)):
            halves[j % 2] = halves[j % 2] + distance
        places = [np.argmin(half, axis=1) for half in halves if isinstance(half, np.ndarray)]
        is_linked[block] = places[0] == places[-1] if len(places) == 2 else 0.0
    return pool.rate(is_linked)


def inferred(pool: Pool, metric: Metric, draws: np.ndarray) -> np.ndarray:
    """Which cells ``(2m, C)`` are that of the draw nearest in all other columns: the same level, or
    a number within 5 %.
    """
    n_columns = pool.rows.shape[1]
    is_right = np.empty((len(pool.rows), n_columns))
    for block in metric.blocks(pool.rows, len(draws)):
        of_columns = list(metric.of_columns(pool.rows[block], draws))
        total = np.sum(of_columns, axis=0)
        for j, distance in enumerate(of_columns):
            guess = draws[(total - distance).argmin(axis=1), j]
            secret = pool.rows[block, j]
            is_equal = (guess == secret) | (np.isnan(guess) & np.isnan(secret))
            if not metric.are_levels[j]:
                is_equal |= np.abs(guess - secret) <= TOLERANCE * np.abs(secret)
            is_right[block, j] = is_equal
    return is_right


def singling_out(
    pool: Pool, metric: Metric, draws: np.ndarray, rng: np.random.Generator
) -> Rate | None:
    """Share of predicates of three columns, which one draw alone meets, that one row alone meets.

    A predicate asks for the draw's level or gap, or for numbers at least, or at most, as its own,
    whichever is farther from the median. None if no predicate is met by one draw alone.
    """
    n_columns = draws.shape[1]
    medians = np.nanmedian(draws, axis=0)
    single_training = []
    single_holdout = []
    for _ in range(TRIED_PREDICATES):
        if len(single_training) == PREDICATES:
            break
        draw = draws[rng.integers(len(draws))]
        columns = rng.permutation(n_columns)[:PREDICATE_COLUMNS]
        if _meeting(metric, draws, draw, columns, medians).sum() == 1:
            labels = pool.labels[:, _meeting(metric, pool.rows, draw, columns, medians)]
            single_training.append(labels.sum(axis=1) == 1)
            single_holdout.append((1 - labels).sum(axis=1) == 1)
    if not single_training:
        return None
    return rate_of(np.mean(single_training, axis=0), np.mean(single_holdout, axis=0))


def _meeting(
    metric: Metric,
    rows: np.ndarray,
    draw: np.ndarray,
    columns: Sequence[int] | np.ndarray,
    medians: np.ndarray,
) -> np.ndarray:
    """Mask ``(n,)`` of the rows that meet the predicate of a draw in some columns."""
    meets = np.ones(len(rows), bool)
    for j in columns:
        cells = rows[:, j]
        if np.isnan(draw[j]):
            meets &= np.isnan(cells)
        elif metric.are_levels[j]:
            meets &= cells == draw[j]
        elif draw[j] > medians[j]:
            meets &= cells >= draw[j]
        else:
            meets &= cells <= draw[j]
    return meets
