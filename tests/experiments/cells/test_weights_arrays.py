"""Checks of the arrays of a density of cells by value."""

import numpy as np
import pytest
from cells import levels, random_density

from nflow_cli.densities.cells import network
from nflow_cli.experiments.cells.weights_arrays import arrays_of, inconsistency


@pytest.mark.parametrize(("size", "is_finite"), [(1e9, True), (1e36, False)])
def test_a_network_of_large_weights_has_finite_outputs_or_is_refused(size, is_finite):
    density = random_density([levels("a", 3), levels("b", 2)])
    shapes = network.shapes(density.layout, 8)
    weights = {name: np.full(shape, size) for name, shape in shapes.items()}
    inputs = np.ones((len(density.layout.inputs), 1))
    with np.errstate(over="ignore", invalid="ignore"):
        found = network.parameters(density.layout, weights, density.limits, inputs, np)
        assert np.isfinite(found.log_shares[0]).all() == is_finite
    expected = "" if is_finite else "the networks: expected finite outputs of all inputs"
    assert inconsistency(density.layout, arrays_of(density, [weights])) == expected
