import math

import numpy as np
import pytest
from keras import ops

from nflow_cli.densities.bases import StandardNormal, StudentT
from nflow_cli.densities.log_density import ArrayDensity, units_of
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.targets import Target
from nflow_cli.errors import TargetError
from nflow_cli.evaluation.inference import BY_Q, effective_share, judge, resampled
from nflow_cli.evaluation.weights_verdict import jump, verdict
from nflow_cli.flows import FlowStack

N = 50_000


class Gaussian(Target):
    """``N(mean, scale²)`` in each coordinate, times e^1.5 where nobody knows."""

    def __init__(self, mean, scale, dim=2, log_z=None):
        self.mean, self.scale, self.dim, self.log_z = mean, scale, dim, log_z

    def log_prob(self, z):
        off = ops.sum(ops.square((z - self.mean) / self.scale), axis=-1)
        level = self.dim * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return -0.5 * off - level + (1.5 if self.log_z is None else 0.0)


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
    return FlowDensity(base or StandardNormal(), flow)


def judged(target, dim=2, bounds=None, names=("a", "b"), **options):
    names = list(names[:dim])
    units = units_of(names, bounds or {})
    return judge(density_of(dim, **options), target, units, names, 0, N)


def test_scores_are_those_of_the_closed_form():
    scores = judged(Gaussian(0.0, 0.8)).scores  # KL of N(0, 1) from N(0, 0.64) in the plane
    kl = 2 * (math.log(0.8) + 0.5 / 0.64 - 0.5)
    assert abs(scores["free_energy"] - (kl - 1.5)) < 4 * scores["free_energy_standard_error"]
    assert abs(scores["kl"] - kl) < 4 * scores["kl_standard_error"]
    assert abs(scores["estimated_log_z"] - 1.5) < 4 * scores["log_z_standard_error"]
    share = (0.64 * math.sqrt(2 / 0.64 - 1)) ** 2
    assert scores["ess"] == pytest.approx(share, abs=0.02)
    assert scores["pareto_k"] < 0.5
    for mean, spread in scores["moments"].values():
        assert abs(mean) < 0.02 and spread == pytest.approx(0.8, abs=0.02)


def test_a_known_normaliser_gives_a_kl():
    scores = judged(Gaussian(0.0, 1.1, log_z=2.0)).scores
    assert scores["free_energy"] == pytest.approx(scores["kl"] - 2.0)
    assert scores["estimated_log_z"] == pytest.approx(2.0, abs=0.01)


def test_a_density_wider_than_q_has_good_weights_by_the_wide_neighbour():
    scores = judged(Gaussian(0.0, 2.0)).scores  # weights of q alone: k = 1 - 1/4
    assert scores["q_pareto_k"] > 0.7 and scores["q_log_z_standard_error"] is None
    assert scores["pareto_k"] < 0.5
    assert abs(scores["estimated_log_z"] - 1.5) < 4 * scores["log_z_standard_error"] < 0.08
    for pair, errors in zip(scores["moments"].values(), scores["moments_standard_error"].values()):
        assert np.all(np.abs(np.array(pair) - [0.0, 2.0]) < 4 * np.array(errors))


def test_heavy_weights_have_no_error():
    scores = judged(Failing(0.0, 2.0)).scores  # by q alone
    assert scores["pareto_k"] > 0.7
    assert scores["log_z_standard_error"] is scores["moments_standard_error"] is None


def test_a_heavy_base_covers_a_wide_density():
    scores = judged(Gaussian(0.0, 2.0), base=StudentT(3.0)).scores
    assert scores["pareto_k"] < 0.5
    assert scores["estimated_log_z"] == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("place", [6.0, 12.0])
def test_the_wide_neighbour_sees_the_mode_that_was_missed(place):
    scores = judged(TwoModes(place), dim=1).scores
    assert scores["q_log_z"] < math.log(0.95) < scores["estimated_log_z"]
    assert jump(scores) is not None and jump(scores) > 0.02
    assert jump(judged(Gaussian(0.0, 0.9)).scores) is None


