import numpy as np
import pytest
from cells import a_sample, grid, levels, number, random_density

from nflow_cli.densities.cells.behind import columns_from

COLUMNS = [
    number("a", atoms=[0.5], missing=True),
    levels("b", 3),
    grid("c", atoms=[1.0]),
    levels("d", 5, missing=True),
    grid("e", step=2.0),
    number("f"),
]


@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_cells_have_the_probabilities_of_the_whole_density_by_each_member(j):
    density, rows = random_density(COLUMNS, n_given=1, members=2), a_sample(COLUMNS, 50)
    last = columns_from(density, j)
    for whole, part in zip(density.networks, last.networks):
        expected = density.cells_by(whole, rows)[:, j - 1 :]
        np.testing.assert_allclose(last.cells_by(part, rows), expected, rtol=1e-12)
