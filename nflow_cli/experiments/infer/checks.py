"""Checks of a fit to a log-density, without executing user code."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.evaluation.inference import Judgement, arrays_of, judge
from nflow_cli.evaluation.verdicts import Outcome, Verdict, passed
from nflow_cli.experiments.checked_flows import CheckedDensity
from nflow_cli.experiments.checked_run import Checks, agree, differences
from nflow_cli.experiments.density_checks import AS_GIVEN
from nflow_cli.runs.directory import EVALUATION, SUMMARY


class CheckedInference(CheckedDensity):
    """A run of ``nflow infer`` to check."""

    config: InferConfig

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures."""
        if not self.config.density.is_built_in:
            return {"summary": skip_user_code, "arrays": check_samples}
        return {"summary": check_scores, "arrays": check_arrays}

    @property
    def target(self) -> Any:
        """The built-in density."""
        return self.experiment.data().target

    @cached_property
    def judged(self) -> Judgement:
        """Scores recomputed from the same draws."""
        trained, config = self.trained, self.config
        parts = trained.inside, self.target, trained.units, trained.columns
        return judge(*parts, config.seed, config.evaluate.samples)


def skip_user_code(run: CheckedInference) -> Verdict:
    """Skip the scores of a user's density, whose code is not executed."""
    name = run.config.subject
    return Outcome.UNKNOWN, f"{name} is user code, not executed by check; `nflow evaluate` does"


def check_scores(run: CheckedInference) -> Verdict:
    """Recompute the scores from the same draws."""
    scores = dict(run.judged.scores)
    scale = {name: spread for name, (_, spread) in scores["moments"].items()}
    scales: Any = {"moments": scale, "missed_mode": scale}
    scales["moments_standard_error"] = {
        name: max(errors) for name, errors in (scores["moments_standard_error"] or {}).items()
    }
    wrong = [
        f"{SUMMARY}: {key}: expected others"
        for key, scale in scales.items()
        if not _are_near(scores.pop(key), run.summary.get(key), scale)
    ]
    # A climb by signs may end elsewhere on another machine.
    share, error = (scores.pop(f"missed_share{of}") for of in ("", "_standard_error"))
    outcome, detail = agree(run, scores, "from the same draws")
    if share is not None and not abs(run.score("missed_share") - share) <= 4 * error + 1e-6:
        wrong.append(f"{SUMMARY}: missed_share: expected {share:.6g}")
    facts = {"has_exact_samples": run.target.sample is not None}
    wrong += differences(SUMMARY, facts, run.summary)
    return (passed(False), "; ".join(wrong)) if wrong else (outcome, detail)


def _are_near(expected: Any, received: Any, scale: Mapping[str, float]) -> bool:
    if expected is None:
        return received is None
    known = received if isinstance(received, Mapping) and None not in received.values() else {}
    return known.keys() == expected.keys() and all(
        np.allclose(expected[name], known[name], rtol=1e-3, atol=1e-3 * (1e-9 + size))
        for name, size in scale.items()
    )


def check_samples(run: CheckedInference) -> Verdict:
    """Recompute the draws shown in the pictures."""
    wrong = run.unlike("samples", first_samples(run))
    return passed(not wrong), "; ".join(wrong) or f"{EVALUATION}: draws reproduced"


def first_samples(run: CheckedInference) -> np.ndarray:
    """Return the draws shown in the pictures."""
    from nflow_cli.evaluation.inference import shown_samples

    trained = run.trained
    return shown_samples(trained.inside, trained.units, run.config.seed)


def check_arrays(run: CheckedInference) -> Verdict:
    """Recompute the arrays of the pictures."""
    trained = run.trained
    expected = arrays_of(trained.inside, run.target, trained.units, run.config.seed, run.judged)
    wrong = run.unlike("samples", expected["samples"]) + run.unlike("rows", expected["rows"])
    for key in ("tail", "smooth_tail"):
        wrong += run.unlike(key, expected[key])
    if not np.array_equal(expected["columns_shown"], run.arrays["columns_shown"]):
        wrong.append(f"{EVALUATION}: columns_shown: expected others")
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN
