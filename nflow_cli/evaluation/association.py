"""Association between columns of any kind, in rows against samples."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from pydantic import Field

from nflow_cli.arrays import ndtri
from nflow_cli.config.kinds import ColumnKind
from nflow_cli.config.strict import Strict, Text
from nflow_cli.evaluation.tallies import effective
from nflow_cli.evaluation.two_samples import ranks

MOST_BINS, MOST_GROUPS = 8, 12  # bins of numbers, groups of levels
PAIRS_A_COLUMN = 2  # plotted
STRONG, LOST = 0.3, 0.1  # association of a relation, and the difference of a lost one, at least
COMPARED = 100  # columns, whose pairs are compared
CHANCE = 0.01  # that any relation of an exact model is found lost
RESAMPLES = 200
MOST_ROWS = 5_000  # compared, and samples
OTHER, MISSING, NEW = "other levels", "missing", "new level"


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
    known = [x[x >= 0].astype(int) for x in (rows, draws)]
    size = 1 + max((int(x.max()) for x in known if len(x)), default=0)
    shares = sum(np.bincount(x, minlength=size) / max(len(x), 1) for x in known)
    levels = np.flatnonzero(shares)
    if len(levels) > most:
        levels = np.sort(np.argsort(-np.asarray(shares), kind="stable")[:most])
    count = len(levels)
    names = [kind.levels[i] if kind.levels else str(i) for i in levels] + [OTHER, MISSING, NEW]
    place = np.full(size, count)
    place[levels] = np.arange(count)
    codes = []
    for x in (rows, draws):
        code = np.where(np.isnan(x), count + 1, count + 2)
        code[x >= 0] = place[x[x >= 0].astype(int)]
        codes.append(code)
    kept = np.union1d(np.arange(count), np.concatenate(codes))
    found = [np.searchsorted(kept, code) for code in codes]
    return Groups([names[i] for i in kept], found[0], found[1])


def binned(kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bin numbers of the cells ``(n,)`` and ``(m,)`` of a column.

    Numbers: about ``n^(1/3)``, at most 8 quantile bins of the rows; levels: at most 12 and the
    rest; missing cells and new levels apart.
    """
    if kind.kind == "levels":
        return grouped(kind, rows, draws, MOST_GROUPS)[1:]
    values = rows[~np.isnan(rows)]
    count = int(np.clip(round(len(values) ** (1 / 3)), 2, MOST_BINS))
    levels = np.arange(1, count) / count
    edges = np.unique(np.quantile(values, levels, method="inverted_cdf")) if len(values) else []
    bins = [np.where(np.isnan(x), count, np.searchsorted(edges, x)) for x in (rows, draws)]
    return bins[0], bins[1]


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
    shape = int(x.max()) + 1, int(y.max()) + 1
    counts = np.bincount(x * shape[1] + y, weights, shape[0] * shape[1]).reshape(shape)
    return counts if weights is None else counts * (effective(weights) / counts.sum())


def _associations(counts: np.ndarray) -> np.ndarray:
    """:func:`association` of each table of counts ``(…, A, B)``."""
    of_x, of_y = (_entropies(counts.sum(axis=axis)) for axis in (-1, -2))
    most = np.sqrt(of_x * of_y)
    information = np.clip(of_x + of_y - _entropies(counts.reshape(*counts.shape[:-2], -1)), 0, most)
    share = np.expm1(-2 * information) / np.where(most > 0, np.expm1(-2 * most), 1.0)
    return np.sqrt(np.where(most > 0, share, 0.0))


def _entropies(counts: np.ndarray) -> np.ndarray:
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
    matrices = np.stack([np.eye(len(bins))] * 2)
    for i, j in combinations(range(len(bins)), 2):
        for matrix, x, y in zip(matrices, bins[i], bins[j], strict=True):
            matrix[i, j] = matrix[j, i] = association(x, y)
    return Associations(matrices[0], matrices[1])


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
    pairs = [pair for pair in combinations(range(len(names)), 2) if pair[1] >= n_given]
    z = float(ndtri(np.float64(1 - CHANCE / max(len(pairs), 1)), np))
    lost = []
    for i, j in pairs:
        tables = _counts(bins[i][0], bins[j][0], weights), _counts(bins[i][1], bins[j][1])
        of_rows, of_draws = (float(_associations(table)) for table in tables)
        if of_rows >= STRONG and of_rows - of_draws > LOST:
            of_few = _resampled(tables[1], round(float(tables[0].sum())), rng)
            error = float(np.hypot(of_few.std(), _resampled(tables[1], len(draws), rng).std()))
            if of_rows - max(of_few.mean(), of_draws) > LOST + z * error:
                pair = [names[i], names[j]]
                found = {"rows": of_rows, "draws": of_draws, "standard_error": error}
                lost.append(LostRelation(columns=pair, **found))
    return sorted(lost, key=lambda one: one.draws - one.rows)


def _resampled(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Associations of n rows of the law of a table of counts, 200 times."""
    tables = rng.multinomial(n, counts.ravel() / counts.sum(), RESAMPLES)
    return _associations(tables.reshape(-1, *counts.shape))


def differences(kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Total variation distance ``(C,)`` between binned rows and samples, by column."""
    found = []
    for parts in _bins(kinds, rows, draws):
        size = 1 + max((int(x.max()) for x in parts if len(x)), default=0)
        shares = [np.bincount(x, minlength=size) / max(len(x), 1) for x in parts]
        found.append(np.abs(shares[0] - shares[1]).sum() / 2)
    return np.array(found)


def _bins(
    kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    columns = zip(kinds.values(), rows[:MOST_ROWS].T, draws[:MOST_ROWS].T, strict=True)
    return (binned(*column) for column in columns)


def pairs_to_show(found: Associations, most: int) -> list[tuple[int, int]]:
    """Pairs of columns to plot, the strongest first.

    Half by the larger association of rows and samples, half by the absolute difference of their
    squares, less noisy for small associations; no column in more than two, if there are enough.
    """
    pairs = list(combinations(range(len(found.rows)), 2))
    strength = {pair: max(found.rows[pair], found.draws[pair]) for pair in pairs}
    by_strength = sorted(pairs, key=lambda pair: -strength[pair])
    changes = np.abs(found.rows**2 - found.draws**2)
    by_difference = sorted(pairs, key=lambda pair: -changes[pair])
    shown: list[tuple[int, int]] = []
    for ranking, until in ((by_strength, (most + 1) // 2), (by_difference, most)):
        for allowed in (PAIRS_A_COLUMN, len(pairs)):
            _add_pairs(shown, ranking, until, allowed)
    return sorted(shown, key=lambda pair: -strength[pair])


def _add_pairs(
    shown: list[tuple[int, int]], ranking: list[tuple[int, int]], until: int, allowed: int
) -> None:
    for pair in ranking:
        used = [column for other in shown for column in other]
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
