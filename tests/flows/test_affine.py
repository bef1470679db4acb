from functools import cache

import numpy as np
import pytest
from catalogue import DTYPES, compiled, eps_of, run_one, to_numpy
from test_planar import check_finite_gradients, check_gradients

from nflow_cli.flows.affine import Affine
from nflow_cli.flows.composition import run_maps

ROWS = 12

every_dim = pytest.mark.parametrize("dim", [1, 2, 5])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
both_maps = pytest.mark.parametrize("flow", [Affine(), Affine(full=True)], ids=["diagonal", "full"])
# Rows are one batch, each with weights of its own, or batches of 1, whose weights are shared.
both_layouts = pytest.mark.parametrize("alone", [False, True], ids=["batch", "alone"])


@cache
def runner_alone(flow, inverse):
    def run(raw, points):
        weights = {name: value[None, ..., None] for name, value in raw.items()}
        moved, log_det = run_maps([flow], [weights], 1, points[:, None], inverse)
        return moved[:, 0], log_det[:, 0]

    return compiled(run)


def run(flow, raw, points, inverse, alone):
    if alone:
        return [to_numpy(tensor) for tensor in runner_alone(flow, inverse)(raw, points)]
    return run_one(flow, raw, points, inverse)


def cases(flow, dim, dtype, reach=10):
    rng = np.random.default_rng(dim)
    raw = {
        name: rng.uniform(-reach, reach, (ROWS, *shape)).astype(dtype)
        for name, shape in flow.shapes(dim).items()
    }
    return raw, (3 * rng.standard_normal((ROWS, dim))).astype(dtype)


def matrix(log_scale, lower=()):
    """Return ``L`` entry by entry; a diagonal one has no ``lower``."""
    entries, result = iter(lower), np.diag(np.exp(log_scale))
    for row in range(len(log_scale)):
        for column in range(row):
            result[row, column] = next(entries, 0.0)
    return result


@every_dim
@every_dtype
@both_maps
@both_layouts
def test_forward_is_the_product_with_the_matrix_and_the_inverse_solves_for_the_point(
    dim, dtype, flow, alone
):
    raw, points = cases(flow, dim, dtype)
    for inverse in (False, True):
        moved, log_det = run(flow, raw, points, inverse, alone)
        assert moved.dtype == log_det.dtype == dtype
        z, x = (moved, points) if inverse else (points, moved)
        check(raw, z, x, -log_det if inverse else log_det)


def check(raw, z, x, log_det):
    """Check rows ``x = m + L z`` but for rounding.

    A sum of D products and a shift, of which exp is off by an ulp or two; NumPy's the same.
    Substitution solves a system whose entries are each off by D ulp (Higham, Accuracy and Stability
    of Numerical Algorithms, theorem 8.5), for x - m, off by an ulp of its terms.
    """
    ulps = 2 * (z.shape[-1] + 4) * eps_of(z.dtype)
    for i in range(ROWS):
        shift, log_scale, *lower = (np.asarray(value[i], "float64") for value in raw.values())
        triangle, at, to = matrix(log_scale, *lower), z[i].astype("float64"), x[i].astype("float64")
        sizes = np.abs(shift) + np.abs(triangle) @ np.abs(at) + np.abs(to)
        assert np.all(np.abs(shift + triangle @ at - to) <= ulps * sizes)
        assert abs(log_det[i] - np.sum(log_scale)) <= ulps * np.sum(np.abs(log_scale))


@pytest.mark.parametrize(("dim", "dtype"), [(1, "float32"), (5, "float64")])
@both_maps
@both_ways
def test_gradients_are_finite_at_any_weights(dim, dtype, flow, inverse):
    check_finite_gradients(flow, *cases(flow, dim, dtype), inverse)


@pytest.mark.parametrize("dim", [1, 2, 5])
@both_maps
@both_ways
def test_gradients_equal_central_differences_in_every_entry(dim, flow, inverse):
    raw, points = cases(flow, dim, "float64", reach=1)
    check_gradients(flow, {name: value[:4] for name, value in raw.items()}, points[:4], inverse)


@both_maps
def test_it_starts_near_the_identity_and_each_repeat_differs(flow):
    raw = flow.initial(np.random.default_rng(0), 200, 3)
    assert {name: value.shape[1:] for name, value in raw.items()} == flow.shapes(3)
    for value in raw.values():
        assert abs(np.std(value) / 0.01 - 1) < 4 / np.sqrt(2 * value.size)
        assert len(np.unique(value)) == value.size
