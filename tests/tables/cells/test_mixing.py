"""Shares of networks beside a marginal: against a search by hand, and those that cells are of."""

from dataclasses import replace

import numpy as np
import pytest
from cells import number, random_density
from scipy.optimize import minimize

from nflow_cli.tables.cells.heads import LogCells
from nflow_cli.tables.cells.marginal import PRIOR_CELLS, mixing_shares
from nflow_cli.tables.cells.outliers import Outliers

NEAR = 1e-4  # nats: EM ends so close to the best shares


def cells_of(log_p):
    return LogCells(log_p, np.zeros_like(log_p))


def shares_of(*log_p, weights=None):
    """Return the shares of networks and a marginal, the last, by log-probabilities ``(n, D)``."""
    *networks, marginal = map(cells_of, log_p)
    return mixing_shares(networks, marginal, weights)


def log_posterior(shares, log_p, weights):
    """Log-density of the share of a network, with a prior of one cell that it alone has."""
    with np.errstate(divide="ignore"):
        parts = np.log(shares)[:, None] + log_p
        return np.log(shares[0]) + weights @ np.logaddexp.reduce(parts)


@pytest.mark.parametrize("weighted", [False, True])
def test_no_other_share_of_a_network_is_more_probable(weighted):
    rng = np.random.default_rng(int(weighted))
    a, b = rng.normal(-3, [[0.3, 1, 30]], (200, 3)), rng.normal(-3, 1, (200, 3))
    weights = rng.random(200) if weighted else None
    best = shares_of(a, b, weights=weights)
    v = np.ones(200) if weights is None else weights * (weights.sum() / (weights @ weights))
    for column in range(3):
        cells = np.stack([a[:, column], b[:, column]])
        others = [
            log_posterior(np.array([u, 1 - u]), cells, v) for u in np.linspace(0, 1, 2001)[1:-1]
        ]
        assert log_posterior(best[:, column], cells, v) >= max(others) - NEAR


def test_shares_of_several_networks_are_those_of_the_largest_posterior():
    rng = np.random.default_rng(8)
    log_p = rng.normal(-3, 1, (3, 150, 1))
    shares = shares_of(*log_p)[:, 0]

    def loss(logits, prior):
        log_v = logits - np.logaddexp.reduce(logits)
        in_networks = np.logaddexp.reduce(log_v[:-1])
        log_prior = in_networks + PRIOR_CELLS * prior @ (log_v[:-1] - in_networks)
        return -log_prior - np.logaddexp.reduce(log_v[:, None] + log_p[:, :, 0]).sum()

    pooled = minimize(loss, np.zeros(3), np.array([0.5, 0.5])).x[:2]
    prior = np.exp(pooled - np.logaddexp.reduce(pooled))
    best = minimize(loss, np.zeros(3), prior)
    assert loss(np.log(shares), prior) <= best.fun + NEAR


def test_networks_of_few_cells_have_the_shares_that_they_have_in_all_columns():
    rng = np.random.default_rng(9)
    log_p = np.full((3, 60, 20), -1.0)
    log_p[0, rng.random((60, 20)) < 0.8] = 0.0
    log_p[1] = -1.0 - log_p[0]
    log_p[2] = -30.0
    log_p[:, 1:, 0] = np.nan  # one cell of the first column
    shares = shares_of(*log_p)
    of_all = shares[0, 1:].mean()
    assert of_all > 0.6 and shares[2].max() == pytest.approx(1 / 61)
    assert shares[0, 0] == pytest.approx(of_all, abs=0.25)


def test_shares_are_those_that_cells_were_drawn_by():
    rng, expected = np.random.default_rng(4), np.array([0.1, 0.6, 0.3])
    means = np.array([[-8.0], [0.0], [8.0]])
    x = means[rng.choice(3, 20_000, p=expected), 0] + rng.standard_normal(20_000)
    log_p = (-((x - means) ** 2) / 2)[..., None]
    assert shares_of(*log_p)[:, 0] == pytest.approx(expected, abs=0.012)
    counted = shares_of(*log_p, weights=(x > 4).astype(float))
    assert counted[:, 0] == pytest.approx([0, 0, 1], abs=1e-3)


def test_presence_and_values_of_a_column_have_one_share():
    rng = np.random.default_rng(5)
    (a, b), v = rng.normal(-1, 1, (2, 2, 100)), np.ones(200)
    own, other = (LogCells((x + y)[:, None], x[:, None]) for x, y in ((a[0], a[1]), (b[0], b[1])))
    best = mixing_shares([own], other)[:, 0]
    cells = np.stack([a.ravel(), b.ravel()])
    others = [log_posterior(np.array([u, 1 - u]), cells, v) for u in np.linspace(0, 1, 2001)[1:-1]]
    assert 0 < best[0] < 1 and log_posterior(best, cells, v) >= max(others) - NEAR


def test_the_marginal_has_at_least_one_cell_of_a_share():
    better, worse = np.full((99, 1), -1.0), np.full((99, 1), -2.0)
    assert 0 < shares_of(worse, better)[0] < 0.02
    for marginal in (better, worse):
        assert shares_of(better, marginal)[0] == pytest.approx(1 - 1 / 100)


def test_an_impossible_cell_bounds_the_share():
    a, b = np.zeros((100, 1)), np.full((100, 1), -800.0)
    a[:10] = -np.inf
    assert shares_of(a, b)[0] == pytest.approx(91 / 101)  # Σ: 91 log v + 10 log(1 - v)
    assert shares_of(b, np.where(np.isinf(a), -np.inf, 0.0))[0] == pytest.approx(11 / 101)


def test_cells_that_are_unknown_or_impossible_to_all_do_not_count():
    rng = np.random.default_rng(3)
    a, b = rng.normal(-3, 1, (2, 50, 1))
    expected = shares_of(a, b, weights=np.append(np.ones(48), [0, 0]))
    a[48], b[49] = np.nan, -np.inf
    a[49] = -np.inf
    assert shares_of(a, b) == pytest.approx(expected, abs=1e-4)
    no_cells = shares_of(np.full((5, 1), np.nan), np.zeros((5, 1)))
    assert no_cells[0] == pytest.approx(1 - 1 / 6)  # the prior's


def test_no_other_shares_have_a_density_more_probable_with_outliers_among_the_cells():
    columns = [replace(number(name), outliers=Outliers(0.0, 5.0)) for name in "ab"]
    density = random_density(columns, shares=0.5, new=0.01)
    rows = density.draw(np.full((200, 2), np.nan), np.random.default_rng(0))
    rows[:6, 1] = [1e3, -1e3, 1e6, 15.0, -15.0, 4.0]
    (weights,) = density.networks
    of_network = density.network_log_cells(weights, rows)
    best = mixing_shares([of_network], density.marginal_log_cells(rows))

    def log_posterior(w):
        mixed = density.with_networks([weights], np.tile([[w], [1 - w]], 2))
        return mixed.cell_log_probs(rows).sum(axis=0) + np.log(w)

    others = np.max([log_posterior(w) for w in np.linspace(0.001, 0.995, 500)], axis=0)
    for j, w in enumerate(best[0]):
        assert 0 < w < 0.995 and log_posterior(w)[j] >= others[j] - NEAR
