"""Losses of predictions beside those of the column alone."""

import numpy as np
import pytest
from cells import grid, independent, levels, number, random_density
from sklearn.metrics import log_loss, mean_pinball_loss, roc_auc_score

from nflow_cli.tables.cells.cell_conditional import conditional
from nflow_cli.tables.losses import scores_of, shares_of, tally_of

P = np.array([0.1, 0.5, 0.9])
COLUMNS = [levels("a", 3, missing=True), number("b"), levels("c", 2), grid("d", missing=True)]
KEYS = {True: ("rmse", "pinball"), False: ("log_loss", "error_rate")}


def scored(density, rows, j):
    found = conditional(density, rows, j, P)
    return found, scores_of(tally_of(density, j, P, found, rows[:, j]))


def drawn(density, n):
    return density.draw(np.full((n, len(density.columns)), np.nan), np.random.default_rng(0))


@pytest.mark.parametrize("j", [0, 2])
def test_losses_of_levels_are_those_of_scikit_learn(j):
    density = random_density(COLUMNS, members=2, seed=2, new=1e-12)
    rows = drawn(density, 300)
    found, scores = scored(density, rows, j)
    known = ~np.isnan(rows[:, j])
    own, shares = rows[known, j].astype(int), shares_of(found)[known]
    assert scores["log_loss"] == pytest.approx(log_loss(own, shares))
    assert scores["error_rate"] == pytest.approx(np.mean(shares.argmax(axis=1) != own))
    expected = roc_auc_score(
        own, shares if j == 0 else shares[:, 1], multi_class="ovr", average="weighted"
    )
    assert scores["auc"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("j", [1, 3])
def test_losses_of_numbers_are_those_of_scikit_learn(j):
    density = random_density(COLUMNS, members=2, seed=2)
    rows = drawn(density, 300)
    found, scores = scored(density, rows, j)
    known = ~np.isnan(rows[:, j])
    own, quantiles = rows[known, j], found.quantiles[known].T
    pinball = [mean_pinball_loss(own, q, alpha=p) for q, p in zip(quantiles, P)]
    assert scores["pinball"] == pytest.approx(np.mean(pinball))
    away = found.mean[known] - own
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(away**2)))
    resampled = np.random.default_rng(0).choice(away, (4_000, len(away)))
    roots = np.sqrt(np.square(resampled).mean(axis=1))
    assert scores["rmse_standard_error"] == pytest.approx(roots.std(), rel=0.1)


@pytest.mark.parametrize("j", range(4))
def test_independent_columns_are_predicted_no_better_than_alone(j):
    """Networks without weight predict by quadrature what marginals do."""
    density = independent(random_density(COLUMNS, seed=2))
    rows = drawn(density, 200)
    _, scores = scored(density, rows, j)
    for key in KEYS[COLUMNS[j].has_numbers]:
        assert scores[key] == pytest.approx(scores[f"{key}_alone"], rel=2e-3)


def test_the_loss_of_shares_alone_is_their_entropy():
    density = random_density([levels("a", 4), number("b")], seed=1, new=1e-9)
    shares = np.exp(density.marginals[0].log_shares)
    rows = drawn(independent(density), 4_000)
    _, scores = scored(density, rows, 0)
    error = scores["log_loss_alone_standard_error"]
    assert scores["log_loss_alone"] == pytest.approx(-shares @ np.log(shares), abs=4 * error)
    assert error < 0.02


def test_new_levels_are_errors_and_have_no_rank():
    density = random_density(COLUMNS, seed=3)
    rows = drawn(density, 100)
    rows = np.concatenate([rows, rows])
    rows[100:, 2] = -1
    _, whole = scored(density, rows, 2)
    _, seen = scored(density, rows[:100], 2)
    assert whole["error_rate"] == pytest.approx((1 + seen["error_rate"]) / 2)
    assert whole["auc"] == seen["auc"]
