"""Tables of files and Python objects, opened and written. Nothing is unpickled."""

import csv
import gzip
import importlib
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from nflow_cli.data import array_tables, delimited
from nflow_cli.data.array_tables import ParquetTable, RowsTable
from nflow_cli.data.delimited import TextTable
from nflow_cli.data.netcdf import MAGIC, InferenceTable
from nflow_cli.data.tables import Column, TableFile, floats, is_number, positions, shown
from nflow_cli.errors import DataError, one_line
from nflow_cli.runs.directory import RunDirectory

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Column",
    "TableFile",
    "arrow_table",
    "batch_of",
    "filled",
    "frame_like",
    "is_table",
    "open_table",
    "opened",
    "table_of",
    "write_table",
]

MAX_STDIN = 2**30
STDIN = "-"


class Reader(NamedTuple):
    """Binary format of tables.

    Attributes:
        magic: Its first bytes.
        read: Opens it, given its name and a path or stream.
        is_streamed: Also from standard input.
        is_detected: By its first bytes, whatever the file's name.
    """

    magic: bytes
    read: Callable[[str, Any], TableFile]
    is_streamed: bool = False
    is_detected: bool = True


# Readers by suffix; anything else is text, gzipped or not.
READERS = {
    ".parquet": Reader(b"PAR1", ParquetTable, is_streamed=True),
    ".npy": Reader(b"\x93NUMPY", array_tables.npy_table),
    ".npz": Reader(b"PK\x03\x04", array_tables.npz_table, is_detected=False),
    ".nc": Reader(MAGIC, InferenceTable),
}
_GZIP, _MOST_MAGIC = b"\x1f\x8b", 6  # bytes
_CMDSTAN = b"# stan"  # draws with comments before, between and after the rows
_FORMATS = f"a table as .csv, .tsv or other text (also .gz), {', '.join(READERS)}"
_NO_END = "its last line has no line break: the input, and its last value, may be truncated"
_OTHERS = {b"PK\x03\x04": "a zip archive, as Excel's .xlsx is: export the sheet as CSV"}


def open_table(name: str | Path) -> TableFile:
    """Open a table in a file.

    The first bytes decide the format: text (``.csv``, ``.tsv`` or any other), gzipped or not,
    Parquet, a NumPy array, or ArviZ's InferenceData in netCDF-4; a NumPy archive must be called
    ``.npz``, and holds one array of rows, with an optional array ``columns`` of names, or one array
    a column. ``-`` is standard input: text or Parquet, at most 1 GiB.

    Delimiter, decimal comma, header and encoding of text are detected.
    Columns without names are numbered from "1".
    """
    if str(name) == STDIN:
        return _standard_input()
    path, label = Path(name), str(name)
    start = _beginning(path, label)
    suffix = path.suffix.lower()
    magic = {".gz": _GZIP, **{ending: reader.magic for ending, reader in READERS.items()}}
    if not start.startswith(magic.get(suffix, b"")):
        raise DataError(
            f"{label}: expected the content of a {suffix} file; received a file that begins with "
            f"{start!r}"
        )
    for ending, reader in READERS.items():
        if suffix == ending or (reader.is_detected and start.startswith(reader.magic)):
            return reader.read(label, path)
    unpack = gzip.open if start.startswith(_GZIP) else open
    return _text(label, start, lambda: unpack(path, "rb"))


def _beginning(path: Path, label: str) -> bytes:
    try:
        if path.is_dir():
            raise DataError(f"{label}: a folder; expected {_FORMATS}")
        if "://" in label:
            raise DataError(f"{label}: a URL; expected a file: download it first")
        if not path.exists():
            raise DataError(f"{label}: no such file; expected {_FORMATS}")
        if not path.is_file():
            raise DataError(
                f"{label}: not a regular file; expected {_FORMATS}, or - for standard input"
            )
        size = os.path.getsize(path)
        if size > delimited.MAX_BYTES:
            raise DataError(
                f"{label}: expected at most {delimited.MAX_BYTES:,} bytes, received {size:,}"
            )
        if not size:  # or of the kernel, possibly endless
            raise DataError(f"{label}: an empty file; expected {_FORMATS}")
        with path.open("rb") as file:
            return file.read(_MOST_MAGIC)
    except (OSError, ValueError) as error:  # an invalid name: "\0"
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"{label}: cannot be read: {reason or one_line(error)}") from None


