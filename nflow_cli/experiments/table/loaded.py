"""Common base of loaded densities of table rows."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from nflow_cli.arguments import room_for
from nflow_cli.config.kinds_schema import ColumnKind, row_names
from nflow_cli.data.array_tables import columns_table
from nflow_cli.data.dataset import rows_of
from nflow_cli.data.table_files import opened, table_of
from nflow_cli.data.tables import TableFile, shown
from nflow_cli.errors import DataError, one_line
from nflow_cli.experiments.loaded import TrainedRun


class TableRun(TrainedRun):
    """Trained density ``q`` of a table's rows, of a finished run of ``nflow fit``.

    Methods take arrays ``(n, C)`` in the order of ``columns``, or tables with these columns: a
    DataFrame of any library, a mapping of arrays, or a file's path.

    ``batches`` draws ``n`` rows by a seed at each of conditions ``(m, G)``: the number of rows
    before, rows ``(l, C)``, and ``log q`` ``(l,)`` in nats.
    """

    batches: Callable[..., Iterator[tuple[int, np.ndarray, np.ndarray]]]

    @property
    def kinds(self) -> Mapping[str, ColumnKind]:
        """Kind of each column; a computed one by itself."""
        return {name: kind.alone for name, kind in (self.config.data.kinds or {}).items()}

    @property
    def columns(self) -> list[str]:
        """Names of the C columns of a row, given ones first."""
        groups = row_names(self.config.data.kinds or {}, self.config.data.given)
        return [name for group in groups for name in group]

    @property
    def given(self) -> list[str]:
        """Names of the G given columns."""
        return row_names(self.config.data.kinds or {}, self.config.data.given).given

    def rows(self, table: Any) -> np.ndarray:
        """Table, the path of one, or an array of rows as rows ``(n, C)``."""
        if (found := opened(table)) is not None:
            return self.rows_of(found)
        try:
            rows = np.asarray(table, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"expected a table, or rows of numbers: {one_line(error)}") from None
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            expected = f"(n, {len(self.columns)}): {', '.join(map(shown, self.columns[:10]))}"
            raise DataError(f"expected rows {expected}, received shape {rows.shape}")
        return rows

    def rows_of(self, table: TableFile) -> np.ndarray:
        """Rows ``(n, C)`` of a table."""
        return rows_of(table, self.kinds, self.columns)

    def sample(self, n: int, seed: int = 0, given: Any = None) -> np.ndarray:
        """Draw ``n`` rows at each of m conditions: ``(m n, C)``, as ``log_prob`` takes them.

        ``given`` maps the given columns to values, or is a table that has them.
        """
        at = self.conditions(given)
        rows = room_for(n, (len(self.columns),), np.float64, times=len(at))
        for start, part, _ in self.batches(n, seed, at):
            rows[start : start + len(part)] = part
        return rows

    def sample_table(self, n: int, seed: int = 0, given: Any = None) -> Any:
        """Draw as :meth:`sample`, into an Arrow table with ``log_q``."""
        from nflow_cli.data.table_files import arrow_table
        from nflow_cli.experiments.table.tables import draws, names_of_draws

        at = self.conditions(given)
        room_for(n, (len(self.columns) + 1,), np.float64, times=len(at))
        return arrow_table(names_of_draws(self), draws(self, self.batches(n, seed, at)))

    @property
    def conditioned(self) -> list[str]:
        """Names of the columns that may be conditioned on."""
        return self.given

    def conditions(self, given: Any, name: str = "given") -> Any:
        """Conditions ``(m, G)`` of :meth:`sample`; ``name`` is theirs in errors."""
        if not self.given:
            if given is not None:
                raise DataError("expected no `given`: this density has no given columns")
            return np.zeros((1, 0))
        if given is None:
            raise DataError(f"expected values of the given columns: {', '.join(self.given)}")
        if isinstance(given, np.ndarray) and given.shape[1:] == (len(self.given),):
            return given.astype(np.float64)
        if isinstance(given, Mapping):
            columns = {column: np.atleast_1d(values) for column, values in given.items()}
            return self.conditions_of(columns_table(name, columns))
        return self.conditions_of(table_of(given))

    def conditions_of(self, table: TableFile) -> Any:
        """Conditions ``(m, G)`` of a table."""
        return rows_of(table, self.kinds, self.given)
