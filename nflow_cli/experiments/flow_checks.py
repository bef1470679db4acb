"""Checks of densities of flows."""

from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.arguments import MAX_SEED
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
from nflow_cli.training.restarts_record import final_kl

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
        return flows_of(self.trained, self.config.seed)


def flows_of(density: Any, seed: int) -> Flows:
    """Flows of a density in float64, and points to check them at."""
    flow, rng = density.flow, stream(seed, "check")
    points = density.base.sample(rng, (*flow.members, POINTS, density.dim))
    context = None  # of flows that take one, any will do
    if flow.takes_context:
        context = rng.standard_normal((POINTS, flow.context_width), np.float32)
    return Flows(as_arrays(flow.composition(context)), points.astype(np.float64))


class CheckedRestarts(CheckedDensity):
    """Run of reverse KL, which has restarts."""

    @property
    def training(self) -> dict[str, Any]:
        """Record of the restarts; of the kept one by the other figures."""
        record = self.summary["restarts"]
        best, kls, updates = record["best"], [*record["kl"]], [*record["updates"]]
        kls[best], updates[best] = final_kl(self.summary), self.length
        seed = (self.config.seed + best) % (MAX_SEED + 1)
        kept = {"count": self.config.train.restarts, "best": best, "seed": seed}
        return {"restarts": {**kept, "kl": kls, "updates": updates}}


def check_mass(run: CheckedRun) -> Verdict:
    """Integrate ``q`` around its samples; an unresolved mass is no failure."""
    bounded = run.trained.base.bounded
    tolerance = BOUNDED_MASS_TOLERANCE if bounded else MASS_TOLERANCE
    mass, error = mass_of(run.trained, run.config.seed)
    wrong = differences(SUMMARY, {"mass": mass, "mass_error": error}, run.facts)
    if not abs(mass - 1) <= tolerance + error:
        wrong.append(f"expected 1, received {mass:.5f} ± {error:.5f}")
    return agreement(wrong, f"mass {mass:.5f}, mass_error {error:.5f} from the same draws")
