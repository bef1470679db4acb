"""Draws of rows given some of their cells: completions of unknown cells, and conditions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nflow_cli.data.writing import as_written
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.conditional import UNRESOLVED, conditional
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.proposals import proposals
from nflow_cli.errors import DataError
from nflow_cli.evaluation.importance import pareto_k
from nflow_cli.evaluation.warnings import FEW_ROWS, verdict
from nflow_cli.experiments.table.rows import TableRows
from nflow_cli.random_streams import stream
from nflow_cli.terminal.output import tell
from nflow_cli.text import printable

DRAWN = 128  # draws of a row at first
MORE = 4  # times as many for a row with few effective draws
ROUNDS = 3  # of more draws
ENOUGH = 32.0  # effective draws
AT_A_TIME = 20_000  # draws
FEWEST, MOST = 256, 20_000  # proposals at a time
TRIED, AT_A_CONDITION = 100, 1_000  # proposals a draw, and at a condition, that may be tried
ALL_TRIED = 200_000  # at all conditions
LEAST_EFFECTIVE = 32  # proposals, however few draws
EQUAL = 1e-9  # relative: weights so close are equal
MOSTLY = 0.5  # share of outliers in a probability, above which a number is outside of the table's
SPARE = 1.2  # times as many proposals as seem necessary


@dataclass(frozen=True, eq=False)
class WeightedDraws:
    """Weighted draws of b rows.

    Attributes:
        draws: ``(b, S, C)``.
        weights: ``(b, S)``, with sum 1.
    """

    draws: np.ndarray
    weights: np.ndarray

    @property
    def effective(self) -> np.ndarray:
        """Effective sample sizes ``1/Σw²`` ``(b,)``; 0 without draws."""
        total = np.square(self.weights).sum(axis=1)
        return np.where(total > 0, 1 / np.maximum(total, 1e-300), 0.0)

    def resampled(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws ``(b, n, C)`` of equal weight, by systematic resampling in random order."""
        at = (np.arange(n) + rng.random((len(self.weights), 1))) / n
        ends = np.cumsum(self.weights, axis=1)
        chosen = np.stack([np.searchsorted(e, u * e[-1]) for e, u in zip(ends, at)])
        chosen = rng.permuted(np.minimum(chosen, self.weights.shape[1] - 1), axis=1)
        return np.take_along_axis(self.draws, chosen[:, :, None], axis=1)


