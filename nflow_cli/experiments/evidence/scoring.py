"""log Z of a run scored again, also by a user's log-density."""

from typing import Any

from nflow_cli.experiments.evidence import bridge, report
from nflow_cli.experiments.evidence.judge import judged
from nflow_cli.experiments.rows import Judgement
from nflow_cli.experiments.run import Run


def evaluate(run: Run, data: Any, samples: None, seed: int) -> Judgement:
    """Estimate log Z of draws, and by a bridge if ``data`` is a pair of log-density and draws."""
    density, draws = data if isinstance(data, tuple) else (None, data)
    config = run.config
    scores = dict(judged(run.trained, draws).scores)
    summary = run.summary.with_scores(scores)
    warnings = report.warnings_of(config, summary)
    if density is not None:
        scores |= bridge.bridge_scores(run.trained, draws, density, config.data.bounds, seed)
        warnings = [*warnings, *bridge.bridge_warnings(scores)]
    rows = [("draws", config.subject), *report.judged_rows(summary, warnings)]
    more = bridge.bridge_rows(scores, warnings) if density is not None else []
    return Judgement(scores, [*rows, *more], warnings)
