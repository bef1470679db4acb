"""Loaded density of rows of a table by flows."""

from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.data.table_files import opened
from nflow_cli.data.tables import TableFile, shown
from nflow_cli.errors import DataError
from nflow_cli.experiments.loaded_flows import TrainedFlows, with_weights
from nflow_cli.experiments.recorded_data import column_units
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.table.data import expect_settled
from nflow_cli.experiments.table.loaded import TableRun
from nflow_cli.experiments.table.tables import write_draws
from nflow_cli.experiments.table.training import built_stack
from nflow_cli.registry import BASES, resolve


class TrainedTable(TableRun, TrainedFlows):
    """Density ``q`` of a row of a table by flows, a :class:`TrainedFlows`.

    ``given_units`` are those of the given columns.
    """

    def conditions_of(self, table: TableFile) -> np.ndarray:
        """Conditions ``(m, G)`` of a table, without missing values (``DataError``)."""
        at = super().conditions_of(table)
        if np.isnan(at).any():
            row, column = divmod(int(np.argmax(np.isnan(at))), at.shape[1])
            raise DataError(
                f"{table.name}: {table.place(row)}: column {shown(self.given[column])}: expected a "
                "finite number, received none"
            )
        return at

    def _points(self, x: Any) -> np.ndarray:
        table = opened(x)
        return super()._points(x) if table is None else self.rows_of(table)


def load(run: Run) -> TrainedTable:
    """Density of a run."""
    expect_settled(run)
    config = run.config
    units = (column_units(run, names) for names in (config.columns, config.given))
    base = resolve(BASES[config.base_name])()
    return TrainedTable(run, base, with_weights(run, built_stack(config)), *units)


def write_samples(
    trained: TrainedTable, n: int, path: Path, seed: int, given: str | None
) -> list[Path]:
    """Write ``n`` rows in the table's columns, with their log-density in nats."""
    write_draws(trained, n, path, seed, given)
    return [path]
