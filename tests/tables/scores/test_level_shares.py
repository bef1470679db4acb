"""Shares of levels within bins of other columns, of exact draws and of draws that lose some."""

import numpy as np
import pytest

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.tables.scores.level_shares import lost_shares

NUMBER = ColumnKind(kind="number")
DATE = ColumnKind(kind="grid", type="date")
YES = ColumnKind(kind="levels", levels=["no", "yes"])
KINDS = {"calls": NUMBER, "plan": YES, "leaves": YES}


def customers(rng, n, above):
    """Return rows in which those with more than three calls leave with the probability ``above``,
    others with 0.1.
    """
    calls = rng.poisson(1.6, n)
    leaves = rng.random(n) < np.where(calls > 3, above, 0.1)
    return np.column_stack([calls, rng.random(n) < 0.1, leaves]).astype(float)


def test_a_threshold_that_draws_lose_is_named():
    rng = np.random.default_rng(0)
    rows, draws = customers(rng, 3_000, 0.5), customers(rng, 5_000, 0.25)
    (found,) = lost_shares(KINDS, rows, draws)
    assert {found.level, found.among} == {"leaves is yes", "calls is above 3"} or (
        found.level == "leaves is no"
    )
    assert abs(abs(found.rows - found.draws) - 0.25) < 4 * found.standard_error < 0.2
    assert lost_shares(KINDS, rows, draws, n_given=3) == []
    assert lost_shares({**KINDS, "calls": DATE}, rows, draws) == []


def test_rows_of_small_weight_have_no_share_to_lose():
    rng = np.random.default_rng(1)
    rows = np.concatenate([customers(rng, 3_000, 0.25), customers(rng, 3_000, 0.9)])
    draws = customers(rng, 5_000, 0.25)
    assert lost_shares(KINDS, rows, draws)
    assert not lost_shares(KINDS, rows, draws, np.repeat([1.0, 1e-3], 3_000))


def exact(rng, kinds):
    """Return a function that draws rows of a random law of columns that depend on each other."""
    count = len(kinds)
    weights = rng.normal(size=(count, count)) * rng.uniform(0, 1.5)
    heights = [rng.normal(size=len(kind.levels or [])) * 2 for kind in kinds.values()]

    def rows(n):
        scores = rng.normal(size=(n, count)) @ weights + rng.normal(size=(n, count))
        columns = []
        for score, height in zip(scores.T, heights):
            if not len(height):
                columns.append(np.round(np.exp(score)))
                continue
            slopes = np.linspace(-1, 1, len(height))
            noise = rng.gumbel(size=(n, len(height)))
            columns.append(np.argmax(height + np.outer(score, slopes) + noise, axis=1))
        return np.column_stack(columns).astype(float)

    return rows


@pytest.mark.parametrize("seed", range(4))
def test_exact_draws_raise_no_alarm(seed):
    rng = np.random.default_rng(seed)
    alarms = 0
    for _ in range(25):
        sizes = [0, 0, *rng.integers(2, 13, 4)]
        kinds = {f"column {j}": _kind(size) for j, size in enumerate(sizes)}
        law = exact(rng, kinds)
        rows = law(int(10 ** rng.uniform(2, 3.7)))
        alarms += bool(lost_shares(kinds, rows, law(5_000)))
    assert alarms <= 1


def _kind(size):
    return ColumnKind(kind="levels", levels=[str(i) for i in range(size)]) if size else NUMBER