def _standard_input() -> TableFile:
    label = "standard input"
    content = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(content) > MAX_STDIN:
        raise DataError(f"{label}: expected at most {MAX_STDIN:,} bytes, received more")
    if not content:
        raise DataError(f"{label}: empty; expected {_FORMATS}")
    start = content[:_MOST_MAGIC]
    for ending, reader in READERS.items():
        if reader.is_detected and start.startswith(reader.magic):
            if reader.is_streamed:
                return reader.read(label, io.BytesIO(content))
            raise DataError(f"{label}: expected text or Parquet, received a {ending} file")
    is_packed = start.startswith(_GZIP)  # which detects truncation
    unpack = gzip.open if is_packed else io.BufferedReader
    table = _text(label, start, lambda: unpack(io.BytesIO(content)))
    if not is_packed and not content.rstrip(b"\0").endswith((b"\n", b"\r")):
        table.notes = [f"{label}: {_NO_END}"]
    return table


def _text(label: str, start: bytes, opened: Callable[[], Any]) -> TableFile:
    for magic, received in _OTHERS.items():
        if start.startswith(magic):
            raise DataError(f"{label}: expected {_FORMATS}; received {received}")
    return TextTable(label, opened, is_commented=start.startswith(_CMDSTAN))


def is_table(data: Any) -> bool:
    """Whether a Python object has named columns."""
    protocols = ("__arrow_c_stream__", "__dataframe__")
    return isinstance(data, Mapping) or any(hasattr(data, name) for name in protocols)


def opened(data: Any) -> TableFile | None:
    """Table of a path or of a Python object with named columns; ``None`` of arrays."""
    if isinstance(data, TableFile):
        return data
    if isinstance(data, str | Path):
        return open_table(data)
    return table_of(data) if is_table(data) else None


def table_of(data: Any) -> TableFile:
    """Table of a Python object: a DataFrame of any library, by the Arrow or the dataframe protocol,
    or a Series of pandas or polars; an Arrow table; a mapping of names to arrays ``(n,)``; or an
    array ``(n, D)`` or ``(n,)``, whose columns are numbered from "1".
    """
    name = "the table given"
    if isinstance(data, np.ma.MaskedArray) and data.dtype.kind in "fiub":
        data = np.ma.filled(data.astype(np.float64), np.nan)
    if callable(to_frame := getattr(data, "to_frame", None)):  # a Series
        data = to_frame()
    if isinstance(data, Mapping):
        return array_tables.columns_table(name, data)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__"):
        return array_tables.frame_table(name, data)
    try:
        rows = np.asarray(data)
    except Exception as error:  # whatever the object's own conversion raises
        raise DataError(f"{name}: no table: {one_line(error)}") from None
    if not rows.ndim:
        raise DataError(
            f"{name}: expected a DataFrame, a mapping of names to arrays, or an array (n, D) of "
            f"numbers. Received: {type(data).__name__}"
        )
    return RowsTable(name, rows)


def batch_of(
    columns: Sequence[np.ndarray], beside: Any = None, are_first: bool = False
) -> "pa.RecordBatch":
    """Columns to write: numbers ``(n,)``, NaN if missing, or text; after those of the batch
    ``beside``, or before.
    """
    import pyarrow as pa

    others = [] if beside is None else beside.columns

    def of_type(values: Any) -> Any:
        is_text = isinstance(values, np.ndarray) and values.dtype.hasobject
        return pa.array(values, pa.string() if is_text else None, from_pandas=True)

    arrays = [of_type(values) for values in columns]
    every = [*arrays, *others] if are_first else [*others, *arrays]
    return pa.RecordBatch.from_arrays(every, positions(len(every)))


