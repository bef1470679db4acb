"""Checks of a fit to a 2-D target."""

import math
from functools import cached_property

from nflow_cli.arguments import MAX_SEED
from nflow_cli.config.schema import Fit2DConfig
from nflow_cli.evaluation.target import Evaluation, evaluate_samples
from nflow_cli.evaluation.verdicts import Verdict, passed
from nflow_cli.evaluation.warnings import is_dominated
from nflow_cli.experiments.checks import Checks, check_arrays, check_scores
from nflow_cli.experiments.density_2d.training import judged
from nflow_cli.experiments.flow_checks import CheckedRestarts, check_mass
from nflow_cli.experiments.summary import Judged

SIGMAS = 4.0


class Checked(CheckedRestarts):
    """Run of ``nflow fit-2d`` to check."""

    config: Fit2DConfig

    @property
    def checks(self) -> Checks:
        return {
            **super().checks,
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
        """Draws that the summary was computed from, scored again."""
        return self.evaluated(self.config.seed)

    @cached_property
    def judged(self) -> Judged:
        return judged(self.config, self.trained, self.trained.target, self.evaluation)


def check_fresh(run: Checked) -> Verdict:
    """Compare the scores with those of fresh draws: within 4 standard errors of both."""
    fresh = run.evaluated((run.config.seed + 1) % (MAX_SEED + 1)).scores
    same = run.evaluation.scores | run.summary
    errors = {"kl": "kl_standard_error", "free_energy": "kl_standard_error"}
    if not (is_dominated(fresh) or is_dominated(same)):
        errors["ess"] = "ess_standard_error"
    right, shown = True, []
    for key, error in errors.items():
        if fresh[key] is None:
            continue
        combined = math.hypot(fresh[error], same[error])
        recorded = math.nan if same[key] is None else same[key]
        away = abs(fresh[key] - recorded) / max(combined, 1e-7)
        right = right and away <= SIGMAS
        shown.append(f"{key} {fresh[key]:.5f} ({away:.1f} s.e. away)")
    if "ess" not in errors:
        shown.append("ess not compared: a few samples outweigh the others")
    return passed(right), ", ".join(shown)
