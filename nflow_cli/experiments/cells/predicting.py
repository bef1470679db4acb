"""Predictions of one column of a table from the others, by a density of cells."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.dataset import rows_of
from nflow_cli.data.table_files import TableFile, opened
from nflow_cli.data.tables import listed, shown
from nflow_cli.data.written import DIGITS
from nflow_cli.data.written_cells import as_written
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.conditional import UNRESOLVED, Conditional, conditional
from nflow_cli.errors import DataError
from nflow_cli.evaluation.tallies import Moments, Tally
from nflow_cli.evaluation.warnings import ScoreWarning, grouped_rows, marked
from nflow_cli.experiments.cells.sets import Calibrated, calibration, central, level_sets
from nflow_cli.experiments.rows import Judgement, Rows, Warnings, figure, mean_text
from nflow_cli.experiments.table.tables import OWN, are_own, expect_room, write_beside
from nflow_cli.registry import nearest
from nflow_cli.runs.samples_file import write_file
from nflow_cli.text import printable
from nflow_cli.training.progress import phase

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loading import TrainedCells

QUANTILES = 0.05, 0.5, 0.95
BETWEEN = "|"  # levels of a set
ROUNDING = 1e-12  # of a value, relative
OWN_ROWS = ScoreWarning(
    "trained on",
    ("log_p",),
    "these are the run's own rows, most of them training rows: scores of fresh rows are worse",
)


class Question(NamedTuple):
    """A question for predictions.

    Attributes:
        target: Name of the column; ``None``: the only modelled one.
        quantiles: Their probabilities.
        coverage: Share of fresh values in a set; ``None``: no sets.
        by: Column whose levels are calibrated by themselves.
    """

    target: str | None = None
    quantiles: Sequence[float] = QUANTILES
    coverage: float | None = None
    by: str | None = None


class Asked(NamedTuple):
    """A question to a density.

    Attributes:
        column: The column.
        p: Probabilities of the quantiles.
        sets: Calibration of the sets; ``None`` without.
        group: Column by which rows of the run are grouped, if any.
    """

    column: CellColumn
    p: np.ndarray
    sets: Calibrated | None
    group: str | None


class Predicted(NamedTuple):
    """Predictions of a column.

    Attributes:
        asked: The question.
        rows: Rows ``(n, C)`` of the table.
        values: Their own values ``(n,)`` of the column; ``None`` if the table lacks it.
        found: The distributions.
        thresholds: Largest scores ``(n,)`` in the sets.
        ends: Of intervals ``(n, 2)``, of numbers with sets; else ``(n, 0)``.
    """

    asked: Asked
    rows: np.ndarray
    values: np.ndarray | None
    found: Conditional
    thresholds: np.ndarray
    ends: np.ndarray

    @property
    def column(self) -> CellColumn:
        """The predicted column."""
        return self.asked.column


def asked(trained: "TrainedCells", question: Question) -> Asked:
    """Question to a density, checked, with its calibration."""
    column = _target(trained, question.target)
    p, sets = probabilities(question.quantiles), None
    if question.coverage is not None:
        sets = calibration(trained, column, question.coverage, question.by)
    elif question.by is not None:
        raise DataError("--by: expected --coverage too")
    return Asked(column, p, sets, trained.config.data.group)


def predicted(trained: "TrainedCells", table: Any, question: Question) -> Predicted:
    """Predict a column of a table, or of rows ``(n, C)``, from the others."""
    column, p, sets, _ = wanted = asked(trained, question)
    rows, has_own = _rows(trained, table, column.name)
    thresholds = sets.thresholds(trained, rows) if sets else np.zeros(len(rows))
    of_sets = central(thresholds) if sets else np.empty((len(rows), 0))
    every = np.append(np.tile(p, (len(rows), 1)), of_sets, axis=1)
    place = trained.columns.index(column.name)
    text = f"predicting {printable(column.name)}: {len(rows):,} rows"
    with phase(text, len(rows)) as advance:
        found = conditional(trained, rows, place, every, advance)
    quantiles, ends = np.split(found.quantiles, [len(p)], axis=1)
    if sets:
        ends = ends + np.where(thresholds < 1, 0.0, np.inf)[:, None] * [-1, 1]
    found = found._replace(quantiles=quantiles)
    values = rows[:, place] if has_own else None
    return Predicted(wanted, rows, values, found, thresholds, ends)


def probabilities(quantiles: Sequence[float]) -> np.ndarray:
    """Probabilities of quantiles, checked and in order."""
    try:
        p = np.unique(np.round(np.asarray(quantiles, float), DIGITS))
    except (TypeError, ValueError):
        p = np.zeros(1)
    if not len(p) or not ((p > 0) & (p < 1)).all():
        raise DataError(f"quantiles: expected numbers between 0 and 1, received {quantiles!r:.60}")
    return p


def _target(trained: "TrainedCells", name: str | None) -> CellColumn:
    every = trained.row[trained.n_given : len(trained.cells)]
    modelled = {column.name: column for column in every}
    if name is None and len(modelled) == 1:
        return next(iter(modelled.values()))
    if name in modelled:
        return modelled[name]
    expected = f"--target: expected one of {listed([*modelled])}"
    if name is None:
        raise DataError(expected)
    why = nearest(name, [*modelled])
    if name in trained.given:
        why = ", a given column"
    elif name in trained.columns:
        why = ", which is computed from other columns"
    raise DataError(f"{expected}. Received: {shown(name)}{why}")


def _rows(trained: "TrainedCells", table: Any, target: str) -> tuple[np.ndarray, bool]:
    """Rows ``(n, C)``, computed columns unknown, and whether they have the target."""
    if (found := opened(table)) is None:
        return trained.rows(table), True
    has_own = target in [column.name for column in found.columns]
    names = trained.columns[: len(trained.cells)]
    names = [name for name in names if has_own or name != target]
    values = rows_of(found, trained.kinds, names)
    rows = np.full((len(values), len(trained.columns)), np.nan)
    rows[:, [trained.columns.index(name) for name in names]] = values
    return rows, has_own


def columns_of(predicted: Predicted) -> dict[str, Any]:
    """The columns to be written, by name."""
    (column, p, sets, _), found = predicted.asked, predicted.found
    kind = column.kind
    columns: dict[str, Any] = {}
    if column.has_numbers:
        columns["mean"] = written_number(kind, found.mean) if _is_date(kind) else found.mean
        columns["sd"] = found.sd
        for share, values in zip(p, found.quantiles.T):
            columns[f"q{share:.{DIGITS}g}"] = written_number(kind, values)
        if sets:
            columns["low"], columns["high"] = (
                written_number(kind, end) for end in predicted.ends.T
            )
    else:
        columns |= {f"p_{level}": share for level, share in zip(column.first, found.levels.T)}
    if column.missing is not None:
        columns["missing"] = found.missing
    if not column.has_numbers:
        columns["level"] = as_written(kind, found.levels.argmax(axis=1))
        if sets:
            columns["set"] = _set_texts(predicted)
    if predicted.values is not None:
        columns["log_p"] = found.log_prob
    named = {f"{column.name}_{name}": values for name, values in columns.items()}
    return {**named, "quadrature_error": found.error} if column.has_numbers else named


def _set_texts(predicted: Predicted) -> np.ndarray:
    names = [str(level) for level in predicted.column.first]
    are_in = level_sets(predicted.found, predicted.thresholds)
    return np.array([BETWEEN.join(itertools.compress(names, row)) for row in are_in], object)


def _is_date(kind: ColumnKind) -> bool:
    return kind.type in ("date", "time") or kind.form is not None


def written_number(kind: ColumnKind, values: np.ndarray) -> Any:
    """Numbers ``(n,)`` in the column's decimals, and dates as in the table."""
    if _is_date(kind):
        values = np.where(np.isfinite(values), values, np.nan)
    return as_written(kind, values if kind.decimals is None else np.round(values, kind.decimals))


