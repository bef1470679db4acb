"""Association between columns of any kind, in rows against samples."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from pydantic import Field

from nflow_cli.arrays import ndtri
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.strict import Strict, Text
from nflow_cli.evaluation.tallies import effective
from nflow_cli.evaluation.two_samples import ranks

MOST_BINS = 8  # of numbers
MOST_GROUPS = 12  # of levels
PAIRS_A_COLUMN = 2  # plotted
STRONG = 0.3  # association of a relation, at least
LOST = 0.1  # its difference in draws, at least, if the relation is lost
COMPARED = 100  # columns, whose pairs are compared
CHANCE = 0.01  # that any relation of an exact model is found lost
RESAMPLES = 200
MOST_ROWS = 5_000  # compared, and samples
# Groups that are no level.
OTHER = "other levels"
MISSING = "missing"
NEW = "new level"


class Groups(NamedTuple):
    """Groups of a column of levels (levels, other levels, missing, new): names, and group of rows
    ``(n,)`` and samples ``(m,)``.
    """

    names: list[str]
    rows: np.ndarray
    draws: np.ndarray


def grouped(kind: ColumnKind, rows: np.ndarray, draws: np.ndarray, most: int) -> Groups:
    """Group the cells ``(n,)`` and ``(m,)`` of a column of levels.

    Occurring levels in order; of more than ``most``, the most frequent.
    """
    row_levels = rows[rows >= 0].astype(int)
    draw_levels = draws[draws >= 0].astype(int)
    size = 1 + int(np.concatenate([row_levels, draw_levels]).max(initial=0))
    shares = _shares(row_levels, size) + _shares(draw_levels, size)
    levels = np.flatnonzero(shares)
    if len(levels) > most:
        levels = np.sort(np.argsort(-shares, kind="stable")[:most])
    count = len(levels)
    names = [kind.levels[i] for i in levels] if kind.levels else [str(i) for i in levels]
    names += [OTHER, MISSING, NEW]
    place = np.full(size, count)
    place[levels] = np.arange(count)

    def groups_of(cells: np.ndarray, cell_levels: np.ndarray) -> np.ndarray:
        groups = np.where(np.isnan(cells), count + 1, count + 2)
        groups[cells >= 0] = place[cell_levels]
        return groups

    row_groups = groups_of(rows, row_levels)
    draw_groups = groups_of(draws, draw_levels)
    kept = np.union1d(np.arange(count), np.concatenate([row_groups, draw_groups]))
    return Groups(
        names=[names[i] for i in kept],
        rows=np.searchsorted(kept, row_groups),
        draws=np.searchsorted(kept, draw_groups),
    )


def _shares(bins: np.ndarray, size: int) -> np.ndarray:
    """Share of cells ``(size,)`` in each bin; 0 without cells."""
    return np.bincount(bins, minlength=size) / max(len(bins), 1)


def binned(kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bin numbers of the cells ``(n,)`` and ``(m,)`` of a column.

    Numbers: about ``n^(1/3)``, at most 8 quantile bins of the rows; levels: at most 12 and the
    rest; missing cells and new levels apart.
    """
    if kind.kind == "levels":
        groups = grouped(kind, rows, draws, MOST_GROUPS)
        return groups.rows, groups.draws
    ends = bin_ends(rows)

    def bins_of(cells: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(cells), len(ends) + 1, np.searchsorted(ends, cells))

    return bins_of(rows), bins_of(draws)


def bin_ends(numbers: np.ndarray) -> np.ndarray:
    """Upper ends of the bins of numbers ``(n,)``, NaN if missing, but of the last: quantiles."""
    values = numbers[~np.isnan(numbers)]
    count = int(np.clip(round(len(values) ** (1 / 3)), 2, MOST_BINS))
    levels = np.arange(1, count) / count
    return np.unique(np.quantile(values, levels, method="inverted_cdf")) if len(values) else values


