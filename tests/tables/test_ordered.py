"""Levels in order, from a table through a fit to predictions, draws and drift."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from short_runs import without_programs

import nflow_cli
from nflow_cli.errors import NflowError

SIZES = ["small", "medium", "large", "huge"]
RNG = np.random.default_rng(0)
N = 300
X = RNG.normal(size=N).round(2)
PLACES = np.clip(np.rint(1 + X + 0.3 * RNG.normal(size=N)), 0, 2).astype(int)
TINY = {
    "steps": 60,
    "ensemble": 1,
    "settings": {"train.chunk": 20, "cells.width": 4, "cells.blocks": 0, "cells.components": 2},
}


def sized(places):
    """Return a table with an ordered category, whose last level no row has, and gaps."""
    codes = pa.array([None if i % 20 == 7 else place for i, place in enumerate(places)], pa.int8())
    sizes = pa.DictionaryArray.from_arrays(codes, pa.array(SIZES), ordered=True)
    return pa.table({"x": X[: len(places)], "size": sizes, "noise": X[::-1][: len(places)]})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ordered")
    with without_programs():
        return nflow_cli.fit(sized(PLACES), missing="model", output=folder / "run", **TINY)


def test_an_order_is_that_of_a_category_or_of_the_options(fitted, tmp_path):
    parquet.write_table(sized(PLACES), tmp_path / "t.parquet")
    table = sized(PLACES)
    table = table.set_column(1, "size", table["size"].cast(pa.string()))
    asked = {"missing": "model", "given": ["x"], **TINY, "steps": 1}
    with without_programs():
        stored = nflow_cli.fit(tmp_path / "t.parquet", output=tmp_path / "a", **asked)
        chosen = nflow_cli.fit(table, ordered={"size": SIZES}, output=tmp_path / "b", **asked)
        plain = nflow_cli.fit(table, output=tmp_path / "c", **asked)
        with pytest.raises(
            NflowError, match="column 'size': expected one of the levels small, large"
        ):
            nflow_cli.fit(table, ordered={"size": ["small", "large"]}, **asked)
    for run in (fitted, stored, chosen):
        kind = run.config.data.kinds["size"]
        assert kind.is_ordered and kind.levels == SIZES
    assert plain.config.data.kinds["size"].levels == sorted(SIZES[:3])


def test_predictions_are_levels_in_order(fitted):
    p_of_quantiles = (0.05, 0.5, 0.95)
    found = fitted.predict(sized(PLACES), "size", quantiles=p_of_quantiles, coverage=0.8)
    found = {name: np.array(found[name].to_pylist()) for name in found.column_names}
    p = np.stack([found[f"size_p_{level}"] for level in SIZES], axis=1)
    new = np.exp(fitted.density.marginals[-1].log_p_new)
    total = p.sum(axis=1) + found["size_missing"]
    assert (total > 1 - 2 * new).all() and (total <= 1 + 1e-9).all()
    assert (p[:, 3] > 0).all()  # of a level that no row has
    below = np.cumsum(p, axis=1) / p.sum(axis=1, keepdims=True)
    for level in p_of_quantiles:
        places = (below < level).sum(axis=1)
        assert list(found[f"size_q{level:g}"]) == [SIZES[place] for place in places]
    low, high = (
        np.array([SIZES.index(s) for s in found[f"size_{end}"]]) for end in ("low", "high")
    )
    known = np.arange(N) % 20 != 7
    assert (low <= high).all()
    is_covered = (low <= PLACES) & (high >= PLACES)
    assert is_covered[known].mean() > 0.7


def test_draws_gaps_and_changes_of_levels_in_order(fitted):
    drawn = fitted.sample_table(200, seed=1)["size"].to_pylist()
    assert {size for size in drawn if size} <= set(SIZES) and None in drawn
    filled = fitted.impute(sized(PLACES))["size"].to_pylist()
    assert set(filled) <= set(SIZES)
    up = fitted.drift(sized(np.minimum(PLACES + 1, 3)))
    assert up.moved == ["size"] and up.columns["size"].shift.mean > 0.3
    odd = fitted.explain({"x": [-2.0, -2.0], "size": ["small", "huge"], "noise": [0.0, 0.0]})
    assert odd["size_surprise"][0].as_py() < 1 < 3 < odd["size_surprise"][1].as_py()
    new = {"x": [0.0], "size": ["gigantic"], "noise": [0.0]}
    assert fitted.rows(new)[0, fitted.columns.index("size")] == -1
    assert np.isfinite(fitted.log_prob(new)).all()
    json.dumps(fitted.summary)
