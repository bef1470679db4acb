"""Mixtures of members side by side: each is what it would be alone, and the mixture is exact."""

import numpy as np
import pytest
from keras import ops

from nflow_cli.data.column_maps import Scale
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.errors import DataError
from nflow_cli.flows.stack import WeightedStacks, make_stack
from nflow_cli.random_streams import stream
from nflow_cli.tables.scores.pit import band, from_uniform

SEED, R = 4, 3
SPLINE = [{"spline-coupling": {"hidden": [8], "bins": 4}}]


def moved(weights, seed):
    """Return values away from their start, the same for a member and for it alone."""
    rng = np.random.default_rng(seed)
    return [ops.convert_to_numpy(w.value) + 0.3 * rng.standard_normal(w.shape) for w in weights]


def flow_density(seed, members):
    flow = make_stack(SPLINE, 2, seed, "full", members, dtype="float64")
    flow.build((None, 2))
    return PushforwardDensity(StandardNormal(), flow, ColumnUnits([[Scale(0.5, 2.0)]] * 2))


def given_density(seed, members):
    flow = make_stack(SPLINE, 2, seed, "full", members, dtype="float64")
    flow.build((None, 2), (None, 1))
    units = ColumnUnits([[Scale(0.5, 2.0)]] * 2), ColumnUnits([[Scale(1.0, 3.0)]])
    return PushforwardDensity(StandardNormal(), flow, *units)


def alone_and_together(make):
    """Return densities of the seeds one by one, and their mixture, of equal weights."""
    alone, together = [make(SEED + r, 1) for r in range(R)], make(SEED, R)
    values = []
    for r, density in enumerate(alone):
        values.append(moved(density.trained.trainable_weights, r))
        for weight, value in zip(density.trained.trainable_weights, values[-1]):
            weight.assign(value)
    for weight, *each in zip(together.trained.trainable_weights, *values):
        weight.assign(np.stack(each).reshape(weight.shape))
    return alone, together


def rows_of(make, n=200):
    x = np.random.default_rng(0).normal(0, 2, (n, 2))
    if make is flow_density:
        return x
    return np.column_stack([np.linspace(-2, 4, n), x])


both = pytest.mark.parametrize("make", [flow_density, given_density])


@both
def test_members_are_what_they_are_alone_and_the_mixture_is_their_mean(make):
    alone, together = alone_and_together(make)
    rows = rows_of(make)
    each = np.stack([density.log_prob(rows) for density in alone])
    np.testing.assert_allclose(together.member_log_probs(rows), each, rtol=1e-10)
    mean = np.log(np.exp(each).mean(axis=0))
    np.testing.assert_allclose(together.log_prob(rows), mean, rtol=1e-10)
    latents = np.stack([density.latent(rows) for density in alone])
    np.testing.assert_allclose(together.member_latents(rows), latents, rtol=1e-9, atol=1e-9)
    with pytest.raises(DataError, match="a mixture of 3, which has no one latent"):
        together.latent(rows)


@both
def test_a_mixture_starts_as_its_members_do(make):
    together = make(SEED, R)
    rows = rows_of(make)
    each = [make(SEED + r, 1).log_prob(rows) for r in range(R)]
    np.testing.assert_allclose(together.member_log_probs(rows), each, rtol=1e-10)
    assert len({round(values[0], 9) for values in each}) == R


@both
def test_draws_are_of_each_member_equally(make):
    alone, together = alone_and_together(make)
    n, given = 20_000, rows_of(make)[7:8, : together.n_given]
    parts = together.draw(n, lambda part: stream(1, "d", part), given)
    drawn = np.concatenate([part.x for part in parts])[:, together.n_given :]
    # P(x <= t) of a mixture is the mean of those of its members.
    each = [density.sample(n, 5, given)[:, density.n_given :] for density in alone]
    for column, of_all in zip(drawn.T, np.sort(np.concatenate(each).T)):
        uniform = np.searchsorted(of_all, column) / len(of_all)
        assert from_uniform(uniform, np.ones(n))[0] < 1.5 * band(n)


def test_a_mixture_has_the_weights_of_its_stacks():
    alone, _ = alone_and_together(flow_density)
    weights, shifts = np.array([0.2, 0.7, 0.1]), (-30.0, 0.0, 30.0)
    for density, shift in zip(alone, shifts):
        density.flow.last["shift"].assign([shift, shift])
    flow = WeightedStacks(SPLINE, 2, [0, 0, 0], affine="full", dtype="float64")
    flow.build((None, 2))
    q = PushforwardDensity(StandardNormal(), flow, alone[0].units)
    np.testing.assert_allclose(q.member_weights, 1 / R)
    flow.log_weights.assign(np.log(weights))
    for weight, *each in zip(flow.trainable_weights, *(d.flow.trainable_weights for d in alone)):
        weight.assign(np.stack([ops.convert_to_numpy(one) for one in each]))
    x = rows_of(flow_density)
    expected = np.log(sum(w * np.exp(d.log_prob(x)) for w, d in zip(weights, alone)))
    np.testing.assert_allclose(q.log_prob(x), expected, rtol=1e-10)
    n = 4_000
    draw = next(q.draw(n, lambda _: np.random.default_rng(0)))
    assert draw.log_q is None  # which would take an inverse of each member
    centers = [density.sample(100).mean() for density in alone]
    nearest = np.abs(draw.x.mean(axis=1)[:, None] - centers).argmin(axis=1)
    shares = np.bincount(nearest, minlength=R) / n
    assert np.all(np.abs(shares - weights) < 4 * np.sqrt(weights * (1 - weights) / n))
    even = next(q.draw(n, lambda _: np.random.default_rng(0), even=True))
    assert np.all(np.abs(np.bincount(even.member, minlength=R) - n * weights) < 4)