def association(x: np.ndarray, y: np.ndarray) -> float:
    """Association of two binned columns ``(n,)``, from 0 to 1.

    ``√(1 - exp(-2 I))``, Linfoot's informational coefficient of correlation (1957), |ρ| for two
    normals, over its value at ``I = √(H(x) H(y))``: 0 for independent or constant columns, 1 where
    each determines the other. Entropies H and mutual information I have Miller & Madow's correction
    ``(K - 1)/2n`` for K nonempty bins; else independent columns would have an I of about
    ``(K_x - 1)(K_y - 1)/2n``.
    """
    return float(_associations(_counts(x, y))) if len(x) else 0.0


def _counts(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Rows ``(A, B)`` of each pair of bins; of weighted ones, their effective number."""
    height = int(x.max()) + 1
    width = int(y.max()) + 1
    counts = np.bincount(x * width + y, weights, height * width).reshape(height, width)
    return counts if weights is None else counts * (effective(weights) / counts.sum())


def _associations(counts: np.ndarray) -> np.ndarray:
    """:func:`association` of each table of counts ``(…, A, B)``."""
    entropy_x = _entropies(counts.sum(axis=-1))
    entropy_y = _entropies(counts.sum(axis=-2))
    joint_entropy = _entropies(counts.reshape(*counts.shape[:-2], -1))
    most = np.sqrt(entropy_x * entropy_y)
    information = np.clip(entropy_x + entropy_y - joint_entropy, 0, most)
    share = np.expm1(-2 * information) / np.where(most > 0, np.expm1(-2 * most), 1.0)
    return np.sqrt(np.where(most > 0, share, 0.0))


def _entropies(counts: np.ndarray) -> np.ndarray:
    """Entropies ``(…)`` of counts ``(…, K)`` in nats, with Miller & Madow's correction."""
    n = counts.sum(axis=-1)
    p = counts / n[..., None]
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1) + ((p > 0).sum(-1) - 1) / (2 * n)


class Associations(NamedTuple):
    """:func:`association` of pairs of columns ``(C, C)``, in rows and samples."""

    rows: np.ndarray
    draws: np.ndarray


def associations(
    kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray
) -> Associations:
    """Associations in rows ``(n, C)`` and in samples ``(m, C)``, at most 5,000 each.

    A cell is a number, the index of a level, -1 for a new one, or NaN.
    """
    bins = list(_bins(kinds, rows, draws))
    in_rows = np.eye(len(bins))
    in_draws = np.eye(len(bins))
    for i, j in combinations(range(len(bins)), 2):
        in_rows[i, j] = in_rows[j, i] = association(bins[i][0], bins[j][0])
        in_draws[i, j] = in_draws[j, i] = association(bins[i][1], bins[j][1])
    return Associations(in_rows, in_draws)


class LostRelation(Strict):
    """Relation of two columns that rows have and draws lose.

    Attributes:
        columns: Their names.
        rows: :func:`association` in rows.
        draws: In draws.
        standard_error: Of the association in rows, were they draws.
    """

    columns: list[Text] = Field(min_length=2, max_length=2)
    rows: float
    draws: float
    standard_error: float


def lost_relations(
    kinds: Mapping[str, ColumnKind],
    rows: np.ndarray,
    draws: np.ndarray,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
    n_given: int = 0,
) -> list[LostRelation]:
    """Relations of the first 100 columns that are lost in draws, the most lost first.

    The association of a pair is at least 0.3 in rows ``(n, C)``, and above that in draws ``(m, C)``
    by more than 0.1 and z standard errors, where z is the 1 % level over all pairs: mean and error
    are those of n rows of the law of the draws, which few rows bias upwards. Rows have ``weights``
    ``(n,)``; pairs of the first ``n_given`` columns are left out.
    """
    names = list(kinds)[:COMPARED]
    bins = [binned(kinds[name], rows[:, j], draws[:, j]) for j, name in enumerate(names)]
    pairs = [(i, j) for i, j in combinations(range(len(names)), 2) if j >= n_given]
    z = float(ndtri(np.float64(1 - CHANCE / max(len(pairs), 1)), np))
    relations = []
    for i, j in pairs:
        row_counts = _counts(bins[i][0], bins[j][0], weights)
        draw_counts = _counts(bins[i][1], bins[j][1])
        in_rows = float(_associations(row_counts))
        in_draws = float(_associations(draw_counts))
        if not (in_rows >= STRONG and in_rows - in_draws > LOST):
            continue
        in_as_many = _resampled(draw_counts, round(float(row_counts.sum())), rng)
        error = float(np.hypot(in_as_many.std(), _resampled(draw_counts, len(draws), rng).std()))
        if in_rows - max(in_as_many.mean(), in_draws) > LOST + z * error:
            relation = LostRelation(
                columns=[names[i], names[j]], rows=in_rows, draws=in_draws, standard_error=error
            )
            relations.append(relation)
    return sorted(relations, key=lambda relation: relation.draws - relation.rows)


