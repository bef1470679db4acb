"""Independent columns of levels and numbers."""

import numpy as np

from benchmarks.independent import fit_independent
from nflow_cli.densities.cells.marginal import Support, fit_marginal


def test_each_cell_has_the_probability_of_its_columns_marginal():
    rng = np.random.default_rng(0)
    codes = np.stack([np.zeros(300, int), rng.integers(0, 3, 300), rng.integers(0, 2, 300)], axis=1)
    centre, half = rng.standard_normal((300, 2)), np.full((300, 2), 0.01)
    columns = [Support(1, number=0), Support(4, new=3), Support(2, number=1)]
    weights = rng.random(300)
    independent = fit_independent(columns, codes, centre, half, weights)
    log_cells = independent.log_cells(codes, centre, half)
    assert log_cells.shape == (300, 3)
    for column, place in enumerate([0, None, 1]):
        cells = [codes[:, column]]
        cells += [] if place is None else [centre[:, place], half[:, place]]
        marginal = fit_marginal(columns[column], *cells, weights=weights)
        np.testing.assert_array_equal(log_cells[:, column], marginal.log_prob(*cells))
