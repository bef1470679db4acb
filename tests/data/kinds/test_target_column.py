"""Columns that a target is predicted from: all others, but those that give it away."""

import numpy as np
import pytest

import nflow_cli
from nflow_cli.config.table import TableData
from nflow_cli.data.files.table_files import opened
from nflow_cli.data.kinds.dataset import load_dataset

N = 600


def homes():
    """Return prices, and columns that follow from them, or with others give them."""
    draw = np.random.default_rng(0)
    price, fee = np.round(np.exp(draw.normal(12, 0.4, N))), draw.integers(100, 900, N)
    return {
        "id": np.arange(N),
        "fee": fee,
        "tax": np.round(0.2 * price, 1),
        "price": price,
        "total": price + fee,
        "digits": np.round(np.log10(price), 6),
        "area": draw.integers(40, 200, N),
        "district": draw.choice(["north", "south"], N),
        "owner": [f"owner {i} of {i}" for i in range(N)],
        "country": ["here"] * N,
        "code": draw.choice([1, 2, 3], N),
    }


def loaded(table, **settings):
    data = TableData(name="homes", missing="model", **settings)
    return load_dataset(data, opened(table))


def test_columns_that_give_a_target_away_are_left_out_and_named_and_the_others_are_given():
    data = loaded(homes(), target=["price"])
    assert data.modelled_names == ["price"]
    assert data.given_names == ["fee", "area", "district", "code"]
    assert data.computed_names == []
    away = {name for name, kind in data.kinds.items() if "gives price away" in kind.why}
    assert away == {"tax", "total", "digits"}
    assert [*data.kinds] == [*homes()]
    assert "target price, given 4 columns: fee, area, district, code" in data.notes
    assert "left out, gives price away (tax = 0.2 * price): tax" in data.notes


def test_a_map_to_or_from_a_level_gives_it_away():
    table = homes()
    table["district code"] = np.where(table["district"] == "north", 7, 9)
    data = loaded(table, target=["district"], exclude=["tax", "total", "digits"])
    assert "gives district away" in data.kinds["district code"].why
    assert data.given_names == ["fee", "price", "area", "code"]


def test_of_several_targets_one_may_be_computed_from_another():
    data = loaded(homes(), target=["price", "tax"])
    assert (data.modelled_names, data.computed_names) == (
        ["tax"],
        ["price"],
    )  # in the table's order
    assert data.given_names == ["fee", "area", "district", "code"]


def test_a_target_is_fitted_as_a_column_given_the_others_to_the_bit(tmp_path):
    table = {name: homes()[name] for name in ("fee", "price", "area", "district")}
    short = {"steps": 2, "settings": {"cells.width": 8, "train.chunk": 1}}
    fits = [
        nflow_cli.fit(table, output=tmp_path / str(i), **short, **roles)
        for i, roles in enumerate(
            [{"target": "price"}, {"columns": ["price"], "given": ["fee", "area", "district"]}]
        )
    ]
    sums = [fit.summary["model_sha256"] for fit in fits]
    assert sums[0] == sums[1]
    again = nflow_cli.load(tmp_path / "0")
    assert again.given == ["fee", "area", "district"]
    few = {name: cells[:3] for name, cells in table.items() if name != "price"}
    assert "price_mean" in again.predict(few).column_names
    new = {**few, "district": ["west", "north", "south"], "area": [np.nan, 80, 90]}
    assert np.isfinite(again.predict(new)["price_mean"].to_numpy()).all()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"target": ["country"]}, "expected a column to model, received none; left out"),
        ({"target": ["prce"]}, r"data\.target: no column 'prce' \(did you mean 'price'\?\)"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(settings, named):
    with pytest.raises(nflow_cli.errors.DataError, match=named):
        loaded(homes(), **settings)


def test_rows_are_the_same_when_the_kinds_are_settled():
    """Copies are known by the digits of a column that gives the target away, of no other."""
    draw = np.random.default_rng(0)
    price, fee = (draw.choice(np.round(draw.uniform(0, 1e3, 300), 3), N) for _ in range(2))
    table = {"price": price, "fee": fee, "total": price + fee, "area": draw.integers(9, size=N)}
    table = {name: np.append(values, values[:60]) for name, values in table.items()}
    settings = TableData(name="homes", target=["price"])
    first = load_dataset(settings, opened(table))
    again = load_dataset(settings.with_kinds(first.kinds), opened(table))
    assert first.columns == ["fee", "area", "price"] and first.n_copies == again.n_copies == 60
    np.testing.assert_array_equal(again.train, first.train)