def _resampled(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Associations of n rows of the law of a table of counts, 200 times."""
    tables = rng.multinomial(n, counts.ravel() / counts.sum(), RESAMPLES)
    return _associations(tables.reshape(-1, *counts.shape))


def differences(kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Total variation distance ``(C,)`` between binned rows and samples, by column."""
    distances = []
    for row_bins, draw_bins in _bins(kinds, rows, draws):
        size = 1 + int(np.concatenate([row_bins, draw_bins]).max(initial=0))
        distances.append(np.abs(_shares(row_bins, size) - _shares(draw_bins, size)).sum() / 2)
    return np.array(distances)


def _bins(
    kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """:func:`binned` cells of each column, of at most 5,000 rows and samples."""
    columns = zip(kinds.values(), rows[:MOST_ROWS].T, draws[:MOST_ROWS].T, strict=True)
    return (binned(*column) for column in columns)


def pairs_to_show(matrices: Associations, most: int) -> list[tuple[int, int]]:
    """Pairs of columns to plot, the strongest first.

    Half by the larger association of rows and samples, half by the absolute difference of their
    squares, less noisy for small associations; no column in more than two, if there are enough.
    """
    pairs = list(combinations(range(len(matrices.rows)), 2))
    strength = {pair: max(matrices.rows[pair], matrices.draws[pair]) for pair in pairs}
    by_strength = sorted(pairs, key=lambda pair: -strength[pair])
    changes = np.abs(matrices.rows**2 - matrices.draws**2)
    by_difference = sorted(pairs, key=lambda pair: -changes[pair])
    shown: list[tuple[int, int]] = []
    for ranking, until in ((by_strength, (most + 1) // 2), (by_difference, most)):
        for allowed in (PAIRS_A_COLUMN, len(pairs)):
            _add_pairs(shown, ranking, until, allowed)
    return sorted(shown, key=lambda pair: -strength[pair])


def _add_pairs(
    shown: list[tuple[int, int]], ranking: list[tuple[int, int]], until: int, allowed: int
) -> None:
    """Add pairs of columns by rank, up to ``until`` in all, each column in at most ``allowed``."""
    for pair in ranking:
        used = [column for shown_pair in shown for column in shown_pair]
        if len(shown) < until and pair not in shown and all(used.count(i) < allowed for i in pair):
            shown.append(pair)


def most_dependent(rows: np.ndarray, most: int) -> list[int]:
    """At most ``most`` columns of rows ``(n, D)``, in order, with the largest absolute Spearman
    correlation with another.

    Rows that are not finite are left out.
    """
    dim = rows.shape[1]
    if dim <= most:
        return list(range(dim))
    finite = rows[np.isfinite(rows).all(axis=1)]
    centred = np.stack([ranks(column, column) - 0.5 for column in finite.T])
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1)  # a constant column depends on nothing
    correlation = np.abs(unit @ unit.T)
    np.fill_diagonal(correlation, 0)
    # Rounding does not decide between a column and its equal.
    strongest = np.round(correlation.max(axis=1), 12)
    return sorted(np.argsort(-strongest, kind="stable")[:most].tolist())