def filled(
    batch: "pa.RecordBatch", cells: Mapping[int, tuple[np.ndarray, Any]]
) -> "pa.RecordBatch":
    """Batch with other cells in some columns, in the columns' types: by position, which rows
    ``(n,)``, and values ``(n,)``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = list(batch.columns)
    for place, (some, values) in cells.items():
        column, values = columns[place], pa.array(values)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        column = column.cast(values.type) if pa.types.is_null(column.type) else column
        values = values.cast(column.type, safe=False)
        columns[place] = pc.if_else(pa.array(some), values, column)  # pyright: ignore[reportAttributeAccessIssue]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def arrow_table(names: Sequence[str], batches: Iterable["pa.RecordBatch"]) -> "pa.Table":
    """Batches as a table of Arrow."""
    import pyarrow as pa

    schema, named = _schema(names, batches)
    return pa.Table.from_batches(named, schema)


def frame_like(frame: Any, table: "pa.Table") -> Any:
    """A table as a DataFrame of pandas or polars, if ``frame`` is one, with its index, repeated for
    a table of its rows again and again.
    """
    library = library_of(frame)
    found = frame_in(library, table)
    if library == "pandas":
        found = found.set_axis(frame.index.take(np.arange(len(found)) % max(len(frame), 1)))
    return found


def library_of(frame: Any) -> str:
    """Package of an object's class, such as ``pandas``."""
    return type(frame).__module__.partition(".")[0]


def frame_in(library: str, table: "pa.Table") -> Any:
    """A table as a DataFrame of pandas or polars, or as it is."""
    if library == "pandas":
        return table.to_pandas()
    if library == "polars":
        return importlib.import_module(library).from_arrow(table)
    return table


def write_table(
    path: str | Path, names: Sequence[str], batches: Iterable["pa.RecordBatch"]
) -> None:
    """Write batches of rows as a table, atomically, in bounded memory.

    ``.parquet`` is Parquet, ``.npy`` an array ``(n, D)``, float32 if all columns are, else float64;
    any other suffix is CSV, with all digits, and a header unless the columns are numbered; ``-`` is
    CSV on standard output.
    """
    names = list(names)
    if str(path) == STDIN:
        _write_csv(sys.stdout.buffer, names, batches)
        sys.stdout.buffer.flush()
        return
    path = Path(path)
    write = {".parquet": _write_parquet, ".npy": _write_npy}.get(path.suffix.lower(), _write_csv)
    write_file(path, lambda file: write(file, names, batches))


def write_file(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Write a file atomically by ``fill(file)``."""
    RunDirectory(path.parent).write(path.name, fill)


def _schema(
    names: Sequence[str], batches: Iterable["pa.RecordBatch"]
) -> tuple["pa.Schema", Iterable["pa.RecordBatch"]]:
    import pyarrow as pa

    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        return pa.schema([(name, pa.float64()) for name in names]), ()
    schema = pa.schema(list(zip(names, first.schema.types, strict=True)))
    named = itertools.chain([first], batches)
    return schema, (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in named)


def _write_csv(file: BinaryIO, names: Sequence[str], batches: Iterable["pa.RecordBatch"]) -> None:
    import pyarrow as pa

    _, batches = _schema(names, batches)
    if list(names) != positions(len(names)):
        header = io.StringIO()
        csv.writer(header).writerow(names)  # it quotes line breaks
        file.write(header.getvalue().removesuffix("\r\n").encode() + b"\n")
    for batch in batches:
        try:
            text = _csv_text(batch, "none")
        except pa.ArrowInvalid:  # a cell holds a comma, a quotation mark or a line break
            text = _csv_text(batch, "needed")
        file.write(text)


def _csv_text(batch: "pa.RecordBatch", quoting: Any) -> bytes:
    from pyarrow import csv as arrow_csv

    text = io.BytesIO()
    options = arrow_csv.WriteOptions(include_header=False, quoting_style=quoting)
    arrow_csv.write_csv(batch, text, options)
    return text.getvalue()


def _write_parquet(
    file: BinaryIO, names: Sequence[str], batches: Iterable["pa.RecordBatch"]
) -> None:
    from pyarrow import parquet

    schema, batches = _schema(names, batches)
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_npy(file: BinaryIO, names: Sequence[str], batches: Iterable["pa.RecordBatch"]) -> None:
    import pyarrow as pa

    schema, batches = _schema(names, batches)
    for column in schema:
        if not is_number(column.type):
            raise DataError(
                f"column {shown(column.name)}: expected numbers, received {column.type}"
            )
    number = "<f4" if set(schema.types) == {pa.float32()} else "<f8"

    def header(n: int) -> None:  # its length does not depend on n
        shape = {"descr": number, "fortran_order": False, "shape": (n, len(names))}
        npy.write_array_header_1_0(file, shape)

    header(0)
    n = 0
    for batch in batches:
        columns = [floats(column).to_numpy(zero_copy_only=False) for column in batch.columns]
        file.write(np.column_stack(columns).astype(number).tobytes())
        n += batch.num_rows
    file.seek(0)
    header(n)
