"""Rows of a table that are used, and their split: training, validation, test."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.config.strict import MAX_COLUMNS
from nflow_cli.config.table import TableData
from nflow_cli.data.columns import Column, read_columns, text_of
from nflow_cli.data.copies import row_keys
from nflow_cli.data.faults import (
    Fault,
    complete_rows,
    expect_names,
    gaps_text,
    grouped,
    refuse,
    used,
)
from nflow_cli.data.left_out import TIME_WORDS, words
from nflow_cli.data.points import ALIKE, Parts, Weights
from nflow_cli.data.tables import TableFile, listed
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream

HELD_OUT = 50_000  # validation rows, and test rows, at most; else a tenth of all
LEAST_TRAINED = 4  # rows
# Values of a column that splits rows.
NAMES = {
    **dict.fromkeys(("train", "training", "0"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "1"), "validation"),
    **dict.fromkeys(("test", "testing", "2"), "test"),
}
Columns = dict[str, Column]
REPEATED = 0.01  # share of test rows that may be training rows without a note


def shuffled(parts: Parts, seed: int) -> Parts:
    """Shuffle the rows of each part: its first ones represent all."""
    return Parts(*map(stream(seed, "order").permutation, parts))


def held_out(n: int) -> int:
    """A tenth of ``n`` rows, at least 2: for validation and for test."""
    return min(max(2, n // 10), HELD_OUT)


def split_at_random(n: int, seed: int, with_test: bool = True) -> Parts:
    """Random split of ``n`` rows; ``with_test``: a tenth for the test."""
    order = stream(seed, "split").permutation(n)
    tests = held_out(n) if with_test else 0
    test, validation, train = np.split(order, [tests, tests + held_out(n)])
    return Parts(train, validation, test)


def split_by_group(name: str, column: str, groups: np.ndarray, settings: TableData) -> Parts:
    """Random split that keeps groups ``(n,)`` together."""
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    parts = 2 if settings.test else 3
    if len(sizes) < parts:
        raise DataError(
            f"{name}: data.group: expected {parts} or more groups in column {column!r}, received "
            f"{len(sizes)}"
        )
    order = stream(settings.split_seed, "split").permutation(len(sizes))
    wanted, ends = held_out(len(groups)), [0]
    for later in range(parts - 1, 0, -1):  # each part leaves a group to each of the next
        reached = np.cumsum(sizes[order[ends[-1] :]])
        taken = int(np.searchsorted(reached, wanted)) + 1
        ends.append(min(ends[-1] + taken, len(sizes) - later))
    if settings.test:
        ends.insert(0, 0)
    of_test, of_validation = order[: ends[1]], order[ends[1] : ends[2]]
    test, validation = np.isin(number, of_test), np.isin(number, of_validation)
    split = Parts(*map(np.flatnonzero, (~(test | validation), validation, test)))
    least = LEAST_TRAINED, 2, 0 if settings.test else 2
    if any(len(rows) < few for rows, few in zip(split, least)):
        counts = ", ".join(f"{len(rows):,} of {part}" for part, rows in split._asdict().items())
        raise DataError(
            f"{name}: data.group: expected groups small enough to split; those "
            f"of column {column!r} make {counts}"
        )
    return split


def split_by_column(name: str, column: str, texts: np.ndarray, seed: int) -> Parts:
    """Split by a column's text ``(n,)``; a missing validation part is held out."""
    words = [str(text).strip().casefold().removesuffix(".0") for text in texts]
    parts = np.array([NAMES.get(word, "") for word in words])
    if (parts == "").any():
        received = texts[int(np.argmax(parts == ""))]
        raise DataError(
            f"{name}: data.split: expected train, validation and test (or 0, 1 and 2) in column "
            f"{column!r}, received {str(received)!r:.60}"
        )
    train, validation, test = (
        np.flatnonzero(parts == part) for part in ("train", "validation", "test")
    )
    if len(train) < LEAST_TRAINED or len(test) < 2 or len(validation) == 1:
        raise DataError(
            f"{name}: data.split: expected rows of train, of test and of validation or none; "
            f"column {column!r} has {len(train):,}, {len(test):,} and {len(validation):,}"
        )
    if not len(validation):
        order = stream(seed, "split").permutation(train)
        validation, train = np.split(order, [held_out(len(train))])
    return Parts(train, validation, test)


