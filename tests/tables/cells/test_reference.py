"""The line of normal scores, by sums over all cells of a column, quadrature and other units."""

from dataclasses import replace

import numpy as np
import pytest
from cells import BETWEEN, POSITIVE, grid, in_units, levels, number, random_density, values_of
from scipy import stats
from scipy.integrate import quad

from nflow_cli.data.column_maps import Scale
from nflow_cli.tables.cells.reference import own_scores

COLUMNS = {
    "levels": levels("a", 7),
    "levels and gaps": levels("a", 4, missing=True),
    "a grid": grid("a", step=0.5),
    "a grid in units": in_units(grid("a", step=0.5)),
    "a grid with atoms": grid("a", step=0.5, atoms=[0.0, 2.5], missing=True),
    "a grid in units with atoms": in_units(grid("a", step=0.5, atoms=[0.0, 2.5])),
    "a grid between bounds": grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9]),
}


def energies(column, values, seed=0):
    """Return ``E[Z²/2]`` of cells, and their probabilities by the marginal."""
    density = random_density([column], seed=seed)
    log_marginal, log_reference = own_scores(density, values[:, None])
    return (log_reference - log_marginal)[:, 0], np.exp(log_marginal[:, 0])


@pytest.mark.parametrize("name", COLUMNS)
def test_the_mean_of_half_a_square_is_a_half_whatever_the_steps(name):
    column = COLUMNS[name]
    values = values_of(column, 40.0, outliers=False)
    for seed in range(3):
        energy, p = energies(column, values, seed)
        assert p.sum() == pytest.approx(1.0, abs=1e-9)
        assert p @ energy == pytest.approx(0.5, abs=1e-9)


def test_a_number_has_half_the_square_of_its_score_over_its_interval():
    column = in_units(grid("a", step=0.5))
    density = random_density([column])
    weights, means, scales = density.marginals[0].normals.array

    def cdf(x):
        return np.exp(weights) @ stats.norm.cdf(((x - 1) / 2 - means) / scales)

    values = np.arange(-5.0, 7.0, 0.5)
    energy, _ = energies(column, values)
    for x, found in zip(values, energy):
        low, high = (stats.norm.ppf(cdf(x + side * 0.25)) for side in (-1, 1))
        mean, _ = quad(lambda z: z * z / 2 * stats.norm.pdf(z), low, high)
        assert found == pytest.approx(mean / (stats.norm.cdf(high) - stats.norm.cdf(low)), rel=1e-6)


def test_a_number_of_all_digits_has_the_slope_of_its_score():
    column = number("a", resolution=1e-6, decimals=None)
    density = random_density([column])
    weights, means, scales = density.marginals[0].normals.array

    def score(x):
        units = (x[:, None] - 1) / 2
        return stats.norm.ppf(stats.norm.cdf((units - means) / scales) @ np.exp(weights))

    x = np.linspace(-6.0, 8.0, 29)
    slope = (score(x + 1e-4) - score(x - 1e-4)) / 2e-4
    _, log_reference = own_scores(density, x[:, None])
    expected = np.log(slope / np.sqrt(2 * np.pi))
    np.testing.assert_allclose(log_reference[:, 0], expected, atol=1e-5)


def test_the_less_likely_a_level_the_larger_its_square():
    column = levels("a", 9)
    energy, p = energies(column, np.arange(9.0))
    order = np.argsort(p)
    assert (np.diff(energy[order]) < 0).all()
    rarest = stats.norm.isf(p[order[0]] / 2)  # of two sides
    assert energy[order[0]] > rarest**2 / 2


def test_the_density_over_it_is_the_same_of_numbers_and_of_their_logarithms():
    x = np.linspace(-0.6, 2.0, 40)
    units = (Scale(0.4, 0.3),)
    found = []
    for maps, values in ((units, x), (POSITIVE, np.exp(x) - 0.5)):
        column = number("a", resolution=1e-7, decimals=None, maps=maps)
        density = random_density([column, levels("b", 2)], seed=3)
        rows = np.column_stack([values, np.arange(len(values)) % 2])
        found.append(own_scores(density, rows).log_reference - density.cell_log_probs(rows))
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


def test_beyond_the_training_numbers_the_line_goes_on_in_column_units():
    column = replace(grid("a", step=0.5), low=-2.0, high=2.0)
    density = random_density([column])
    x = np.array([0.0, 40.0, 400.0])
    log_marginal, log_reference = own_scores(density, x[:, None])
    length = 0.5 / 2.0 / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(log_reference[1:, 0], np.log(length))
    oddness = (log_reference - log_marginal)[:, 0]
    assert (np.diff(oddness) > 0).all()
