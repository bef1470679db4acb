"""Trained flows of a table's rows, loaded from their run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.config.table import FitConfig
from nflow_cli.data.files.table_files import opened
from nflow_cli.data.files.tables import TableFile, shown
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.errors import DataError
from nflow_cli.experiments.loaded_flows import TrainedFlows, with_weights
from nflow_cli.experiments.recorded_data import column_units
from nflow_cli.experiments.run import Run
from nflow_cli.flows.stack import FlowStack, make_stack
from nflow_cli.registry import BASES, resolve
from nflow_cli.tables import flows_scoring
from nflow_cli.tables.given import Conditions
from nflow_cli.tables.loaded_tables import TableModel, TableRun, write_draws
from nflow_cli.tables.table_data import expect_settled


class TrainedTable(TableRun, TrainedFlows):
    """Trained density ``q`` of a table's rows by flows, of a finished run of ``nflow fit``.

    ``given_units`` are those of the given columns.
    """

    table_model: TableModel = flows_scoring

    @property
    def density(self) -> PushforwardDensity:
        """Density of rows: this one."""
        return self

    def conditions_of(
        self, table: TableFile | None, ranges: Mapping[str, slice], name: str
    ) -> Conditions:
        """Conditions without missing values (``DataError``)."""
        conditions = super().conditions_of(table, ranges, name)
        gaps = np.isnan(conditions.rows[:, : self.n_given])
        if table and gaps.any():
            row, column = divmod(int(np.argmax(gaps)), self.n_given)
            raise DataError(
                f"{name}: {table.place(row)}: column {shown(self.given[column])}: expected a "
                "finite number, received none"
            )
        return conditions

    def batches(
        self, n: int, seed: int, given: Conditions
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Draw ``n`` rows at each of m conditions, in batches."""
        return TrainedFlows.batches(self, n, seed, given.rows[:, : self.n_given])

    def _points(self, x: Any) -> np.ndarray:
        table = opened(x)
        return super()._points(x) if table is None else self.rows_of(table)


def load(run: Run) -> TrainedTable:
    """Density of a run whose config is settled."""
    expect_settled(run)
    config = run.config
    units = column_units(run, config.columns)
    given_units = column_units(run, config.given)
    base = resolve(BASES[config.base_name])()
    stack = with_weights(run, built_stack(config))
    return TrainedTable(run, base, stack, units, given_units)


def built_stack(config: FitConfig) -> FlowStack:
    """Initial flows of a settled config."""
    flow = make_stack(**config.flow.model_dump(), seed=config.seed, members=config.train.ensemble)
    given_shape = (None, len(config.given)) if config.given else None
    flow.build((None, config.dim), given_shape)
    return flow


def write_samples(
    trained: TableRun, n: int, path: Path, seed: int, given: str | None
) -> list[Path]:
    """Write ``n`` rows in the table's columns, with their log-density in nats."""
    write_draws(trained, n, path, seed, given)
    return [path]