def write_predicted(
    trained: "TrainedCells", table: TableFile, path: Path, question: Question, plot: Path | None
) -> Judgement:
    """Write the rows of a table, in order, with their predictions, and a picture; return scores."""
    found = predicted(trained, table, question)
    columns = columns_of(found)
    expect_room(trained, columns)
    if plot is not None:
        if found.values is None:
            name = shown(found.column.name)
            raise DataError(f"--plot: expected the target {name} in {table.name}")
        from nflow_cli import plotting

        figure, format = _figure(found, found.values, table.name), plot.suffix[1:].lower()
        write_file(plot, lambda file: plotting.save_figure(figure, file, format))
    write_beside(table, path, columns)
    return judged(found.asked, _tally(trained, found), table.name)


def _figure(predicted: Predicted, values: np.ndarray, subject: str) -> Any:
    from nflow_cli import plotting

    (column, p, sets, _), found = predicted.asked, predicted.found
    if not column.has_numbers:
        levels = [str(level) for level in column.first]
        return plotting.levels_figure(column.name, levels, found.levels, values, printable(subject))
    low, high = predicted.ends.T if sets else found.quantiles[:, [0, -1]].T
    share = sets.coverage if sets else p[-1] - p[0]
    middle = found.quantiles[:, np.argmin(np.abs(p - 0.5))]
    intervals = plotting.Intervals(middle, low, high, float(share))
    return plotting.intervals_figure(
        column.name, column.kind, values, intervals, printable(subject)
    )


