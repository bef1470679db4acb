"""Weights of draws of a fit: log Z, moments, k-hat, and the modes that it does not visit."""

import itertools
import math

import numpy as np
import pytest
from arviz_stats.base import array_stats
from keras import ops
from scipy import special, stats

from nflow_cli.data.units import units_of
from nflow_cli.densities.bases import StandardNormal, StudentT, UniformBox
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.densities.target import Target
from nflow_cli.errors import TargetError
from nflow_cli.evaluation.importance import pareto_k, smoothed, tail_length
from nflow_cli.evaluation.motion import plane_arrays
from nflow_cli.evaluation.warnings import jump, verdict
from nflow_cli.flows.stack import FlowStack, SideBySide
from nflow_cli.inference.examples import Funnel, ManyWell
from nflow_cli.inference.log_density import ArrayDensity
from nflow_cli.inference.missed_mass import missed_mass
from nflow_cli.inference.reverse_kl import BY_Q, arrays_of, effective_share, resampled, score


@pytest.mark.parametrize("n", [25, 100, 224, 225, 900, 10_000, 90_000])
@pytest.mark.parametrize("k", [-0.3, 0.1, 0.5, 0.7, 1.2, 3.0, 8.0])
def test_smoothed_weights_and_k_hat_are_those_of_arviz(n, k):
    """Of numbers of draws with a whole 3 √n: of others ArviZ rounds it down, the paper up."""
    log_weights = np.log(stats.genpareto.rvs(k, size=n, random_state=1) + 0.1) - 300
    expected, shape = array_stats.psislw(-log_weights)
    found = smoothed(log_weights)
    shares = found.log_weights - special.logsumexp(found.log_weights)
    np.testing.assert_allclose(shares, expected, 1e-12, 1e-12)
    assert found.k == pareto_k(-log_weights) == pytest.approx(float(shape), abs=1e-12)
    assert tail_length(n) == (n // 5 if n < 225 else 3 * math.isqrt(n))


def test_weights_beyond_a_floats_range_have_the_mean_of_their_excess():
    """Of 1/u^k the logarithm is exponential: the mean excess of its largest quarter is k."""
    found = [pareto_k(200 * np.log(np.random.default_rng(i).random(90_000))) for i in range(20)]
    assert np.mean(found) == pytest.approx(200, rel=0.05)


def test_k_hat_of_bounded_and_of_equal_weights_is_low():
    assert pareto_k(-np.log(np.random.default_rng(0).random(100_000))) < -0.5
    assert pareto_k(np.zeros(1_000)) == 0
    assert np.isnan(pareto_k(np.full(1_000, np.nan)))


N = 50_000


class Gaussian(Target):
    """``N(mean, scale²)`` in each coordinate, times e^1.5 where nobody knows."""

    def __init__(self, mean, scale, dim=2, log_z=None):
        self.mean, self.scale, self.dim, self.log_z = mean, scale, dim, log_z

    def log_prob(self, z):
        off = ops.sum(ops.square((z - self.mean) / self.scale), axis=-1)
        level = self.dim * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return -0.5 * off - level + (1.5 if self.log_z is None else 0.0)


class HalfDefined(Gaussian):
    def log_prob(self, z):
        values = super().log_prob(z)
        return ops.where(z[..., 0] > 0, values, float("nan"))


class FailingGaussian(Gaussian):
    """A Gaussian by a function that fails far away, as a solver of differential equations may."""

    def log_prob(self, z):
        if float(ops.max(ops.abs(z))) > 10:
            raise TargetError("model.py:3: ValueError: the step is too small")
        return super().log_prob(z)


class TwoModes(Target):
    """A tenth of the mass far away, the rest at 0."""

    dim = 1

    def __init__(self, place):
        self.place = place

    def log_prob(self, z):
        places = ((0.9, 0.0), (0.1, self.place))
        modes = [math.log(w) - 0.5 * ops.square(z[..., 0] - m) for w, m in places]
        return ops.logaddexp(*modes) - 0.5 * math.log(2 * math.pi)


def density_of(dim=2, base=None):
    flow = FlowStack(["planar"], 0, seed=0)
    flow.build((None, dim))
    return PushforwardDensity(base or StandardNormal(), flow)


def judged(target, dim=2, bounds=None, names=("a", "b"), **options):
    names = list(names[:dim])
    units = units_of(names, bounds or {})
    return score(density_of(dim, **options), target, units, names, 0, N)


@pytest.fixture(scope="module")
def narrow():
    """Return scores of N(0, I) by N(0, 0.64 I) in the plane."""
    return judged(Gaussian(0.0, 0.8)).scores


def test_scores_are_those_of_the_closed_form_and_a_known_normaliser_gives_a_kl(narrow):
    kl = 2 * (math.log(0.8) + 0.5 / 0.64 - 0.5)
    assert abs(narrow["free_energy"] - (kl - 1.5)) < 4 * narrow["free_energy_standard_error"]
    assert abs(narrow["kl"] - kl) < 4 * narrow["kl_standard_error"]
    assert abs(narrow["estimated_log_z"] - 1.5) < 4 * narrow["log_z_standard_error"]
    share = (0.64 * math.sqrt(2 / 0.64 - 1)) ** 2
    assert narrow["ess"] == pytest.approx(share, abs=0.02)
    assert narrow["pareto_k"] < 0.5
    for middle, spread in narrow["moments"].values():
        assert abs(middle) < 0.02 and spread == pytest.approx(0.8, abs=0.02)
    known = judged(Gaussian(0.0, 1.1, log_z=2.0)).scores
    assert known["free_energy"] == pytest.approx(known["kl"] - 2.0)
    assert known["estimated_log_z"] == pytest.approx(2.0, abs=0.01)


def test_log_z_of_a_bounded_base_is_that_of_its_region_by_the_draws_of_q_alone():
    box = UniformBox(1.5)
    scores = judged(Gaussian(0.0, 1.0), base=box).scores
    expected = 2 * math.log(math.erf(1.5 / math.sqrt(2))) + 1.5  # of an e^1.5-fold mass
    assert abs(scores["estimated_log_z"] - expected) < 4 * scores["log_z_standard_error"]
    assert scores["pareto_k"] < 0.5 and not any(scores[key] for key in BY_Q)


def test_a_density_wider_than_q_has_good_weights_by_the_wide_neighbour_or_a_heavy_base_alone():
    scores = judged(Gaussian(0.0, 2.0)).scores  # weights of q alone: k = 1 - 1/4
    assert scores["q_pareto_k"] > 0.7 and scores["q_log_z_standard_error"] is None
    assert scores["pareto_k"] < 0.5
    assert abs(scores["estimated_log_z"] - 1.5) < 4 * scores["log_z_standard_error"] < 0.08
    for pair, errors in zip(scores["moments"].values(), scores["moments_standard_error"].values()):
        assert np.all(np.abs(np.array(pair) - [0.0, 2.0]) < 4 * np.array(errors))
    alone = judged(FailingGaussian(0.0, 2.0)).scores
    assert alone["pareto_k"] > 0.7
    assert alone["log_z_standard_error"] is alone["moments_standard_error"] is None
    heavy = judged(Gaussian(0.0, 2.0), base=StudentT(3.0)).scores
    assert heavy["pareto_k"] < 0.5
    assert heavy["estimated_log_z"] == pytest.approx(1.5, abs=0.02)


def test_the_wide_neighbour_sees_the_mode_that_was_missed(narrow):
    for place in (6.0, 12.0):
        scores = judged(TwoModes(place), dim=1).scores
        assert scores["q_log_z"] < math.log(0.95) < scores["estimated_log_z"]
        assert jump(*(scores[key] for key in BY_Q[3:])) > 0.02
    assert jump(*(narrow[key] for key in BY_Q[3:])) is None


def test_moments_are_in_the_units_of_the_user():
    # log(a) ~ N(0, 1) under q and p, so a is log-normal; b is between 0 and 1.
    bounds = {"a": [0.0, None], "b": [0.0, 1.0]}
    moments = judged(Gaussian(0.0, 1.0), bounds=bounds).scores["moments"]
    assert moments["a"][0] == pytest.approx(math.exp(0.5), rel=0.03)
    assert moments["b"][0] == pytest.approx(0.5, abs=0.01)


def test_draws_by_their_weights_follow_the_density():
    units = units_of(["a", "b"], {})
    points, _ = resampled(density_of(), Gaussian(0.5, 0.7), units, 0, 20_000)
    np.testing.assert_allclose(points.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(points.std(axis=0), 0.7, atol=0.03)
    again, _ = resampled(density_of(), Gaussian(0.5, 0.7), units, 0, 20_000)
    np.testing.assert_array_equal(points, again)


def test_the_effective_share_and_the_verdict_of_weights():
    assert effective_share(np.full(10, 0.1)) == pytest.approx(1)
    assert effective_share(np.eye(10)[3]) == pytest.approx(0.1)
    named = {"good": (-0.1, 0.49), "rough": (0.5, 0.69), "poor": (0.7, 2)}
    assert all(verdict(k) == word for word, ks in named.items() for k in ks)
    assert verdict(None) == verdict(math.nan) == "unknown"


def test_moments_have_the_errors_of_the_delta_method():
    s, n = 0.8, N  # of N(0, s²) by draws of N(0, 1): w² q is ρ N(0, v)
    v, rho = 1 / (2 / s**2 - 1), 1 / (s * math.sqrt(2 - s**2))
    errors = judged(FailingGaussian(0.0, s)).scores["moments_standard_error"]["a"]  # by q alone
    of_mean = math.sqrt(rho * v / n)
    of_spread = math.sqrt(rho * (3 * v**2 - 2 * s**2 * v + s**4) / n) / (2 * s)
    assert errors == pytest.approx([of_mean, of_spread], rel=0.05)


def test_log_z_of_a_large_density_of_arrays_is_exact():
    def pair(x):
        return -0.5 * (x**2).sum(axis=1) - 3e7, -x

    scores = judged(ArrayDensity(pair, 2, units_of(["a", "b"], {}))).scores
    assert scores["estimated_log_z"] + 3e7 == pytest.approx(math.log(2 * math.pi), abs=1e-5)
    assert scores["free_energy"] - 3e7 == pytest.approx(-math.log(2 * math.pi), abs=1e-5)


def test_a_function_that_fails_far_away_has_the_scores_of_draws_nearby(narrow):
    failing = judged(FailingGaussian(0.0, 0.8)).scores
    unknown = {*BY_Q, "missed_share", "missed_share_standard_error", "missed_mode"}
    unknown |= {"uncovered_share"}
    assert {key for key, value in failing.items() if value is None} == unknown | {
        "log_z",
        "log_z_source",
    }
    same = ("free_energy", "ess", "n_lost", "rounding_error")
    assert all(failing[key] == narrow[key] for key in same)
    for key, of_q in [("estimated_log_z", "q_log_z"), ("pareto_k", "q_pareto_k")]:
        assert failing[key] == pytest.approx(narrow[of_q])
    # Draws where the density is no number are counted and weigh nothing.
    scores = judged(HalfDefined(0.0, 1.0)).scores
    assert scores["n_lost"] == pytest.approx(N / 2, rel=0.03)
    assert scores["estimated_log_z"] == pytest.approx(1.5 + math.log(0.5), abs=0.02)
    assert math.isfinite(scores["free_energy"])


def test_a_density_is_computed_once_at_each_draw_for_scores_and_pictures():
    class Counted(FailingGaussian):
        computed = 0

        def log_prob(self, z):
            self.computed += len(z)
            return super().log_prob(z)

    target, units = Counted(0.0, 0.8), units_of(["a", "b"], {})
    rows = arrays_of(density_of(), target, units, 0, judged(target))["rows"]
    assert N < target.computed < 1.2 * N  # a few elsewhere, for modes and rounding
    np.testing.assert_allclose(rows.std(axis=0), 0.8, atol=0.05)


def of_the_plane(target, q, bounds=None):
    """Return the arrays of the plane of a fit, over its draws and a few others."""
    own = PushforwardDensity(q.base, q.flow, units_of(["a", "b"], bounds or {}))
    return plane_arrays(own, target, own.sample(2_000, seed=1), 0, 1.5)


def test_densities_of_the_plane_are_those_of_the_users_coordinates():
    target, bounds = Gaussian(10.0, 0.5), {"a": [0, None], "b": [0, None]}
    found = of_the_plane(target, normal(2, 10.0, 0.5), bounds)
    x = np.stack(np.meshgrid(found["axis_1"], found["axis_2"]), axis=-1)
    inside = (x > 0).all(axis=-1)
    z = np.log(np.where(x > 0, x, 1))
    off = -0.5 * ((z - 10) / 0.5) ** 2 - math.log(0.5 * math.sqrt(2 * math.pi)) - z
    for name in ("log_target", "log_q"):  # less the 1.5 nats that are its log Z
        np.testing.assert_allclose(found[name][inside], off.sum(axis=-1)[inside], atol=0.02)
        assert (found[name][~inside] == -np.inf).all()
    assert not found["target_samples"].size


def test_a_mixture_has_no_deformation_and_where_p_fails_there_is_no_plane():
    fit = normal(2, 10.0, 0.5)
    assert "log_deformation" in of_the_plane(Gaussian(10.0, 0.5), fit)
    pair = SideBySide(["planar"], 0, [0, 1], affine="diagonal")
    pair.build((2, None, 2))
    found = of_the_plane(Gaussian(10.0, 0.5), PushforwardDensity(StandardNormal(), pair))
    assert "log_q" in found and "log_deformation" not in found
    dot = of_the_plane(Gaussian(1e3, 0.5), normal(2, 1e3, 0.5))
    assert "log_q" in dot and "log_deformation" not in dot

    class Failing(Gaussian):
        def log_prob(self, z):
            raise TargetError("no")

    assert of_the_plane(Failing(10.0, 0.5), fit) == {}


def normal(dim, mean=0.0, scale=1.0):
    """Return the density ``N(mean, scale²)`` of independent coordinates, as a fit has it."""
    flow = FlowStack(["planar"], 0, affine="diagonal", seed=0)
    flow.build((None, dim))
    flow.adapt(np.broadcast_to(mean, dim).astype("f"), np.eye(dim) * scale)
    return PushforwardDensity(StandardNormal(), flow)


class TwoNormals(Target):
    """``e^2.5 ((1 - w) N(a, I) + w N(-a, I))``."""

    def __init__(self, dim, share, at=4.0):
        self.dim, self.share, self.at = dim, share, at

    def log_prob(self, z):
        weighted = ((1 - self.share, self.at), (self.share, -self.at))
        modes = [math.log(w) - 0.5 * ops.sum((z - a) ** 2, axis=-1) for w, a in weighted]
        return ops.logaddexp(*modes) - 0.5 * self.dim * math.log(2 * math.pi) + 2.5


@pytest.mark.parametrize(("dim", "share"), [(1, 0.5), (10, 0.03)])
def test_the_share_of_a_mode_that_was_lost_is_found(dim, share):
    visited = 2.5 + math.log(1 - share)
    missed = missed_mass(normal(dim, 4.0), TwoNormals(dim, share), visited, 0.0, seed=0)
    assert abs(missed.share - share) < 4 * missed.standard_error
    assert missed.standard_error < 0.02 * share
    np.testing.assert_allclose(missed.place, -4.0, atol=0.05)


def test_a_mode_beyond_the_search_is_found_from_a_start_near_it():
    class Far(TwoNormals):  # modes at 0 and at -800
        def log_prob(self, z):
            return super().log_prob(z + 400)

    parts = normal(2), Far(2, 0.3, at=400.0), 2.5 + math.log(0.7), 0.0
    assert missed_mass(*parts, seed=0).share == 0
    missed = missed_mass(*parts, seed=0, starts=np.array([[-798.0, -801.0]]))
    assert abs(missed.share - 0.3) < 4 * missed.standard_error


def test_a_lost_share_of_many_modes_is_found():
    right = 1 - 0.156  # of each of the three pairs
    wells, visited = ManyWell(6), 3 * math.log(right)
    missed = missed_mass(normal(6, [1.7, 0.0] * 3, 0.6), wells, visited, 0.0, seed=0)
    assert missed.share == pytest.approx(1 - right**3, abs=0.02)
    sides = [tuple(one.mode[0::2] > 0) for one in missed.proposals]
    assert sorted(sides) == sorted(set(itertools.product([False, True], repeat=3)) - {(True,) * 3})
    assert sum(sides[0]) == 2 and not any(sides[-1])  # by their mass


def test_a_mode_has_the_covariance_of_its_curvature():
    class Correlated(Target):
        dim, precision = 2, np.array([[2.0, 0.6], [0.6, 0.5]], "f")

        def log_prob(self, z):
            return -0.5 * ops.sum((z @ self.precision) * z, axis=-1)

    (mode,) = missed_mass(normal(2, 40.0), Correlated(), -9.0, 0.0, seed=0).proposals
    covariance = mode.cholesky @ mode.cholesky.T
    np.testing.assert_allclose(covariance, np.linalg.inv(Correlated.precision), rtol=1e-3)
    z = np.random.default_rng(0).normal(0, 100, (50, 2))
    expected = stats.multivariate_t(mode.mode, covariance, df=5).logpdf(z)
    np.testing.assert_allclose(mode.log_prob(z), expected, 1e-5)
    assert mode.cholesky[0, 1] == 0 and np.all(np.diag(mode.cholesky) > 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("density", "target", "log_z"),
    [
        (normal(10, 4.0), TwoNormals(10, 1e-12), 2.5),
        (normal(10), Funnel(10), 0.0),  # a peak in the neck, hardly any mass
        (normal(2, scale=0.9), TwoNormals(2, 0.5, at=0.0), 2.5),  # q has light tails
    ],
    ids=["one mode", "funnel", "light tails"],
)
def test_a_fit_that_visits_every_mode_misses_next_to_nothing(density, target, log_z):
    missed = missed_mass(density, target, log_z, 0.0, seed=0)
    assert missed.share < 1e-3 and missed.place is None


@pytest.mark.parametrize(
    ("highest", "mass"), [(16.0, 0.97725), (28.0, 0.69146), (33.0, 0.0)], ids=["2", "0.5", "none"]
)
def test_mass_is_missed_where_weights_are_larger_than_any_draw_has(highest, mass):
    # log p - log Z - log q is -8x: above `highest` lies Φ(4 - highest / 8) of N(-4, 1).
    density, target = normal(1, 4.0), TwoNormals(1, 0.5)
    missed = missed_mass(density, target, 2.5 + math.log(0.5), highest, seed=0)
    assert missed.share == pytest.approx(mass / (1 + mass), abs=5e-3)
