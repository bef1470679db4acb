"""Checks of densities of flows."""

from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.evaluation.flow_checks import (
    Flows,
    as_arrays,
    check_log_det,
    check_margin,
    check_round_trip,
)
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.evaluation.verdicts import Verdict
from nflow_cli.experiments.checks import CheckedRun, Checks
from nflow_cli.experiments.comparison import agreement, differences
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import SUMMARY

POINTS = 256  # base samples at which a stack is checked
MASS_TOLERANCE, BOUNDED_MASS_TOLERANCE = 1e-3, 5e-3  # a density that jumps is harder to sum
OF_FLOWS: Checks = {
    "invertibility": lambda run: check_margin(run.flows),
    "log-det": lambda run: check_log_det(run.flows),
    "round trip": lambda run: check_round_trip(run.flows),
}


class CheckedDensity(CheckedRun):
    """Run whose model is a density of flows."""

    config: Any

    @property
    def checks(self) -> Checks:
        """Checks of the flows, by name."""
        return OF_FLOWS

    @cached_property
    def flows(self) -> Flows:
        """Flows in float64, and points to check them at."""
        flow, rng = self.trained.flow, stream(self.config.seed, "check")
        points = self.trained.base.sample(rng, (*flow.members, POINTS, self.trained.dim))
        context = None  # of flows that take one, any will do
        if flow.takes_context:
            context = rng.standard_normal((POINTS, flow.context_width), np.float32)
        return Flows(as_arrays(flow.composition(context)), points.astype(np.float64))


def check_mass(run: CheckedDensity) -> Verdict:
    """Integrate ``q`` around its samples; an unresolved mass is no failure."""
    bounded = run.trained.base.bounded
    tolerance = BOUNDED_MASS_TOLERANCE if bounded else MASS_TOLERANCE
    mass, error = mass_of(run.trained, run.config.seed)
    wrong = differences(SUMMARY, {"mass": mass, "mass_error": error}, run.facts)
    if not abs(mass - 1) <= tolerance + error:
        wrong.append(f"expected 1, received {mass:.5f} ± {error:.5f}")
    return agreement(wrong, f"mass {mass:.5f}, mass_error {error:.5f} from the same draws")