def test_moments_are_in_the_units_of_the_user():
    # log(a) ~ N(0, 1) under q and p, so a is log-normal; b is between 0 and 1.
    bounds = {"a": [0.0, None], "b": [0.0, 1.0]}
    moments = judged(Gaussian(0.0, 1.0), bounds=bounds).scores["moments"]
    assert moments["a"][0] == pytest.approx(math.exp(0.5), rel=0.03)
    assert moments["b"][0] == pytest.approx(0.5, abs=0.01)


class HalfDefined(Gaussian):
    def log_prob(self, z):
        values = super().log_prob(z)
        return ops.where(z[..., 0] > 0, values, float("nan"))


def test_draws_where_the_density_is_no_number_are_counted_and_weigh_nothing():
    scores = judged(HalfDefined(0.0, 1.0)).scores
    assert scores["n_lost"] == pytest.approx(N / 2, rel=0.03)
    assert scores["estimated_log_z"] == pytest.approx(1.5 + math.log(0.5), abs=0.02)
    assert math.isfinite(scores["free_energy"])


def test_draws_by_their_weights_follow_the_density():
    units = units_of(["a", "b"], {})
    points, _ = resampled(density_of(), Gaussian(0.5, 0.7), units, 0, 20_000)
    np.testing.assert_allclose(points.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(points.std(axis=0), 0.7, atol=0.03)
    again, _ = resampled(density_of(), Gaussian(0.5, 0.7), units, 0, 20_000)
    np.testing.assert_array_equal(points, again)


def test_the_effective_share_of_equal_and_of_one_weight():
    assert effective_share(np.full(10, 0.1)) == pytest.approx(1)
    assert effective_share(np.eye(10)[3]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("k", "word"),
    [(-0.1, "good"), (0.49, "good"), (0.5, "rough"), (0.69, "rough"), (0.7, "poor"), (2, "poor")],
)
def test_k_hat_has_a_verdict(k, word):
    assert verdict(k) == word
    assert verdict(None) == verdict(math.nan) == "unknown"


def test_moments_have_the_errors_of_the_delta_method():
    s, n = 0.8, N  # of N(0, s²) by draws of N(0, 1): w² q is ρ N(0, v)
    v, rho = 1 / (2 / s**2 - 1), 1 / (s * math.sqrt(2 - s**2))
    errors = judged(Failing(0.0, s)).scores["moments_standard_error"]["a"]  # by q alone
    of_mean = math.sqrt(rho * v / n)
    of_spread = math.sqrt(rho * (3 * v**2 - 2 * s**2 * v + s**4) / n) / (2 * s)
    assert errors == pytest.approx([of_mean, of_spread], rel=0.05)


def test_log_z_of_a_large_density_of_arrays_is_exact():
    def pair(x):
        return -0.5 * (x**2).sum(axis=1) - 3e7, -x

    scores = judged(ArrayDensity(pair, 2, units_of(["a", "b"], {}))).scores
    assert scores["estimated_log_z"] + 3e7 == pytest.approx(math.log(2 * math.pi), abs=1e-5)
    assert scores["free_energy"] - 3e7 == pytest.approx(-math.log(2 * math.pi), abs=1e-5)


class Failing(Gaussian):
    """A Gaussian by a function that fails far away, as a solver of differential equations may."""

    def log_prob(self, z):
        if float(ops.max(ops.abs(z))) > 10:
            raise TargetError("model.py:3: ValueError: the step is too small")
        return super().log_prob(z)


def test_a_function_that_fails_far_away_has_the_scores_of_draws_nearby():
    failing, whole = (judged(target(0.0, 0.8)).scores for target in (Failing, Gaussian))
    unknown = {*BY_Q, "missed_share", "missed_share_standard_error", "missed_mode"}
    assert {key for key, value in failing.items() if value is None} == unknown | {
        "log_z",
        "log_z_source",
    }
    same = ("free_energy", "ess", "n_lost", "rounding_error")
    assert all(failing[key] == whole[key] for key in same)
    for key, of_q in [("estimated_log_z", "q_log_z"), ("pareto_k", "q_pareto_k")]:
        assert failing[key] == pytest.approx(whole[of_q])
