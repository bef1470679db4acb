"""Warnings about unreliable scores of a fit to a log-density."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nflow_cli.evaluation.warnings import ScoreWarning, number, ruined_text
from nflow_cli.evaluation.weights_verdict import GOOD, ROUGH, jump, verdict
from nflow_cli.experiments.rows import Summary

APART = 0.1  # nats between restarts that disagree
MISSED = 0.01  # of the mass of p
STANDARD_ERRORS = 2.0
LARGE_KL = 5.0  # nats; log-normal weights of that have an ESS of e^-10
ROUNDED = 0.01  # nats of rounding error of log p, which changes log Z by 5e-5
UNROUNDED = (
    "subtract a constant from each term before summing, or return a pair of arrays of float64"
)
ENERGIES = ("free_energy", "kl")
FIGURES = ("estimated_log_z", *ENERGIES, "moments")


def ruined(summary: Summary) -> ScoreWarning | None:
    """Warning if the free energy is not finite."""
    value = number(summary, "free_energy")
    return ruined_text("the fit is not finite") if value is None or value != value else None


def _heavy_tail(summary: Summary) -> ScoreWarning | None:
    k, figures = number(summary, "pareto_k"), ("estimated_log_z", "moments")
    if k is None or k < GOOD:
        return None
    if k < ROUGH:
        reason = f"k-hat {k:.2f}: from {GOOD} to {ROUGH} the variance may be infinite"
        reason += "; standard errors of log Z and moments include the unseen tail"
        return ScoreWarning("rough weights", figures, reason)
    reason = f"k-hat {k:.2f} is above {ROUGH}: a few weights dominate"
    return ScoreWarning("poor weights", figures, f"{reason}, standard errors are unreliable")


def _missed_mass(summary: Summary) -> ScoreWarning | None:
    keys = ("missed_share", "missed_share_standard_error")
    share, error = (number(summary, key) for key in keys)
    place, remedy = summary.get("missed_mode"), "try --anneal, --restarts or more updates"
    if share is not None and error is not None and share - STANDARD_ERRORS * error > MISSED:
        text = f"draws of q miss at least {100 * share:.3g}% ± {100 * error:.1g}% of p"
        near = f", most of it near {_place(place)}" if place else ""
        return ScoreWarning("missed mass", FIGURES, f"{text}{near}; {remedy}")
    if (more := jump(summary)) is None:
        return None
    is_good = verdict(number(summary, "pareto_k")) == "good"
    reason = f"log Z is {more:.3g} nats larger than by draws of q alone: q misses part of p"
    figures = ENERGIES if is_good else FIGURES
    return ScoreWarning("missed mass", figures, f"{reason}; {remedy}")


def _place(place: Mapping[str, Any]) -> str:
    known = {name: number(place, name) for name in place}
    shown = [f"{name}={value:.3g}" for name, value in known.items() if value is not None][:4]
    return ", ".join(shown) + (", …" if len(known) > len(shown) else "")


def _far(summary: Summary) -> ScoreWarning | None:
    k, kl = number(summary, "pareto_k"), number(summary, "kl")
    if kl is None:
        parts = [number(summary, key) for key in ("free_energy", "estimated_log_z")]
        kl = math.nan if None in parts else sum(part or 0.0 for part in parts)
    if k is None or not k < ROUGH or not kl > LARGE_KL:
        return None
    reason = (
        f"KL(q || p) is {kl:.3g} nats by free energy and log Z: at this KL weights are "
        "not reliable, whatever k-hat is; train longer, or shift and scale the coordinates"
    )
    return ScoreWarning("far from p", FIGURES, reason)


def _rounding(summary: Summary) -> ScoreWarning | None:
    error, step = (number(summary, key) for key in ("rounding_error", "log_density_step"))
    if error is None or step is None or not error > ROUNDED:
        return None
    reason = f"rounding to float32 has an error of {error:.2g} nats in log p: "
    if step**2 > 6 * error**2:
        reason += f"its values are multiples of {step:.2g}; {UNROUNDED}"
    else:
        reason += f"{_coarsest(summary)}shift and scale the coordinates"
    return ScoreWarning("rounding", FIGURES, reason)


def _coarsest(summary: Summary) -> str:
    """Coordinate with the largest float32 step relative to its standard deviation."""
    steps = {
        name: (float(np.spacing(np.float32(abs(mean)))), spread, mean)
        for name, (mean, spread) in summary.get("moments", {}).items()
        if mean is not None and spread
    }
    if not steps:
        return ""
    name = max(steps, key=lambda key: steps[key][0] / steps[key][1])
    step, spread, mean = steps[name]
    return f"{name} at {mean:.4g} ± {spread:.2g} has steps of {step:.2g}; "


def _lost(summary: Summary) -> ScoreWarning | None:
    if not (lost := number(summary, "n_lost")):
        return None
    reason = f"log p is not finite at {lost:,.0f} draws, whose weights count as 0"
    return ScoreWarning("not finite", ("free_energy", "estimated_log_z"), reason)


def _disagreement(summary: Summary) -> ScoreWarning | None:
    kls = summary.get("restarts", {}).get("kl", ())
    finite = [kl for kl in kls if kl is not None and math.isfinite(kl)]
    if len(summary.get("member_weights", ())) > 1:  # which restart is best says little then
        return None
    if len(finite) < 2 or max(finite) - min(finite) <= APART:
        return None
    reason = (
        f"restarts differ by up to {max(finite) - min(finite):.3g} nats: some lost modes or were "
        "dropped early, and all may have lost some"
    )
    return ScoreWarning("restarts differ", ("free_energy", "kl"), reason)


RULES = (ruined, _heavy_tail, _missed_mass, _far, _rounding, _lost, _disagreement)