def weights_of(log_weights: np.ndarray) -> np.ndarray:
    """Weights ``(b, S)`` with sum 1 of log-weights; equal ones where none is possible."""
    peak = log_weights.max(axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp(log_weights - np.where(np.isfinite(peak), peak, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    equal = 1 / max(weights.shape[1], 1)
    return np.where(total > 0, weights / np.maximum(total, 1e-300), equal)


def quantiles_of(values: np.ndarray, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Quantiles ``(b, k)`` at ``p`` ``(b, k)`` of values with weights ``(b, S)``: such values."""
    order = np.argsort(values, axis=1)
    ends = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    places = (ends[:, None] < p[:, :, None] * ends[:, -1:, None]).sum(axis=2)
    return np.take_along_axis(np.take_along_axis(values, order, axis=1), places, axis=1)


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
    density, cells = rows.density, rows.cells
    unknown = unknown | (rows.are_impossible & unknown.any(axis=1, keepdims=True))
    counts = unknown.sum(axis=1)
    left = np.flatnonzero(counts)
    for j in range(density.n_given, len(density.cells)):
        places = np.flatnonzero((counts == 1) & unknown[:, j])
        if len(places):
            found = _by_quadrature(density, cells, places, j, stream(seed, "completions", j))
            left = np.setdiff1d(left, found.places, assume_unique=True)
            yield found
    for part, start in enumerate(range(0, len(left), AT_A_TIME // DRAWN)):
        some = left[start : start + AT_A_TIME // DRAWN]
        rng = stream(seed, "proposals", part)
        yield from _by_importance(density, cells[some], unknown[some], some, rng)


def _by_quadrature(
    density: CellDensity, rows: np.ndarray, places: np.ndarray, j: int, rng: np.random.Generator
) -> Completions:
    """Complete cell j by stratified draws given all others, where that is resolved.

    Outliers, farther beyond the training numbers than these are apart, have weight 0.
    """
    column, p = density.row[j], (np.arange(DRAWN) + rng.random((len(places), DRAWN))) / DRAWN
    found = conditional(density, rows[places], j, p)
    if column.has_numbers:
        values = nearest(column, found.quantiles)
        reach = column.high - column.low
        units = column.inside(values.ravel())[0].reshape(values.shape)
        weights = ((column.low - reach <= units) & (units <= column.high + reach)).astype(float)
    else:
        ends = np.cumsum(found.levels, axis=1)
        values = (ends[:, None, :-1] < p[:, :, None] * ends[:, None, -1:]).sum(axis=2)
        weights = np.where(ends[:, -1:] > 0, 1.0, np.zeros_like(p))
    total = weights.sum(axis=1)
    done = (found.error <= UNRESOLVED) & (total > 0)
    draws = np.repeat(rows[places[done], None], DRAWN, axis=1)
    draws[:, :, j] = values[done]
    weights = weights[done] / total[done, None]
    return Completions(draws, weights, places[done], 1 - found.missing[done])


def nearest(column: CellColumn, values: np.ndarray) -> np.ndarray:
    """Numbers as values of their column: on its grid, and with its decimals."""
    values, decimals = column.nearest(values), column.kind.decimals
    return values if decimals is None else np.round(values, decimals)


def _by_importance(
    density: CellDensity,
    rows: np.ndarray,
    unknown: np.ndarray,
    places: np.ndarray,
    rng: np.random.Generator,
) -> Iterator[Completions]:
    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        at = np.repeat(left, n)
        found, log_weights = proposals(density, rows[at], unknown[at], rng)
        return found.reshape(len(left), n, -1), log_weights.reshape(len(left), n)

    left = np.arange(len(rows))
    draws, log_weights = drawn(DRAWN)
    for count in range(ROUNDS + 1):
        found = WeightedDraws(draws, weights_of(log_weights))
        is_left = (found.effective < ENOUGH) & (count < ROUNDS)
        if len(done := left[~is_left]):
            parts = draws[~is_left], found.weights[~is_left], places[done]
            yield Completions(*parts, present=np.full(len(done), np.nan))
        left, draws, log_weights = left[is_left], draws[is_left], log_weights[is_left]
        if not len(left):
            return
        more = drawn((MORE - 1) * draws.shape[1])
        draws = np.concatenate([draws, more[0]], axis=1)
        log_weights = np.concatenate([log_weights, more[1]], axis=1)


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
    proposals a draw suffice, 1,000 at a condition, or 200,000 in all. Notes on their reliability
    follow.
    """
    told, outside = [], list[str]()
    for i in range(len(conditions) if n else 0):
        rng = stream(seed, "conditional draws", i)
        pool, log_weights = _pool(density, conditions, i, n, rng)
        if not (found := pool.draws.shape[1]):
            raise DataError(
                f"given: none of {len(log_weights):,} draws meets the conditions: they are too rare"
            )
        if _are_equal(pool) and found >= n:
            drawn = pool.draws[0, :n]
        else:
            told.append((len(log_weights), pool.effective[0], _k_hat(pool, log_weights)))
            drawn = pool.resampled(n, rng)[0]
        outside += _outside(density, conditions.rows[i], drawn)
        yield i * n, drawn
    if told:
        _tell_reliability(n, told)
    if outside:
        more = f"; so are {len(outside) - 1:,} more" if len(outside) > 1 else ""
        why = f"outside of the training numbers: draws hardly depend on it{more}"
        tell(f"given: unreliable: {outside[0]} is {why}")


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
    """k-hat; NaN of few proposals, or few that are possible."""
    if pool.draws.shape[1] < FEW_ROWS or len(log_weights) < FEWEST:
        return np.nan
    return 0.0 if _are_equal(pool) else pareto_k(-log_weights)


def _tell_reliability(n: int, told: Sequence[tuple[int, float, float]]) -> None:
    counts, sizes, shapes = (np.array(values) for values in zip(*told))
    k, least = float(shapes.max()), sizes.min()
    where = "" if len(told) == 1 else f" at the least reliable of {len(told):,} conditions"
    of_k = f"k-hat {k:.2f} ({verdict(k)})" if k < np.inf else "k-hat unknown"
    tell(
        f"given: importance sampling, {int(counts.sum()):,} proposals, effective sample size "
        f"{least:,.0f}{where}, {of_k}"
        + (f"; fewer than the {n:,} draws, some of which are equal" if least < n else "")
    )
    if few := int((sizes < FEW_ROWS).sum()):
        of = "the condition is" if len(told) == 1 else f"{few:,} of {len(told):,} conditions are"
        tell(f"given: unreliable: {of} improbable: fewer than {FEW_ROWS} effective draws")


def _outside(density: CellDensity, condition: np.ndarray, drawn: np.ndarray) -> list[str]:
    """Numbers of a condition ``(C,)`` that are outside of the training numbers, as text: most of
    their probability in rows drawn ``(n, C)`` is for future outliers.
    """
    columns, first = density.row[: len(density.cells)], density.n_given
    known = [
        j
        for j, column in enumerate(columns[first:])
        if column.has_numbers and not np.isnan(condition[first + j]) and not density.unmixing
    ]
    if not known:
        return []
    shares = density.outlier_shares(drawn[:FEWEST]).mean(axis=0)
    texts = (
        f"{columns[j].name}={as_written(columns[j].kind, condition[[j]])[0]}"
        for j in (first + k for k in known if shares[k] > MOSTLY)
    )
    return [printable(text.removesuffix(".0")) for text in texts]
