"""A loaded density of rows of a table by flows."""

from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.data.table_files import opened
from nflow_cli.data.tables import TableFile, shown
from nflow_cli.data.units import ColumnUnits, Units
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.errors import DataError
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.table.loaded import TableRun
from nflow_cli.flows import FlowStack
from nflow_cli.registry import BASES, resolve


class TrainedTable(TableRun, FlowDensity):
    """The density ``q`` of a row of a table by flows, of a finished run of ``nflow fit``.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        flow: The :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: The base distribution ``q0``.
        units: Of the modelled columns.
        given_units: Of the given columns.
    """

    def __init__(
        self, path: Path, experiment: Experiment, flow: FlowStack, units: Units, given: ColumnUnits
    ):
        config: Any = experiment.config
        base = resolve(BASES[config.base_name])()
        FlowDensity.__init__(self, base, flow, units, given)
        self.path, self.experiment = path, experiment

    def conditions_of(self, table: TableFile) -> np.ndarray:
        """Return the conditions ``(m, G)`` that a table has.

        Raises:
            DataError: In one line: a value is missing, or is no finite number.
        """
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
