"""The rounding error of a log-density, against steps of float32 that are known."""

import math

import numpy as np
import pytest
from keras import ops

from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.log_density import ArrayDensity, TensorDensity, units_of
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.rounding import rounding
from nflow_cli.flows import FlowStack

UNITS = units_of(["a", "b"], {})


def density_at(mean):
    flow = FlowStack(["planar"], 0, affine="diagonal", seed=0)
    flow.build((None, 2))
    flow.adapt(np.full(2, mean, "f"), np.eye(2))
    return FlowDensity(StandardNormal(), flow)


def error_of(function, mean=0.0, kind=TensorDensity):
    return rounding(density_at(mean), kind(function, 2, UNITS), seed=0)


def test_a_large_constant_rounds_a_density_of_tensors():
    measured = error_of(lambda x: -0.5 * ops.sum(x * x, axis=-1) - 3e7)
    assert measured["log_density_step"] == 2
    assert measured["rounding_error"] == pytest.approx(2 / math.sqrt(12), rel=1e-3)


def test_a_density_of_arrays_keeps_its_float64():
    def pair(x):
        return -0.5 * (x**2).sum(axis=1) - 3e7, -x

    assert error_of(pair, kind=ArrayDensity)["rounding_error"] < 1e-5


def test_a_narrow_density_far_from_0_is_rounded_by_its_coordinates():
    # N(1000, 1) in a + b, N(0, 1e-8) in a - b: float32 has steps of 2^-14 at 1000.
    def ridge(x):
        total, difference = x[:, 0] + x[:, 1] - 2000.0, x[:, 0] - x[:, 1]
        return -0.125 * total**2 - 1e4 * difference  # of a known slope

    expected = 1e4 * math.sqrt(2) * 2**-14 / math.sqrt(12)
    assert error_of(ridge, mean=1000.0)["rounding_error"] == pytest.approx(expected, rel=0.1)
    assert error_of(lambda x: -0.5 * ops.sum(x * x, axis=-1))["rounding_error"] < 1e-5


def small(x):
    return -0.5 * ops.sum(x * x, axis=-1)


def of_float32(x):
    return (-0.5 * (x**2).sum(axis=1) - 3e7).astype(np.float32), -x


@pytest.mark.parametrize(
    ("function", "kind"),
    [(lambda x: (small(x) - 3e7) + 3e7, TensorDensity), (of_float32, ArrayDensity)],
    ids=["subtracted too late", "a pair of float32"],
)
@pytest.mark.parametrize("bounds", [{}, {"a": [-50, None]}], ids=["plain", "bounded"])
def test_values_that_were_rounded_before_are_known_by_their_steps(function, kind, bounds):
    measured = rounding(density_at(0.0), kind(function, 2, units_of(["a", "b"], bounds)), seed=0)
    assert measured["log_density_step"] == 2
    assert measured["rounding_error"] == pytest.approx(2 / math.sqrt(12), rel=0.01)
