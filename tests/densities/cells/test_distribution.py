"""The distribution functions of cells against sums of their masses."""

import numpy as np
import pytest
from cells import (
    BETWEEN,
    POSITIVE,
    TAILS,
    grid,
    levels,
    number,
    random_density,
    values_of,
)

COLUMNS = {
    "levels": levels("a", 4, missing=True),
    "grid": grid("a", atoms=[0.5, -3.0], missing=True),
    "heavy tails": grid("a", step=2.0, maps=TAILS, atoms=[2.0]),
    "a bound": grid("a", step=1.0, maps=POSITIVE, bounds=[0, None], atoms=[0.0], missing=True),
    "bounds": grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9]),
}


class Constant:
    def __init__(self, value):
        self.value = value

    def random(self, shape):
        return np.full(shape, self.value)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("case", COLUMNS)
def test_the_pit_is_the_sum_of_the_masses_below(case, members):
    column = COLUMNS[case]
    density = random_density([column, levels("b", 2)], members=members, seed=2)
    values = values_of(column)
    # Levels or numbers in their order, a gap above them, a new level above that.
    is_known = column.has_numbers | (values >= 0)
    place = np.where(np.isnan(values), 1e9, np.where(is_known, values, 2e9))
    rows = np.column_stack([values[np.argsort(place)], np.zeros(len(values))])
    masses = np.exp(density.cell_log_probs(rows)[:, 0])
    at_most = np.cumsum(masses)
    for v in (0.0, 0.25, 1.0):
        u = density.pit(rows, Constant(v))[:, 0]
        np.testing.assert_allclose(u, at_most - (1 - v) * masses, atol=1e-9)


def test_the_pit_of_a_number_is_the_integral_of_its_density_and_its_steps():
    column = number("a", maps=TAILS, atoms=[0.5, 2.0], missing=True, resolution=1e-4, decimals=4)
    density, steps = random_density([column], seed=3), column.scores.values
    at = np.array([-6.0, 0.4, 0.5, 0.7, 2.0, 9.0])
    x = np.arange(-300, 300, 1e-2) + 1.7e-3
    f = np.exp(density.log_prob(x[:, None])) * 1e-2 / column.step
    masses = np.exp(density.log_prob(steps[:, None]))
    below = [f[x < a].sum() + masses[steps < a].sum() for a in at]
    u = density.pit(at[:, None], Constant(0.0))[:, 0]
    np.testing.assert_allclose(u, below, atol=2e-3)
    whole = density.pit(at[[2, 4]][:, None], Constant(1.0))[:, 0]
    np.testing.assert_allclose(whole - u[[2, 4]], masses[np.isin(steps, [0.5, 2.0])], atol=1e-12)
