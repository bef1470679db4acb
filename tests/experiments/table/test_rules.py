"""Rules of a table, from its rows through a fit to draws, and back from its folder."""

import numpy as np
import pytest
from short_runs import without_programs

import nflow_cli
from nflow_cli.errors import NflowError

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
    settings = {**TINY["settings"], "cells.rules": []}
    with without_programs():
        plain = nflow_cli.fit(TABLE, **{**TINY, "settings": settings})
    draws = plain.sample(2_000, seed=1)
    assert (draws[:, 0] > draws[:, 2]).mean() > 0.01


def test_a_rule_of_no_column_is_refused():
    rule = {"rule": "order", "columns": ["entry", "leave"], "rows": 9}
    settings = {**TINY["settings"], "cells.rules": [rule]}
    with pytest.raises(NflowError, match="rules of two modelled or given columns"):
        nflow_cli.fit(TABLE, **{**TINY, "settings": settings})