def _tally(trained: "TrainedCells", predicted: Predicted) -> Tally:
    column, values, found = predicted.column, predicted.values, predicted.found
    is_known, means = found.error <= UNRESOLVED, {}
    are_levels = [not other.has_numbers and other is not column for other in trained.row]
    counts = {
        "n": len(predicted.rows),
        "n_new_levels": int((predicted.rows[:, are_levels] < 0).any(axis=1).sum()),
        OWN: values is not None and are_own(trained, predicted.rows),
        **impossible_counts(trained, predicted.rows, [column.name]),
    }
    if column.has_numbers:
        counts["n_unresolved"] = int((~is_known).sum())
        low, high = found.quantiles[:, [0, -1]].T
        means["width"] = Moments.of((high - low)[is_known])
    if predicted.asked.sets:
        counts["n_infinite"] = int((~np.isfinite(predicted.thresholds)).sum())
        means |= _means_of_sets(predicted, is_known)
    if values is None:
        return Tally(means, counts)
    means["log_p"] = Moments.of(found.log_prob[~np.isnan(found.log_prob)])
    is_known &= ~np.isnan(values)
    if not column.has_numbers:
        means["error_rate"] = Moments.of((found.levels.argmax(axis=1) != values)[is_known])
        return Tally(means, counts)
    means["coverage"] = Moments.of(are_between(values, low, high)[is_known])
    with np.errstate(over="ignore"):
        means["square"] = Moments.of(np.square(found.mean - values)[is_known])
    return Tally(means, counts)


def impossible_counts(
    trained: "TrainedCells", rows: np.ndarray, targets: Sequence[str]
) -> dict[str, int]:
    """Numbers of rows and cells, of no target, that no row can have: they are taken as unknown."""
    lost = trained.are_impossible(rows)
    lost[:, [trained.columns.index(name) for name in targets]] = False
    return {"n_impossible": int(lost.any(axis=1).sum()), "n_impossible_cells": int(lost.sum())}


def impossible_rows(scores: dict[str, Any]) -> Rows:
    """Row of the cells that are taken as unknown, if any."""
    if not (n := scores["n_impossible"]):
        return []
    cells = f"{scores['n_impossible_cells']:,} cells of {n:,} rows"
    return [("impossible", f"{cells} are off their grid or far away: taken as unknown")]


