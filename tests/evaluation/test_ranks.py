"""Areas under the ROC curve by counts of log-odds."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nflow_cli.evaluation.ranks import MOST_LEVELS, PER_NAT, area, ranked


def predictions(n, count, seed=0):
    """Return levels ``(n,)`` and probabilities ``(n, count)`` that know something of them."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, count, n)
    odds = rng.normal(size=(n, count)) + (levels[:, None] == np.arange(count))
    return levels, np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_an_area_is_that_of_scikit_learn_to_the_resolution(count):
    levels, shares = predictions(500, count)
    expected = roc_auc_score(
        levels, shares[:, 1] if count == 2 else shares, multi_class="ovr", average="weighted"
    )
    found = area(ranked(shares, levels))
    assert found["auc"] == pytest.approx(expected, abs=2e-4)
    assert (found["auc_standard_error"] is None) == (count > 2)


def test_equal_probabilities_count_half_and_certain_ones_are_ranked():
    levels = np.array([0, 0, 1, 0, 1, 1])
    second = np.array([0.0, 0.4, 0.4, 1 - 1e-9, 1.0, 1.0])
    found = area(ranked(np.column_stack([1 - second, second]), levels))
    assert found["auc"] == pytest.approx(roc_auc_score(levels, np.minimum(second, 1 - 1e-9)))


def test_the_error_of_an_area_is_that_of_all_pairs_of_rows():
    """By DeLong et al. (1988) it is that of the means over pairs with each row."""
    levels, shares = predictions(80, 2, seed=1)
    cells = np.floor(PER_NAT * np.log(shares[:, 1] / shares[:, 0]))
    own, others = cells[levels == 1], cells[levels == 0]
    wins = (own[:, None] > others) + (own[:, None] == others) / 2
    terms = [wins.mean(axis=axis) for axis in (1, 0)]
    error = np.sqrt(sum(term.var(ddof=1) / len(term) for term in terms))
    found = area(ranked(shares, levels))
    assert found == pytest.approx({"auc": wins.mean(), "auc_standard_error": error})


def test_levels_that_no_row_has_have_no_area():
    levels, shares = predictions(200, 3)
    some = levels < 2
    assert 0.5 < area(ranked(shares[some], levels[some]))["auc"] < 1
    assert area(ranked(shares[levels == 1], levels[levels == 1])) == {}
    assert area(ranked(*predictions(200, MOST_LEVELS + 1)[::-1])) == {}
