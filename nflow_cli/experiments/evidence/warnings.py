"""Warnings about an estimate of log Z from draws."""

from nflow_cli.evaluation.chains import RHAT
from nflow_cli.evaluation.warnings import ScoreWarning, number
from nflow_cli.evaluation.weights_verdict import GOOD, ROUGH
from nflow_cli.experiments.rows import Summary

FIGURES = ("log_z",)
FEW_DRAWS = 400  # effective
LARGE_ERROR = 0.15  # nats
STEP = 0.05  # nats
SIGMAS = 4.0  # below 0, of a KL divergence that cannot be negative
FAR = 0.25  # nats; ratios of a q farther from p have tails that the draws do not show


def _heavy_tail(summary: Summary) -> ScoreWarning | None:
    k, error = number(summary, "pareto_k"), number(summary, "log_z_standard_error")
    if k is None or error is None or not k < ROUGH:
        shown = "not finite" if k is None else f"{k:.2f}"
        reason = f"k-hat {shown}: a few draws dominate, log Z and its error are unreliable"
        remedy = "a parameter may be missing from the columns; else try more draws or more updates"
        return ScoreWarning("poor ratios", FIGURES, f"{reason}; {remedy}")
    if k >= GOOD:
        reason = f"k-hat {k:.2f}: from {GOOD} to {ROUGH} the standard error may be too small"
        return ScoreWarning("rough ratios", FIGURES, reason)
    if error > LARGE_ERROR:
        reason = f"a standard error above {LARGE_ERROR} nats is rough: more draws reduce it"
        return ScoreWarning("rough ratios", FIGURES, reason)
    if (kl := number(summary, "kl")) is not None and kl > FAR:
        reason = f"KL(p || q) is {kl:.2f} nats, above {FAR}: the tail of the ratios may be unseen"
        return ScoreWarning("rough ratios", FIGURES, f"{reason}; try more draws or more updates")
    return None


def _disagreement(summary: Summary) -> ScoreWarning | None:
    rhat, limit = number(summary, "rhat"), number(summary, "rhat_limit") or RHAT
    if rhat is None or not rhat > limit:
        return None
    digits = next(n for n in range(3, 18) if f"{rhat:.{n}f}" != f"{limit:.{n}f}")
    reason = (
        f"split R-hat of {summary['rhat_column']} is {rhat:.{digits}f}; chains of one "
        f"distribution, as many and as long, seldom exceed {limit:.{digits}f}"
    )
    remedy = "some chains may not have seen all of p: log Z may lack a part; draw longer ones"
    return ScoreWarning("chains disagree", FIGURES, f"{reason}: {remedy}")


def _few_draws(summary: Summary) -> ScoreWarning | None:
    effective = number(summary, "effective_draws")
    if effective is None or effective >= FEW_DRAWS:
        return None
    reason = f"{effective:.0f} effective draws of some column, fewer than {FEW_DRAWS}"
    return ScoreWarning("few draws", FIGURES, reason)


def _rounding(summary: Summary) -> ScoreWarning | None:
    step = number(summary, "log_p_step")
    if step is None or not step > STEP:
        return None
    reason = f"the log-densities are multiples of {step:g} nats: write more digits, by sig_figs=10"
    return ScoreWarning("few digits", FIGURES, reason)


def _other_columns(summary: Summary) -> ScoreWarning | None:
    kl = number(summary, "kl_by_likelihood")
    error = number(summary, "kl_by_likelihood_standard_error")
    if kl is None or error is None or not kl < -SIGMAS * error:
        return None
    reason = (
        f"a density by maximum likelihood is {-kl:.3g} ± {error:.2g} nats above p, as none can be: "
        "log p is not the log-density of these columns"
    )
    remedy = "leave generated ones out, add missing ones, or set --space"
    return ScoreWarning("other columns", FIGURES, f"{reason}; {remedy}")


RULES = (_other_columns, _heavy_tail, _disagreement, _few_draws, _rounding)