def names_used(table: TableFile, settings: TableData) -> list[str]:
    """Names of the columns that are read: those not left out, 1 to 1,000."""
    expect_names(table, settings)
    aside = {*settings.exclude, settings.split, settings.group} - {*settings.given}
    wanted = settings.columns and {*settings.columns, *settings.given, settings.weights}
    names = [
        column.name
        for column in table.columns
        if column.name not in aside and (wanted is None or column.name in wanted)
    ]
    if not names:
        refuse(table.name, [Fault("", "expected a column to model, received none")])
    if len(names) > MAX_COLUMNS:
        text = f"expected at most {MAX_COLUMNS:,} columns, received {len(names):,}"
        refuse(table.name, [Fault("", f"{text}; --columns takes some")])
    return names


def read_settled(
    table: TableFile, settings: TableData, names: Sequence[str]
) -> tuple[Columns, np.ndarray]:
    """Columns by name, as the settings have them, and their row numbers ``(n,)``: of unknown kind
    in numbers, where their text is that.
    """
    kinds = {name: kind for name, kind in (settings.kinds or {}).items() if kind.kind != "left out"}
    texts = texts_in(table, kinds, [name for name in names if name in kinds])
    texts += [*settings.date] if table.is_untyped else []
    are_numbers = {*kinds, *settings.discrete, *settings.bounds, settings.weights}
    codes = [name for name in names if name not in are_numbers and not words(name) & TIME_WORDS]
    sample = settings.max_rows, settings.split_seed
    columns, rows = read_columns(table, *sample, names, texts, codes, settings.categorical)
    read = {column.name: column for column in columns}
    as_they_are = {*settings.categorical, settings.weights}
    for name, column in read.items():
        column = column.without(na := settings.na_of(name))
        if name in kinds:
            with suppress(ValueError):  # other text, which is refused later
                column = column.in_kind(kinds[name].alone, table.decimal)
        elif name in settings.date:
            with suppress(ValueError):
                column = column.in_form(settings.date[name])
        elif name not in as_they_are:
            found = column.in_numbers(table.decimal)
            has_more = found.form or found.notation or found.lost.any()
            if table.is_untyped or has_more:  # digits alone that are stored as text are codes
                column = found
        read[name] = column.without(na).in_levels(table.decimal)
    ways = [column.notation for column in read.values() if column.notation is not None]
    if any("(" in way.negative[0] for way in ways):  # then they mean that in all columns
        for name in read.keys() - kinds.keys() - settings.date.keys() - as_they_are:
            found = read[name].in_numbers(table.decimal, may_be_enclosed=True)
            read[name] = found if found.notation else read[name]
    return read, rows


def texts_in(table: TableFile, kinds: Mapping[str, ColumnKind], names: Sequence[str]) -> list[str]:
    """Columns to be read as text, also if all cells are numbers: levels of text, and in a text file
    dates of a format, and numbers whose separators are no marks of the table.
    """
    untyped = names if table.is_untyped else ()
    ways = {name: kinds[name].notation for name in untyped}
    marked = {name for name, way in ways.items() if way and way.decimal != table.decimal}
    marked |= {name for name in untyped if kinds[name].form is not None}
    return [name for name in names if name in marked or kinds[name].type in ("text", "truth")]


def without_gaps(
    columns: Columns, kinds: Mapping[str, ColumnKind], settings: TableData, n: int
) -> tuple[Columns, dict[str, ColumnKind], np.ndarray, list[str]]:
    """Drop rows with missing values: columns, kinds, rows kept ``(n,)`` and a note."""
    names = [*used(kinds, settings), *([settings.weights] if settings.weights else [])]
    present, counts = complete_rows(columns, names, n)
    kept = {name: columns[name].at(np.flatnonzero(present)) for name in names}
    full = {
        name: kind.model_copy(update={"missing": False}) if name in names else kind
        for name, kind in kinds.items()
    }
    return kept, full, present, [f"left out: {gaps_text(present, counts)}"] if counts else []


