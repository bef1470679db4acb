"""Cells as the table writes them, and the conditions that draws are given."""

import datetime
from pathlib import Path

import numpy as np
import pytest
from cells import grid, levels, number, random_density

from nflow_cli.config.kinds_schema import ColumnKind, Lattice
from nflow_cli.data.column_maps import Scale
from nflow_cli.data.dataset import rows_of
from nflow_cli.data.table_files import table_of
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.errors import DataError
from nflow_cli.experiments.cells.loaded import TrainedCells
from nflow_cli.experiments.cells.scoring import as_written, conditions_of

DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12, 0, 1)


def dates(form=None, type="date", step=1.0):
    lattice = Lattice(step=step)
    facts = {"form": form, "type": type, "decimals": 0, "resolution": step, "missing": True}
    kind = ColumnKind(kind="grid", lattices=[lattice], **facts)
    return CellColumn("x", kind, (Scale(20_000.0, 300.0),), 0.01)


def few(values, **facts):
    return CellColumn("x", ColumnKind(kind="levels", levels=values, missing=True, **facts))


CASES = {
    "text": (few(["a", "b"], type="text"), ["b", None, "a"]),
    "truth": (few(["False", "True"], type="truth"), ["True", None, "False"]),
    "whole levels": (few(["-3", "12"], type="whole", decimals=0), [12, None, -3]),
    "levels": (few(["0.50", "7.25"], decimals=2), [7.25, None, 0.5]),
    "dates of few": (few(["19782", "19783"], type="date", decimals=0), [DAY, None]),
    "whole": (grid("x", step=1.0, type="whole", missing=True), [7, None, -2]),
    "number": (number("x", missing=True), [1.125, None, -2.5]),
    "dates": (dates(), [DAY, None]),
    "times": (dates(type="time"), [NOON, None]),
    "dates of a form": (dates("%d.%m.%Y"), ["29.02.2024", None]),
    "times of a form": (dates("%Y-%m-%dT%H:%M:%SZ", "time"), ["2024-02-29T12:00:01Z", None]),
    "times of day": (dates("%H:%M", "time", 60.0), ["23:07", None]),
}


def cells_of(column, values):
    import pyarrow as pa

    table = table_of({"x": pa.array(values)})
    return rows_of(table, {"x": column.kind}, ["x"])[:, 0]


@pytest.mark.parametrize("case", CASES)
def test_cells_are_written_as_the_table_has_them(case):
    column, values = CASES[case]
    written = as_written(column, cells_of(column, values))
    if isinstance(written, np.ndarray):
        assert [None if np.isnan(value) else value for value in written.tolist()] == values
    else:
        assert written.to_pylist() == values


def test_numbers_too_large_to_be_whole_are_written_as_they_are():
    column = grid("x", step=1024.0, type="whole", maps=(Scale(0.0, 1e17),))
    values = np.array([2.0**60, -(2.0**55)])
    np.testing.assert_array_equal(as_written(column, values), values)


def test_dates_as_text_in_a_table_of_types_are_dates():
    for values in (["2024-02-29", "2024-03-01"], np.array(["2024-02-29", "2024-03-01"], "M8[D]")):
        np.testing.assert_array_equal(cells_of(dates(), values), [19_782, 19_783])
    with pytest.raises(DataError, match="'x': expected .*, received 'soon'"):
        cells_of(dates(), ["soon", "2024-03-01"])
    with pytest.raises(DataError, match="expected dates or times as %d.%m.%Y"):
        cells_of(dates("%d.%m.%Y"), ["2024-03-01", "01.02.2024"])


@pytest.fixture(scope="module")
def conditional():
    given = [levels("a", 3), CellColumn("day", dates().kind, dates().maps, 0.01), number("b")]
    density = random_density([*given, levels("c", 2)], n_given=3)
    return TrainedCells(Path("run"), None, density, {})


@pytest.mark.parametrize("day", ["2024-02-29", ""])
def test_conditions_are_read_from_text(conditional, day):
    (row,) = conditions_of(conditional, f"b=-1.25,a=level 2,day={day}")
    expected = [2, 19_782 if day else np.nan, -1.25, np.nan]
    np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=level 1,b=2", "expected a value of day too"),
        ("a=level 1,b=2,c=1,day=2024-01-01", "Received: 'c=1'"),
        ("a=level 1,b=x,day=2024-01-01", "b: expected a finite number. Received: 'x'"),
        ("a=level 1,b=inf,day=2024-01-01", "b: expected a finite number"),
        ("a=level 1,b=2,day=soon", "'day'"),
        ("a=level 1,a=level 1,b=2,day=2024-01-01", "once"),
    ],
)
def test_conditions_that_are_none_are_one_line(conditional, text, words):
    with pytest.raises(DataError) as error:
        conditions_of(conditional, text)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_level_that_no_training_row_has_may_be_given(conditional):
    (row,) = conditions_of(conditional, "a=else,b=1,day=2024-01-01")
    assert row[0] == -1
    draws = conditional.sample(20, given={"a": ["else"], "b": [1.0], "day": ["2024-01-01"]})
    assert draws.shape == (20, 4) and np.isfinite(conditional.log_prob(draws)).all()


@pytest.mark.parametrize(
    "rows",
    [
        [[3.0, 0, 0, 0]],
        [[0, 0, 0, 2.0]],
        [[0.5, 0, 0, 0]],
        [[-2.0, 0, 0, 0]],
        [[0, np.inf, 0, 0]],
        [[0, 0, 0]],
        [0, 0, 0, 0],
    ],
)
def test_rows_that_are_none_are_refused(conditional, rows):
    with pytest.raises(DataError):
        conditional.log_prob(np.array(rows))
