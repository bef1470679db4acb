"""Missing cells are mixed apart from values: against the network alone and the marginal alone."""

import numpy as np
import pytest
from cells import a_sample, grid, levels, number, random_density

from nflow_cli.densities.cells.block import Block
from nflow_cli.densities.cells.prior import Prior, marginal_cdf

COLUMNS = [
    levels("a", 4),
    number("b", atoms=[0.5], missing=True),
    levels("c", 3, missing=True),
    grid("d", step=1.0, bounds=[-9, 9], is_open=True, missing=True),
]


def with_shares(density, share):
    alone = [m._replace(shares=np.full_like(m.shares, share)) for m in density.networks]
    return type(density)(density.cells, density.layout, density.marginal, alone)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_value_of_a_present_cell_has_the_weight_of_the_network_however_seldom_it_is(share):
    density = random_density(COLUMNS, seed=2)
    for name in ("logits_kernel", "logits_skip_kernel"):
        density.networks[0].weights[name][...] *= 5  # gaps are likely, or seldom
    mixed, network, marginal = (with_shares(density, w) for w in (share, 1.0, 0.0))
    rows = a_sample(COLUMNS, 300, 5)
    rows[:10, 2], rows[10:20, 3] = -1, [12.0, -11.0] * 5  # new ones
    least = 1.0
    for column in range(1, len(COLUMNS)):
        gap = rows.copy()
        gap[:, column] = np.nan
        own, other, found = (
            np.exp([one.cell_log_probs(part)[:, column] for part in (rows, gap)])
            for one in (network, marginal, mixed)
        )
        np.testing.assert_allclose(found[1], share * own[1] + (1 - share) * other[1], rtol=1e-9)
        code = COLUMNS[column].encode(rows[:, column]).codes
        is_value = ~np.isnan(rows[:, column]) & (code != COLUMNS[column].new)
        new = np.exp(density.log_learnt)[density.order][column]
        present = [new - one[1] for one in (own, other)]  # loses digits where gaps are likely
        value = share * own[0] / present[0] + (1 - share) * other[0] / present[1]
        total = share * present[0] + (1 - share) * present[1]
        np.testing.assert_allclose(found[0][is_value], (total * value)[is_value], rtol=1e-5)
        least = min(least, present[0].min())
    assert least < 0.01


def test_a_gap_has_one_probability_in_scores_pit_prior_and_draws():
    density = random_density(COLUMNS, members=2, seed=3, shares=0.6)
    rows = a_sample(COLUMNS, 200, 7)
    rows[:, 1:] = np.where(np.random.default_rng(0).random((200, 3)) < 0.5, np.nan, rows[:, 1:])
    scores, block = np.exp(density.cell_log_probs(rows)), Block(density, rows)
    ends = [block.pit(np.full((200, 4), noise)) for noise in (0.0, 1.0)]
    gaps = np.isnan(rows)
    np.testing.assert_allclose((ends[1] - ends[0])[gaps], scores[gaps], rtol=1e-9)
    for j, column in enumerate(COLUMNS[1:], 1):
        marginal = marginal_cdf(density, j) if column.has_numbers else None
        prior = Prior(block, j, marginal).outcomes
        np.testing.assert_allclose(prior.sum(axis=0), 1.0, rtol=1e-12)
        np.testing.assert_allclose(prior[column.missing][gaps[:, j]], scores[gaps[:, j], j])
    one = np.repeat(rows[:1], 20_000, axis=0)
    drawn = density.draw(np.full_like(one, np.nan), np.random.default_rng(1), with_new=True)
    gap = drawn.copy()
    gap[:, 3] = np.nan
    expected = np.exp(density.cell_log_probs(gap)[:, 3])  # of a gap, given the cells before
    error = np.sqrt(np.mean(expected * (1 - expected)) / 20_000)
    assert abs(np.isnan(drawn[:, 3]).mean() - expected.mean()) < 4 * error
