"""Checks of a fit to a log-density, without executing user code."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.evaluation.inference import Judgement, arrays_of, judge, shown_samples
from nflow_cli.evaluation.verdicts import Outcome, Verdict
from nflow_cli.experiments.checked_flows import CheckedRestarts
from nflow_cli.experiments.checked_run import Checks
from nflow_cli.experiments.comparison import Tolerance, error_of


class CheckedInference(CheckedRestarts):
    """A run of ``nflow infer`` to check."""

    config: InferConfig
    tolerances: Mapping[str, Tolerance] = {  # a climb by signs may end elsewhere
        "missed_share": Tolerance(1e-6, scaled=4.0, scale=error_of("missed_share_standard_error")),
        "missed_share_standard_error": Tolerance(math.inf),
    }

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures."""
        of_user_code = {} if self.config.density.is_built_in else {"summary": skip_user_code}
        return {**super().score_checks, **of_user_code}

    @property
    def target(self) -> Any:
        """The built-in density."""
        return self.experiment.data().target

    @cached_property
    def judged(self) -> Judgement:
        """Scores by the draws of the summary."""
        trained, config = self.trained, self.config
        parts = trained.inside, self.target, trained.units, trained.columns
        return judge(*parts, config.seed, config.evaluate.samples)

    @property
    def scores(self) -> Mapping[str, Any]:
        """The scores of the summary, recomputed."""
        return {**self.judged.scores, "has_exact_samples": self.target.sample is not None}

    @property
    def shown(self) -> Mapping[str, np.ndarray]:
        """The arrays of the pictures, recomputed; of user code the draws alone."""
        inside, units, seed = self.trained.inside, self.trained.units, self.config.seed
        if not self.config.density.is_built_in:
            return {"samples": shown_samples(inside, units, seed)}
        return arrays_of(inside, self.target, units, seed, self.judged)


def skip_user_code(run: CheckedInference) -> Verdict:
    """Skip the scores of a user's density, whose code is not executed."""
    name = run.config.subject
    return Outcome.UNKNOWN, f"{name} is user code, not executed by check; `nflow evaluate` does"