def parts_of(
    table: TableFile, settings: TableData, rows: np.ndarray, first: np.ndarray
) -> tuple[Parts, list[Fault]]:
    """Split of the rows of these numbers, and faults; of copies, by the ``first`` ones ``(n,)``,
    one row is in a part.
    """
    try:
        return _parts(table, settings, rows, first), []
    except DataError as error:
        problem = str(error).removeprefix(f"{table.name}: ")
        return Parts(*3 * [np.zeros(0, int)]), [Fault("", problem)]


def _parts(table: TableFile, settings: TableData, rows: np.ndarray, first: np.ndarray) -> Parts:
    seed, column = settings.split_seed, settings.split or settings.group
    kept = np.unique(first)
    if column is None:
        parts = split_at_random(len(kept), seed, settings.test is None)
        return Parts(*(kept[part] for part in parts))
    texts = text_of(table, column)[rows]
    if settings.split is None:
        parts = split_by_group(table.name, column, texts[kept], settings)
    else:  # which has its say: copies in several parts stay in each
        _, said = np.unique(texts, return_inverse=True)
        kept = np.sort(np.unique(row_keys([first, said]), return_index=True)[1])
        parts = split_by_column(table.name, column, texts[kept], seed)
    return Parts(*(kept[part] for part in shuffled(parts, seed)))


def part_weights(
    column: Column | None, parts: Parts, tests: np.ndarray | None = None
) -> tuple[Weights, list[Fault]]:
    """Row weights of each part, of mean 1, and faults of parts of weight 0.

    ``tests`` are the weights of a separate table of test rows.
    """
    if column is None or column.numbers is None:
        return ALIKE, []
    weights = {part: column.numbers[rows] for part, rows in parts._asdict().items()}
    if tests is not None:
        weights["test"] = tests
    faults = [
        Fault(column.name, f"expected weights, received 0 in all {len(of_part):,} {part} rows")
        for part, of_part in weights.items()
        if len(of_part) and not of_part.any()
    ]
    if faults:
        return ALIKE, faults
    return Weights(*(w / w.mean() if len(w) else w for w in weights.values())), []


def notes_of(
    table: TableFile, settings: TableData, kinds: Mapping[str, ColumnKind], rows: np.ndarray
) -> list[str]:
    """Notes on columns and rows left out."""
    left_out = grouped((k.why, name) for name, k in kinds.items() if k.kind == "left out")
    notes = [*table.notes, *(f"left out, {why}: {listed(n)}" for why, n in left_out.items())]
    if settings.target:
        given = f"given {len(settings.given):,} columns: {listed(settings.given)}"
        notes.append(f"target {listed(settings.target)}, {given}")
    computed = [f"{name} {kind.why}" for name, kind in kinds.items() if kind.kind == "computed"]
    notes += [f"computed: {listed(computed)}"] if computed else []
    if len(rows) and rows[-1] != len(rows) - 1:
        notes.append(f"{len(rows):,} rows, drawn at random by data.max_rows")
    return notes


def note_of_weights(name: str | None, weights: np.ndarray | None) -> Iterator[str]:
    """Note on the effective sample size of weighted training rows."""
    if weights is not None:
        effective = weights.sum() ** 2 / (weights * weights).sum()
        yield (
            f"weighted by {name}: effective sample size {effective:,.1f} of {len(weights):,} "
            "training rows, (Σw)²/Σw²"
        )


def note_of_repeats(
    train: np.ndarray, test: np.ndarray, continuous: Sequence[bool]
) -> Iterator[str]:
    """Note on test rows that are training rows too, if several; not by chance, without a number of
    the ``continuous`` columns.
    """
    seen, judged = (row_keys([*part.T]) for part in (train, test))
    by_chance = np.isnan(test[:, continuous]).all(axis=1)
    n, count = len(judged), int(np.isin(judged[~by_chance], seen).sum())
    if count > REPEATED * n:
        yield f"{count:,} of {n:,} test rows are training rows too: their score is too good"
