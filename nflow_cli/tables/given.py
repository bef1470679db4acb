"""Draws of rows given some of their cells: completions of unknown cells, and conditions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nflow_cli.data.files.writing import as_written
from nflow_cli.errors import DataError
from nflow_cli.evaluation.importance import pareto_k
from nflow_cli.evaluation.warnings import FEW_ROWS, verdict
from nflow_cli.random_streams import stream
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cell_conditional import UNRESOLVED, conditional
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.proposals import proposals
from nflow_cli.tables.table_rows import TableRows
from nflow_cli.terminal.output import tell
from nflow_cli.text import printable

FIRST_DRAWS = 128  # of a row
GROWTH = 4  # times as many draws of a row with few effective ones
ROUNDS = 3  # of such growth
ENOUGH_EFFECTIVE = 32.0  # draws of a row
DRAWS_AT_A_TIME = 20_000
FEWEST_PROPOSALS = 256  # at a time
MOST_PROPOSALS = 20_000
TRIED_A_DRAW = 100  # proposals that may be tried
TRIED_AT_A_CONDITION = 1_000
TRIED_IN_ALL = 200_000
LEAST_EFFECTIVE = 32  # proposals, however few draws
WEIGHT_ROUNDING = 1e-9  # relative: importance weights so close are equal
OUTLIER_SHARE = 0.5  # of the probability of a number, above which it is outside of the table's
SPARE_FACTOR = 1.2  # times as many proposals as seem necessary


@dataclass(frozen=True, eq=False)
class WeightedDraws:
    """Draws of each of b rows, with importance weights.

    Attributes:
        draws: S rows for each ``(b, S, C)``.
        weights: Importance weights ``(b, S)``, with sum 1.
    """

    draws: np.ndarray
    weights: np.ndarray

    @property
    def effective(self) -> np.ndarray:
        """Effective sample sizes ``1/Σw²`` ``(b,)``; 0 without draws."""
        squares = np.square(self.weights).sum(axis=1)
        return np.where(squares > 0, 1 / np.maximum(squares, 1e-300), 0.0)

    def resampled(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Resample ``n`` draws of equal weight for each row, ``(b, n, C)``: systematic resampling,
        in random order.
        """
        p = (np.arange(n) + rng.random((len(self.weights), 1))) / n
        ends = np.cumsum(self.weights, axis=1)
        places = np.stack(
            [np.searchsorted(row_ends, row_p * row_ends[-1]) for row_ends, row_p in zip(ends, p)]
        )
        places = rng.permuted(np.minimum(places, self.weights.shape[1] - 1), axis=1)
        return np.take_along_axis(self.draws, places[:, :, None], axis=1)


