"""Divergence between a run and a fit to a new table of the same columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli import experiments
from nflow_cli.backend.start import Machine, expect_tensorflow
from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.naming import made_name
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.errors import DataError
from nflow_cli.evaluation.drift import Divergence, divergence
from nflow_cli.experiments.rows import Rows
from nflow_cli.experiments.run import settled, train
from nflow_cli.runs.directory import RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loaded import TrainedCells


def fitted_again(
    trained: "TrainedCells",
    name: str,
    output: str | None,
    argv: Sequence[str],
    machine: Machine | None,
) -> "TrainedCells":
    """Fit to another table, by the config of a run and the kinds of its columns.

    Levels are those of the new training rows.
    """
    expect_tensorflow()
    config = trained.config
    kinds = {column: _without_levels(kind) for column, kind in (config.data.kinds or {}).items()}
    changes = {"name": name, "size": None, "test": None, "kinds": kinds}
    config = config.model_copy(update={"data": config.data.model_copy(update=changes)})
    data = experiments.of(config).data()
    experiment = experiments.of(settled(config, data))
    run = RunDirectory.create(made_name(experiment.config), output)
    train(experiment, run, argv, machine, data)
    return experiment.load(run)


def _without_levels(kind: ColumnKind) -> ColumnKind:
    return kind.model_copy(update={"levels": None})


def divergences(trained: "TrainedCells", again: "TrainedCells") -> dict[str, Divergence]:
    """KL of a run and of a later one, each over the held-out rows of the first of the two."""
    found = {}
    for key, one, other in (("kl", trained, again), ("kl_reverse", again, trained)):
        rows = one.held_out
        others = _recoded(rows, one, other)
        found[key] = divergence(one.log_prob(rows), other.log_prob(others))
    return found


def _recoded(rows: np.ndarray, one: "TrainedCells", other: "TrainedCells") -> np.ndarray:
    """Rows ``(n, C)`` of one density as those of another, with its levels and order."""
    if sorted(one.columns) != sorted(other.columns):
        raise DataError("expected the columns of the run in the new table too")
    columns = {column.name: column for column in one.row}
    parts = [
        _codes(rows[:, one.columns.index(column.name)], columns[column.name], column)
        for column in other.row
    ]
    return np.column_stack(parts)


def _codes(values: np.ndarray, before: CellColumn, after: CellColumn) -> np.ndarray:
    if before.has_numbers:
        return values
    places = {level: float(i) for i, level in enumerate(after.first)}
    codes = np.array([*(places.get(level, -1.0) for level in before.first), -1.0])
    return np.where(np.isnan(values), np.nan, codes[np.nan_to_num(values, nan=-1.0).astype(int)])


def printed(found: dict[str, Divergence]) -> Rows:
    """Printed rows of both divergences."""
    names = {"kl": "KL(run, new)", "kl_reverse": "KL(new, run)"}
    return [(names[key], _text(one)) for key, one in found.items()]


def _text(one: Divergence) -> str:
    text = "unknown"
    if one.mean is not None and one.standard_error is not None:
        text = f"{one.mean:.4f} ± {one.standard_error:.4f} nats a row"
    wrong = (
        f"; {one.n_impossible:,} impossible under the other left out" if one.n_impossible else ""
    )
    return f"{text}, mean of {one.n:,} held-out rows{wrong}"
