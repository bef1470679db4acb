import hypothesis.strategies as st
import mpmath as mp
import numpy as np
import pytest
from catalogue import DIMS, DTYPES, LOG_DET, ROUND_TRIP, drawn_rows, eps_of, norm, run_one
from hypothesis import given, settings
from test_planar import check_finite_gradients, check_gradients
from truth import softplus

from nflow_cli.flows.radial import Radial

every_dim = pytest.mark.parametrize("dim", DIMS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
RAW = (-30, -3, 0, 10, 30)
RADII = (0, 1e-12, 1e-3, 1, 50, 1e6)


def cases(dim, dtype):
    rng = np.random.default_rng(dim)
    alpha, beta, r = (grid.ravel() for grid in np.meshgrid(RAW, RAW, RADII))
    center = rng.uniform(-30, 30, (len(r), dim))
    # A small radius is lost in the rounding of z unless the centre is the origin.
    center[(r > 0) & (r < 1)] = 0
    away = rng.standard_normal((len(r), dim))
    z = center.astype(dtype) + r[:, None] * away / norm(away)[:, None]
    parameters = {"center": center, "alpha": alpha, "beta": beta}
    return {name: value.astype(dtype) for name, value in parameters.items()}, z.astype(dtype)


def textbook_log_det(r, alpha, beta, dim):
    """``log|(1 + β̂ h)^(D-1) (1 + β̂ h + β̂ h' r)|``, ``h = 1 / (α + r)``, in 60 digits."""
    with mp.workdps(60):
        alpha = mp.log(1 + mp.exp(mp.mpf(float(alpha))))
        beta_hat = mp.log(1 + mp.exp(mp.mpf(float(beta)))) - alpha
        h = 1 / (alpha + r)
        across, along = 1 + beta_hat * h, 1 + beta_hat * h - beta_hat * h**2 * r
        return (dim - 1) * mp.log(abs(across)) + mp.log(abs(along))


def radius(z, center):
    with mp.workdps(60):
        pairs = zip(z.tolist(), center.tolist())
        return mp.sqrt(sum((mp.mpf(a) - mp.mpf(b)) ** 2 for a, b in pairs))


def expected_and_allowance(parameters, z, dtype, carried=None):
    """The log-determinant in 60 digits, and how far rounding may move it.

    Each factor is a ratio of sums of positive terms in r, α and B = α + β̂, so an error of n eps
    in each of the three moves the logarithm by at most ``2 n eps`` for each of the D - 1 equal
    factors and ``4 n eps`` for the last. The norm of D exact differences is good to D/2 + 2 eps.
    An absolute error ``carried`` in r comes on top; L is monotone in r.
    """
    dim = z.shape[-1]
    rows = [np.asarray(value, "float64") for value in (z, *parameters.values())]
    expected, moved = np.zeros(len(z)), np.zeros(len(z))
    for i, (point, center, alpha, beta) in enumerate(zip(*rows)):
        r = radius(point, center)
        value = textbook_log_det(r, alpha, beta, dim)
        expected[i] = float(value)
        if carried is not None:
            ends = (max(r - carried[i], 0), r + carried[i])
            moved[i] = max(abs(textbook_log_det(end, alpha, beta, dim) - value) for end in ends)
    ulps = (2 * dim + 4) * (dim / 2 + 8) * eps_of(dtype)
    return expected, LOG_DET[dtype] + ulps + moved


@every_dim
@every_dtype
def test_log_det_equals_the_textbook_in_60_digits(dim, dtype):
    parameters, z = cases(dim, dtype)
    _, log_det = run_one(Radial(), parameters, z)
    expected, allowed = expected_and_allowance(parameters, z, dtype)
    assert np.all(np.isfinite(log_det))
    assert np.all(np.abs(log_det - expected) <= allowed)


@every_dim
@every_dtype
def test_forward_undoes_the_inverse_at_any_parameters(dim, dtype):
    check_round_trip(*cases(dim, dtype), dtype)


def check_round_trip(parameters, x, dtype):
    z, log_det = run_one(Radial(), parameters, x, inverse=True)
    again, _ = run_one(Radial(), parameters, z)
    x, again = x.astype("float64"), again.astype("float64")
    center, alpha, beta = (np.asarray(value, "float64") for value in parameters.values())
    lipschitz = np.maximum(1, softplus(beta) / softplus(alpha))
    size = np.maximum(np.maximum(norm(x), norm(z)), 1)
    assert np.all(norm(again - x) <= ROUND_TRIP[dtype] * (1 + lipschitz) * size)
    # The radius of the inverse is that of z, up to the rounding of x, z and the quadratic's root.
    lengths = norm(x) + norm(z) + norm(center) + norm(x - center) + softplus(beta)
    expected, allowed = expected_and_allowance(parameters, z, dtype, 4 * eps_of(dtype) * lengths)
    assert np.all(np.isfinite(log_det))
    assert np.all(np.abs(log_det + expected) <= allowed)


@every_dtype
@settings(max_examples=25)
@given(data=st.data())
def test_forward_undoes_the_inverse_wherever_hypothesis_looks(dtype, data):
    check_round_trip(*data.draw(drawn_rows(Radial(), dtype)), dtype)


@every_dim
@every_dtype
@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_gradients_are_finite_at_any_parameters(dim, dtype, inverse):
    check_finite_gradients(Radial(), *cases(dim, dtype), inverse)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_gradients_equal_central_differences_in_every_entry(dim, inverse):
    rng = np.random.default_rng(dim)
    alpha = np.array([-1.0, 0.6, 2.0])
    center = rng.standard_normal((3, dim)) + 2
    parameters = {"center": center, "alpha": alpha, "beta": np.full(3, 0.6)}
    check_gradients(Radial(), parameters, rng.standard_normal((3, dim)), inverse)


@every_dim
@every_dtype
def test_beta_equal_to_alpha_is_the_identity(dim, dtype):
    parameters, z = cases(dim, dtype)
    parameters["beta"] = parameters["alpha"]
    for inverse in (False, True):
        moved, log_det = run_one(Radial(), parameters, z, inverse)
        np.testing.assert_array_equal(moved, z)
        assert np.all(np.abs(log_det) <= 8 * dim * eps_of(dtype))


@every_dim
@every_dtype
def test_the_centre_stays_where_it_is(dim, dtype):
    parameters, _ = cases(dim, dtype)
    for inverse in (False, True):
        moved, _ = run_one(Radial(), parameters, parameters["center"], inverse)
        np.testing.assert_array_equal(moved, parameters["center"])


def test_the_radius_is_the_norm_of_each_point_alone():
    parameters = {"center": np.zeros((1, 2)), "alpha": np.array([1.0]), "beta": np.array([3.0])}
    alpha, outer = softplus(1.0), softplus(3.0)
    z = np.array([[3.0, 4.0], [0.3, 0.4]])
    moved, _ = run_one(Radial(), parameters, z)
    for row, r in ((0, 5.0), (1, 0.5)):
        np.testing.assert_allclose(moved[row], z[row] * (1 + (outer - alpha) / (alpha + r)), 1e-14)


def test_initial_flows_expand_and_contract_about_the_identity():
    """Centres N(0, 4 I), α N(1, 1), β N(α, 1): four standard errors of means and variances."""
    n = 20_000
    drawn = Radial().initial(np.random.default_rng(0), n, 2)
    for found, mean, sd in (
        (drawn["center"].ravel()[:n], 0, 2),
        (drawn["alpha"], 1, 1),
        (drawn["beta"] - drawn["alpha"], 0, 1),
    ):
        assert abs(found.mean() - mean) < 4 * sd / np.sqrt(n)
        assert abs(found.var() / sd**2 - 1) < 4 * np.sqrt(2 / n)
