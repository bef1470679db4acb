"""Columns computed from others: by a formula, or by a map of values."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nflow_cli.config.kinds import Relation
from nflow_cli.config.strict import MAX_LEVELS
from nflow_cli.data.formulas import Numbers, formula_of
from nflow_cli.data.raw_columns import RawColumn
from nflow_cli.data.written import Written, written

SAMPLE = 1_000  # rows for the search of maps
ROWS_A_KEY = 5  # of a map
NATS = 10.0  # of evidence for each chosen value


@dataclass(frozen=True, eq=False)
class Cells:
    """Column, prepared for the search of relations.

    Attributes:
        written: Distinct numbers; None of text.
        codes: `(n,)`, index of each value, -1 if missing; with too many values for a map, the row.
        counts: `(m,)`, rows of each value.
    """

    raw: RawColumn
    written: Written | None
    codes: np.ndarray
    counts: np.ndarray

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.raw.name

    @cached_property
    def nats(self) -> float:
        """Entropy of the values over all rows, in nats."""
        counts = self.counts[self.counts > 0]
        return float(-(counts * np.log(counts / counts.sum())).sum())

    @cached_property
    def numbers(self) -> Numbers | None:
        """Column for formulas; None of text."""
        if self.written is None or self.raw.numbers is None:
            return None
        return Numbers(self.name, self.raw.numbers, self.written)


def cells_of(raw: RawColumn) -> Cells:
    """Prepare a column."""
    if raw.numbers is None:
        codes = raw.codes if raw.codes is not None else np.zeros(0, np.int32)
        return Cells(raw, None, codes, np.bincount(codes[codes >= 0]))
    numbers = written(raw.numbers, raw.is_float32)
    if len(numbers.values) > MAX_LEVELS:  # not used in maps
        codes = np.arange(len(raw.numbers))
    else:
        codes = np.searchsorted((numbers.values[1:] + numbers.values[:-1]) / 2, raw.numbers)
    codes = np.where(np.isfinite(raw.numbers), codes, -1)
    return Cells(raw, numbers, codes, numbers.counts)


def relations_of(columns: Sequence[Cells], fixed: set[str]) -> dict[str, Relation]:
    """Relations of computed columns, by name; ``fixed`` ones are not computed.

    Of earlier columns if possible, else a map of a later one.
    """
    found: dict[str, Relation] = {}
    kept: list[int] = []
    likely = _likely_maps(columns)
    for j, column in enumerate(columns):
        sources = [columns[k] for k in kept if likely[k, j]]
        relation = None
        if column.name not in fixed:
            relation = _formula(column, [columns[k] for k in kept]) or _first_map(column, sources)
        if relation is None:
            kept.append(j)
        else:
            found[column.name] = relation
    used = {name for relation in found.values() for name in relation.columns}
    for j in list(kept):
        sources = [columns[k] for k in kept if k > j and likely[k, j]]
        if columns[j].name in fixed | used or not (relation := _first_map(columns[j], sources)):
            continue
        found[columns[j].name] = relation
        used |= set(relation.columns)
        kept.remove(j)
    return found


def _formula(target: Cells, kept: Sequence[Cells]) -> Relation | None:
    if target.numbers is None or target.nats < 2 * NATS:
        return None
    relation = formula_of(target.numbers, [cells.numbers for cells in kept if cells.numbers])
    explains = relation is not None and target.nats >= NATS * (1 + len(relation.columns))
    return relation if explains else None


def _first_map(target: Cells, sources: Sequence[Cells]) -> Relation | None:
    return next(filter(None, (map_of(target, source) for source in sources)), None)


def _likely_maps(columns: Sequence[Cells]) -> np.ndarray:
    """Which columns (second) map which (first) in some rows, `(C, C)`."""
    if not columns:
        return np.zeros((0, 0), bool)
    stride = max(1, len(columns[0].codes) // SAMPLE)
    codes = np.stack([column.codes[::stride] for column in columns], axis=1)
    likely = np.zeros((len(columns), len(columns)), bool)
    for j, column in enumerate(columns):
        if _has_keys(column):
            last = np.zeros(len(column.counts) + 1, int)  # the last place is for missing cells
            last[codes[:, j]] = np.arange(len(codes))
            same = codes[last[codes[:, j]]] == codes
            likely[j] = (same & ((codes < 0) == (codes[:, [j]] < 0))).all(0)
    return likely


def _has_keys(source: Cells) -> bool:
    room = min(MAX_LEVELS, int(source.counts.sum()) // ROWS_A_KEY - 1)
    return 2 <= len(source.counts) <= room


def map_of(target: Cells, source: Cells) -> Relation | None:
    """Map from a column's values to another's, if it holds often enough.

    Decimals are computed from text or whole numbers, not the reverse.
    """
    keys = len(source.counts)
    if not _has_keys(source) or len(target.counts) > keys:
        return None
    if _is_decimal(source) and not _is_decimal(target):
        return None
    if not _is_map(source.codes, target.codes, keys):
        return None
    if _evidence(target, source) < NATS * (keys + 1):
        return None
    images = _images(source.codes, target.codes, keys)
    return Relation(
        rule="map",
        columns=[source.name],
        keys=[_text(source, k) for k in range(keys)],
        values=[_text(target, int(k)) for k in images],
    )


def _is_decimal(column: Cells) -> bool:
    return column.written is not None and column.written.decimals != 0


def _images(source: np.ndarray, target: np.ndarray, keys: int) -> np.ndarray:
    images = np.full(keys + 1, -1)
    images[source] = target  # the last place is for missing cells
    return images[:-1]


def _is_map(source: np.ndarray, target: np.ndarray, keys: int) -> bool:
    images = np.append(_images(source, target, keys), -1)
    return bool((images[source] == target).all() and ((source < 0) == (target < 0)).all())


def _evidence(target: Cells, source: Cells) -> float:
    """Nats of the target's cells beyond the first of each source value."""
    counts = target.counts
    nats = -np.log(counts / counts.sum())
    images = _images(source.codes, target.codes, len(source.counts))
    return float((nats[images] * (source.counts - 1)).sum())


def _text(column: Cells, code: int) -> str:
    if column.written is None:
        return column.raw.texts[code]
    value = float(column.written.values[code])
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
