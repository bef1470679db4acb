"""Cells as the table writes them, and read again."""

import datetime

import numpy as np
import pytest

from nflow_cli.config.kinds_schema import ColumnKind, Lattice
from nflow_cli.data.dataset import rows_of
from nflow_cli.data.table_files import table_of
from nflow_cli.data.written_cells import as_written
from nflow_cli.errors import DataError

DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12, 0, 1)


def dates(form=None, type="date", step=1.0):
    lattice = Lattice(step=step)
    facts = {"form": form, "type": type, "decimals": 0, "resolution": step, "missing": True}
    return ColumnKind(kind="grid", lattice=lattice, **facts)


def few(values, **facts):
    return ColumnKind(kind="levels", levels=values, missing=True, **facts)


CASES = {
    "text": (few(["a", "b"], type="text"), ["b", None, "a"]),
    "truth": (few(["False", "True"], type="truth"), ["True", None, "False"]),
    "whole levels": (few(["-3", "12"], type="whole", decimals=0), [12, None, -3]),
    "levels": (few(["0.50", "7.25"], decimals=2), [7.25, None, 0.5]),
    "dates of few": (few(["19782", "19783"], type="date", decimals=0), [DAY, None]),
    "whole": (ColumnKind(kind="number", type="whole", decimals=0), [7, None, -2]),
    "number": (ColumnKind(kind="number", decimals=3), [1.125, None, -2.5]),
    "dates": (dates(), [DAY, None]),
    "times": (dates(type="time"), [NOON, None]),
    "dates of a form": (dates("%d.%m.%Y"), ["29.02.2024", None]),
    "times of a form": (dates("%Y-%m-%dT%H:%M:%SZ", "time"), ["2024-02-29T12:00:01Z", None]),
    "times of day": (dates("%H:%M", "time", 60.0), ["23:07", None]),
}


def cells_of(kind, values):
    import pyarrow as pa

    table = table_of({"x": pa.array(values)})
    return rows_of(table, {"x": kind}, ["x"])[:, 0]


@pytest.mark.parametrize("case", CASES)
def test_cells_are_written_as_the_table_has_them(case):
    kind, values = CASES[case]
    written = as_written(kind, cells_of(kind, values))
    if isinstance(written, np.ndarray):
        assert [None if np.isnan(value) else value for value in written.tolist()] == values
    else:
        assert written.to_pylist() == values


def test_numbers_too_large_to_be_whole_are_written_as_they_are():
    kind = ColumnKind(kind="number", type="whole", decimals=0)
    values = np.array([2.0**60, -(2.0**55)])
    np.testing.assert_array_equal(as_written(kind, values), values)


def test_dates_as_text_in_a_table_of_types_are_dates():
    for values in (["2024-02-29", "2024-03-01"], np.array(["2024-02-29", "2024-03-01"], "M8[D]")):
        np.testing.assert_array_equal(cells_of(dates(), values), [19_782, 19_783])
    with pytest.raises(DataError, match="'x': expected numbers, received 'soon'"):
        cells_of(dates(), ["soon", "2024-03-01"])
    with pytest.raises(DataError, match="expected dates or times as %d"):
        cells_of(dates("%d.%m.%Y"), ["2024-03-01", "01.02.2024"])
