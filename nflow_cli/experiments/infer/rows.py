"""The scores of a fit to a log-density, as rows of tables, and what they cannot vouch for."""

import math
from collections.abc import Mapping
from typing import Any

from nflow_cli.evaluation.caveats import Caveat, marked, number, ruined_text
from nflow_cli.evaluation.weights_verdict import GOOD, ROUGH, jump, verdict
from nflow_cli.experiments.rows import Caveats, Rows, Summary, flow_row, training_text
from nflow_cli.text import printable

MOST_ROWS = 12  # of moments
APART = 0.1  # nats by which restarts disagree
WORDS = {
    "good": "good: the weights have a variance, so the error of log Z holds",
    "rough": "rough: the variance of the weights is infinite, an error says less than it seems to",
    "poor": "poor: log Z and moments are not to be relied on; try more flows, updates or restarts",
    "unknown": "unknown: the weights are not finite",
}
Truth = Mapping[str, tuple[float, float]]


def rows_of(summary: Summary, steps: int, caveats: Caveats, truth: Truth) -> Rows:
    """Return the rows of the table that a training ends with."""
    return [
        ("density", printable(summary["target"])),
        flow_row(summary),
        *judged_rows(summary, caveats, truth),
        *_restarts(summary["restarts"]),
        ("training", training_text(summary, steps)),
    ]


def judged_rows(scores: Summary, caveats: Caveats, truth: Truth) -> Rows:
    """Return the rows of what fresh samples say."""
    return verdict_of(scores, caveats) + _moments(scores["moments"], caveats, truth)


def verdict_of(scores: Summary, caveats: Caveats) -> Rows:
    """Return how near a fit is, how far its weights are to be trusted, and what they say of Z."""
    rows = []
    if (kl := number(scores, "kl")) is not None:
        text = f"{kl:.5f} ± {_error(scores, 'kl')} nats"
        rows.append(("KL(q || p)", marked(text, caveats, "kl")))
    free_energy = f"{_figure(scores, 'free_energy')} ± {_error(scores, 'kl')} nats"
    rows.append(("free energy", marked(free_energy, caveats, "free_energy")))
    rows.append(("k-hat", f"{_figure(scores, 'pareto_k', 2)}, {WORDS[_verdict(scores)]}"))
    rows.append(("ESS", f"{_figure(scores, 'ess', 4)} of the draws"))
    rows.append(("log Z", marked(_log_z(scores), caveats, "estimated_log_z")))
    wide = f"{_figure(scores, 'widened_log_z')} nats from a base of heavy tails"
    rows.append(("", f"{wide} (k-hat {_figure(scores, 'widened_pareto_k', 2)})"))
    return rows


def _verdict(scores: Summary) -> str:
    return verdict(number(scores, "pareto_k"))


def _figure(scores: Summary, key: str, decimals: int = 5) -> str:
    value = number(scores, key)
    return "not finite" if value is None or value != value else f"{value:.{decimals}f}"


def _error(scores: Summary, of: str) -> str:
    return _figure(scores, f"{of}_standard_error")


def _log_z(scores: Summary) -> str:
    text = f"{_figure(scores, 'estimated_log_z')} nats"
    if (error := number(scores, "log_z_standard_error")) is not None:
        text = f"{_figure(scores, 'estimated_log_z')} ± {error:.5f} nats"
    true = number(scores, "log_z")
    return text if true is None else f"{text} (true: {true:.5f})"


def _moments(moments: Mapping[str, Any], caveats: Caveats, truth: Truth) -> Rows:
    """Return mean and standard deviation of the coordinates, those of the first of them."""
    rows = []
    for name, (mean, spread) in list(moments.items())[:MOST_ROWS]:
        text = marked(f"{mean:.5g}, sd {spread:.5g}", caveats, "moments")
        known = truth.get(name)
        true = "" if known is None else f" (true: {known[0]:.5g}, sd {known[1]:.5g})"
        rows.append((printable(name)[:20], text + true))
    if (rest := len(moments) - MOST_ROWS) > 0:
        rows.append(("", f"and {rest:,} more coordinates, in summary.json"))
    return rows


def _restarts(restarts: Summary) -> Rows:
    """Tell the free energy of each restart, if there were several."""
    if restarts["count"] == 1:
        return []
    energies = ["not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"]]
    text = f"free energy {', '.join(energies)}; seed {restarts['seed']} is kept"
    return [("restarts", text)]


def ruined(summary: Summary) -> Caveat | None:
    """Tell a fit whose free energy is not finite."""
    value = number(summary, "free_energy")
    return ruined_text("the fit is not finite") if value is None or value != value else None


def caveats_of(summary: Summary) -> list[Caveat]:
    """Return what the weights of a run cannot vouch for."""
    k, caveats = number(summary, "pareto_k"), []
    if k is not None and not k < ROUGH:
        reason = f"k-hat {k:.2f} is above {ROUGH}: a few weights decide, so no error is told"
        caveats.append(Caveat("poor weights", ("estimated_log_z", "moments"), reason))
    elif k is not None and not k < GOOD:
        reason = f"k-hat {k:.2f}: from {GOOD} to {ROUGH} an error is too small now and then"
        caveats.append(Caveat("rough weights", ("estimated_log_z", "moments"), reason))
    if (more := jump(summary)) is not None:
        reason = (
            f"from a base of heavy tails log Z is {more:.3g} nats more: q does not visit all of p, "
            "which k-hat does not see; try --anneal or --restarts"
        )
        caveats.append(Caveat("missed mass", ("estimated_log_z", "free_energy", "kl"), reason))
    if lost := number(summary, "n_lost"):
        reason = f"the log-density is not finite at {lost:,.0f} of the draws, which count as 0"
        caveats.append(Caveat("not finite", ("free_energy", "estimated_log_z"), reason))
    return caveats + _disagreement(summary)


def _disagreement(summary: Summary) -> list[Caveat]:
    """Tell restarts that ended in different optima, as modes are dropped."""
    restarts: Any = summary.get("restarts")
    kls = restarts.get("kl") if isinstance(restarts, Mapping) else None
    known = kls if isinstance(kls, list) else []
    finite = [kl for kl in known if isinstance(kl, float) and math.isfinite(kl)]
    if len(finite) < 2 or max(finite) - min(finite) <= APART:
        return []
    reason = (
        f"restarts end up to {max(finite) - min(finite):.3g} nats apart: some lost modes or were "
        "dropped early, and all may have lost some"
    )
    return [Caveat("restarts differ", ("free_energy", "kl"), reason)]
