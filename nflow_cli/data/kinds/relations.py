"""Columns computed from others: by a formula, or by a map of values."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind, Relation
from nflow_cli.config.schema_options import escaped
from nflow_cli.config.strict import MAX_LEVELS
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.tables import listed
from nflow_cli.data.kinds.date_parts import calendar_relations
from nflow_cli.data.kinds.formulas import NATS_A_NUMBER, FormulaSearch

SAMPLE = 1_000  # rows for the search of maps
FIRST = 100  # of these, which most columns fail in
ROWS_A_KEY = 5  # of a map
GROUPS = 50  # values of identifiers, at least
MOST_ROWS_A_GROUP = 50  # rows of each, on average at most


def relations_of(columns: Sequence[Column], fixed: set[str]) -> dict[str, Relation]:
    """Relations of computed columns, by name; ``fixed`` ones are not computed.

    Of earlier columns if possible, else of later ones; last, of columns that were rounded, too.
    """
    if not columns:
        return {}
    relations = calendar_relations(columns, fixed)
    used = {name for relation in relations.values() for name in relation.columns}
    likely = _likely_maps(columns)
    search = FormulaSearch(columns)
    kept: list[int] = []
    for j, column in enumerate(columns):
        relation = relations.get(column.name)
        if relation is None and column.name not in fixed | used:
            maps = [columns[k] for k in kept if likely[k, j]]
            relation = search.formula(j, kept) or _first_map(column, maps)
        if relation is None:
            kept.append(j)
        else:
            relations[column.name] = relation
    used = {name for relation in relations.values() for name in relation.columns}
    for are_rounded in (False, True):
        order = kept[::-1] if are_rounded else kept
        for j in order:
            column = columns[j]
            others = [k for k in kept if k != j]
            if column.name in fixed | used or (are_rounded and j not in search.nearly_computed):
                continue
            maps = [columns[k] for k in others if k > j and likely[k, j] and not are_rounded]
            relation = search.formula(j, others, are_rounded) or _first_map(column, maps)
            if relation is not None:
                relations[column.name] = relation
                used |= set(relation.columns)
                kept = others
    return relations


def notes_of_groups(
    columns: Mapping[str, Column], kinds: Mapping[str, ColumnKind]
) -> Iterator[str]:
    """Notes on columns that may group rows, such as the person of several visits: the sources of
    maps whose values have few rows each, in all of which other columns are the same.
    """
    relations = (kind.relation for kind in kinds.values() if kind.kind == "computed")
    sources = {r.columns[0]: None for r in relations if r is not None and r.rule == "map"}
    for name in sources:
        source = columns[name]
        values = len(source.value_counts)
        rows = int(source.value_counts.sum())
        if values < GROUPS or rows > MOST_ROWS_A_GROUP * values:
            continue
        others = [n for n in columns if n != name and n in kinds and kinds[n].kind != "left out"]
        images = np.stack([columns[n].value_indices for n in others], axis=1)
        are_mapped = _are_mapped(source.value_indices, images, values)
        constant = listed([n for n, is_mapped in zip(others, are_mapped) if is_mapped])
        yield (
            f"{name} repeats ({values:,} values in {rows:,} rows), and within it {constant} do not "
            f"change: --group {escaped(name)} holds its rows out together, and a map tells nothing "
            "of a new value"
        )


def _first_map(target: Column, sources: Sequence[Column]) -> Relation | None:
    return next(filter(None, (map_of(target, source) for source in sources)), None)


def _likely_maps(columns: Sequence[Column]) -> np.ndarray:
    """Which columns (second) map which (first) in some rows, `(C, C)`: few rows, then more."""
    stride = max(1, len(columns[0].value_indices) // SAMPLE)
    codes = np.stack([column.value_indices[::stride] for column in columns], axis=1)
    likely = np.zeros((len(columns), len(columns)), bool)
    for j, column in enumerate(columns):
        if not _has_keys(column):
            continue
        others = np.arange(len(columns))
        for rows in (codes[:FIRST], codes):
            others = others[_are_mapped(rows[:, j], rows[:, others], len(column.value_counts))]
        likely[j, others] = True
    return likely


def _are_mapped(keys: np.ndarray, images: np.ndarray, count: int) -> np.ndarray:
    """Which columns `(n, C)` have one value in all rows with a key `(n,)`, and its gaps, `(C,)`."""
    last = np.zeros(count + 1, int)  # the last place is for missing cells
    last[keys] = np.arange(len(keys))
    return ((images[last[keys]] == images) & ((images < 0) == (keys[:, None] < 0))).all(axis=0)


def _has_keys(source: Column) -> bool:
    room = min(MAX_LEVELS, int(source.value_counts.sum()) // ROWS_A_KEY - 1)
    return 2 <= len(source.value_counts) <= room


def map_of(target: Column, source: Column) -> Relation | None:
    """Map from a column's values to another's, if it holds often enough.

    Decimals are computed from text or whole numbers, not the reverse.
    """
    keys = len(source.value_counts)
    if not _has_keys(source) or len(target.value_counts) > keys:
        return None
    if _is_decimal(source) and not _is_decimal(target):
        return None
    images = np.full(keys + 1, -1)
    images[source.value_indices] = target.value_indices
    images[-1] = -1  # of missing cells
    is_map = (images[source.value_indices] == target.value_indices).all()
    if not is_map or ((source.value_indices < 0) != (target.value_indices < 0)).any():
        return None
    images = images[:-1]
    # Nats of the target's cells beyond the first of each source value.
    nats = -np.log(target.value_counts / target.value_counts.sum())
    if (nats[images] * (source.value_counts - 1)).sum() < NATS_A_NUMBER * (keys + 1):
        return None
    return Relation(
        rule="map",
        columns=[source.name],
        keys=[_text(source, k) for k in range(keys)],
        values=[_text(target, int(k)) for k in images],
    )


def _is_decimal(column: Column) -> bool:
    return column.numbers is not None and column.distinct_numbers.decimals != 0


def _text(column: Column, code: int) -> str:
    if column.numbers is None:
        return column.texts[code]
    value = float(column.distinct_numbers.values[code])
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