def are_between(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether values are in intervals with their ends, to rounding: ends may lie on a grid."""
    close = ROUNDING * np.abs(values)
    return (low - close <= values) & (values <= high + close)


def _means_of_sets(predicted: Predicted, is_known: np.ndarray) -> dict[str, Moments]:
    values, thresholds = predicted.values, predicted.thresholds
    if predicted.column.has_numbers:
        low, high = predicted.ends.T
        means = {"set_width": Moments.of((high - low)[is_known & (thresholds < 1)])}
        are_in = None if values is None else are_between(values, low, high)
    else:
        members = level_sets(predicted.found, thresholds)
        means = {"set_size": Moments.of(members.sum(axis=1)[is_known])}
        are_in = None if values is None else _members_at(members, values)
    if values is not None and are_in is not None:
        means["set_coverage"] = Moments.of(are_in[is_known & ~np.isnan(values)])
    return means


def _members_at(members: np.ndarray, values: np.ndarray) -> np.ndarray:
    every = np.append(members, np.zeros((len(values), 1), bool), axis=1)  # a new level is in none
    return every[np.arange(len(values)), np.nan_to_num(values, nan=-1.0).astype(int)]


def judged(asked: Asked, found: Tally, name: str) -> Judgement:
    """Judgement of the predictions of a table's rows by the sums over them."""
    scores = {"target": asked.column.name, "n": found.counts["n"], **_scores(asked.sets, found)}
    of_groups = grouped_rows(scores, asked.group)
    warnings = [*([OWN_ROWS] if found.counts[OWN] else []), *([of_groups] if of_groups else [])]
    lines = [
        ("data", f"{printable(name)}: {scores['n']:,} rows"),
        ("target", printable(asked.column.name)),
        *_printed(asked, scores, warnings),
    ]
    return Judgement(scores, lines, warnings, found)


def _scores(sets: Calibrated | None, found: Tally) -> dict[str, Any]:
    counts = {name: n for name, n in found.counts.items() if name not in ("n", OWN)}
    scores = {**counts, **{name: one.value for name, one in found.means.items()}}
    if sets:
        records = [
            {"group": sets.name(code), "n": one.n}
            | {"coverage_low": one.band[0], "coverage_high": one.band[1]}
            for code, one in sets.groups.items()
        ]
        scores["calibration"] = {"coverage": sets.coverage, "groups": records}
    for name in ("log_p", "coverage"):
        if name in scores:
            scores[f"{name}_standard_error"] = found.means[name].standard_error
    if "square" in scores:
        square = scores.pop("square")
        scores["rmse"] = None if square is None else float(np.sqrt(square))
    return scores


def _printed(asked: Asked, scores: dict[str, Any], warnings: Warnings) -> Rows:
    rows = []
    if asked.column.has_numbers:
        interval = f"from the {asked.p[0]:g} to the {asked.p[-1]:g} quantile"
        rows.append(("mean width", f"{figure(scores, 'width')}, {interval}"))
    if "log_p" in scores:
        text = mean_text(scores, "log_p", "nats a row")
        rows.append(("mean log p", marked(text, warnings, "log_p")))
        if "coverage" in scores:
            nominal = f"(nominal {asked.p[-1] - asked.p[0]:.4g})"
            text = mean_text(scores, "coverage", nominal)
            rows.append(("coverage", marked(text, warnings, "coverage")))
        named = {"rmse": "RMSE of mean", "error_rate": "error rate"}
        rows += [(name, figure(scores, key)) for key, name in named.items() if key in scores]
    if n := scores["n_new_levels"]:
        rows.append(("new levels", f"{n:,} rows have a level that no training row has"))
    rows += impossible_rows(scores)
    if n := scores.get("n_unresolved"):
        rows.append(("unresolved", f"{n:,} rows: quadrature error above {UNRESOLVED:g}"))
    return rows + (_printed_sets(asked.sets, scores) if asked.sets else [])


def _printed_sets(sets: Calibrated, scores: dict[str, Any]) -> Rows:
    named = {"set_width": "width", "set_size": "size", "set_coverage": "coverage"}
    facts = [f"{name} {figure(scores, key)}" for key, name in named.items() if key in scores]
    rows = [("sets", f"{sets.coverage:.4g} of fresh rows; mean {', '.join(facts)}")]
    for code, one in sets.groups.items():
        low, high = one.band
        text = f"{one.n:,} test rows: "
        if np.isinf(one.threshold):
            text += f"too few for {sets.coverage:.4g}, sets contain all values"
        else:
            text += f"coverage of this calibration {low:.1%} to {high:.1%}"
        rows.append(("" if sets.by is None else printable(sets.name(code)), text))
    if n := scores["n_infinite"]:
        rows.append(("infinite", f"{n:,} rows of groups with too few test rows"))
    return rows
