"""Predictions of several columns of a table from the others, or of a computed one, by draws."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.data.dataset import rows_of
from nflow_cli.data.table_files import TableFile, opened
from nflow_cli.data.tables import listed, shown
from nflow_cli.data.written import DIGITS
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.errors import DataError
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.cells.completions import Completions, completions
from nflow_cli.experiments.cells.predicting import (
    Question,
    asked,
    impossible_counts,
    impossible_rows,
    judged,
    probabilities,
    write_predicted,
    written_number,
)
from nflow_cli.experiments.rows import Judgement
from nflow_cli.experiments.table.tables import expect_room, write_beside
from nflow_cli.random_streams import stream
from nflow_cli.text import printable
from nflow_cli.training.progress import phase

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loading import TrainedCells

EFFECTIVE = "effective_draws"


def predicted_jointly(
    trained: "TrainedCells", table: Any, targets: Sequence[str], quantiles: Sequence[float]
) -> tuple[dict[str, Any], Tally]:
    """Columns to be written, by name, and sums over rows.

    Mean, sd, quantiles of numbers, probabilities of levels, of each target given the columns that
    are no targets; and effective sample sizes of the draws. A computed target is the function of
    its sources, which are drawn where they are unknown.
    """
    p = probabilities(quantiles)
    places = _places(trained, targets, p)
    computed, n_cells = [one for one in trained.computed if one.place in places], len(trained.cells)
    sources = sorted({i for one in computed for i, _ in one.sources if i >= trained.n_given})
    rows = _rows(trained, table, targets, [trained.columns[place] for place in sources])
    unknown = np.zeros(rows.shape, bool)
    unknown[:, places] = True
    unknown[:, sources] |= np.isnan(rows[:, sources])
    # One cell is completed by quadrature, which ignores computed columns.
    unknown[:, n_cells:] = unknown[:, :n_cells].sum(axis=1, keepdims=True) > 1
    found = {j: np.full((len(rows), _count(trained.row[j], p)), np.nan) for j in places}
    effective, rng = np.full(len(rows), np.nan), stream(trained.config.seed, "computed targets")
    text = f"predicting {printable(listed(targets))}: {len(rows):,} rows"
    with phase(text, len(rows)) as advance:
        for some in _completions(trained, rows, unknown):
            advance(len(some.places))
            for one in computed:
                drawn = one.draw(some.draws.reshape(-1, rows.shape[1]), rng)
                some.draws[:, :, one.place] = drawn.reshape(some.weights.shape)
            effective[some.places] = some.effective if some.draws.shape[1] > 1 else np.nan
            for j in places:
                found[j][some.places] = _statistics(trained.row[j], some, j, p)
    columns: dict[str, Any] = {}
    for j in places:
        columns |= _named(trained.row[j], found[j], p)
    counts = {"n": len(rows), **impossible_counts(trained, rows, targets)}
    least = {EFFECTIVE: float(np.nanmin(effective, initial=np.inf))}
    return {**columns, EFFECTIVE: effective}, Tally(counts=counts, least=least)


def _completions(
    trained: "TrainedCells", rows: np.ndarray, unknown: np.ndarray
) -> Iterator[Completions]:
    """Completions of rows with unknown cells, and the others as they are."""
    whole = np.flatnonzero(~unknown.any(axis=1))
    if len(whole):
        yield Completions(
            whole, rows[whole, None], np.ones((len(whole), 1)), np.full(len(whole), np.nan)
        )
    yield from completions(trained, rows, unknown, trained.config.seed)


def are_by_draws(trained: "TrainedCells", targets: Sequence[str]) -> bool:
    """Whether targets are predicted by draws: several ones, or a computed one."""
    computed = [one.column.name for one in trained.computed]
    return len(targets) > 1 or any(name in computed for name in targets)


def expect_one_target(targets: Sequence[str], **options: Any) -> None:
    """Refuse options of one target."""
    for name, value in options.items():
        if value is not None:
            expected = "expected one target, not computed from others"
            raise DataError(f"{name}: {expected}, received {listed(targets)}")


def _places(trained: "TrainedCells", targets: Sequence[str], p: np.ndarray) -> list[int]:
    """Indices of the targets in a row, whose added columns must have different names."""
    places, seen = [_place(trained, name) for name in targets], {EFFECTIVE}
    for j in places:
        added = {*_named(trained.row[j], np.empty((0, _count(trained.row[j], p))), p)}
        if twice := sorted(added & seen):
            raise DataError(
                "--target: expected targets whose added columns differ in name. Received two "
                f"called {listed(twice)}: predict {shown(trained.columns[j])} by itself"
            )
        seen |= added
    return places


def _place(trained: "TrainedCells", name: str) -> int:
    targets = trained.columns[trained.n_given :]
    if name not in targets:
        expected = f"--target: expected some of {listed(targets)}"
        raise DataError(f"{expected}. Received: {shown(name)}")
    return trained.columns.index(name)


def _rows(
    trained: "TrainedCells", table: Any, targets: Sequence[str], optional: Sequence[str]
) -> np.ndarray:
    if (found := opened(table)) is None:
        return trained.rows(table)
    absent = {*optional} - {column.name for column in found.columns}
    others = trained.columns[: len(trained.cells)]
    names = [name for name in others if name not in targets and name not in absent]
    if not names:
        raise DataError("--target: expected another column, from which to predict")
    values = rows_of(found, trained.kinds, names)
    rows = np.full((len(values), len(trained.columns)), np.nan)
    rows[:, [trained.columns.index(name) for name in names]] = values
    return rows


def _count(column: CellColumn, p: np.ndarray) -> int:
    return 2 + len(p) if column.has_numbers else len(column.first)


def _statistics(column: CellColumn, some: Completions, j: int, p: np.ndarray) -> np.ndarray:
    draws = some.draws[:, :, j]
    if not column.has_numbers:
        shares = [(some.weights * (draws == i)).sum(axis=1) for i in range(len(column.first))]
        return np.stack(shares, axis=1)
    mean = (some.weights * draws).sum(axis=1)
    sd = np.sqrt((some.weights * np.square(draws - mean[:, None])).sum(axis=1))
    order = np.argsort(draws, axis=1)
    ends = np.cumsum(np.take_along_axis(some.weights, order, axis=1), axis=1)
    places = (ends[:, None] < p[:, None] * ends[:, -1:, None]).sum(axis=2)
    return np.column_stack([mean, sd, np.take_along_axis(np.sort(draws, axis=1), places, axis=1)])


def _named(column: CellColumn, found: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    name = column.name
    if not column.has_numbers:
        return {f"{name}_p_{level}": share for level, share in zip(column.first, found.T)}
    mean, sd, *quantiles = found.T
    named = {f"{name}_mean": mean, f"{name}_sd": sd}
    every = zip(p, quantiles)
    return named | {f"{name}_q{q:.{DIGITS}g}": written_number(column.kind, x) for q, x in every}


def write_predictions(
    trained: "TrainedCells",
    table: TableFile,
    path: Path,
    question: Mapping[str, Any],
    plot: Path | None,
) -> Judgement:
    """Write the rows of a table, in order, with predictions of one column or several."""
    targets: Sequence[str] = question["target"] or ()
    if not are_by_draws(trained, targets):
        return write_predicted(trained, table, path, _of_one(question), plot)
    expect_one_target(targets, coverage=question["coverage"], plot=plot)
    columns, found = predicted_jointly(trained, table, targets, question["quantiles"])
    expect_room(trained, columns)
    write_beside(table, path, columns)
    return judged_jointly(targets, found, table.name)


def judged_jointly(targets: Sequence[str], found: Tally, name: str) -> Judgement:
    """Judgement of joint predictions of a table's rows by the sums over them."""
    least, count = found.least[EFFECTIVE], found.counts["n"]
    scores = {"target": list(targets), **found.counts, "least_effective_draws": least}
    by_draws = f"by importance sampling; least effective sample size of a row {least:.1f}"
    lines = [
        ("data", f"{printable(name)}: {count:,} rows"),
        ("targets", printable(listed(targets))),
        ("draws", by_draws if least < np.inf else "none: all rows have the sources of the target"),
        *impossible_rows(scores),
    ]
    return Judgement(scores, lines, [], found)


def judge_of(
    trained: "TrainedCells", question: Mapping[str, Any]
) -> Callable[[Tally, str], Judgement]:
    """Judge of predictions by sums over rows and the name of their table, of a valid question."""
    targets: Sequence[str] = question["target"] or ()
    if not are_by_draws(trained, targets):
        return partial(judged, asked(trained, _of_one(question)))
    expect_one_target(targets, coverage=question["coverage"])
    _places(trained, targets, probabilities(question["quantiles"]))
    return partial(judged_jointly, targets)


def _of_one(question: Mapping[str, Any]) -> Question:
    targets = question["target"]
    return Question(**{**question, "target": targets[0] if targets else None})
