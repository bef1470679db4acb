"""Columns computed from others: by a formula, or by a map of values."""

from collections.abc import Sequence

import numpy as np

from nflow_cli.config.kinds import Relation
from nflow_cli.config.strict import MAX_LEVELS
from nflow_cli.data.columns import Column
from nflow_cli.data.formulas import formula_of

SAMPLE = 1_000  # rows for the search of maps
ROWS_A_KEY = 5  # of a map
NATS = 10.0  # of evidence for each chosen value


def relations_of(columns: Sequence[Column], fixed: set[str]) -> dict[str, Relation]:
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


def _formula(target: Column, kept: Sequence[Column]) -> Relation | None:
    if target.numbers is None or target.nats < 2 * NATS:
        return None
    relation = formula_of(target, [column for column in kept if column.numbers is not None])
    explains = relation is not None and target.nats >= NATS * (1 + len(relation.columns))
    return relation if explains else None


def _first_map(target: Column, sources: Sequence[Column]) -> Relation | None:
    return next(filter(None, (map_of(target, source) for source in sources)), None)


def _likely_maps(columns: Sequence[Column]) -> np.ndarray:
    """Which columns (second) map which (first) in some rows, `(C, C)`."""
    if not columns:
        return np.zeros((0, 0), bool)
    stride = max(1, len(columns[0].places) // SAMPLE)
    codes = np.stack([column.places[::stride] for column in columns], axis=1)
    likely = np.zeros((len(columns), len(columns)), bool)
    for j, column in enumerate(columns):
        if _has_keys(column):
            last = np.zeros(len(column.counts) + 1, int)  # the last place is for missing cells
            last[codes[:, j]] = np.arange(len(codes))
            same = codes[last[codes[:, j]]] == codes
            likely[j] = (same & ((codes < 0) == (codes[:, [j]] < 0))).all(0)
    return likely


def _has_keys(source: Column) -> bool:
    room = min(MAX_LEVELS, int(source.counts.sum()) // ROWS_A_KEY - 1)
    return 2 <= len(source.counts) <= room


def map_of(target: Column, source: Column) -> Relation | None:
    """Map from a column's values to another's, if it holds often enough.

    Decimals are computed from text or whole numbers, not the reverse.
    """
    keys = len(source.counts)
    if not _has_keys(source) or len(target.counts) > keys:
        return None
    if _is_decimal(source) and not _is_decimal(target):
        return None
    images = np.full(keys + 1, -1)
    images[source.places] = target.places
    images[-1] = -1  # of missing cells
    is_map = (images[source.places] == target.places).all()
    if not is_map or ((source.places < 0) != (target.places < 0)).any():
        return None
    images = images[:-1]
    # Nats of the target's cells beyond the first of each source value.
    nats = -np.log(target.counts / target.counts.sum())
    if (nats[images] * (source.counts - 1)).sum() < NATS * (keys + 1):
        return None
    return Relation(
        rule="map",
        columns=[source.name],
        keys=[_text(source, k) for k in range(keys)],
        values=[_text(target, int(k)) for k in images],
    )


def _is_decimal(column: Column) -> bool:
    return column.numbers is not None and column.distinct.decimals != 0


def _text(column: Column, code: int) -> str:
    if column.numbers is None:
        return column.texts[code]
    value = float(column.distinct.values[code])
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
