"""Checks of a fit to a log-density, without executing user code."""

import math
from collections.abc import Mapping
from functools import cached_property

from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.evaluation.inference import shown_samples
from nflow_cli.evaluation.verdicts import Outcome, Verdict
from nflow_cli.experiments.checks import OF_SCORES, Checks
from nflow_cli.experiments.comparison import Tolerance, error_of
from nflow_cli.experiments.flow_checks import CheckedRestarts
from nflow_cli.experiments.infer.training import judged
from nflow_cli.experiments.summary import Judged


class Checked(CheckedRestarts):
    """Run of ``nflow infer`` to check."""

    config: InferConfig
    tolerances: Mapping[str, Tolerance] = {  # a climb by signs may end elsewhere
        "missed_share": Tolerance(1e-6, scaled=4.0, scale=error_of("missed_share_standard_error")),
        "missed_share_standard_error": Tolerance(math.inf),
    }

    @property
    def checks(self) -> Checks:
        of_user_code = {} if self.config.density.is_built_in else {"summary": skip_user_code}
        return {**super().checks, **OF_SCORES, **of_user_code}

    @cached_property
    def judged(self) -> Judged:
        """Its scores and arrays, recomputed; of user code the draws alone."""
        inside = self.trained.inside
        if self.config.density.is_built_in:
            return judged(self.config, inside, self.data.target)
        return Judged({}, {"samples": shown_samples(inside, self.trained.units, self.config.seed)})


def skip_user_code(run: Checked) -> Verdict:
    """Skip the scores of a user's density, whose code is not executed."""
    name = run.config.subject
    return Outcome.UNKNOWN, f"{name} is user code, not executed by check; `nflow evaluate` does"
