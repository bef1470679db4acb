"""The search for modes that a fit does not visit, against mixtures of known shares."""

import itertools
import math

import numpy as np
import pytest
from keras import ops

from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.examples import Funnel, ManyWell
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.targets import Target
from nflow_cli.errors import TargetError
from nflow_cli.evaluation.missed_mass import missed_mass
from nflow_cli.flows import FlowStack


def normal(dim, mean=0.0, scale=1.0):
    """Return the density ``N(mean, scale²)`` of independent coordinates, as a fit has it."""
    flow = FlowStack(["planar"], 0, affine="diagonal", seed=0)
    flow.build((None, dim))
    flow.adapt(np.broadcast_to(mean, dim).astype("f"), np.eye(dim) * scale)
    return FlowDensity(StandardNormal(), flow)


class TwoNormals(Target):
    """``e^2.5 ((1 - w) N(a, I) + w N(-a, I))``."""

    def __init__(self, dim, share, at=4.0):
        self.dim, self.share, self.at = dim, share, at

    def log_prob(self, z):
        weighted = ((1 - self.share, self.at), (self.share, -self.at))
        modes = [math.log(w) - 0.5 * ops.sum((z - a) ** 2, axis=-1) for w, a in weighted]
        return ops.logaddexp(*modes) - 0.5 * self.dim * math.log(2 * math.pi) + 2.5


@pytest.mark.parametrize(("dim", "share"), [(1, 0.5), (10, 0.5), (10, 0.03)])
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
    sides = [tuple(bump.mode[0::2] > 0) for bump in missed.bumps]
    assert sorted(sides) == sorted(set(itertools.product([False, True], repeat=3)) - {(True,) * 3})
    assert sum(sides[0]) == 2 and not any(sides[-1])  # by their mass


def test_a_mode_has_the_covariance_of_its_curvature():
    class Correlated(Target):
        dim, precision = 2, np.array([[2.0, 0.6], [0.6, 0.5]], "f")

        def log_prob(self, z):
            return -0.5 * ops.sum((z @ self.precision) * z, axis=-1)

    (bump,) = missed_mass(normal(2, 40.0), Correlated(), -9.0, 0.0, seed=0).bumps
    covariance = bump.cholesky @ bump.cholesky.T
    np.testing.assert_allclose(covariance, np.linalg.inv(Correlated.precision), rtol=1e-3)
    assert bump.cholesky[0, 1] == 0 and np.all(np.diag(bump.cholesky) > 0)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("highest", "mass"), [(16.0, 0.97725), (28.0, 0.69146), (33.0, 0.0)], ids=["2", "0.5", "none"]
)
def test_mass_is_missed_where_weights_are_larger_than_any_draw_has(highest, mass):
    # log p - log Z - log q is -8x: above `highest` lies Φ(4 - highest / 8) of N(-4, 1).
    density, target = normal(1, 4.0), TwoNormals(1, 0.5)
    missed = missed_mass(density, target, 2.5 + math.log(0.5), highest, seed=0)
    assert missed.share == pytest.approx(mass / (1 + mass), abs=5e-3)


class Raising(TwoNormals):
    def log_prob(self, z):
        if float(ops.max(ops.abs(z))) > 15:
            raise TargetError("no number there")
        return super().log_prob(z)


def test_a_function_that_fails_far_away_leaves_the_share_unknown():
    missed = missed_mass(normal(2, 4.0), Raising(2, 0.5), 2.5, 0.0, seed=0)
    assert missed == (None, None, ())
