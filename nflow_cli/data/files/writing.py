"""Tables written: batches of columns in the table's types, as files and DataFrames."""

import csv
import importlib
import io
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.data.files import dates, notations
from nflow_cli.data.files.arrow_cells import floats, is_number
from nflow_cli.data.files.table_files import STDIN
from nflow_cli.data.files.tables import positions, shown
from nflow_cli.data.files.written import STORED, WHOLE, in_single
from nflow_cli.errors import DataError
from nflow_cli.runs.directory import write_file


def batch_of(
    columns: Sequence[np.ndarray], beside: Any = None, are_first: bool = False
) -> pa.RecordBatch:
    """Columns to write: numbers ``(n,)``, NaN if missing, or text; after those of the batch
    ``beside``, or before.
    """
    others = [] if beside is None else beside.columns

    def of_type(values: Any) -> Any:
        is_text = isinstance(values, np.ndarray) and values.dtype.hasobject
        return pa.array(values, pa.string() if is_text else None, from_pandas=True)

    arrays = [of_type(values) for values in columns]
    arrays = [*arrays, *others] if are_first else [*others, *arrays]
    return pa.RecordBatch.from_arrays(arrays, positions(len(arrays)))


def filled(batch: pa.RecordBatch, cells: Mapping[int, tuple[np.ndarray, Any]]) -> pa.RecordBatch:
    """Batch with other cells in some columns, in the columns' types: by position, which rows
    ``(n,)``, and values ``(n,)``.
    """
    columns = list(batch.columns)
    for place, (rows, new) in cells.items():
        column = columns[place]
        values = pa.array(new)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        column = column.cast(values.type) if pa.types.is_null(column.type) else column
        if pa.types.is_time(column.type) and pa.types.is_string(values.type):
            days = pc.binary_join_element_wise("1970-01-01", values, " ")  # pyright: ignore[reportAttributeAccessIssue]
            values = days.cast(pa.timestamp("ns"))
        values = values.cast(column.type, safe=False)
        columns[place] = pc.if_else(pa.array(rows), values, column)  # pyright: ignore[reportAttributeAccessIssue]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def arrow_table(names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Batches as a table of Arrow."""
    schema, batches = _schema(names, batches)
    return pa.Table.from_batches(batches, schema)


def frame_like(frame: Any, table: pa.Table) -> Any:
    """A table as a DataFrame of pandas or polars, if ``frame`` is one; of pandas with its index,
    repeated for a table of its rows again and again, and with its categories.
    """
    rows = frame_in(frame, table)
    if library_of(frame) == "pandas":
        rows = rows.set_axis(frame.index.take(np.arange(len(rows)) % max(len(frame), 1)))
    return rows


def frame_in(frame: Any, table: pa.Table) -> Any:
    """A table as a DataFrame of pandas or polars, if ``frame`` is one; of pandas with its
    categories.
    """
    library = library_of(frame)
    if library == "polars":
        return importlib.import_module(library).from_arrow(table)
    if library != "pandas":
        return table
    rows = table.to_pandas()
    for name in rows.columns.intersection(frame.columns):
        if hasattr(frame[name].dtype, "categories"):
            rows[name] = _with_categories(rows[name], frame[name].dtype)
    return rows


