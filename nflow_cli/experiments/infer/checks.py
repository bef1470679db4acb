"""A fit to a log-density that is checked: without running a user's code."""

from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.config.strict import MAX_SEED
from nflow_cli.evaluation.flow_checks import Outcome, Verdict, passed
from nflow_cli.evaluation.inference import Judgement, arrays_of, judge
from nflow_cli.experiments.checked_run import CheckedDensity, Checks, agree, differences
from nflow_cli.experiments.density_checks import AS_GIVEN
from nflow_cli.runs.directory import EVALUATION, SUMMARY


class CheckedInference(CheckedDensity):
    """A run of ``nflow infer``."""

    config: InferConfig

    @property
    def score_checks(self) -> Checks:
        """Checks of its scores and pictures, by name."""
        if not self.config.density.is_built_in:
            return {"summary": tell_unknown, "arrays": check_samples}
        return {"summary": check_scores, "arrays": check_arrays}

    @property
    def target(self) -> Any:
        """The built-in density."""
        return self.experiment.data().target

    @cached_property
    def judged(self) -> Judgement:
        """The scores, computed again from the same draws."""
        trained, config = self.trained, self.config
        parts = trained.inside, self.target, trained.units, trained.columns
        return judge(*parts, config.seed, config.evaluate.samples)

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Say what the summary tells wrongly of the restart that was kept."""
        restarts: Any = self.summary.get("restarts")
        count = self.config.train.restarts
        try:
            best = int(restarts["best"])
            updates = restarts["updates"][best]
        except (KeyError, IndexError, TypeError, ValueError):
            return {}, [f"{SUMMARY}: restarts: damaged: received {restarts!r:.80}"]
        expected = {"count": count, "seed": (self.config.seed + best) % (MAX_SEED + 1)}
        wrong = differences(f"{SUMMARY}: restarts", expected, restarts)
        wrong += differences(
            f"{SUMMARY}: the restart kept", {"updates": self.length}, {"updates": updates}
        )
        return {}, wrong


def tell_unknown(run: CheckedInference) -> Verdict:
    """Say that no score is computed again, since that would run a user's code."""
    name = run.config.subject
    return Outcome.UNKNOWN, f"{name} is code, which check does not run; `nflow evaluate` does"


def check_scores(run: CheckedInference) -> Verdict:
    """Compute the summary's scores again, from its own draws."""
    scores = dict(run.judged.scores)
    moments = scores.pop("moments")
    outcome, detail = agree(run, scores, "from the same draws")
    received: Any = run.summary.get("moments")
    try:
        pairs = [(moments[name], received[name]) for name in moments]
        near = all(np.allclose(a, b, rtol=1e-3, atol=1e-3 * (1e-9 + a[1])) for a, b in pairs)
    except (KeyError, TypeError, ValueError):
        near = False
    wrong = [] if near else [f"{SUMMARY}: moments: expected others"]
    facts = {"has_exact_samples": run.target.sample is not None}
    wrong += differences(SUMMARY, facts, run.summary)
    return (passed(False), "; ".join(wrong)) if wrong else (outcome, detail)


def check_samples(run: CheckedInference) -> Verdict:
    """Draw again what the pictures show of ``q``."""
    wrong = run.unlike("samples", first_samples(run))
    return passed(not wrong), "; ".join(wrong) or f"{EVALUATION}: draws as the model gives them"


def first_samples(run: CheckedInference) -> np.ndarray:
    """Return the draws that the pictures show."""
    from nflow_cli.evaluation.inference import shown_samples

    trained = run.trained
    return shown_samples(trained.inside, trained.units, run.config.seed)


def check_arrays(run: CheckedInference) -> Verdict:
    """Compute again what the pictures are drawn from."""
    trained = run.trained
    expected = arrays_of(trained.inside, run.target, trained.units, run.config.seed, run.judged)
    wrong = run.unlike("samples", expected["samples"]) + run.unlike("rows", expected["rows"])
    for key in ("tail", "smooth_tail"):
        wrong += run.unlike(key, expected[key])
    if not np.array_equal(expected["columns_shown"], run.arrays["columns_shown"]):
        wrong.append(f"{EVALUATION}: columns_shown: expected others")
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN
