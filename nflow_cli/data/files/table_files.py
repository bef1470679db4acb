"""Tables of files, Python objects and built-in point sets, opened. Nothing is unpickled."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.table import TableData
from nflow_cli.data.files import array_tables, delimited, json_lines
from nflow_cli.data.files.array_tables import ParquetTable, RowsTable
from nflow_cli.data.files.delimited import TextTable
from nflow_cli.data.files.netcdf import MAGIC, InferenceTable
from nflow_cli.data.files.spreadsheets import sheet_table
from nflow_cli.data.files.tables import TableFile
from nflow_cli.data.points import SET_SIZE
from nflow_cli.errors import DataError, one_line
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, resolve, subject_hint
from nflow_cli.runs import files

MAX_STDIN = 2**30
STDIN = "-"
IN_PYTHON = "<python>"  # name of a table passed in Python


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


_ZIP = b"PK\x03\x04"
# Readers by suffix; anything else is text, gzipped or not.
READERS = {
    ".parquet": Reader(b"PAR1", ParquetTable, is_streamed=True),
    ".npy": Reader(b"\x93NUMPY", array_tables.npy_table),
    ".npz": Reader(_ZIP, array_tables.npz_table, is_detected=False),
    ".nc": Reader(MAGIC, InferenceTable),
    ".xlsx": Reader(_ZIP, sheet_table, is_detected=False),
}
_GZIP = b"\x1f\x8b"
_MOST_MAGIC = 6  # bytes
_CMDSTAN = b"# stan"  # draws with comments before, between and after the rows
_FORMATS = f"a table as .csv, .tsv or other text, .jsonl (also .gz), {', '.join(READERS)}"
_NO_END = "its last line has no line break: the input, and its last value, may be truncated"


def open_table(name: str | Path) -> TableFile:
    """Open a table in a file.

    The first bytes decide the format: text (``.csv``, ``.tsv`` or any other) or JSON lines,
    gzipped or not, Parquet, a NumPy array, or ArviZ's InferenceData in netCDF-4; a NumPy archive
    must be called ``.npz``, and holds one array of rows, with an optional array ``columns`` of
    names, or one array a column; a workbook of Excel must be called ``.xlsx``. ``-`` is standard
    input: text, JSON lines or Parquet of at most 1 GiB.

    Delimiter, decimal comma, header and encoding of text are detected.
    Columns without names are numbered from "1".
    """
    if str(name) == STDIN:
        return _standard_input()
    path = Path(name)
    stamp = files.stamp(path)
    table = _opened(path, str(name))
    table.source = path
    table.stamp = stamp
    table.expect_unchanged()
    return table


def _opened(path: Path, label: str) -> TableFile:
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
    is_json = path.name.lower().removesuffix(".gz").endswith(json_lines.SUFFIXES)
    return _text(label, start, lambda: unpack(path, "rb"), is_json)


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
    if sys.stdin is None:
        raise DataError(f"{label}: closed; expected {_FORMATS}")
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
        table.notes.append(_NO_END)
    return table


def _text(label: str, start: bytes, opened: Callable[[], Any], is_json: bool = False) -> TableFile:
    if start.startswith(_ZIP):
        raise DataError(
            f"{label}: expected {_FORMATS}; received a zip archive, as Excel's .xlsx is"
        )
    head = b""
    with suppress(OSError, EOFError, zlib.error), opened() as file:  # which a reader explains
        head = file.read(delimited.BLOCK)
    if json_lines.are_lines(label, head) or is_json:
        return json_lines.lines_table(label, opened)
    return TextTable(label, opened, is_commented=start.startswith(_CMDSTAN))


def is_table(data: Any) -> bool:
    """Whether a Python object has names of columns."""
    is_named = isinstance(data, Mapping) or hasattr(data, "__arrow_c_stream__")
    return is_named or _are_mappings(data)


def _are_mappings(data: Any) -> bool:
    """Whether a Python object is a list of rows that are mappings of names to cells."""
    return isinstance(data, list) and bool(data) and isinstance(data[0], Mapping)


def opened(data: Any) -> TableFile | None:
    """Table of a path or of a Python object with named columns; ``None`` of arrays."""
    if isinstance(data, TableFile):
        return data
    if isinstance(data, str | Path):
        return open_table(data)
    return table_of(data) if is_table(data) else None


def table_of(data: Any) -> TableFile:
    """Table of a Python object: a DataFrame, by Arrow's protocol (pandas from 2.2 on),
    or a Series of pandas or polars; an Arrow table; a mapping of names to arrays ``(n,)``; or an
    array ``(n, D)`` or ``(n,)``, whose columns are numbered from "1".
    """
    name = "the table given"
    if isinstance(data, np.ma.MaskedArray) and data.dtype.kind in "fiub":
        data = np.ma.filled(data.astype(np.float64), np.nan)
    if _are_mappings(data):
        raise DataError(
            f"{name}: expected columns, received a list of rows: pyarrow.Table.from_pylist(rows) "
            "and pandas.DataFrame(rows) are tables"
        )
    if callable(to_frame := getattr(data, "to_frame", None)):  # a Series
        return _of_series(name, to_frame())
    if isinstance(data, Mapping):
        return array_tables.columns_table(name, data)
    if hasattr(data, "__arrow_c_stream__"):
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


def _of_series(name: str, frame: Any) -> TableFile:
    """Table of a Series, as a DataFrame of one column."""
    try:
        return array_tables.frame_table(name, frame)
    except DataError:
        raise DataError(
            f"{name}: expected a table, received a Series of several types: a row of a DataFrame "
            "is a table as df.iloc[[i]]"
        ) from None


def table_named(settings: TableData) -> TableFile:
    """Open the table of the settings, or draw the built-in set."""
    return _drawn(settings) if settings.name in POINT_SETS else _of_file(settings.name)


def _of_file(name: str) -> TableFile:
    if name == IN_PYTHON:
        raise DataError(f"{name}: the table was passed in Python and cannot be read again")
    is_bare = name != STDIN and not os.path.dirname(name) and not os.path.splitext(name)[1]
    if is_bare and not os.path.exists(name):
        hint = subject_hint(name, list(POINT_SETS))
        raise DataError(
            f"{name}: no such table{hint}; expected {_FORMATS}, - for standard input, or "
            f"{', '.join(POINT_SETS)}"
        )
    return open_table(name)


def names_of_set(points: np.ndarray) -> list[str]:
    """Column names of a built-in set ``(n, D)``: "x1", "x2", …."""
    return [f"x{i + 1}" for i in range(points.shape[1])]


def _drawn(settings: TableData) -> TableFile:
    """By the seed of the split: other seeds of a run have the same rows."""
    points = resolve(POINT_SETS[settings.name])()
    rng = stream(settings.split_seed, f"points/{settings.name}")
    values = points.sample(rng, settings.size or SET_SIZE)
    return RowsTable(settings.name, values, names_of_set(values))
