"""Checks of runs whose models are flows."""

from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.arguments import MAX_SEED
from nflow_cli.config.schema import Fit2DConfig, InferConfig
from nflow_cli.evaluation.flow_checks import (
    Flows,
    as_arrays,
    check_log_det,
    check_margin,
    check_round_trip,
)
from nflow_cli.evaluation.target import Evaluation, evaluate_samples
from nflow_cli.experiments.checked_run import CheckedRun, Checks, differences
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import SUMMARY
from nflow_cli.training.restarts_record import final_kl

POINTS = 256  # base samples at which a 2-D stack is checked
OF_FLOWS: Checks = {
    "invertibility": lambda run: check_margin(run.flows),
    "log-det": lambda run: check_log_det(run.flows),
    "round trip": lambda run: check_round_trip(run.flows),
}


class CheckedFlows(CheckedRun):
    """A run whose model has flows."""

    @property
    def model_checks(self) -> Checks:
        """Checks of the flows, by name."""
        return OF_FLOWS

    @cached_property
    def flows(self) -> Flows:
        """The flows in float64, and points to check them at."""
        raise NotImplementedError


class CheckedDensity(CheckedFlows):
    """A run whose model is a density."""

    config: Fit2DConfig | InferConfig

    @property
    def model(self) -> Any:
        """The flow stack, with networks of categories where there are some."""
        return self.trained.trained

    @cached_property
    def flows(self) -> Flows:
        """The flows in float64, and points to check them at."""
        flow, rng = self.trained.flow, stream(self.config.seed, "check")
        points = self.trained.base.sample(rng, (*flow.members, POINTS, self.trained.dim))
        context = None  # of flows that take one, any will do
        if flow.takes_context:
            context = rng.standard_normal((POINTS, flow.context_width), np.float32)
        return Flows(as_arrays(flow.composition(context)), points.astype(np.float64))

    @cached_property
    def evaluation(self) -> Evaluation:
        """The draws that the summary of a fit to a target was computed from, judged again."""
        density, samples = self.trained, self.config.evaluate.samples
        return evaluate_samples(density, density.target, self.config.seed, samples)

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Return errors of the summary about the restart that was kept."""
        restarts = self.summary["restarts"]
        best = restarts["best"]
        seed = (self.config.seed + best) % (MAX_SEED + 1)
        expected = {"count": self.config.train.restarts, "seed": seed}
        wrong = differences(f"{SUMMARY}: restarts", expected, restarts)
        of_the_best = {key: restarts[key][best] for key in ("kl", "updates")}
        whole = {"kl": final_kl(self.summary), "updates": self.length}
        return {}, wrong + differences(f"{SUMMARY}: the restart kept", whole, of_the_best)
