"""Draws given any columns, by the density summed over all rows that meet the conditions."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from cells import grid, levels, number, products, random_density
from pyarrow import csv
from scipy.stats import ks_2samp

from nflow_cli.config.column_kinds import ColumnKind, Lattice
from nflow_cli.config.table import TableData
from nflow_cli.data.column_maps import Scale
from nflow_cli.errors import DataError
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.outliers import Outliers
from nflow_cli.tables.cells_loading import TrainedCells
from nflow_cli.tables.loaded_tables import conditions_in, write_draws

COLUMNS = [grid("a", step=1.0), levels("b", 3, missing=True), levels("c", 4)]
EVERY = products(np.arange(-30.0, 31), [0, 1, 2, np.nan], np.arange(4))
N = 8_000


def trained(density):
    kinds = {column.name: column.kind for column in density.row_columns}
    data = TableData(name="table", kinds=kinds, given=[*kinds][: density.n_given])
    config = SimpleNamespace(data=data, seed=0)
    return TrainedCells(SimpleNamespace(path=Path("run"), config=config), density, {})


@pytest.fixture(scope="module", params=[1, 2])
def joint(request):
    density = random_density(COLUMNS, members=request.param, shares=1.0)
    return trained(density)


def expect_shares(draws, density, met):
    values = EVERY[met]
    truth = np.exp(density.log_prob(values))
    found = np.array(
        [((draws == one) | (np.isnan(draws) & np.isnan(one))).all(axis=1).mean() for one in values]
    )
    # Each share has the error of N draws, or of the 2 N effective ones that these are chosen from.
    p = truth / truth.sum()
    assert (np.abs(found - p) < 5 * np.sqrt(p * (1 - p) / N) + 4 / N).all()


def test_draws_have_the_distribution_given_a_column_behind_others(joint):
    draws = joint.sample(N, given={"c": "level 2"})
    expect_shares(draws, joint, EVERY[:, 2] == 2)


@pytest.mark.parametrize("joint", [2], indirect=True)
def test_draws_have_the_distribution_given_a_range(joint):
    draws = joint.sample(N, given={"a": slice(0, 2), "b": "level 1"})
    met = (EVERY[:, 0] >= 0) & (EVERY[:, 0] <= 2) & (EVERY[:, 1] == 1)
    expect_shares(draws, joint, met)


def test_a_table_conditions_on_its_columns_and_an_empty_cell_is_no_condition(joint):
    table = {"b": ["level 0", None], "c": ["level 3", "level 1"]}
    draws = joint.sample(500, given=table)
    assert (draws[:500, 1:] == [0, 3]).all() and (draws[500:, 2] == 1).all()
    assert len(np.unique(draws[500:, 1])) > 1


def test_reliability_is_printed(joint, capsys):
    joint.sample(100, given={"c": "level 2"})
    printed = capsys.readouterr().err
    assert "effective sample size" in printed and "k-hat" in printed
    joint.sample(100)
    assert not capsys.readouterr().err


def test_draws_that_do_not_depend_on_a_condition_or_are_few_are_noted(capsys):
    columns = [replace(number(name), outliers=Outliers(0.0, 50.0)) for name in "ab"]
    joint = trained(random_density(columns, seed=3, new=0.1))
    alone = joint.sample(N)
    for b, is_far in (6.0, False), (-60.0, True):
        draws = joint.sample(N, given={"b": b})
        assert (ks_2samp(draws[:, 0], alone[:, 0]).statistic < 0.05) == is_far
        assert ("b=-60 is outside of the training" in capsys.readouterr().err) == is_far
    draws = joint.sample(300, given={"b": slice(np.sort(joint.sample(200_000)[:, 1])[-4], None)})
    assert len(np.unique(draws, axis=0)) < 10
    printed = capsys.readouterr().err
    assert "k-hat unknown" in printed and "fewer than 10 effective draws" in printed


def test_conditions_that_no_draw_meets_are_one_error():
    joint = trained(random_density(COLUMNS[:1]))
    with pytest.raises(DataError, match="none of 200,000 draws meets the conditions"):
        joint.sample(10, given={"a": slice(1e6, None)})


@pytest.mark.parametrize("joint", [1], indirect=True)
def test_texts_that_are_no_conditions_are_one_line(joint):
    for text, words in [
        ("b=level 1:level 2", "no training row has 'level 1:level 2'"),
        ("d=1", "expected each of a, b, c once"),
        ("a=2:1", "'a': expected LOW:HIGH"),
        ("a=x:1", "a: expected a finite number. Received: 'x'"),
    ]:
        with pytest.raises(DataError, match=words) as error:
            conditions_in(joint, text)
        assert "\n" not in str(error.value)


def test_columns_that_have_no_ranges_are_refused():
    density = random_density([number("g"), levels("b", 2)], n_given=1)
    for given, words in [
        ({"g": 1.0, "b": slice(0, 1)}, "'b': expected a level"),
        ({"b": "level 0"}, "expected values of 'g' too"),
        ({"g": slice(0, 1)}, "expected values of 'g' too"),
    ]:
        with pytest.raises(DataError, match=words):
            trained(density).sample(5, given=given)


KIND = ColumnKind(
    kind="grid", type="date", decimals=0, resolution=1.0, lattice=Lattice(step=1.0), missing=True
)


@pytest.fixture(scope="module")
def conditional():
    given = [levels("a", 3), CellColumn("day", KIND, (Scale(20_000.0, 300.0),), 0.01), number("b")]
    density = random_density([*given, levels("c", 2)], n_given=3)
    return trained(density)


def test_conditions_are_read_from_text_and_what_are_none_are_one_line(conditional):
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
    for day, number_of_day in (("2024-02-29", 19_782), ("", np.nan)):
        (row,) = conditions_in(conditional, f"b=-1.25,a=level 2,day={day}").rows
        np.testing.assert_array_equal(row, [2, number_of_day, -1.25, np.nan])


def test_a_level_that_no_training_row_has_is_refused_where_it_is_typed(conditional):
    said = "a: no training row has 'levl 1' (did you mean 'level 1'?)"
    with pytest.raises(DataError) as refused:
        conditions_in(conditional, "a=levl 1,b=1,day=2024-01-01")
    assert str(refused.value) == f"--given: {said}"
    for draw in (conditional.sample, conditional.sample_table):
        with pytest.raises(DataError) as refused:
            draw(5, given={"a": "levl 1", "b": 1.0, "day": "2024-01-01"})
        assert str(refused.value) == f"given: {said}"


def test_a_level_that_no_training_row_has_is_noted_in_a_table_and_stands_in_its_draws(
    conditional, tmp_path, capsys
):
    a, days = ["levl 1", "level 1", "else"], 3 * ["2024-01-01"]
    table = pa.table({"a": a, "b": [1.0, 2.0, 3.0], "day": days})
    csv.write_csv(table, tmp_path / "at.csv")
    drawn = conditional.sample_table(7, given=table)
    said = "note: a: no training row has 'levl 1' (did you mean 'level 1'?), and 1 more"
    assert said in capsys.readouterr().err
    assert drawn["a"].to_pylist() == [level for level in a for _ in range(7)]
    assert np.isfinite(drawn["log_q"].to_numpy()).all()
    write_draws(conditional, 7, tmp_path / "drawn.csv", 0, str(tmp_path / "at.csv"))
    assert said in capsys.readouterr().err
    assert csv.read_csv(tmp_path / "drawn.csv")["a"].to_pylist() == drawn["a"].to_pylist()
    conditional.predict(table, "c")
    assert said in capsys.readouterr().err


def test_rows_that_are_none_are_refused(conditional):
    levels_and_numbers = [[3.0, 0, 0, 0]], [[0, 0, 0, 2.0]], [[0.5, 0, 0, 0]], [[-2.0, 0, 0, 0]]
    for rows in (*levels_and_numbers, [[0, np.inf, 0, 0]], [[0, 0, 0]], [0, 0, 0, 0]):
        with pytest.raises(DataError):
            conditional.log_prob(np.array(rows))
