"""Loaded density of rows of a table by flows."""

from collections.abc import Iterator, Mapping
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
from nflow_cli.experiments.table.loaded import Conditions, TableRun
from nflow_cli.experiments.table.tables import write_draws
from nflow_cli.experiments.table.training import built_stack
from nflow_cli.registry import BASES, resolve


class TrainedTable(TableRun, TrainedFlows):
    """Density ``q`` of a row of a table by flows, a :class:`TrainedFlows`.

    ``given_units`` are those of the given columns.
    """

    def conditions_of(
        self, table: TableFile | None, ranges: Mapping[str, slice], name: str
    ) -> Conditions:
        """Conditions without missing values (``DataError``)."""
        found = super().conditions_of(table, ranges, name)
        gaps = np.isnan(found.rows[:, : self.n_given])
        if table and gaps.any():
            row, column = divmod(int(np.argmax(gaps)), self.n_given)
            raise DataError(
                f"{name}: {table.place(row)}: column {shown(self.given[column])}: expected a "
                "finite number, received none"
            )
        return found

    def batches(
        self, n: int, seed: int, given: Conditions
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Draw ``n`` rows at each of m conditions, in batches."""
        return TrainedFlows.batches(self, n, seed, given.rows[:, : self.n_given])

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
