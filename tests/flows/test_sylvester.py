"""Sylvester maps against the paper's formula in 60 digits, and a planar map."""

import mpmath as mp
import numpy as np
import pytest
from catalogue import DTYPES, eps_of, gradients, run_one, run_rows
from keras import ops

from nflow_cli.config.flows import sylvester_sizes
from nflow_cli.flows.planar import Planar
from nflow_cli.flows.sylvester import Sylvester

ROWS = 4
ULPS = 8

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def cases(flow, dim, dtype, reach, rows):
    """Return raw weights uniform in ± reach, and points of a width of 3, one of them far away."""
    rng = np.random.default_rng(dim)
    raw = {
        name: rng.uniform(-reach, reach, (rows, *shape)).astype(dtype)
        for name, shape in flow.shapes(dim).items()
    }
    points = 3 * rng.standard_normal((rows, dim))
    points[1:2] *= 1e4
    return raw, points.astype(dtype)


def softplus(value):
    return mp.log1p(mp.exp(value))


def upper(diagonal, entries):
    """Return an upper triangle of its diagonal, and of what is above it column by column."""
    size = len(diagonal)
    matrix, left = mp.zeros(size), list(entries)
    for j in range(size):
        matrix[j, j] = diagonal[j]
        for i in range(j):
            matrix[i, j] = mp.mpf(left.pop(0))
    return matrix


class Paper:
    """``z + Q R tanh(R̃ Qᵀ z + b)`` of one set of raw weights, by its formula."""

    def __init__(self, raw):
        raw = {name: value.astype(float).tolist() for name, value in raw.items()}
        dim, width = len(raw["reflections"][0]), len(raw["bias"])
        self.q = mp.eye(dim)[:, :width]
        for reflection in reversed(raw["reflections"]):
            v = mp.matrix(reflection)
            self.q -= (2 / mp.fdot(v, v)) * v * (v.T * self.q)
        self.slopes = [softplus(mp.mpf(value)) for value in raw["slope"]]
        inner = [softplus(mp.mpf(value)) for value in raw["scale"]]
        outer = [(slope - 1) / diagonal for slope, diagonal in zip(self.slopes, inner)]
        self.r = upper(outer, raw.get("outer", ()))
        self.inner = upper(inner, raw.get("inner", ()))
        self.bias = mp.matrix(raw["bias"])

    def forward(self, z, eps):
        """Return the point, the log-det, and what rounding may change of both."""
        z = mp.matrix(z.astype(float).tolist())
        into, out = self.inner * self.q.T, self.q * self.r
        v = into * z + self.bias
        count = (len(z) + len(v)) * ULPS * eps
        # Sums of products, of Q and of all that is made with it.
        sizes = size_of(self.inner) * size_of(self.q).T * size_of(z) + size_of(self.bias)
        off_h, log_det, off_log_det = mp.zeros(len(v), 1), mp.mpf(0), count
        for i, slope in enumerate(self.slopes):
            off = count * sizes[i]
            ends = [(mp.tanh(v[i] + way * off), v[i] + way * off) for way in (-1, 0, 1)]
            h = [end[0] for end in ends]
            off_h[i] = max(abs(h[0] - h[1]), abs(h[2] - h[1])) + ULPS * eps
            logs = [mp.log(t**2 + (1 - t**2) * slope) for t in h]
            log_det += logs[1]
            off_log_det += max(abs(logs[0] - logs[1]), abs(logs[2] - logs[1]))
            if abs(v[i]) < off:  # the extreme of the slope
                off_log_det += abs(mp.log(slope) - logs[1])
            off_log_det += eps * ULPS * (1 + abs(logs[1]) + abs(mp.log(slope)))
        moved = z + out * v.apply(mp.tanh)
        off = size_of(self.q) * size_of(self.r) * (off_h + count * mp.ones(len(v), 1))
        return moved, log_det, off + ULPS * eps * (size_of(z) + size_of(moved)), off_log_det


def size_of(matrix):
    return matrix.apply(abs)


