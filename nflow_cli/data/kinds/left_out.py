"""Columns left out of a density: constants, row numbers, unique text."""

import re

import numpy as np

from nflow_cli.config.strict import LARGEST_BOUND, MAX_LEVEL
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.written import DIGITS, as_written

SORTED = 50  # rows beyond which increasing whole numbers are left out
GROWS = "grows from row to row"
IDENTIFIES = "whole numbers of one length that identify rows (--discrete NAME:1 models them)"
LONG = 1e9  # the least of them: ten digits
TIMES = 2.1  # leading digits of times in digits, since 1970 or from a year on, at most

# Words in a column's name. An increasing year is no row number: new rows have one.
ROW_WORDS = {"id", "ids", "index", "idx", "row", "rows", "rowname", "rownames", "rownumber"}
ROW_WORDS |= {"rowid", "obs", "observation", "case", "caseid", "record", "recordid", "unnamed"}
TIME_WORDS = {"year", "yr", "years", "time", "date", "day", "days", "month", "week", "hour"}
TIME_WORDS |= {"age", "t", "minute", "second"}


def why_left_out(column: Column, is_named: bool = False) -> str:
    """Reason why a column is left out, or "".

    ``is_named`` by the user: only if constant or too large.
    """
    cells = column.cells
    if len(cells) > 1 and int((~column.are_gaps).sum()) == 1:
        return "one cell alone"
    if _is_constant(column):
        is_equal = not len(cells) or (cells == cells[0]).all() or np.isnan(cells).all()
        return "constant" if is_equal else f"constant to {DIGITS} digits"
    if column.numbers is not None and (np.abs(cells[np.isfinite(cells)]) > LARGEST_BOUND).any():
        return f"numbers beyond {LARGEST_BOUND:g}"
    if is_named:
        return ""
    if column.is_index:
        return "index or log-density of the rows"
    if column.cell_type == "text":
        if column.names_rows:
            return column.nested_as or "text, mostly unique"
        too_long = any(len(text) > MAX_LEVEL for text in column.texts)
        return f"text of more than {MAX_LEVEL:,} letters" if too_long else ""
    return _why_number(column) if column.cell_type == "number" else ""


def words(name: str) -> set[str]:
    """Lower-case words of a name: patient, id and 2 of `patientID_2`."""
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.findall(r"[a-z]+|\d+", parts.lower()))


def _is_constant(column: Column) -> bool:
    if not column.is_collected:
        return False
    cells = column.cells
    empty = cells < 0 if column.numbers is None else ~np.isfinite(cells)
    if empty.any():
        return bool(empty.all())
    ends = np.array([cells.min(), cells.max()]) if len(cells) else np.zeros(2)
    if column.numbers is not None:  # noise below the significant digits is ignored
        ends = as_written(ends, column.is_float32)
    return bool(ends[0] == ends[1])


def _why_number(column: Column) -> str:
    """Why whole numbers that all differ are left out: they count rows, grow or identify; or ""."""
    numbers = column.cells
    are_whole = np.isfinite(numbers).all() and bool((numbers == np.rint(numbers)).all())
    if not are_whole or len(numbers) < 3 or len(np.unique(numbers)) < len(numbers):
        return ""
    steps = np.diff(numbers)
    name_words = words(column.name)
    if name_words & ROW_WORDS:
        return "row number"
    if name_words & TIME_WORDS:
        return ""
    if not (steps > 0).all():
        return IDENTIFIES if _are_long(numbers) and len(numbers) > SORTED else ""
    if (steps == 1).all():  # counted from elsewhere, without gaps, are years
        return "row number" if numbers[0] in (0, 1) else ""
    return GROWS if len(numbers) > SORTED else ""


def _are_long(numbers: np.ndarray) -> bool:
    """Whether whole numbers have one length, of ten digits or more, and are no times."""
    low = float(numbers.min())
    if low < LONG:
        return False
    unit = 10.0 ** np.floor(np.log10(low))
    return TIMES * unit < numbers.max() < 10 * unit
