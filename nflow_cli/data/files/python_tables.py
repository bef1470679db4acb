"""Types of tables in Python, for type checkers: those that are read, those that come back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas
    import pyarrow


class HasArray(Protocol):
    """Array of NumPy, or of a library whose arrays it takes: a Series, a DataArray of xarray."""

    def __array__(self) -> NDArray[Any]: ...


class HasArrow(Protocol):
    """Table of a library with Arrow's protocol: a DataFrame, a table of PyArrow."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


class DataFrame(HasArrow, Protocol):
    """DataFrame of pandas or polars, by members that neither a Series nor a table of Arrow has."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    def describe(self) -> Any:
        """Statistics of each column."""

    def to_numpy(self) -> NDArray[Any]:
        """Cells ``(n, C)``."""
        ...


Frame = TypeVar("Frame", bound=DataFrame)  # a result in the library of the argument
ColumnValues: TypeAlias = HasArray | Sequence[Any]
NamedTable: TypeAlias = HasArrow | Mapping[Any, ColumnValues] | str | Path  # of columns with names
Table: TypeAlias = NamedTable | HasArray | Sequence[Sequence[float]]
Given: TypeAlias = Mapping[str, Any] | Table  # a value of each given column, or rows of them

if TYPE_CHECKING:
    # PyArrow has no types: of the members that are used most, here they are.

    class PyArrowColumn(pyarrow.ChunkedArray):
        """Column of a table of PyArrow."""

        def __len__(self) -> int: ...

        def to_numpy(self) -> NDArray[Any]:
            """Cells ``(n,)``."""
            ...

        def to_pylist(self) -> list[Any]:
            """Cells as a list; None where missing."""
            ...

    class PyArrowTable(pyarrow.Table):
        """Table of PyArrow."""

        @property
        def column_names(self) -> list[str]:
            """Names of the columns."""
            ...

        @property
        def num_rows(self) -> int:
            """Number of rows."""
            ...

        def __getitem__(self, key: str | int) -> PyArrowColumn: ...

        def column(self, i: str | int) -> PyArrowColumn:
            """Return a column by its name or position."""
            ...

        def to_pandas(self) -> pandas.DataFrame:
            """Return a DataFrame of pandas."""
            ...

        def to_pydict(self) -> dict[str, list[Any]]:
            """Return the cells of each column by its name."""
            ...
