"""Flow stacks that were not trained, what is made of them, and targets by their formulas."""

import numpy as np
import pytest
from truth import to_numpy

from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.densities.target import Target
from nflow_cli.flows.stack import FlowStack
from nflow_cli.inference.reverse_kl import score
from nflow_cli.inference.reverse_kl_training import build

STACKS = {
    "planar": (["planar"], 4),
    "radial": (["radial"], 4),
    "mixed": (["planar", "radial"], 5),
    "empty": (["planar"], 0),
}
every_stack = pytest.mark.parametrize("name", STACKS)


class Formula(Target):
    """A target that nothing is known of but its formula."""

    def __init__(self, log_prob):
        self.formula = log_prob

    def log_prob(self, z):
        return self.formula(z)


def built(settings):
    """Build the model of a fit to a named density."""
    return build(settings, settings.new_target())


def scores_of(density, target, seed=0, n=20_000):
    """Score a density in the plane by its own samples."""
    return score(density, target, density.units, ["z1", "z2"], seed, n).scores


def density_of(flow, base=None, dim=2):
    """Push a base through a stack, which is built for that if it is not."""
    if not flow.built:
        flow.build((None, dim))
    return PushforwardDensity(base or StandardNormal(), flow)


def make(name, seed=0, dtype="float32", spread=0.4, dim=2):
    """Build a stack and move its weights away from their start."""
    stack = FlowStack(*STACKS[name], seed=seed, dtype=dtype)
    stack.build((None, dim))
    rng = np.random.default_rng(seed)
    for variable in stack.weights:
        start = to_numpy(variable.value)
        variable.assign(start + spread * rng.standard_normal(start.shape).astype(dtype))
    return stack