def normalised_weights(log_weights: np.ndarray) -> np.ndarray:
    """Importance weights ``(b, S)`` with sum 1 from log-weights; equal if none is possible."""
    peak = log_weights.max(axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp(log_weights - np.where(np.isfinite(peak), peak, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    equal = 1 / max(weights.shape[1], 1)
    return np.where(total > 0, weights / np.maximum(total, 1e-300), equal)


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Quantiles ``(b, k)`` at ``p`` ``(b, k)`` of values with weights, both ``(b, S)``: the least
    values at which the cumulative weight reaches ``p``.
    """
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    ends = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    places = (ends[:, None] < p[:, :, None] * ends[:, -1:, None]).sum(axis=2)
    return np.take_along_axis(ordered, places, axis=1)


@dataclass(frozen=True, eq=False)
class Completions(WeightedDraws):
    """Draws of the unknown cells of b rows given their known cells, none of them missing.

    Attributes:
        places: The rows ``(b,)`` of the table.
        present: Probability ``(b,)`` that the cell is not missing, given the others, of rows with
            one unknown cell; else NaN.
    """

    places: np.ndarray
    present: np.ndarray


def completions(rows: TableRows, unknown: np.ndarray, seed: int) -> Iterator[Completions]:
    """Complete the rows with ``unknown`` cells ``(n, C)``, of modelled or computed columns.

    A row with one unknown cell is completed by the distribution of that cell given all others, by
    quadrature; any other by importance sampling, with up to 8,192 draws where few are effective.
    Cells that no row can have are unknown too.

    Yields:
        Completions of some rows, each once.
    """
    density = rows.density
    cells = rows.values
    unknown = unknown | (rows.are_impossible & unknown.any(axis=1, keepdims=True))
    counts = unknown.sum(axis=1)
    remaining = np.flatnonzero(counts)
    for j in range(density.n_given, len(density.columns)):
        places = np.flatnonzero((counts == 1) & unknown[:, j])
        if len(places):
            completed = _completed_by_quadrature(
                density, cells, places, j, stream(seed, "completions", j)
            )
            if len(completed.places):
                remaining = np.setdiff1d(remaining, completed.places, assume_unique=True)
                yield completed
    for part, start in enumerate(range(0, len(remaining), DRAWS_AT_A_TIME // FIRST_DRAWS)):
        places = remaining[start : start + DRAWS_AT_A_TIME // FIRST_DRAWS]
        rng = stream(seed, "proposals", part)
        yield from _completed_by_importance(density, cells[places], unknown[places], places, rng)


def _completed_by_quadrature(
    density: CellDensity, rows: np.ndarray, places: np.ndarray, j: int, rng: np.random.Generator
) -> Completions:
    """Complete cell j of the rows ``(n, C)`` at ``places`` by stratified draws given all others.

    Outliers, farther beyond the training numbers than these are apart, have weight 0. Rows are left
    out whose quadrature is not resolved, or of which all draws have weight 0.
    """
    column = density.row_columns[j]
    p = (np.arange(FIRST_DRAWS) + rng.random((len(places), FIRST_DRAWS))) / FIRST_DRAWS
    posterior = conditional(density, rows[places], j, p)
    if column.has_numbers:
        values = column_values(column, posterior.quantiles)
        reach = column.high - column.low
        units = column.in_interval_units(values.ravel())[0].reshape(values.shape)
        weights = ((column.low - reach <= units) & (units <= column.high + reach)).astype(float)
    else:
        ends = np.cumsum(posterior.levels, axis=1)  # of each level's share of [0, 1]
        values = (ends[:, None, :-1] < p[:, :, None] * ends[:, None, -1:]).sum(axis=2)
        weights = np.where(ends[:, -1:] > 0, 1.0, np.zeros_like(p))
    total = weights.sum(axis=1)
    is_done = (posterior.error <= UNRESOLVED) & (total > 0)
    draws = np.repeat(rows[places[is_done], None], FIRST_DRAWS, axis=1)
    draws[:, :, j] = values[is_done]
    weights = weights[is_done] / total[is_done, None]
    return Completions(draws, weights, places[is_done], present=1 - posterior.missing[is_done])


def column_values(column: CellColumn, values: np.ndarray) -> np.ndarray:
    """Numbers rounded to values of their column: on its grid, and with its decimals."""
    values = column.nearest(values)
    decimals = column.kind.decimals
    return values if decimals is None else np.round(values, decimals)


def _completed_by_importance(
    density: CellDensity,
    rows: np.ndarray,
    unknown: np.ndarray,
    places: np.ndarray,
    rng: np.random.Generator,
) -> Iterator[Completions]:
    """Complete the ``unknown`` cells of rows, both ``(b, C)``, by importance sampling; rows with
    few effective draws get more. ``places``: of the rows in their table.
    """
    draws, log_weights = _proposed(density, rows, unknown, FIRST_DRAWS, rng)
    for i in range(ROUNDS + 1):
        kept_log_weights = np.where(density.rules.are_kept(draws), log_weights, -np.inf)
        weighted = WeightedDraws(draws, normalised_weights(kept_log_weights))
        is_left = (weighted.effective < ENOUGH_EFFECTIVE) & (i < ROUNDS)
        done = places[~is_left]
        if len(done):
            weights = weighted.weights[~is_left]
            yield Completions(draws[~is_left], weights, done, present=np.full(len(done), np.nan))
        if len(done) == len(places):
            return
        rows = rows[is_left]
        unknown = unknown[is_left]
        places = places[is_left]
        further, further_log_weights = _proposed(
            density, rows, unknown, (GROWTH - 1) * draws.shape[1], rng
        )
        draws = np.concatenate([draws[is_left], further], axis=1)
        log_weights = np.concatenate([log_weights[is_left], further_log_weights], axis=1)


def _proposed(
    density: CellDensity, rows: np.ndarray, unknown: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Propose the ``unknown`` cells of rows, both ``(b, C)``, ``n`` times: proposals ``(b, n, C)``
    and their log importance weights ``(b, n)`` in nats.
    """
    repeated = np.repeat(rows, n, axis=0)
    draws, log_weights = proposals(density, repeated, np.repeat(unknown, n, axis=0), rng)
    return draws.reshape(len(rows), n, -1), log_weights.reshape(len(rows), n)


@dataclass(frozen=True, eq=False)
class Conditions:
    """m conditions on the cells of a row.

    Attributes:
        rows: ``(m, C)``; a NaN is no condition, but of a given column a missing cell.
        ranges: Ends of the numbers allowed in a column, by its place.
        new_levels: Texts ``(m,)`` of the cells of a column with levels that no training row has, by
            its place.
    """

    rows: np.ndarray
    ranges: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    new_levels: Mapping[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def are_on_given_only(self, n_given: int) -> bool:
        """Whether no column has a condition but the first ``n_given`` of a row, the given ones."""
        return not self.ranges and bool(np.isnan(self.rows[:, n_given:]).all())

    def are_in_ranges(self, rows: np.ndarray) -> np.ndarray:
        """Whether rows ``(n, C)`` are within the ranges, ``(n,)``."""
        allowed = np.ones(len(rows), bool)
        for place, (low, high) in self.ranges.items():
            allowed &= (low <= rows[:, place]) & (rows[:, place] <= high)
        return allowed


class Sampling(NamedTuple):
    """Reliability of importance sampling at a condition.

    Attributes:
        n_proposals: Their number.
        effective: Their effective sample size.
        k_hat: Pareto k-hat of the tail of their importance weights; NaN if unknown.
    """

    n_proposals: int
    effective: float
    k_hat: float


def draws_given(
    density: CellDensity, conditions: Conditions, n: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Draw ``n`` rows at each condition; yield the number of rows before, and the rows ``(n, C)``.

    By importance sampling: proposals are drawn until twice as many are effective as draws, and 32
    at least, or to the most allowed: 100 a draw, 1,000, or 200,000 over the number of conditions,
    whichever is largest. Too few are resampled, with repeats; if none is possible, a ``DataError``.
    Notes on their reliability follow.
    """
    samplings = list[Sampling]()
    numbers_outside = list[str]()
    for i in range(len(conditions) if n else 0):
        rng = stream(seed, "conditional draws", i)
        pool, all_log_weights = _pool_of_proposals(density, conditions, i, n, rng)
        n_proposals = len(all_log_weights)
        n_possible = pool.draws.shape[1]
        if not n_possible:
            raise DataError(
                f"given: none of {n_proposals:,} draws meets the conditions: they are too rare"
            )
        if _have_equal_weights(pool) and n_possible >= n:
            rows = pool.draws[0, :n]
        else:
            k_hat = _k_hat(pool, all_log_weights)
            samplings.append(Sampling(n_proposals, pool.effective[0], k_hat))
            rows = pool.resampled(n, rng)[0]
        numbers_outside += _numbers_outside(density, conditions.rows[i], rows)
        yield i * n, rows
    if samplings:
        _note_reliability(n, samplings)
    if numbers_outside:
        count = len(numbers_outside)
        further = f"; so are {count - 1:,} more" if count > 1 else ""
        reason = f"outside of the training numbers: draws hardly depend on it{further}"
        tell(f"given: unreliable: {numbers_outside[0]} is {reason}")


def _pool_of_proposals(
    density: CellDensity, conditions: Conditions, i: int, n: int, rng: np.random.Generator
) -> tuple[WeightedDraws, np.ndarray]:
    """Importance sampling at condition ``i`` for ``n`` draws: the possible proposals with their
    weights, as of one row, and the log importance weights ``(N,)`` in nats of all, -inf if
    impossible.
    """
    possible = []
    log_weight_parts = []
    n_proposed = 0
    size = min(max(n, FEWEST_PROPOSALS), MOST_PROPOSALS)
    most_proposals = max(TRIED_A_DRAW * n, TRIED_AT_A_CONDITION, TRIED_IN_ALL // len(conditions))
    while True:
        rows = np.repeat(conditions.rows[[i]], size, axis=0)
        unknown = np.isnan(rows) & (np.arange(rows.shape[1]) >= density.n_given)
        draws, log_weights = proposals(density, rows, unknown, rng, present=False)
        are_allowed = conditions.are_in_ranges(draws) & density.rules.are_kept(draws[None])[0]
        allowed_log_weights = np.where(are_allowed, log_weights, -np.inf)
        possible.append(draws[allowed_log_weights > -np.inf])
        log_weight_parts.append(allowed_log_weights)
        n_proposed += size
        all_log_weights = np.concatenate(log_weight_parts)
        weights = normalised_weights(all_log_weights[None, all_log_weights > -np.inf])
        pool = WeightedDraws(np.concatenate(possible)[None], weights)
        enough_effective = n if _have_equal_weights(pool) else max(2 * n, LEAST_EFFECTIVE)
        effective = pool.effective[0]
        if effective * (1 + WEIGHT_ROUNDING) >= enough_effective or n_proposed >= most_proposals:
            return pool, all_log_weights
        n_further = SPARE_FACTOR * n_proposed * (enough_effective / max(effective, 0.5) - 1)
        size = int(
            min(max(n_further, FEWEST_PROPOSALS), MOST_PROPOSALS, most_proposals - n_proposed)
        )


def _have_equal_weights(pool: WeightedDraws) -> bool:
    """Whether a condition's pool has proposals, all with the same importance weight."""
    weights = pool.weights[0]
    return len(weights) > 0 and bool(weights.min() >= weights.max() * (1 - WEIGHT_ROUNDING))


def _k_hat(pool: WeightedDraws, log_weights: np.ndarray) -> float:
    """Pareto k-hat of the log importance weights ``(N,)`` of all proposals; NaN if unknown, as few
    are proposed or possible.
    """
    if pool.draws.shape[1] < FEW_ROWS or len(log_weights) < FEWEST_PROPOSALS:
        return np.nan
    return 0.0 if _have_equal_weights(pool) else pareto_k(-log_weights)


def _note_reliability(n: int, samplings: Sequence[Sampling]) -> None:
    """Print notes on importance sampling at some conditions, with ``n`` draws at each: the number
    of proposals, the smallest effective sample size, and the largest k-hat.
    """
    n_proposals = sum(sampling.n_proposals for sampling in samplings)
    effective = np.array([sampling.effective for sampling in samplings])
    k_hat = float(np.max([sampling.k_hat for sampling in samplings]))
    least = effective.min()
    is_single = len(samplings) == 1
    where = "" if is_single else f" at the least reliable of {len(samplings):,} conditions"
    k_hat_text = f"k-hat {k_hat:.2f} ({verdict(k_hat)})" if k_hat < np.inf else "k-hat unknown"
    text = f"{n_proposals:,} proposals, effective sample size {least:,.0f}{where}, {k_hat_text}"
    if least < n:
        text += f"; fewer than the {n:,} draws, some of which are equal"
    tell(f"given: importance sampling, {text}")
    if n_few := int((effective < FEW_ROWS).sum()):
        few = "the condition is" if is_single else f"{n_few:,} of {len(samplings):,} conditions are"
        tell(f"given: unreliable: {few} improbable: fewer than {FEW_ROWS} effective draws")


def _numbers_outside(density: CellDensity, condition: np.ndarray, rows: np.ndarray) -> list[str]:
    """Numbers of a condition ``(C,)`` that are outside of the training numbers, as text: most of
    their probability in rows drawn ``(n, C)`` is for future outliers.
    """
    columns = density.row_columns[: len(density.columns)]
    places = [
        place
        for place in range(density.n_given, len(columns))
        if not columns[place].has_levels and not np.isnan(condition[place])
    ]
    if not places or density.unmixing:
        return []
    shares = density.outlier_shares(rows[:FEWEST_PROPOSALS]).mean(axis=0)
    texts = []
    for place in places:
        if shares[place - density.n_given] > OUTLIER_SHARE:
            column = columns[place]
            number = as_written(column.kind, condition[[place]])[0]
            texts.append(printable(f"{column.name}={number}".removesuffix(".0")))
    return texts
