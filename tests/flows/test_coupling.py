"""Couplings against networks, scalar maps and derivatives in 60 digits, and dense Jacobians."""

from functools import cache, partial

import mpmath as mp
import numpy as np
import pytest
import test_spline
from catalogue import (
    DIRECTIONS,
    DTYPES,
    LOG_DET,
    ROUND_TRIP,
    WIDTH,
    compiled,
    eps_of,
    evaluate,
    gradients,
    norm,
    run_one,
    to_numpy,
)
from keras import ops
from test_spline import Durkan

from nflow_cli.flows.coupling import AffineCoupling, SplineCoupling
from nflow_cli.flows.elementwise import MOST_LOG_SCALE, ScaleAndShift
from nflow_cli.flows.mixture import Mixture
from nflow_cli.flows.spline import Spline
from nflow_cli.flows.stack import FlowStack

HIDDEN = (8, 7)
COUPLINGS = [AffineCoupling(HIDDEN), SplineCoupling(HIDDEN, bins=4, bound=3.0)]
ULPS = 8
# Kernels a fifth of the size that keeps the size of what passes: a trained one has moved as much,
# and each coupling stretches a few times. At half of it, eight of them stretch by 1e15.
SPREAD = 0.2

every_dim = pytest.mark.parametrize("dim", [1, 2, 5])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
both_maps = pytest.mark.parametrize("flow", COUPLINGS, ids=["affine", "spline"])


def cases(flow, dim, dtype, rows=8):
    """Return raw weights uniform in ±10 and points of a width of 3, a few of them far away."""
    rng = np.random.default_rng(dim)
    raw = {
        name: rng.uniform(-10, 10, (rows, *shape)).astype(dtype)
        for name, shape in flow.shapes(dim).items()
    }
    raw["order"] = flow.orders(range(rows), dim)["order"].astype(dtype)
    points = 3 * rng.standard_normal((rows, dim))
    points[:2] *= 1e6
    return raw, points.astype(dtype)


def network(layers, inputs, eps):
    """Return a network's outputs in mpmath, and how far rounding moves them at most.

    A sum of n products is off by n + 1 ulp of the sum of their sizes, and by what its inputs are.
    """
    layers, off = list(layers), np.zeros(len(inputs))
    hidden = [mp.mpf(float(value)) for value in inputs]
    kernel = layers.pop(0) if len(layers) % 2 == 0 else np.zeros((len(layers[0]), 0))
    while True:
        bias = layers.pop(0)
        size = np.array([float(abs(value)) for value in hidden])
        off = np.abs(kernel) @ off
        off = off + (kernel.shape[1] + 2) * eps * (np.abs(kernel) @ size + np.abs(bias))
        hidden = [
            mp.fdot(row, hidden) + value for row, value in zip(kernel.tolist(), bias.tolist())
        ]
        if not layers:
            return hidden, off
        hidden, kernel = [max(value, mp.mpf(0)) for value in hidden], layers.pop(0)


class Affine:
    """``e^s z + m`` in mpmath."""

    def __init__(self, theta):
        self.shift, raw = theta
        self.log_scale = MOST_LOG_SCALE * mp.tanh(raw / MOST_LOG_SCALE)

    def run(self, at, inverse):
        """Return what a point is moved to, and the slope there."""
        scale = mp.exp(self.log_scale)
        return (
            ((at - self.shift) / scale, 1 / scale) if inverse else (at * scale + self.shift, scale)
        )


def moved_exactly(flow, theta, point, inverse, eps):
    """Return what a coordinate is moved to, the log-slope, and what rounding may change of both."""
    if isinstance(flow.scalar_maps, Spline):
        if abs(point) > flow.bound:
            return mp.mpf(float(point)), mp.mpf(0), 0.0, 0.0
        return test_spline.exactly(flow.scalar_maps, theta, point, inverse, eps)
    exact, point = Affine(theta), mp.mpf(float(point))
    value, slope = exact.run(point, inverse)
    sizes = slope * (abs(point) + abs(exact.shift)) + abs(exact.shift)
    ulps = ULPS * eps * (1 + abs(exact.log_scale))
    return value, mp.log(slope), ulps * sizes, ulps


