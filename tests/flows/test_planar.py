import hypothesis.strategies as st
import mpmath as mp
import numpy as np
import pytest
from catalogue import (
    DIMS,
    DTYPES,
    LOG_DET,
    ROUND_TRIP,
    central_differences,
    drawn_rows,
    eps_of,
    gradients,
    norm,
    run_one,
    run_rows,
)
from hypothesis import given, settings
from keras import ops
from truth import softplus

from nflow_cli.flows.planar import Planar

every_dim = pytest.mark.parametrize("dim", DIMS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def dot(a, b):
    return np.sum(a * b, -1)


def doubles(parameters):
    return {name: np.asarray(value, "float64") for name, value in parameters.items()}


def random_cases(rng, dim):
    for reach, spread in ((1, 1), (30, 1), (30, 10), (3, 1e6)):
        for _ in range(4):
            u, w = rng.uniform(-reach, reach, (2, dim))
            yield u, w, rng.uniform(-reach, reach), spread * rng.standard_normal(dim)


def steep_cases(dim, dtype):
    """Cases of ``z = 0``, where the pre-activation is ``b`` to the last bit.

    ``tiny`` is the smallest for which ``_log_slope`` promises exactness, apart from 0.
    """
    tiny = 1e-145 if dtype == "float64" else 1e-15
    zero, ones = np.zeros(dim), np.ones(dim)
    for wu in (-900 * dim, -200, -41, -39, -17, -1, 1, 30, 900 * dim):
        w = min(30, abs(wu) / dim) * ones
        u = wu / dot(w, w) * w
        for b in (0, tiny, 1e-9, -0.5, 2, -9, 30):
            yield u, w, b, zero
    # The two terms of the determinant are equal here: h^2 = softplus(w.u).
    for wu in (-10, -39.9, -40.1, -80, *((-170, -640) if dtype == "float64" else ())):
        yield wu * ones / dim, ones, np.exp(wu / 2), zero


def cases(dim, dtype):
    rng = np.random.default_rng(dim)
    shifts = [(u, 0 * w, b, z) for u, w, b, z in random_cases(rng, dim)]
    rows = [*steep_cases(dim, dtype), *random_cases(rng, dim), *shifts]
    u, w, b, z = (np.array(column, dtype) for column in zip(*rows))
    return {"u": u, "w": w, "b": b}, z


def lost_digits(u, w, b, z):
    """How many digits the textbook formula cancels."""
    a = abs(dot(w, z) + b)
    return int(max(0, -dot(w, u)) / np.log(10) + 2 * max(0, -np.log10(a) if a else 0))


def textbook_log_det(u, w, b, z):
    """``log|1 + tanh'(w.z + b) w.û|`` with 60 digits beyond those that cancel."""
    if not np.any(w):
        return 0.0
    with mp.workdps(60 + lost_digits(u, w, b, z)):
        u, w, z = ([mp.mpf(float(value)) for value in vector] for vector in (u, w, z))
        wu = mp.fdot(w, u)
        m = mp.log(1 + mp.exp(wu)) - 1
        along = (m - wu) / mp.fdot(w, w)
        u_hat = [ui + along * wi for ui, wi in zip(u, w)]
        slope = 1 - mp.tanh(mp.fdot(w, z) + mp.mpf(float(b))) ** 2
        return float(mp.log(abs(1 + slope * mp.fdot(w, u_hat))))


def stable_log_det(u, w, b, z):
    """The same in 60 digits, by ``log(h^2 + (1 - h^2) softplus(w.u))``: nothing cancels."""
    if not np.any(w):
        return 0.0
    with mp.workdps(60):
        u, w, z = ([mp.mpf(float(value)) for value in vector] for vector in (u, w, z))
        squared = mp.tanh(mp.fdot(w, z) + mp.mpf(float(b))) ** 2
        return float(mp.log(squared + (1 - squared) * mp.log1p(mp.exp(mp.fdot(w, u)))))


def allowance(u, w, b, z, dtype, carried=0.0):
    """How far rounding may move the log-determinant ``L(a, s)``, ``a = w.z + b``, ``s = w.u``.

    A sum of n products is off by n eps times the sum of their sizes, which moves ``a`` and ``s``
    within intervals (``a`` by ``carried`` eps more). L is monotone in ``|a|`` and in ``s``, so
    its extremes are at their corners. A few ulp of ``h = tanh(a)`` and of L itself come on top.
    """
    eps = eps_of(dtype)
    terms = 2 * (z.shape[-1] + 2)
    is_flow = np.any(w != 0, -1)
    a, s = np.abs(dot(w, z) + b), dot(w, u)
    off_a = terms * eps * (dot(np.abs(w), np.abs(z)) + np.abs(b) + carried)
    off_s = terms * eps * dot(np.abs(w), np.abs(u))

    def log_softplus(s):
        return np.where(s < -30, s, np.log(softplus(np.maximum(s, -30))))

    def exact(a, s):
        log_slope = 2 * (np.log(2) - a - np.log1p(np.exp(-2 * a)))
        return np.logaddexp(2 * np.log(np.tanh(a)), log_slope + log_softplus(s))

    with np.errstate(divide="ignore"):
        value = exact(a, s)
        corners = [
            np.abs(exact(moved, s + way * off_s) - value)
            for moved in (np.maximum(a - off_a, 0), a + off_a)
            for way in (-1, 1)
        ]
        in_h = 2 * np.abs(1 - softplus(s)) * np.exp(2 * np.log(np.tanh(a)) - value)
    ulps = 8 * eps * (1 + np.abs(value) + in_h)
    return LOG_DET[dtype] + np.where(is_flow, np.max(corners, 0) + ulps, 8 * eps)


def constrained(u, w):
    squared = dot(w, w)
    along = (softplus(-dot(w, u)) - 1) / np.where(squared > 0, squared, 1)
    return u + along[..., None] * w


def lipschitz(u, w):
    return 1 + norm(w) * norm(constrained(u, w))


@every_dim
@every_dtype
def test_log_det_equals_the_textbook_in_60_digits(dim, dtype):
    parameters, z = cases(dim, dtype)
    _, log_det = run_one(Planar(), parameters, z)
    u, w, b, z = *doubles(parameters).values(), z.astype("float64")
    expected = np.array([stable_log_det(*row) for row in zip(u, w, b, z)])
    allowed = allowance(u, w, b, z, dtype)
    assert np.all(np.isfinite(log_det))
    assert np.all(np.abs(log_det - expected) <= allowed)
    # The bar itself, not the conditioning, must be what most cases are held to.
    assert np.mean(allowed < (2e-9 if dtype == "float64" else 1e-2)) > 0.7


@every_dim
def test_the_reference_equals_the_textbook(dim):
    parameters, z = cases(dim, "float64")
    rows = list(zip(*parameters.values(), z))
    # A formula that cancels 15,000 digits takes a second: two such rows will do.
    long = [row for row in rows if lost_digits(*row) > 900]
    short = [row for row in rows if lost_digits(*row) <= 900]
    for row in short + long[:2]:
        np.testing.assert_allclose(stable_log_det(*row), textbook_log_det(*row), 1e-15, 1e-15)


@every_dim
@every_dtype
def test_forward_undoes_the_inverse_at_any_parameters(dim, dtype):
    check_round_trip(*cases(dim, dtype), dtype)


def round_trip(parameters, x, dtype):
    """Check the points of a round trip; return the inverse's."""
    z, log_det = run_one(Planar(), parameters, x, inverse=True)
    again, _ = run_one(Planar(), parameters, z)
    u, w, _ = doubles(parameters).values()
    x, again = x.astype("float64"), again.astype("float64")
    size = np.maximum(np.maximum(norm(x), norm(z)), 1)
    assert np.all(norm(again - x) <= ROUND_TRIP[dtype] * (1 + lipschitz(u, w)) * size)
    return z.astype("float64"), log_det


def check_round_trip(parameters, x, dtype):
    z, log_det = round_trip(parameters, x, dtype)
    u, w, b = doubles(parameters).values()
    # The pre-activation of the inverse is that of z, up to the rounding of x, z and û, where û is
    # the difference of u and something as large.
    carried = dot(np.abs(w), np.abs(x) + 2 * np.abs(constrained(u, w)) + 2 * np.abs(u))
    expected = -np.array([stable_log_det(*row) for row in zip(u, w, b, z)])
    assert np.all(np.isfinite(log_det))
    assert np.all(np.abs(log_det - expected) <= allowance(u, w, b, z, dtype, carried))


@every_dim
@every_dtype
def test_forward_undoes_the_inverse_where_u_is_large_and_u_hat_small(dim, dtype):
    rng = np.random.default_rng(dim)
    rows = (2000, 1)
    w = 10 ** rng.uniform(-1, 1.4, rows) * rng.choice([-1, 1], (2000, dim))
    across = 10 ** rng.uniform(-4, 1, rows) * rng.choice([-1, 1], (2000, dim))
    u = np.clip(across - 10 ** rng.uniform(-2, 1.4, rows) * np.sign(w), -30, 30)
    x = 10 ** rng.uniform(-3, 0, rows) * rng.standard_normal((2000, dim))
    parameters = {"u": u, "w": w, "b": rng.uniform(-3, 3, 2000)}
    parameters = {name: value.astype(dtype) for name, value in parameters.items()}
    round_trip(parameters, x.astype(dtype), dtype)


def along(direction, wu, v, dtype):
    """Return weights of ``w.u`` and points of ``w.z = v`` on a grid of these two."""
    wu, v = (grid.ravel()[:, None] for grid in np.meshgrid(wu, v))
    w = np.sqrt(np.maximum(np.abs(wu), 1)) * direction
    u, z = wu / dot(w, w)[:, None] * w, v / dot(w, w)[:, None] * w
    parameters = {"u": u, "w": w, "b": np.zeros(len(wu))}
    return {name: value.astype(dtype) for name, value in parameters.items()}, z.astype(dtype)


@every_dim
@every_dtype
def test_the_inverse_converges_at_every_slope_and_bend(dim, dtype):
    # Newton's iteration is slowest where tanh saturates and w.û is large, or near -1.
    wu = [-900 * dim, -30, -3, 0, 10, 100, 500 * dim, 900 * dim]
    v = [1e-6, 1e-3, 0.1, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 9, 20]
    parameters, z = along(np.full((1, dim), dim**-0.5), wu, v, dtype)
    check_round_trip(parameters, run_one(Planar(), parameters, z)[0], dtype)


@every_dtype
def test_the_inverse_converges_between_those_slopes_and_bends(dtype):
    wu = np.concatenate([-(10 ** np.linspace(2, -3, 90)), 10 ** np.linspace(-3, 4.8, 140)])
    parameters, z = along(np.array([[0.6, -0.8]]), wu, 10 ** np.linspace(-6, 1.6, 200), dtype)
    x, _ = run_one(Planar(), parameters, z)
    round_trip(parameters, x, dtype)
    round_trip(parameters, -x, dtype)


@st.composite
def rows(draw, dtype):
    parameters, x = draw(drawn_rows(Planar(), dtype))
    # The square of a weight below this is close to underflow, and the flow counts as a shift.
    smallest = 2e-145 if dtype == "float64" else 2e-17
    parameters["w"][np.abs(parameters["w"]) < smallest] = 0
    return parameters, x


@every_dtype
@settings(max_examples=25)
@given(data=st.data())
def test_forward_undoes_the_inverse_wherever_hypothesis_looks(dtype, data):
    check_round_trip(*data.draw(rows(dtype)), dtype)


@every_dim
@every_dtype
@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_gradients_are_finite_at_any_parameters(dim, dtype, inverse):
    check_finite_gradients(Planar(), *cases(dim, dtype), inverse)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_gradients_equal_central_differences_in_every_entry(dim, inverse):
    rng = np.random.default_rng(dim)
    bends = np.array([[-3.0], [-1.0], [0.5], [4.0]])
    w = rng.standard_normal((4, dim))
    u = bends * w / dot(w, w)[:, None] + 0.3 * rng.standard_normal((4, dim))
    points = rng.standard_normal((4, dim))
    check_gradients(Planar(), {"u": u, "w": w, "b": np.full(4, 0.4)}, points, inverse)


def check_finite_gradients(flow, parameters, points, inverse):
    def total(points, *values):
        moved, log_det = run_rows(flow, dict(zip(parameters, values)), points, inverse)
        return ops.sum(moved) + ops.sum(log_det)

    for slope in gradients(total, points, *parameters.values()):
        assert slope.dtype == points.dtype
        assert np.all(np.isfinite(slope))


def check_gradients(flow, parameters, points, inverse):
    rng = np.random.default_rng(3)
    count, dim = points.shape
    on_point = rng.standard_normal(dim)
    weights = ops.convert_to_tensor(on_point)

    def total(points, *values):
        moved, log_det = run_rows(flow, dict(zip(parameters, values)), points, inverse)
        return ops.sum(moved * weights) + 0.7 * ops.sum(log_det)

    # The rows do not touch each other: the gradient of their sum is that of each.
    slopes = gradients(total, points, *parameters.values())
    got = np.concatenate([slope.reshape(count, -1) for slope in slopes], axis=1)
    columns = [points, *(value.reshape(count, -1) for value in parameters.values())]
    start, ends = np.concatenate(columns, axis=1), np.cumsum([c.shape[1] for c in columns])[:-1]

    def shifted(step):
        rows = start[:, None] + step * np.eye(start.shape[1])
        points, *pieces = np.split(rows.reshape(-1, start.shape[1]), ends, axis=1)
        raw = {
            name: piece.reshape(len(piece), *value.shape[1:])
            for (name, value), piece in zip(parameters.items(), pieces)
        }
        moved, log_det = run_one(flow, raw, points, inverse)
        return (moved @ on_point + 0.7 * log_det).reshape(start.shape)

    np.testing.assert_allclose(got, central_differences(shifted), 1e-8, 1e-8)


@every_dim
@every_dtype
def test_u_of_ln_e_minus_1_along_w_is_the_identity(dim, dtype):
    rng = np.random.default_rng(dim)
    w, z = rng.standard_normal((2, 16, dim))
    u = np.log(np.e - 1) * w / dot(w, w)[:, None]
    parameters = {"u": u.astype(dtype), "w": w.astype(dtype), "b": w[:, 0].astype(dtype)}
    for inverse in (False, True):
        moved, log_det = run_one(Planar(), parameters, z.astype(dtype), inverse)
        few_ulp = 16 * eps_of(dtype)
        # û is what is left when u cancels against w.
        assert np.all(norm(moved - z.astype(dtype)) <= few_ulp * (norm(z) + norm(u) + 1 / norm(w)))
        assert np.all(np.abs(log_det) <= few_ulp * dim)


@every_dtype
def test_without_w_the_flow_is_a_shift_by_u_times_tanh_b(dtype):
    rng = np.random.default_rng(0)
    u, z = rng.standard_normal((2, 5, 3)).astype(dtype)
    b = np.array([-30, -1, 0, 0.5, 30], dtype)
    parameters = {"u": u, "w": np.zeros_like(u), "b": b}
    for inverse, sign in ((False, 1), (True, -1)):
        moved, log_det = run_one(Planar(), parameters, z, inverse)
        expected = z + sign * u * np.tanh(b)[:, None]
        np.testing.assert_allclose(moved, expected, 16 * eps_of(dtype), 16 * eps_of(dtype))
        assert np.all(np.abs(log_det) <= 8 * eps_of(dtype))


@every_dtype
@pytest.mark.parametrize("factor", [1, 0.1, 1e-2, 1e-3, 1e-4, 1e-6])
def test_a_w_whose_square_underflows_is_finite_and_invertible(dtype, factor):
    size = factor * np.sqrt(np.finfo(dtype).tiny)
    parameters = {
        "u": np.array([[1, 0.5]], dtype),
        "w": np.array([[size, 0]], dtype),
        "b": np.array([0.3], dtype),
    }
    x = np.array([[0.5, 0.2]], dtype)
    z, log_det = run_one(Planar(), parameters, x, inverse=True)
    again, log_det_again = run_one(Planar(), parameters, z)
    assert np.all(np.isfinite(log_det))
    assert np.all(norm(again - x) <= 10 * ROUND_TRIP[dtype] * np.maximum(norm(z), 1))
    assert np.all(np.abs(log_det + log_det_again) <= 10 * ROUND_TRIP[dtype])
