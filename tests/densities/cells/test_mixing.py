"""The weight of a network beside a marginal against a search by hand."""

from dataclasses import replace

import numpy as np
import pytest
from cells import number, random_density

from nflow_cli.densities.cells.heads import LogCells
from nflow_cli.densities.cells.marginal import member_weights, mixing_weights
from nflow_cli.densities.cells.outliers import Outliers


def weights_of(a, b, weights=None):
    return mixing_weights(LogCells(a, np.zeros_like(a)), LogCells(b, np.zeros_like(b)), weights)


def posterior(w, a, b, weights):
    """Log-density with a Beta(2, 1) prior, up to a constant."""
    with np.errstate(divide="ignore"):
        return np.log(w) + weights @ np.logaddexp(np.log(w) + a, np.log1p(-w) + b)


@pytest.mark.parametrize("weighted", [False, True])
def test_no_other_weights_are_more_probable(weighted):
    rng = np.random.default_rng(int(weighted))
    a, b = rng.normal(-3, [[0.3, 1, 30]], (200, 3)), rng.normal(-3, 1, (200, 3))
    weights = rng.random(200) if weighted else None
    best = weights_of(a, b, weights)
    v = np.ones(200) if weights is None else weights * (weights.sum() / (weights @ weights))
    for column, w in enumerate(best):
        cells = a[:, column], b[:, column], v
        others = [posterior(u, *cells) for u in np.linspace(0, 1, 2001)[1:-1]]
        assert 0 < w < 1 - 1 / 201 and posterior(w, *cells) >= max(others) - 1e-10


def test_presence_and_values_of_a_column_have_one_weight():
    rng = np.random.default_rng(5)
    (a, b), v = rng.normal(-1, 1, (2, 2, 100)), np.ones(100)
    own, other = (LogCells((x + y)[:, None], x[:, None]) for x, y in ((a[0], a[1]), (b[0], b[1])))
    (best,) = mixing_weights(own, other)

    def total(w):
        return posterior(w, a.ravel(), b.ravel(), np.tile(v, 2))

    assert 0 < best < 1 and total(best) >= max(map(total, np.linspace(0, 1, 2001)[1:-1])) - 1e-10


def test_weights_end_just_below_1():
    better, worse = np.full((99, 1), -1.0), np.full((99, 1), -2.0)
    assert 0 < weights_of(worse, better) < 0.02
    assert weights_of(better, better) == weights_of(better, worse) == 1 - 1 / 100


def test_an_impossible_cell_bounds_the_weight():
    a, b = np.zeros((100, 1)), np.full((100, 1), -800.0)
    a[:10] = -np.inf
    assert weights_of(a, b)[0] == pytest.approx(91 / 101)  # Σ: 91 log w + 10 log(1 - w)
    assert weights_of(b, np.where(np.isinf(a), -np.inf, 0.0))[0] == pytest.approx(11 / 101)


def test_cells_that_are_unknown_or_impossible_to_both_do_not_count():
    rng = np.random.default_rng(3)
    a, b = rng.normal(-3, 1, (2, 50, 1))
    expected = weights_of(a, b, np.append(np.ones(48), [0, 0]))
    a[48], b[49] = np.nan, -np.inf
    a[49] = -np.inf
    assert weights_of(a, b) == pytest.approx(expected, abs=1e-12)
    assert weights_of(np.full((5, 1), np.nan), np.zeros((5, 1))) == 1 - 1 / 6  # the prior's


def test_no_other_weights_have_a_density_more_probable_with_outliers_among_the_cells():
    columns = [replace(number(name), outliers=Outliers(0.0, 5.0)) for name in "ab"]
    density = random_density(columns, shares=0.5, new=0.01)
    rows = density.draw(np.full((200, 2), np.nan), np.random.default_rng(0))
    rows[:6, 1] = [1e3, -1e3, 1e6, 15.0, -15.0, 4.0]
    (member,) = density.networks
    best = mixing_weights(density.network_log_cells(member, rows), density.marginal_log_cells(rows))

    def log_posterior(w):
        mixed = density.with_networks([member._replace(network_shares=np.full(2, w))])
        return mixed.cell_log_probs(rows).sum(axis=0) + np.log(w)

    others = np.max([log_posterior(w) for w in np.linspace(0.001, 0.995, 500)], axis=0)
    for j, w in enumerate(best):
        assert 0 < w < 0.995 and log_posterior(w)[j] >= others[j] - 1e-9


def test_weights_of_members_are_those_that_rows_were_drawn_by():
    rng, weights = np.random.default_rng(4), np.array([0.1, 0.6, 0.3])
    means = np.array([[-8.0], [0.0], [8.0]])
    x = means[rng.choice(3, 20_000, p=weights), 0] + rng.standard_normal(20_000)
    log_q = -((x - means) ** 2) / 2
    assert member_weights(log_q) == pytest.approx(weights, abs=0.012)
    counted = member_weights(log_q, (x > 4).astype(float))
    assert counted == pytest.approx([0, 0, 1], abs=1e-3)


def test_a_row_that_no_member_gives_a_probability_does_not_count():
    log_q = np.array([[0.0, -1.0, -np.inf], [-1.0, -np.inf, -np.inf]])
    assert member_weights(log_q) == pytest.approx(member_weights(log_q[:, :2]))
    assert member_weights(np.full((2, 3), -np.inf)) == pytest.approx([0.5, 0.5])