def change_by(flow, theta, off, point, inverse):
    """Return what it changes at most that each parameter is off."""
    scalar = flow.scalar_maps

    def at(theta):
        exact = Durkan(scalar, theta) if isinstance(scalar, Spline) else Affine(theta)
        value, slope = exact.run(mp.mpf(float(point)), inverse)
        return np.array([value, mp.log(slope)])

    start, total = at(theta), 0
    for j in range(len(theta)):
        ways = (at([*theta[:j], theta[j] + way * off[j], *theta[j + 1 :]]) for way in (-1, 1))
        total = total + np.max([abs(end - start) for end in ways], axis=0)
    return total


def coordinates_exactly(flow, theta, off, point, moving, inverse, eps):
    """Return a point of which some coordinates move, the log-det, and bounds of both."""
    value, off_value = [mp.mpf(float(v)) for v in point], np.zeros(len(point))
    log_det, off_log_det = mp.mpf(0), 0.0
    for i, at in enumerate(moving):
        mine = slice(i, None, len(moving))
        value[at], log_slope, *offs = moved_exactly(flow, theta[mine], point[at], inverse, eps)
        offs = offs + change_by(flow, theta[mine], off[mine], point[at], inverse)
        off_value[at], off_log_det = offs[0], off_log_det + float(offs[1])
        log_det = log_det + log_slope
    return value, log_det, off_value, off_log_det + len(point) * eps * float(abs(log_det))


def coupling_exactly(flow, inverse, raw, point, eps, context):
    """Return a coupling of one point in 60 digits."""
    moving, fixed = np.split(raw.pop("order").astype(int), [len(point) - len(point) // 2])
    theta, off = network(raw.values(), [*point[fixed], *context], eps)
    return coordinates_exactly(flow, theta, off, point, moving, inverse, eps)


def check_in_60_digits(exactly, raw, points, moved, log_det, contexts=None):
    """Check points ``moved`` and log-determinants against those of ``exactly`` row by row."""
    for row, point in enumerate(points):
        own = {name: np.asarray(value[row], "float64") for name, value in raw.items()}
        context = () if contexts is None else contexts[row]
        with mp.workdps(60):
            value, expected, off_value, off = exactly(own, point, eps_of(points.dtype), context)
            away = np.array([abs(v - float(m)) for v, m in zip(value, moved[row])])
            assert np.all(away <= off_value)  # which is 0 where a coordinate is not moved
            # Next to a knot float64, too, has only its conditioning.
            assert abs(log_det[row] - expected) <= LOG_DET[str(points.dtype)] + off


@every_dim
@every_dtype
@both_maps
@both_ways
def test_at_any_weights_it_is_that_of_a_network_in_60_digits(dim, dtype, flow, inverse):
    raw, points = cases(flow, dim, dtype)
    moved, log_det = run_one(flow, raw, points, inverse)
    assert moved.dtype == log_det.dtype == dtype
    check_in_60_digits(partial(coupling_exactly, flow, inverse), raw, points, moved, log_det)


@cache
def make(pattern, dim, dtype="float64", k=4, of_a_context=False):
    """Build a stack and move its weights away from their start, by a part of their size."""
    stack = FlowStack(list(pattern), k, seed=0, dtype=dtype)
    stack.build((None, dim), (None, WIDTH) if of_a_context else None)
    rng = np.random.default_rng(0)
    for weight in stack.trainable_weights:
        start = to_numpy(weight.value)
        size = np.sqrt(start.shape[-1]) if "kernel" in weight.name else 1
        weight.assign(start + (SPREAD / size * rng.standard_normal(start.shape)).astype(dtype))
    return stack


def inputs_of(dim, dtype, of_a_context, batch=4):
    rng = np.random.default_rng(dim)
    points, context = 1.5 * rng.standard_normal((batch, dim)), rng.standard_normal((batch, WIDTH))
    return [array.astype(dtype) for array in (points, context)][: 1 + of_a_context]


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("affine-coupling", "forward_and_log_det"),
        ("spline-coupling", "inverse_and_log_det"),
        pytest.param("affine-coupling", "inverse_and_log_det", marks=pytest.mark.slow),
        pytest.param("spline-coupling", "forward_and_log_det", marks=pytest.mark.slow),
    ],
)
def test_at_40_dimensions_of_a_context_it_is_that_of_60_digits(name, direction):
    stack = make((name,), 40, "float64", k=1, of_a_context=True)
    points, context = inputs_of(40, "float64", True, batch=1)
    moved, log_det = evaluate(stack, direction, [points, context])
    exactly = partial(coupling_exactly, stack.maps[0], direction == DIRECTIONS[1])
    check_in_60_digits(exactly, raw_of(stack), points, moved, log_det, context)


