"""Checks of a fit to a log-density, without executing user code."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from nflow_cli.experiments.comparison import Outcome, Tolerance, Verdict, error_of
from nflow_cli.experiments.flow_checks import CheckedDensity, check_mass
from nflow_cli.experiments.run_checks import OF_SCORES, Checks
from nflow_cli.experiments.summary import Judged
from nflow_cli.flows.stack import seeds_from
from nflow_cli.inference.reverse_kl import shown_samples
from nflow_cli.inference.reverse_kl_data import Config
from nflow_cli.inference.reverse_kl_scoring import judged


class Checked(CheckedDensity):
    """Run to check."""

    config: Config

    @property
    def tolerances(self) -> Mapping[str, Tolerance]:
        """Tolerances of a search for missed mass: a climb by signs may end elsewhere."""
        if self.config.is_built_in and self.data.target.sample is not None:
            return {}
        error = "missed_share_standard_error"
        near = Tolerance(1e-6, scaled=4.0, scale=error_of(error))
        return {"missed_share": near, error: Tolerance(math.inf)}

    @property
    def checks(self) -> Checks:
        checks = dict(super().checks)
        if self.config.evaluate.grid is not None:
            checks["mass"] = check_mass
        checks |= OF_SCORES
        if not self.config.is_built_in:
            checks["summary"] = skip_user_code
        return checks

    @property
    def training(self) -> dict[str, Any]:
        record = self.summary.restarts
        updates = list(record.updates)
        updates[record.best] = self.length
        seed = seeds_from(self.config.seed + record.best, 1)[0]
        expected = record.judged(self.facts).model_dump()
        expected |= {"count": self.config.train.restarts, "seed": seed, "updates": updates}
        return {"restarts": expected}

    @cached_property
    def judged(self) -> Judged:
        """Its scores and arrays, recomputed; of user code the draws alone."""
        inside = self.trained.inside
        if self.config.is_built_in:
            return judged(self.config, inside, self.data.target)
        return Judged({}, {"samples": shown_samples(inside, self.trained.units, self.config.seed)})


def skip_user_code(run: Checked) -> Verdict:
    """Skip the scores of a user's density, whose code is not executed."""
    name = run.config.subject
    return Outcome.UNKNOWN, f"{name} is user code, not executed by check; `nflow evaluate` does"