@pytest.mark.parametrize(
    ("flow", "dim", "reach", "rows"),
    [
        pytest.param(Sylvester(), 1, 10, ROWS, id="1"),
        pytest.param(Sylvester(), 2, 10, ROWS, id="2"),
        pytest.param(Sylvester(), 5, 10, ROWS, id="5"),
        pytest.param(Sylvester(width=2, reflections=3), 5, 10, ROWS, id="5 of width 2"),
        pytest.param(Sylvester(), 40, 1, 1, id="40", marks=pytest.mark.slow),
    ],
)
@every_dtype
def test_at_any_weights_it_is_the_papers_in_60_digits_and_forward_undoes_the_inverse(
    flow, dim, reach, rows, dtype
):
    raw, points = cases(flow, dim, dtype, reach, rows)
    moved, log_det = run_one(flow, raw, points)
    start, change = run_one(flow, raw, points, inverse=True)
    assert moved.dtype == change.dtype == dtype
    for row in range(rows):
        with mp.workdps(60):
            exact = Paper({name: value[row] for name, value in raw.items()})
            check(exact, points[row], moved[row], log_det[row], eps_of(dtype))
            check(exact, start[row], points[row], -change[row], eps_of(dtype))


def check(exact, z, x, log_det, eps):
    """Check that ``x`` is what ``z`` is moved to, but for rounding."""
    expected, change, off, off_log_det = exact.forward(z, eps)
    for got, value, allowed in zip(x.tolist(), expected, off):
        assert abs(got - value) <= allowed
    assert abs(float(log_det) - change) <= off_log_det


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_one_unit_is_a_planar_map(inverse):
    rng = np.random.default_rng(0)
    direction, z = rng.standard_normal((2, ROWS, 3))
    bias, slope, scale = rng.standard_normal((3, ROWS, 1))
    raw = {"reflections": direction[:, None], "bias": bias, "slope": slope, "scale": scale}
    # The first column of a reflection, by its definition.
    first = np.eye(3)[0] - 2 * direction * direction[:, :1] / np.sum(direction**2, 1, keepdims=True)
    w = np.logaddexp(0, scale) * first
    u = slope / np.sum(w**2, axis=1, keepdims=True) * w
    planar = run_one(Planar(), {"u": u, "w": w, "b": bias[:, 0]}, z, inverse)
    for got, expected in zip(run_one(Sylvester(width=1), raw, z, inverse), planar):
        np.testing.assert_allclose(got, expected, 1e-13, 1e-13)


def test_a_reflection_of_no_direction_is_none_and_has_a_finite_gradient():
    flow = Sylvester(width=1)
    raw = {"bias": 0.3, "slope": 1.0, "scale": 0.5}
    raw = {"reflections": np.zeros((1, 1, 3))} | {n: np.full((1, 1), v) for n, v in raw.items()}
    z = np.array([[1.0, 2.0, 3.0]])
    moved, _ = run_one(flow, raw, z)
    assert np.all(moved[0, 1:] == z[0, 1:]) and moved[0, 0] != z[0, 0]

    def total(reflections):
        return ops.sum(run_rows(flow, raw | {"reflections": reflections}, z)[0])

    assert np.all(np.isfinite(gradients(total, raw["reflections"])[0]))


def test_its_margin_is_what_a_slope_has_beyond_0():
    name, values = Sylvester().margin(slope=np.array([[-1.0], [3.0]]), bias=np.zeros((2, 1)))
    assert name == "1 + r r̃"
    np.testing.assert_allclose(np.exp(values), 1 + np.exp([[-1.0], [3.0]]))


@pytest.mark.parametrize(
    ("asked", "dim", "sizes"),
    [
        ((None, None), 1, (1, 1)),
        ((None, None), 10, (10, 10)),
        ((None, None), 40, (16, 16)),
        ((20, None), 40, (20, 20)),
        ((20, 3), 5, (5, 3)),
    ],
)
def test_units_are_at_most_d_and_by_default_at_most_16_with_as_many_reflections(asked, dim, sizes):
    assert sylvester_sizes(*asked, dim) == sizes
