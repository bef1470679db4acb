"""The compiled loop over flows has a gradient of its own: it is that of the flows in a row."""

import keras
import numpy as np
import pytest
from catalogue import gradients
from keras import ops
from nflow_cli.flows.compose import run_flows
from test_stack import AMORTISED, KINDS, RESTARTS, SHARED, draw

from nflow_cli.training.trainer import compiled

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="only TensorFlow's loop has such a gradient"
)

POINTS = np.random.default_rng(1).standard_normal((3, 4, 3))


def weighted_sum(pattern, k, inverse, parameters):
    """Return a scalar function of points and parameters that has all outputs in it."""
    weights = np.random.default_rng(2).standard_normal((*POINTS.shape[:-1], 4))

    def value(points, *flat):
        sets = keras.tree.pack_sequence_as(parameters, flat)
        kinds = [KINDS[name] for name in pattern]
        moved, log_det = run_flows(kinds, sets, k, points, inverse)
        together = ops.concatenate([moved, ops.expand_dims(log_det, -1)], axis=-1)
        return ops.sum(together * weights)

    return value


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(SHARED, id="shared", marks=pytest.mark.slow),
        pytest.param(AMORTISED, id="rows"),
        pytest.param(RESTARTS, id="restarts"),
    ],
)
def test_the_compiled_loop_has_the_gradient_of_the_flows_in_a_row(inverse, batch):
    pattern, k = ["planar", "radial"], 4
    parameters = draw(pattern, k, batch, 3, "float64")
    arrays = [POINTS, *keras.tree.flatten(parameters)]
    value = weighted_sum(pattern, k, inverse, parameters)
    # Eagerly the flows run one after the other, and TensorFlow differentiates them.
    for got, expected in zip(gradients(compiled(value), *arrays), gradients(value, *arrays)):
        np.testing.assert_allclose(got, expected, 1e-11, 1e-11)
