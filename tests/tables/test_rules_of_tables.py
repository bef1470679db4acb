"""Rules of a table, from its rows through a fit to draws, and back from its folder."""

import numpy as np
import pytest
from short_runs import without_programs

import nflow_cli
from nflow_cli.errors import NflowError
from nflow_cli.tables.answers.impute import imputed
from nflow_cli.tables.table_rows import TableRows

RNG = np.random.default_rng(0)
N = 300
ENTRY = RNG.integers(0, 30, N)
TABLE = {"entry": ENTRY, "size": RNG.normal(size=N).round(2), "exit": ENTRY + RNG.poisson(3, N)}
TINY = {
    "steps": 20,
    "ensemble": 1,
    "settings": {"train.chunk": 20, "cells.width": 4, "cells.blocks": 0, "cells.components": 2},
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    with without_programs():
        return nflow_cli.fit(TABLE, output=folder / "run", **TINY)


def test_a_rule_is_recorded_and_kept_by_draws(fitted):
    assert [rule.text for rule in fitted.config.cells.rules] == ["entry <= exit"]
    draws = fitted.sample(2_000, seed=1)
    assert (draws[:, 0] <= draws[:, 2]).all()
    loaded = nflow_cli.load(fitted.path)
    np.testing.assert_array_equal(loaded.log_prob(TABLE), fitted.log_prob(TABLE))


def test_without_rules_some_draws_break_one():
    with without_programs():
        plain = nflow_cli.fit(TABLE, rules=False, **TINY)
    draws = plain.sample(2_000, seed=1)
    assert (draws[:, 0] > draws[:, 2]).mean() > 0.01


def test_a_declared_rule_is_kept_beside_its_exceptions():
    table = {name: np.array(cells, float) for name, cells in TABLE.items()}
    table["exit"][::50] = -5.0
    with without_programs():
        fitted = nflow_cli.fit(table, rule=["entry <= exit"], **TINY)
    (rule,) = fitted.config.cells.rules
    assert rule.is_declared and 4 <= rule.breaks <= 6
    assert np.isfinite(fitted.log_prob(table)).all()
    draws = fitted.sample(2_000, seed=1)
    assert (draws[:, 0] <= draws[:, 2]).all()


def test_imputations_and_predictions_keep_a_rule(fitted):
    rows = np.column_stack([cells[:40] for cells in TABLE.values()]).astype(float)
    rows[:20, 0] = np.nan  # before the other cell of its rule
    rows[20:, 2] = np.nan
    rows[::2, 1] = np.nan
    for draws in (None, 5):
        filled = imputed(TableRows(fitted.density, rows), draws, 0).rows
        assert (filled[..., 0] <= filled[..., 2]).all()
    known = {"entry": TABLE["entry"], "size": TABLE["size"]}
    predicted = fitted.predict(known, target="exit", quantiles=[1e-6, 0.5])
    names = [name for name in predicted.column_names if name.startswith(("exit_mean", "exit_q"))]
    assert len(names) == 3
    for name in names:
        assert (predicted[name].to_numpy() >= TABLE["entry"]).all(), name


def test_rows_that_break_a_rule_are_found(fitted, tmp_path):
    table = {name: np.array(cells, float) for name, cells in TABLE.items()}
    table["exit"][:60] = table["entry"][:60] - 3
    found = fitted.drift(table)
    assert found.moved_rules == ["entry <= exit"]
    assert found.rules["entry <= exit"].share.after == pytest.approx(0.2)


def test_a_rule_of_no_column_is_refused():
    rule = {"rule": "order", "columns": ["entry", "leave"], "rows": 9}
    settings = {**TINY["settings"], "cells.rules": [rule]}
    with pytest.raises(NflowError, match="rules of two modelled or given columns"):
        nflow_cli.fit(TABLE, **{**TINY, "settings": settings})
