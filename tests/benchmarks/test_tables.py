"""Truths that tables are drawn from: their densities have mass 1, and are those of the rows."""

import itertools

import numpy as np
import pytest

from benchmarks.table_truths import TABLES


@pytest.mark.slow
def test_a_mixture_with_gaps_has_the_mass_of_each_pattern():
    truth, grid = TABLES["emptied-3"](), np.linspace(-14, 14, 101)
    step, total = grid[1] - grid[0], 0.0
    for gaps in itertools.product([False, True], repeat=3):
        axes = [[np.nan] if gap else grid for gap in gaps]
        x = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)
        total += np.exp(truth.log_prob(x)).sum() * step ** (3 - sum(gaps))
    np.testing.assert_allclose(total, 1.0, rtol=1e-3)


def test_a_turned_chain_has_the_density_of_its_rows():
    truth, plain = TABLES["turned-10"](), TABLES["chain-10"]()
    x = plain.sample(np.random.default_rng(0), 100)
    turned = np.linalg.slogdet(truth.matrix)[1] + truth.log_prob(x @ truth.matrix.T)
    np.testing.assert_allclose(turned, plain.log_prob(x), rtol=1e-9)
