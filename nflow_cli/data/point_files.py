"""Points in the plane, read from a CSV or NPY file. No Keras here, and nothing pickled."""

import itertools
import math
import os
import re
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from nflow_cli.errors import DataError

MAX_POINTS = 10**7
MAX_BYTES = 2**30
NAMES = ("z1", "z2")  # what `nflow sample` calls them, beside a third column
_EXPECTED = "two numbers a line, such as 0.5,-1.25, under a header or none"
_FIRST_LINE = 2**16  # bytes
_NPY = b"\x93NUMPY"
_FORMATS = {  # how files begin that are no text
    b"\x1f\x8b": "a file packed by gzip",
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive, as .npz and .xlsx files are",
    b"\x89HDF": "an HDF5 file",
    b"\xff\xfe": "text in UTF-16, not UTF-8",
    b"\xfe\xff": "text in UTF-16, not UTF-8",
    _NPY: "an array of NumPy, whose name must end in .npy",
}


def read_points(name: str | Path) -> np.ndarray:
    """Read points from a file.

    A name that ends in ``.npy`` is an array ``(n, 2)`` of numbers; any other is text: two numbers a
    line, separated by a comma, under a header or none. Of more columns, as ``nflow sample`` writes
    them, those that the header calls ``z1`` and ``z2`` are taken. At most 10 million points.

    Returns:
        ``(n, 2)``, float64, all finite, ``n >= 1``.

    Raises:
        DataError: In one line: the file, what was wrong, expected and received.
    """
    path = Path(name)
    try:
        if not path.is_file():
            raise DataError(f"{name}: no such file; expected points in a .csv or .npy file")
        size = os.path.getsize(path)
        if not size:  # or a file of the kernel's, which may never end
            raise DataError(f"{name}: an empty file; expected points in a .csv or .npy file")
        if size > MAX_BYTES:
            raise DataError(f"{name}: expected at most {MAX_BYTES:,} bytes, received {size:,}")
        with path.open("rb") as file:
            start = file.read(len(_NPY))
        read = _read_npy if path.suffix.lower() == ".npy" else _read_text
        points = read(path, start)
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{name}: not a text file; expected {_EXPECTED}") from None
    if len(points) > MAX_POINTS:
        raise _too_many(path, len(points))
    return points


def _format(start: bytes) -> str | None:
    """Return what a file is that begins so, if that is known and it is no text."""
    return next((name for magic, name in _FORMATS.items() if start.startswith(magic)), None)


def _read_npy(path: Path, start: bytes) -> np.ndarray:
    expected = "an array (n, 2) of numbers, saved by numpy.save"
    if start != _NPY:
        received = _format(start) or f"a file that begins with {start!r}"
        raise DataError(f"{path}: expected {expected}; received {received}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's about files written by Python 2
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # NumPy has many for a damaged header
        reason = textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" …")
        raise DataError(f"{path}: expected {expected}; received: {reason}") from None
    received = f"received shape {array.shape}, dtype {array.dtype}"
    if array.ndim == 2 and array.shape[1] == 3:  # it has no header that says what the third is
        received += "; of what `nflow sample` writes, save points[:, :2], or take its .csv"
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != 2 or not len(array):
        raise DataError(f"{path}: expected {expected}; {received}")
    if len(array) > MAX_POINTS:
        raise _too_many(path, len(array))
    points = np.array(array, dtype=np.float64)
    good = np.isfinite(points).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(f"{path}: row {row}: expected finite numbers, received {points[row]}")
    return points


def _read_text(path: Path, start: bytes) -> np.ndarray:
    if received := _format(start):
        raise DataError(f"{path}: expected {_EXPECTED}; received {received}")
    skipped, columns, wide = _header(path)
    points = np.empty((0, 2))
    # NumPy makes room for as many columns as the first line has, in all the rows there may be.
    _, first = next(_rows(path, skipped), (0, ""))
    if not wide and len(_cells(first)) > 2:
        raise _complaint(path, skipped, columns, wide)
    with warnings.catch_warnings(), _open(path) as lines:
        warnings.simplefilter("ignore")  # NumPy's about a file without rows: reported below
        try:
            points = np.loadtxt(
                filter(str.strip, itertools.islice(lines, skipped, None)),
                delimiter=",",
                comments=None,
                quotechar='"',
                usecols=columns if wide else None,
                ndmin=2,
                max_rows=MAX_POINTS + 1,
            )
        except UnicodeDecodeError:
            raise
        except ValueError:
            pass  # reported below, by the number of the line
    if not len(points) or points.shape[1] != 2 or not np.isfinite(points).all():
        raise _complaint(path, skipped, columns, wide)
    return points


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="")


def _header(path: Path) -> tuple[int, tuple[int, int], bool]:
    """Return how many lines to skip, which columns to take, and whether there are others."""
    with _open(path) as lines:
        skipped, first = 0, lines.readline(_FIRST_LINE)
        while first and not first.strip():
            skipped, first = skipped + 1, lines.readline(_FIRST_LINE)
    cells = _cells(first)
    if any(map(_is_float, cells)):
        return skipped, (0, 1), False
    if len(cells) > 2 and all(cells.count(name) == 1 for name in NAMES):
        return skipped + 1, (cells.index(NAMES[0]), cells.index(NAMES[1])), True
    return skipped + 1, (0, 1), False


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip().split(",")]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python allows


def _number(cell: str) -> float | None:
    """Return the number in what is between two commas, as NumPy reads it; None where it does not.

    Python alone takes the digits of other scripts.
    """
    quoted = re.fullmatch(r'"([^"]*)"\s*', cell)
    text = (quoted[1] if quoted else cell).strip()
    return float(text) if text.isascii() and _is_float(text) else None


def _complaint(path: Path, skipped: int, columns: tuple[int, int], wide: bool) -> DataError:
    """Find the first line that is not a point: slowly, once it is known that there is one."""
    n = 0
    for n, line in _rows(path, skipped):
        cells = line.split(",")
        read = (_number(cells[i]) for i in columns if i < len(cells))
        numbers = [number for number in read if number is not None]
        if len(numbers) != 2 or (len(cells) > 2 and not wide):
            return DataError(f"{path}: line {n}: expected {_EXPECTED}; received {_received(cells)}")
        if not all(map(math.isfinite, numbers)):
            received = _received(cells)
            return DataError(f"{path}: line {n}: expected finite numbers; received {received}")
    problem = "not read as numbers" if n else "no points in it"
    return DataError(f"{path}: {problem}; expected {_EXPECTED}")


def _received(cells: list[str]) -> str:
    """Return what a line holds, and what it looks like if that is known."""
    line = ",".join(cells)
    marks = {";": "columns separated by ;", "\t": "columns separated by tabs"}
    looks = next((name for mark, name in marks.items() if mark in line), None)
    if looks and re.search(r"\d,\d", line):
        looks += " and decimal commas"
    elif not looks and re.search(r'\s"', line):
        looks = "a blank before a quotation mark"
    elif not looks and re.fullmatch(r"\s*\S+\s+\S+\s*", line) and "," not in line:
        looks = "columns separated by blanks"
    columns = f"{len(cells):,} columns: " if len(cells) > 2 and not looks else ""
    return f"{columns}{line!r:.60}" + (f", which looks like {looks}" if looks else "")


def _rows(path: Path, skipped: int) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank, after those skipped."""
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            if number > skipped and line.strip():
                yield number, line.rstrip("\r\n")


def _too_many(path: Path, n: int) -> DataError:
    received = f"{n:,}" if n != MAX_POINTS + 1 else "more"
    return DataError(f"{path}: expected at most {MAX_POINTS:,} points, received {received}")
