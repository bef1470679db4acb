"""Split of a table's rows: training, validation, test."""

from typing import NamedTuple

import numpy as np

from nflow_cli.config.table import TableData
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


class Parts(NamedTuple):
    """Row numbers of each part."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def shuffled(parts: Parts, seed: int) -> Parts:
    """Shuffle the rows of each part: its first ones represent all."""
    rng = stream(seed, "order")
    return Parts(*map(rng.permutation, parts))


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
    train = ~(test | validation)
    split = Parts(*map(np.flatnonzero, (train, validation, test)))
    if not _are_enough(split, with_test=settings.test is None):
        counts = ", ".join(f"{len(rows):,} of {part}" for part, rows in split._asdict().items())
        raise DataError(
            f"{name}: data.group: expected groups small enough to split; those "
            f"of column {column!r} make {counts}"
        )
    return split


def _are_enough(parts: Parts, with_test: bool = True) -> bool:
    train, validation, test = map(len, parts)
    return train >= LEAST_TRAINED and validation >= 2 and (test >= 2 or not with_test)


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
