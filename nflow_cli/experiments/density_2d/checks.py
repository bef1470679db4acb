"""Checks of a fit to a 2-D target."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.arguments import MAX_SEED
from nflow_cli.config.schema import Fit2DConfig
from nflow_cli.evaluation.target import Evaluation, density_arrays, evaluate_samples
from nflow_cli.evaluation.verdicts import Verdict, passed
from nflow_cli.evaluation.warnings import is_dominated
from nflow_cli.experiments.checked_flows import CheckedRestarts, check_mass
from nflow_cli.experiments.checked_run import Checks, check_arrays, check_scores
from nflow_cli.experiments.density_2d.fit import scores_of

SIGMAS = 4.0


class CheckedTarget(CheckedRestarts):
    """A run of ``nflow fit-2d`` to check."""

    config: Fit2DConfig

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures."""
        return {
            "mass": check_mass,
            "summary": check_scores,
            "fresh draws": check_fresh,
            "arrays": check_arrays,
        }

    def evaluated(self, seed: int) -> Evaluation:
        """Score the density by draws of a seed."""
        density = self.trained
        return evaluate_samples(density, density.target, seed, self.config.evaluate.samples)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The draws that the summary was computed from, scored again."""
        return self.evaluated(self.config.seed)

    @property
    def scores(self) -> Mapping[str, Any]:
        """The scores of the summary, recomputed."""
        density = self.trained
        return scores_of(self.evaluation, density, density.target, self.config.seed)

    @property
    def shown(self) -> Mapping[str, np.ndarray]:
        """The arrays of the pictures, recomputed."""
        parts = self.trained, self.trained.target, self.evaluation.first
        return density_arrays(*parts, self.config.seed, self.config.evaluate.grid)


def check_fresh(run: CheckedTarget) -> Verdict:
    """Compute the summary's scores from fresh draws, within 4 standard errors of both."""
    fresh = run.evaluated((run.config.seed + 1) % (MAX_SEED + 1)).scores
    same = run.evaluation.scores
    errors = {"kl": "kl_standard_error", "free_energy": "kl_standard_error"}
    if not (is_dominated(fresh) or is_dominated(same)):
        errors["ess"] = "ess_standard_error"
    right, shown = True, []
    for key, error in errors.items():
        if fresh[key] is None:
            continue
        combined = math.hypot(fresh[error], same[error])
        away = abs(fresh[key] - run.score(key)) / max(combined, 1e-7)
        right = right and away <= SIGMAS
        shown.append(f"{key} {fresh[key]:.5f} ({away:.1f} s.e. away)")
    if "ess" not in errors:
        shown.append("ess not compared: a few samples outweigh the others")
    return passed(right), ", ".join(shown)
