"""Predictions of one column of a table from the others, by a density of cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.dataset import rows_of
from nflow_cli.data.table_files import TableFile, opened
from nflow_cli.data.tables import listed, shown
from nflow_cli.data.written_cells import as_written
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.conditional import UNRESOLVED, Conditional, conditional
from nflow_cli.errors import DataError
from nflow_cli.experiments.rows import Judgement, Rows, figure, mean_text
from nflow_cli.experiments.table.scoring import expect_room, write_beside
from nflow_cli.registry import nearest
from nflow_cli.text import printable
from nflow_cli.training.progress import phase

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loaded import TrainedCells


class Predicted(NamedTuple):
    """Predictions of a column.

    Attributes:
        column: The column.
        p: Probabilities of the quantiles.
        rows: Rows ``(n, C)`` of the table.
        values: Their own values ``(n,)`` of the column; ``None`` if the table lacks it.
        found: The distributions.
    """

    column: CellColumn
    p: np.ndarray
    rows: np.ndarray
    values: np.ndarray | None
    found: Conditional


def predicted(
    trained: "TrainedCells", table: Any, target: str | None, quantiles: Sequence[float]
) -> Predicted:
    """Predict a column of a table, or of rows ``(n, C)``, from the others."""
    column = _target(trained, target)
    try:
        p = np.unique(np.asarray(quantiles, float))
    except (TypeError, ValueError):
        p = np.zeros(1)
    if not len(p) or not ((p > 0) & (p < 1)).all():
        raise DataError(f"quantiles: expected numbers between 0 and 1, received {quantiles!r:.60}")
    rows, has_own = _rows(trained, table, column.name)
    place = trained.columns.index(column.name)
    with phase(f"predicting {printable(column.name)}: {len(rows):,} rows"):
        found = conditional(trained, rows, place, p)
    return Predicted(column, p, rows, rows[:, place] if has_own else None, found)


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
    column, kind, found = predicted.column, predicted.column.kind, predicted.found
    columns: dict[str, Any] = {}
    if column.has_numbers:
        is_date = kind.type in ("date", "time") or kind.form is not None
        columns["mean"] = _written(kind, found.mean) if is_date else found.mean
        columns["sd"] = found.sd
        for p, values in zip(predicted.p, found.quantiles.T):
            columns[f"q{p:g}"] = _written(kind, values)
    else:
        columns |= {f"p_{level}": share for level, share in zip(column.first, found.levels.T)}
    if column.missing is not None:
        columns["missing"] = found.missing
    if not column.has_numbers:
        columns["level"] = as_written(kind, _likeliest(found))
    if predicted.values is not None:
        columns["log_p"] = found.log_prob
    named = {f"{column.name}_{name}": values for name, values in columns.items()}
    return {**named, "quadrature_error": found.error} if column.has_numbers else named


def _likeliest(found: Conditional) -> np.ndarray:
    """The likeliest level ``(n,)``; NaN of a row that no level makes possible."""
    impossible = np.isnan(found.levels).any(axis=1)
    return np.where(impossible, np.nan, found.levels.argmax(axis=1))


def _written(kind: ColumnKind, values: np.ndarray) -> Any:
    return as_written(kind, values if kind.decimals is None else np.round(values, kind.decimals))


def write_predicted(
    trained: "TrainedCells",
    table: TableFile,
    path: Path,
    target: str | None,
    quantiles: Sequence[float],
) -> Judgement:
    """Write the rows of a table, in order, with their predictions; return the scores."""
    found = predicted(trained, table, target, quantiles)
    columns = columns_of(found)
    expect_room(trained, columns)
    write_beside(table, path, columns)
    scores = {"target": found.column.name, "n": len(found.rows), **_scores(found)}
    lines = [
        ("data", f"{printable(table.name)}: {len(found.rows):,} rows"),
        ("target", printable(found.column.name)),
        *_printed(found, scores),
    ]
    return Judgement(scores, lines, [])


def _scores(predicted: Predicted) -> dict[str, Any]:
    column, values, found = predicted.column, predicted.values, predicted.found
    is_known = found.error <= UNRESOLVED
    scores: dict[str, Any] = {}
    if column.has_numbers:
        low, high = found.quantiles[:, [0, -1]].T
        scores = {"n_unresolved": int((~is_known).sum())}
        scores["width"] = _mean_of(high - low, is_known)
    if values is None:
        return scores
    log_p = found.log_prob[~np.isnan(found.log_prob)]
    scores["log_p"] = _mean_of(log_p)
    is_sure = len(log_p) > 1 and np.isfinite(log_p).all()
    error = log_p.std(ddof=1) / np.sqrt(len(log_p)) if is_sure else None
    scores["log_p_standard_error"] = error
    is_known &= ~np.isnan(values)
    if not column.has_numbers:
        return scores | {"error_rate": _mean_of(_likeliest(found) != values, is_known)}
    scores["coverage"] = _mean_of((low <= values) & (values <= high), is_known)
    square = _mean_of(np.square(found.mean - values), is_known)
    return scores | {"rmse": None if square is None else float(np.sqrt(square))}


def _mean_of(values: np.ndarray, some: np.ndarray | None = None) -> float | None:
    values = values if some is None else values[some]
    return float(np.mean(values)) if len(values) else None


def _printed(predicted: Predicted, scores: dict[str, Any]) -> Rows:
    rows = []
    if predicted.column.has_numbers:
        interval = f"from the {predicted.p[0]:g} to the {predicted.p[-1]:g} quantile"
        rows.append(("mean width", f"{figure(scores, 'width')}, {interval}"))
    if "log_p" in scores:
        rows.append(("mean log p", mean_text(scores, "log_p", "nats a row")))
        named = {"coverage": "coverage", "rmse": "RMSE of mean", "error_rate": "error rate"}
        rows += [(name, figure(scores, key)) for key, name in named.items() if key in scores]
    if n := scores.get("n_unresolved"):
        rows.append(("unresolved", f"{n:,} rows: quadrature error above {UNRESOLVED:g}"))
    return rows