def with_truth_values(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """A table whose columns of these names are truth values, which were text."""
    for name in names:
        truths = table[name].cast(pa.bool_())
        table = table.set_column(table.schema.get_field_index(name), name, truths)
    return table


def _with_categories(levels: Any, dtype: Any) -> Any:
    """Series of pandas with the categories of a ``dtype``; further levels follow them, and have no
    order.
    """
    levels = levels.astype("category")
    further = levels.cat.categories.difference(dtype.categories)
    is_ordered = dtype.ordered and not len(further)
    return levels.cat.set_categories(dtype.categories.append(further), ordered=is_ordered)


def library_of(frame: Any) -> str:
    """Package of an object's class, such as ``pandas``."""
    return type(frame).__module__.partition(".")[0]


def write_table(path: str | Path, names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches of rows as a table, atomically, in bounded memory.

    ``.parquet`` is Parquet, ``.npy`` an array ``(n, D)``, float32 if all columns are, else float64;
    any other suffix is CSV, with all digits, and a header unless the columns are numbered; ``-`` is
    CSV on standard output.
    """
    schema, batches = _schema(names, batches)
    if str(path) == STDIN:
        _write_csv(sys.stdout.buffer, schema, batches)
        sys.stdout.buffer.flush()
        return
    path = Path(path)
    write = {".parquet": _write_parquet, ".npy": _write_npy}.get(path.suffix.lower(), _write_csv)
    write_file(path, lambda file: write(file, schema, batches))


def _schema(
    names: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        return pa.schema([(name, pa.float64()) for name in names]), ()
    schema = pa.schema(list(zip(names, first.schema.types, strict=True)))
    batches = itertools.chain([first], batches)
    return schema, (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in batches)


def _write_csv(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    if schema.names != positions(len(schema)):
        header = io.StringIO()
        csv.writer(header).writerow(schema.names)  # it quotes line breaks
        file.write(header.getvalue().removesuffix("\r\n").encode() + b"\n")
    types = [None] * len(schema)  # as written before: times of a column have one form
    for batch in batches:
        columns = [*map(_in_digits, batch.columns, types)]
        types = [column.type for column in columns]
        batch = pa.RecordBatch.from_arrays(columns, batch.schema.names)
        try:
            text = _csv_text(batch, "none")
        except pa.ArrowInvalid:  # a cell holds a comma, a quotation mark or a line break
            text = _csv_text(batch, "needed")
        file.write(text)


def _in_digits(column: Any, least: Any) -> Any:
    """Times in the coarsest unit that holds them, as CSV has all its digits: 09:00:00; not in a
    coarser one than those of the type ``least``.
    """
    if pa.types.is_timestamp(column.type):
        types = [pa.timestamp(unit, column.type.tz) for unit in ("s", "ms", "us", "ns")]
    elif pa.types.is_time(column.type):
        types = [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]
    else:
        return column
    for type in types[types.index(least or types[0]) :]:
        with suppress(pa.ArrowInvalid):
            return column.cast(type)
    return column


def _csv_text(batch: pa.RecordBatch, quoting: Any) -> bytes:
    text = io.BytesIO()
    options = arrow_csv.WriteOptions(include_header=False, quoting_style=quoting)
    arrow_csv.write_csv(batch, text, options)
    return text.getvalue()


def _write_parquet(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_npy(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    for column in schema:
        if not is_number(column.type):
            raise DataError(
                f"column {shown(column.name)}: expected numbers, received {column.type}"
            )
    number = "<f4" if set(schema.types) == {pa.float32()} else "<f8"

    def header(n: int) -> None:  # its length does not depend on n
        shape = {"descr": number, "fortran_order": False, "shape": (n, len(schema))}
        npy.write_array_header_1_0(file, shape)

    header(0)
    n = 0
    for batch in batches:
        columns = [floats(column).to_numpy(zero_copy_only=False) for column in batch.columns]
        file.write(np.column_stack(columns).astype(number).tobytes())
        n += batch.num_rows
    file.seek(0)
    header(n)


def as_written(kind: ColumnKind, values: np.ndarray) -> Any:
    """Cells ``(n,)`` of a column in the table's types, as floats or Arrow's.

    A missing cell is null or NaN, a new level null.
    """
    if kind.kind != "levels":
        return _numbers(kind, values)
    levels = kind.levels or []
    places = np.where(np.isnan(values) | (values < 0), len(levels), values).astype(int)
    if kind.type in ("text", "truth"):
        return pa.array(np.array([*levels, None], object)[places], pa.string())
    return _numbers(kind, np.array([*map(float, levels), np.nan])[places])


def _numbers(kind: ColumnKind, values: np.ndarray) -> Any:
    gaps = np.isnan(values)
    filled = np.where(gaps, 0.0, values)
    if kind.form is not None:
        texts = dates.texts_of(filled, kind.form, kind.decimals or 0)
        return pa.array(texts, pa.string(), mask=gaps)
    if kind.notation is not None:
        texts = notations.texts_of(filled, kind.notation, kind.decimals)
        return pa.array(texts, pa.string(), mask=gaps)
    if kind.type == "whole":  # a draw beyond int64 is its end
        return pa.array(np.clip(filled, -WHOLE, np.nextafter(WHOLE, 0)).astype(np.int64), mask=gaps)
    if kind.type == "date":
        return pa.array(
            np.clip(filled, -(2**31), 2**31 - 1).astype(np.int32), pa.int32(), mask=gaps
        ).cast(pa.date32())
    if kind.type == "time":
        micros = np.rint(np.clip(filled * 1e6, -(2.0**62), 2.0**62)).astype(np.int64)
        return pa.array(micros, pa.timestamp("us"), mask=gaps)
    if kind.single is not None:
        return np.float32(values) if kind.single == STORED else in_single(values, kind.single)
    return values
