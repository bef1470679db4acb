"""Loaded density of rows of a table by flows."""

from typing import Any

import numpy as np

from nflow_cli.data.table_files import opened
from nflow_cli.data.tables import TableFile, shown
from nflow_cli.errors import DataError
from nflow_cli.experiments.table.loaded import TableRun
from nflow_cli.experiments.trained import TrainedFlows


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
