"""Whole tables as rows: which columns and rows are used, how they are split, and found again."""

import numpy as np
import pytest

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.dataset import load_dataset
from nflow_cli.data.table_files import table_of
from nflow_cli.errors import DataError

RNG = np.random.default_rng(0)
N = 200
GAPS = RNG.random(N) < 0.2
TABLE = {
    "x": RNG.normal(size=N).round(6),
    "city": RNG.choice(["Rome", "Oslo"], N),
    "gappy": np.where(GAPS, np.nan, RNG.normal(size=N)),
    "one": np.ones(N),
    "w": RNG.integers(0, 4, N),
}


def loaded(table=TABLE, **settings):
    return load_dataset(TableData(name="t", **settings), table_of(table))


def rows_of(data):
    return np.concatenate([data.train, data.validation, data.test])


def test_gaps_are_modelled_unless_rows_with_one_are_dropped():
    modelled = loaded(missing="model")
    assert np.isnan(rows_of(modelled)).sum() == GAPS.sum()
    dropped = loaded(missing="drop")
    assert len(rows_of(dropped)) == (~GAPS).sum() and not np.isnan(rows_of(dropped)).any()
    assert not any(kind.missing for kind in dropped.kinds.values())
    count = GAPS.sum()
    assert f"left out: {count} of 200 rows have missing values (gappy {count})" in dropped.notes
    with pytest.raises(
        DataError, match=rf"{count} of 200 rows have missing values \(gappy {count}\)"
    ):
        loaded(missing="refuse")
    assert len(rows_of(loaded(missing="refuse", exclude=["gappy"]))) == N


@pytest.mark.parametrize(
    "settings",
    [
        {"missing": "model"},
        {"missing": "drop", "weights": "w"},
        {"missing": "model", "given": ["one", "city"]},
        {"missing": "drop", "columns": ["gappy", "x"], "max_rows": 100},
        {"missing": "model", "discrete": {"w": 1}, "categorical": ["one"]},
    ],
)
def test_the_settings_that_a_run_records_lead_to_the_same_rows(settings):
    data = loaded(**settings)
    config = CellsConfig(command="fit", data=TableData(name="t", **settings))
    again = load_dataset(config.settled(data.kinds, len(data.train)).data, table_of(TABLE))
    assert (again.sha256, again.measure, again.sizes) == (data.sha256, data.measure, data.sizes)
    assert (again.given, again.modelled) == (data.given, data.modelled)
    assert again.record() == data.record()
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again, part), getattr(data, part))


def test_only_columns_that_are_named_are_used_in_the_order_of_the_table():
    assert loaded(columns=["gappy", "x"], missing="model").columns == ["x", "gappy"]
    assert loaded(exclude=["x"], missing="model").columns == ["city", "gappy", "w"]
    given = loaded(given=["one", "city"], missing="model")
    assert (given.given, given.modelled) == (["city"], ["x", "gappy", "w"])
    assert "left out, constant: one" in given.notes


def test_weights_are_no_column_and_are_of_mean_one_in_each_part():
    data = loaded(weights="w", missing="model")
    assert "w" not in data.columns
    assert all(part is not None and part.mean() == pytest.approx(1) for part in data.weights)
    assert any(note.startswith("weighted by w: effective sample size ") for note in data.notes)


def test_a_part_of_the_rows_may_be_drawn():
    data = loaded(max_rows=50, missing="model")
    assert sum(data.sizes.values()) == 50
    assert "50 rows, drawn at random by data.max_rows" in data.notes
    assert set(rows_of(data)[:, 0]) <= set(TABLE["x"])


def written(path, table):
    rows = zip(*table.values())
    path.write_text("\n".join([",".join(table), *(",".join(map(str, r)) for r in rows), ""]))
    return str(path)


def test_test_rows_may_be_those_of_a_table_of_their_own(tmp_path):
    own = {name: values[:30] for name, values in reversed(TABLE.items())}
    own["city"] = ["Bern", *own["city"][1:]]
    path = written(tmp_path / "own.csv", own)
    data = loaded(test=path, weights="w", missing="drop")
    left = ~GAPS[:30]
    assert data.sizes["n_test"] == left.sum()
    assert len(data.train) + len(data.validation) == (~GAPS).sum()
    assert data.kinds["city"].levels == ["Oslo", "Rome"]
    assert sorted(data.test[:, 0]) == sorted(TABLE["x"][:30][left])
    assert (data.test[:, 1] == -1).sum() == left[0]
    at = {x: w for x, w in zip(own["x"], own["w"])}
    weights = np.array([at[x] for x in data.test[:, 0]])
    np.testing.assert_allclose(data.weights.test, weights / weights.mean())
    assert data.record()["test"]["path"] == path
    with pytest.raises(DataError, match="test rows other than the training rows"):
        loaded(test=written(tmp_path / "same.csv", TABLE), missing="model")
