"""Points in the plane, read from a CSV or NPY file. No Keras here, and nothing pickled."""

import itertools
import math
import os
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
        if size > MAX_BYTES:
            raise DataError(f"{name}: expected at most {MAX_BYTES:,} bytes, received {size:,}")
        points = _read_npy(path) if path.suffix.lower() == ".npy" else _read_text(path)
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{name}: not a text file; expected {_EXPECTED}") from None
    if len(points) > MAX_POINTS:
        raise _too_many(path, len(points))
    return points


def _read_npy(path: Path) -> np.ndarray:
    expected = "an array (n, 2) of numbers, saved by numpy.save"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's about files written by Python 2
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # NumPy has many for a damaged header
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: expected {expected}; received: {reason:.120}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path}: expected {expected}; received an .npz archive")
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


def _read_text(path: Path) -> np.ndarray:
    skipped, columns, wide = _header(path)
    points = np.empty((0, 2))
    with warnings.catch_warnings(), _open(path) as lines:
        warnings.simplefilter("ignore")  # NumPy's about a file without rows: told below
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
            pass  # told below, by the number of the line
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
    if any(map(_is_number, cells)):
        return skipped, (0, 1), False
    if len(cells) > 2 and all(cells.count(name) == 1 for name in NAMES):
        return skipped + 1, (cells.index(NAMES[0]), cells.index(NAMES[1])), True
    return skipped + 1, (0, 1), False


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip().split(",")]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python allows


def _complaint(path: Path, skipped: int, columns: tuple[int, int], wide: bool) -> DataError:
    """Find the first line that is not a point: slowly, once it is known that there is one."""
    for number, cells in _rows(path, skipped):
        given = [cells[i] for i in columns if i < len(cells)] if wide else cells
        wrong = None
        if len(given) != 2 or not all(map(_is_number, given)):
            wrong = f"expected {_EXPECTED}"
        elif not all(math.isfinite(float(cell)) for cell in given):
            wrong = "expected finite numbers"
        if wrong:
            received = ",".join(cells)
            return DataError(f"{path}: line {number}: {wrong}; received {received!r:.60}")
    problem = "a blank before a quotation mark?" if any(_rows(path, skipped)) else "no points in it"
    return DataError(f"{path}: {problem}; expected {_EXPECTED}")


def _rows(path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not blank, after those skipped."""
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            if number > skipped and line.strip():
                yield number, _cells(line)


def _too_many(path: Path, n: int) -> DataError:
    received = f"{n:,}" if n != MAX_POINTS + 1 else "more"
    return DataError(f"{path}: expected at most {MAX_POINTS:,} points, received {received}")
