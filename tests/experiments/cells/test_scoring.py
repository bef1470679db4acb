"""The conditions that draws are given, and rows that are none."""

from pathlib import Path

import numpy as np
import pytest
from cells import levels, number, random_density

from nflow_cli.config.kinds_schema import ColumnKind, Lattice
from nflow_cli.data.column_maps import Scale
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.errors import DataError
from nflow_cli.experiments.cells.loaded import TrainedCells
from nflow_cli.experiments.table.scoring import conditions_in

KIND = ColumnKind(
    kind="grid", type="date", decimals=0, resolution=1.0, lattice=Lattice(step=1.0), missing=True
)


@pytest.fixture(scope="module")
def conditional():
    given = [levels("a", 3), CellColumn("day", KIND, (Scale(20_000.0, 300.0),), 0.01), number("b")]
    density = random_density([*given, levels("c", 2)], n_given=3)
    return TrainedCells(Path("run"), None, density, {})


def test_conditions_are_read_from_text(conditional):
    for day, number_of_day in (("2024-02-29", 19_782), ("", np.nan)):
        (row,) = conditions_in(conditional, f"b=-1.25,a=level 2,day={day}").rows
        np.testing.assert_array_equal(row, [2, number_of_day, -1.25, np.nan])


def test_conditions_that_are_none_are_one_line(conditional):
    for text, named in [
        ("a=level 1,b=2", "day"),
        ("a=level 1,b=2,e=1,day=2024-01-01", "Received: 'e=1'"),
        ("a=level 1,b=x,day=2024-01-01", "b: expected a finite number. Received: 'x'"),
        ("a=level 1,b=inf,day=2024-01-01", "b: expected a finite number"),
        ("a=level 1,b=2,day=soon", "'day'"),
        ("a=level 1,a=level 1,b=2,day=2024-01-01", "once"),
        ("a=level 1,b=1:2,day=2024-01-01", "Received: '1:2'"),
    ]:
        with pytest.raises(DataError) as error:
            conditions_in(conditional, text)
        assert named in str(error.value) and "\n" not in str(error.value)


def test_a_level_that_no_training_row_has_may_be_given_and_has_a_note(conditional, capsys):
    (row,) = conditions_in(conditional, "a=level 9,b=1,day=2024-01-01").rows
    assert row[0] == -1
    assert "a: no training row has 'level 9' (did you mean" in capsys.readouterr().err
    draws = conditional.sample(20, given={"a": ["else"], "b": [1.0], "day": ["2024-01-01"]})
    assert draws.shape == (20, 4) and np.isfinite(conditional.log_prob(draws)).all()


def test_rows_that_are_none_are_refused(conditional):
    levels_and_numbers = [[3.0, 0, 0, 0]], [[0, 0, 0, 2.0]], [[0.5, 0, 0, 0]], [[-2.0, 0, 0, 0]]
    for rows in (*levels_and_numbers, [[0, np.inf, 0, 0]], [[0, 0, 0]], [0, 0, 0, 0]):
        with pytest.raises(DataError):
            conditional.log_prob(np.array(rows))