def raw_of(stack):
    """Return the weights of the one map of a stack; its context joins the first layer's inputs."""
    raw = {name: to_numpy(weight.value) for name, weight in stack.parameters[0].items()}
    slope = to_numpy(stack.slopes[0]["bias_0"].value)
    return raw | {"kernel_0": np.concatenate([raw["kernel_0"], slope], axis=-1)}


STACKS = {  # pattern, and whether it has a context
    "affine": (("affine-coupling",), True),
    "spline": (("spline-coupling",), False),
    "spline and permutation": (("spline-coupling", "permutation"), True),
}


def jacobian(name, direction):
    """Return the dense Jacobian ``(batch, D, D)`` by the layer's own gradient, of each output."""
    stack, (points, *context) = stack_of(name, "float64"), inputs_of(40, "float64", STACKS[name][1])
    batch, dim = points.shape
    on_moved = ops.convert_to_tensor(np.tile(np.eye(dim), (batch, 1)))
    context = [ops.convert_to_tensor(np.repeat(array, dim, axis=0)) for array in context]

    def total(rows):
        return ops.sum(getattr(stack, direction)(rows, *context)[0] * on_moved)

    return gradients(total, np.repeat(points, dim, axis=0))[0].reshape(batch, dim, dim)


def stack_of(name, dtype):
    pattern, of_a_context = STACKS[name]
    return make(pattern, 40, dtype, 4, of_a_context)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_at_40_dimensions_log_det_is_the_dense_jacobians_and_directions_undo_each_other(
    name, direction
):
    matrix = jacobian(name, direction)
    # The way back has the inverse of the Jacobian of the way there.
    lipschitz = 1 / np.linalg.norm(matrix, -2, (1, 2))
    opposite = DIRECTIONS[1 - DIRECTIONS.index(direction)]
    for dtype in DTYPES:
        stack = stack_of(name, dtype)
        start, *context = inputs_of(40, dtype, STACKS[name][1])
        there, log_det = evaluate(stack, direction, [start, *context])
        back, log_det_back = evaluate(stack, opposite, [there, *context])
        size = np.maximum(norm(start), norm(there))
        allowed = ROUND_TRIP[dtype] * (1 + lipschitz) * size
        assert np.all(norm(back - start) <= allowed)
        assert np.all(np.abs(log_det_back + log_det) <= 10 * allowed)
        if dtype == "float64":
            assert np.all(np.abs(log_det - np.linalg.slogdet(matrix)[1]) <= 1e-9)


SCALARS = [ScaleAndShift(), Spline(), Spline(bins=2, bound=0.5), Mixture(), Mixture(2)]


def run_scalar(function, parameters, points):
    tensors = map(ops.convert_to_tensor, (parameters, points))
    return [to_numpy(tensor) for tensor in compiled(function)(*tensors)]


@every_dtype
@pytest.mark.parametrize(
    "scalar", SCALARS, ids=["affine", "spline", "small spline", "mixture", "small mixture"]
)
def test_where_all_parameters_are_0_it_is_the_identity(scalar, dtype):
    points = np.random.default_rng(0).uniform(-7, 7, (2, 3, 50)).astype(dtype)
    parameters = np.zeros((2, scalar.size, 3, 50), dtype)
    few_ulp = 16 * eps_of(dtype) * 7
    for function in (scalar.forward, scalar.inverse):
        moved, log_slope = run_scalar(function, parameters, points)
        assert moved.dtype == log_slope.dtype == dtype
        np.testing.assert_allclose(moved, points, 0, few_ulp)
        np.testing.assert_allclose(log_slope, np.zeros_like(points), 0, few_ulp)


@every_dtype
def test_scales_are_bounded_and_small_ones_are_exponentials(dtype):
    raw = np.array([-1e6, -1e-3, 0, 1e-3, 1e6], dtype)
    parameters = np.stack([np.ones(5, dtype), raw])[:, None]
    moved, log_slope = run_scalar(ScaleAndShift().forward, parameters, np.full((1, 5), 2, dtype))
    expected = 3 * np.tanh(raw.astype("float64") / 3)
    np.testing.assert_allclose(log_slope[0], expected, 8 * eps_of(dtype), 0)
    np.testing.assert_allclose(moved[0], 2 * np.exp(expected) + 1, 16 * eps_of(dtype))
