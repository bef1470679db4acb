"""Rows of a table that are used, and their split: training, validation, test."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.tables import listed
from nflow_cli.data.kinds.asked import AskedColumns, given_names
from nflow_cli.data.kinds.copies import row_keys
from nflow_cli.data.kinds.faults import Fault
from nflow_cli.data.kinds.mends import grouped
from nflow_cli.data.points import ALIKE, Parts, Weights
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
REPEATED = 0.01  # share of test rows that may be training rows without a note


@dataclass(frozen=True, eq=False)
class Splitting:
    """How the rows of a table are split.

    Attributes:
        seed: Of the random split.
        has_tests: Whether another table has the test rows.
        column: Name of the column that splits or groups rows; "": none.
        are_groups: Whether its equal rows are held out together; else it names their parts.
        texts: Its cells ``(N,)``, of all rows of the table.
    """

    seed: int
    has_tests: bool
    column: str
    are_groups: bool
    texts: np.ndarray


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


def split_by_group(column: str, groups: np.ndarray, seed: int, with_test: bool = True) -> Parts:
    """Random split that keeps groups ``(n,)`` together; ``with_test``: some for the test."""
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    parts = 3 if with_test else 2
    if len(sizes) < parts:
        raise DataError(
            f"data.group: expected {parts} or more groups in column {column!r}, received "
            f"{len(sizes)}"
        )
    order = stream(seed, "split").permutation(len(sizes))
    ends = [0]
    for later in range(parts - 1, 0, -1):  # each part leaves a group to each of the next
        reached = np.cumsum(sizes[order[ends[-1] :]])
        taken = int(np.searchsorted(reached, held_out(len(groups)))) + 1
        ends.append(min(ends[-1] + taken, len(sizes) - later))
    if not with_test:
        ends.insert(0, 0)
    in_test = np.isin(number, order[: ends[1]])
    in_validation = np.isin(number, order[ends[1] : ends[2]])
    split = Parts(
        train=np.flatnonzero(~(in_test | in_validation)),
        validation=np.flatnonzero(in_validation),
        test=np.flatnonzero(in_test),
    )
    least_tests = 2 if with_test else 0
    if (
        len(split.train) < LEAST_TRAINED
        or len(split.validation) < 2
        or len(split.test) < least_tests
    ):
        counts = ", ".join(f"{len(rows):,} of {part}" for part, rows in split._asdict().items())
        raise DataError(
            f"data.group: expected groups small enough to split; those "
            f"of column {column!r} make {counts}"
        )
    return split


def split_by_column(column: str, texts: np.ndarray, seed: int) -> Parts:
    """Split by a column's text ``(n,)``; a missing validation part is held out."""
    words = [str(text).strip().casefold().removesuffix(".0") for text in texts]
    parts = np.array([NAMES.get(word, "") for word in words])
    if (parts == "").any():
        received = texts[int(np.argmax(parts == ""))]
        raise DataError(
            f"data.split: expected train, validation and test (or 0, 1 and 2) in column "
            f"{column!r}, received {str(received)!r:.60}"
        )
    train = np.flatnonzero(parts == "train")
    validation = np.flatnonzero(parts == "validation")
    test = np.flatnonzero(parts == "test")
    if len(train) < LEAST_TRAINED or len(test) < 2 or len(validation) == 1:
        raise DataError(
            f"data.split: expected rows of train, of test and of validation or none; "
            f"column {column!r} has {len(train):,}, {len(test):,} and {len(validation):,}"
        )
    if not len(validation):
        order = stream(seed, "split").permutation(train)
        validation, train = np.split(order, [held_out(len(train))])
    return Parts(train, validation, test)


def parts_of(splitting: Splitting, rows: np.ndarray, first: np.ndarray) -> Parts:
    """Split of the rows of these numbers ``(n,)``; of copies, by the ``first`` ones ``(n,)``, one
    row is in a part.
    """
    seed = splitting.seed
    with_test = not splitting.has_tests
    kept = np.unique(first)
    if not splitting.column:
        parts = split_at_random(len(kept), seed, with_test)
        return Parts(*(kept[part] for part in parts))
    texts = splitting.texts[rows]
    if splitting.are_groups:
        parts = split_by_group(splitting.column, texts[kept], seed, with_test)
    else:  # copies that the column puts in several parts stay in each
        _, part_numbers = np.unique(texts, return_inverse=True)
        kept = np.sort(np.unique(row_keys([first, part_numbers]), return_index=True)[1])
        parts = split_by_column(splitting.column, texts[kept], seed)
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
    faults = []
    for part, received in weights.items():
        if received.any():
            weights[part] = received / received.mean()
        elif len(received):
            problem = f"expected weights, received 0 in all {len(received):,} {part} rows"
            faults.append(Fault(column.name, problem))
    return (ALIKE, faults) if faults else (Weights(**weights), [])


def notes_of(
    columns: AskedColumns,
    kinds: Mapping[str, ColumnKind],
    rows: np.ndarray,
    targets: Sequence[str] = (),
) -> list[str]:
    """Notes on columns and rows left out."""
    left_out = grouped((kind.why, name) for name, kind in kinds.items() if kind.kind == "left out")
    notes = [f"left out, {why}: {listed(names)}" for why, names in left_out.items()]
    if targets:
        given = given_names(columns)
        notes.append(f"target {listed(targets)}, given {len(given):,} columns: {listed(given)}")
    computed = [f"{name} {kind.why}" for name, kind in kinds.items() if kind.kind == "computed"]
    if computed:
        notes.append(f"computed: {listed(computed)}")
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
    by_chance = np.isnan(test[:, continuous]).all(axis=1)
    of_test = row_keys([*test.T])[~by_chance]
    count = int(np.isin(of_test, row_keys([*train.T])).sum())
    if count > REPEATED * len(test):
        yield f"{count:,} of {len(test):,} test rows are training rows too: their score is too good"
