"""Tables of Parquet, NumPy files, DataFrames and Arrow. Nothing is unpickled."""

import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from nflow_cli.data.files import tables
from nflow_cli.data.files.arrow_cells import is_text
from nflow_cli.data.files.tables import (
    BLOCK_ROWS,
    Field,
    TableFile,
    expect_names,
    expect_width,
    explained,
    positions,
    shown,
)
from nflow_cli.errors import DataError
from nflow_cli.runs import npz
from nflow_cli.runs.json_text import json_object

MAX_BLOCK = 2**28  # bytes of text, or of rows of a Parquet file, that are read at once
UNNAMED_INDEX = "__index_level_0__"  # by pandas, in a table of Arrow
NAMES = "columns"  # in an .npz: the column names of its array of rows
_NPZ = (
    "one array (n, D) of numbers, with or without their names in an array columns, or arrays (n,)"
)


class ArrowTable(TableFile):
    """Table in Arrow's memory."""

    def __init__(self, name: str, table: pa.Table):
        columns = _columns(name, table.schema)
        self._table = table.rename_columns([column.name for column in columns])
        super().__init__(name, columns, table.num_rows)

    @property
    def arrays(self) -> dict[str, pa.ChunkedArray]:
        """Columns by name, without the index of a DataFrame."""
        names = [column.name for column in self.columns if not column.is_index]
        return {name: self._table.column(name) for name in names}

    def _blocks(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self._table.select(names).to_batches(max_chunksize=BLOCK_ROWS)


class ParquetTable(TableFile):
    """Parquet file, read one block at a time."""

    def __init__(self, name: str, source: Any):
        self._source = source
        with explained(name, "a Parquet file"), parquet.ParquetFile(source) as file:
            schema = file.schema_arrow
            n_rows = file.metadata.num_rows
            self._block_rows = _block_rows(name, file.metadata)
        columns = _columns(name, schema)
        self._empty = schema.empty_table()
        self._texts = [field.name for field in schema if is_text(field.type)]
        self._stored = dict(zip((column.name for column in columns), schema.names))
        super().__init__(name, columns, n_rows)

    def _blocks(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        stored = [self._stored[name] for name in names]
        if not self.n_rows:  # no batch, which has the types
            arrays = [self._empty.column(name).combine_chunks() for name in stored]
            yield pa.RecordBatch.from_arrays(arrays, list(names))
            return
        with (
            explained(self.name, "a Parquet file"),
            parquet.ParquetFile(
                self._source, pre_buffer=False, read_dictionary=self._texts
            ) as file,
        ):
            for block in file.iter_batches(self._block_rows, columns=stored):
                cells = [self._unpacked(block.column(name), name) for name in stored]
                yield pa.RecordBatch.from_arrays(cells, list(names))

    def _unpacked(self, cells: pa.Array, name: str) -> pa.Array:
        """Text as the file's type has it: one long value may be that of all rows."""
        if name not in self._texts:
            return cells
        lengths = pc.binary_length(cells.dictionary).take(cells.indices)  # pyright: ignore[reportAttributeAccessIssue]
        size = pc.sum(lengths).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
        if size > MAX_BLOCK:
            raise DataError(
                f"{self.name}: column {shown(name)}: expected at most {MAX_BLOCK:,} bytes of text "
                f"in {len(cells):,} rows, received {size:,}"
            )
        return cells.dictionary_decode().cast(self._empty.schema.field(name).type)


def _block_rows(name: str, metadata: Any) -> int:
    """Rows of a Parquet file that are read at once: fewer where its cells are long."""
    leaves = range(metadata.num_columns)
    lists = [i for i in leaves if metadata.schema.column(i).max_repetition_level]
    longest = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        items = sum(group.column(j).num_values for j in lists)
        longest = max(longest, (group.total_byte_size + 8 * items) // max(group.num_rows, 1))
    if longest > MAX_BLOCK:
        raise DataError(
            f"{name}: expected rows of at most {MAX_BLOCK:,} bytes, received {longest:,}"
        )
    return min(BLOCK_ROWS, MAX_BLOCK // max(longest, 1))


class RowsTable(TableFile):
    """Array ``(n, D)``, or ``(n,)`` for one column, possibly memory-mapped."""

    def __init__(self, name: str, rows: np.ndarray, names: Sequence[str] | None = None):
        if rows.dtype.kind == "f" and rows.itemsize > 8:  # not in Arrow
            rows = rows.astype(np.float64)
        if rows.ndim not in (1, 2) or rows.dtype.kind not in "fiub":
            raise DataError(
                f"{name}: expected an array (n,) or (n, D) of numbers, received shape "
                f"{rows.shape}, dtype {rows.dtype}"
            )
        self._rows = rows.reshape(len(rows), -1) if rows.ndim == 1 else rows
        width = self._rows.shape[1]
        expect_width(name, width)
        names = expect_names(name, positions(width) if names is None else names)
        if len(names) != width:
            raise DataError(f"{name}: expected {width} names of columns, received {len(names)}")
        super().__init__(name, list(map(Field, names)), len(rows))

    def _blocks(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        known = [column.name for column in self.columns]
        indices = [known.index(name) for name in names]
        native = self._rows.dtype.newbyteorder("=")
        for first in range(0, len(self._rows), BLOCK_ROWS):
            rows = np.asarray(self._rows[first : first + BLOCK_ROWS], native)
            arrays = [pa.array(np.ascontiguousarray(rows[:, i])) for i in indices]
            yield pa.RecordBatch.from_arrays(arrays, list(names))


def npy_table(name: str, path: Any) -> TableFile:
    """Open an ``.npy`` file, memory-mapped."""
    expected = "an array (n,) or (n, D) of numbers, saved by numpy.save"
    with explained(name, expected), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's about files written by Python 2
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    return RowsTable(name, rows)


def npz_table(name: str, path: Any) -> TableFile:
    """``.npz`` file: an array of rows, or one array a column."""
    with explained(name, _NPZ), zipfile.ZipFile(path) as archive:
        keys = [key.removesuffix(".npy") for key in archive.namelist() if key.endswith(".npy")]
        if len(keys) > tables.MAX_COLUMNS:
            raise DataError(f"{name}: expected {_NPZ}; received {len(keys):,} arrays")
        arrays = npz.read_arrays(archive, keys, _expect_columns)
    named = arrays.get(NAMES)
    rows = {key: array for key, array in arrays.items() if array.ndim == 2}
    if len(rows) == 1 and set(arrays) <= {NAMES, *rows}:
        (array,) = rows.values()
        if named is None:
            return RowsTable(name, array)
        if named.ndim == 1 and named.dtype.kind == "U":
            return RowsTable(name, array, [str(column) for column in named])
    if rows or not arrays:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        raise DataError(f"{name}: expected {_NPZ}; received {shown(shapes)}")
    return columns_table(name, arrays)


def _expect_columns(key: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Check that an array is a column, or rows of them, before its values are read."""
    if dtype.kind in "SU" and dtype.itemsize * math.prod(shape) > MAX_BLOCK:
        raise npz.ArrayError(f"{key}: expected at most {MAX_BLOCK:,} bytes of text")
    if len(shape) not in (1, 2) or max(shape[1:], default=1) > tables.MAX_COLUMNS:
        raise npz.ArrayError(f"{key}: expected shape (n,) or (n, D), received {shape}")


def columns_table(name: str, columns: Mapping[str, Any]) -> ArrowTable:
    """Table of arrays ``(n,)``."""
    names = expect_names(name, list(map(str, columns)))
    arrays = []
    for column, values in columns.items():
        if not isinstance(values, pa.Array | pa.ChunkedArray):
            rows = np.asanyarray(values)
            if rows.ndim != 1:
                raise DataError(
                    f"{name}: column {shown(column)}: expected shape (n,), received {rows.shape}"
                )
            with explained(name, f"column {shown(column)} of numbers or text"):
                values = pa.array(rows.astype(rows.dtype.newbyteorder("="), copy=False))
        arrays.append(values)
    if len({len(array) for array in arrays}) > 1:
        lengths = ", ".join(f"{shown(c)} {len(a):,}" for c, a in list(zip(columns, arrays))[:10])
        raise DataError(f"{name}: expected columns of one length, received {lengths}")
    return ArrowTable(name, pa.table(arrays, names=names))


def frame_table(name: str, data: Any) -> ArrowTable:
    """Table of a DataFrame of any library, or of Arrow."""
    with explained(name, "a table"):
        table = pa.table(data)
        for i, field in enumerate(table.schema):
            if pa.types.is_string_view(field.type):  # text of polars, whose rows Arrow cannot take
                table = table.set_column(i, field.name, table.column(i).cast(pa.large_string()))
        return ArrowTable(name, table)


def _columns(name: str, schema: pa.Schema) -> list[Field]:
    names = list(schema.names)
    if UNNAMED_INDEX in names and "index" not in names:
        names[names.index(UNNAMED_INDEX)] = "index"
    index = _index_columns(schema)
    return [
        Field(column, field.name in index)
        for column, field in zip(expect_names(name, names), schema)
    ]


def _index_columns(schema: pa.Schema) -> set[str]:
    try:
        about = json_object((schema.metadata or {}).get(b"pandas", b"{}").decode())
    except ValueError:
        return set()
    columns = about.get("index_columns")
    columns = columns if isinstance(columns, list) else []
    return {column for column in columns if isinstance(column, str)}  # a range index has no column
