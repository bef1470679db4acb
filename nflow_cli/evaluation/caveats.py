"""What a run cannot vouch for: figures of its summary that say less than they seem to.

One list serves ``summary.json``, tables, pictures, ``compare`` and ``check``. It follows from the
config and the facts beside the figures. No Keras here.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# Where one sample makes up more of Σw^2, or would of ten times as many, ESS and log Z spread far
# more than their errors say.
DOMINATED, MORE = 0.03, 10
UNRESOLVED = 5e-3  # of the mass of a density: that it is away from 1, or may be
LOST = 0.05  # of the mass of a target: more of it is missed than a good fit does
RESTARTS = 8  # as the presets of few flows have them
SIGMAS = 4.0
COIN = 784 * math.log(2)  # nats of an image by fair coins
FEW = 10  # rows in effect, below which a standard error is itself uncertain
LEAST = 1.5  # rows in effect, below which no spread is known
# Standard errors that an interval of 95 % has to either side, by 2 to 9 rows: Student's t.
T_95 = (12.7, 4.3, 3.2, 2.8, 2.6, 2.4, 2.4, 2.3)
_JUDGES = ("kl", "free_energy", "log_likelihood", "negative_elbo", "negative_log_likelihood")

Summary = Mapping[str, Any]


class Caveat(NamedTuple):
    """A word that stands beside ``figures`` (keys of a summary), and the sentence it is short for.

    Attributes:
        word: Printed beside a figure.
        figures: Which figures it is about.
        reason: Why they say less than they seem to.
    """

    word: str
    figures: tuple[str, ...]
    reason: str


TRAINED_ON = Caveat(
    "trained on",
    ("log_likelihood",),
    "these are the points of the run itself, most of them trained on, not held out: without --data "
    "its test points are judged",
)


def records(caveats: Iterable[Caveat]) -> list[dict[str, Any]]:
    """Return caveats as ``summary.json`` holds them."""
    return [{**caveat._asdict(), "figures": list(caveat.figures)} for caveat in caveats]


def words(caveats: Iterable[Caveat], key: str) -> str:
    """Return the words that stand beside a figure, or ""."""
    return ", ".join(caveat.word for caveat in caveats if key in caveat.figures)


def marked(text: str, caveats: Iterable[Caveat], key: str) -> str:
    """Return a figure as text, with the words of its caveats beside it."""
    beside = words(caveats, key)
    return f"{text} [{beside}]" if beside else text


def number(summary: Summary, key: str) -> float | None:
    """Return a fact, or None where it is not known; NaN where it is not finite."""
    value = summary.get(key)
    if value is None:
        return None
    return float(value) if abs(value) < 1e300 else math.nan


def ruined_images(summary: Summary) -> Caveat | None:
    """Tell a VAE that is worse than fair coins."""
    value = number(summary, "negative_elbo")
    if value is None or value <= COIN:
        return None
    return ruined_text(f"-ELBO {value:.4g}: worse than fair coins, {COIN:.1f}")


def ruined_fit(summary: Summary, key: str, sign: int) -> Caveat | None:
    """Tell a fit whose figure ``key`` is worse than that of its base without a flow.

    ``sign``: 1 where a smaller figure is better, else -1.
    """
    text = _worse(summary, key, f"base_{key}", sign)
    return ruined_text(text) if text else None


def ruined_text(text: str) -> Caveat:
    """Tell a fit that is no fit, as the text says."""
    return Caveat("ruined", _JUDGES, f"{text}; try a smaller learning rate")


def _worse(summary: Summary, key: str, base: str, sign: int) -> str | None:
    """Return how a fit is worse than its base without a flow, or that it is not finite."""
    if base not in summary:
        return None
    value, level = number(summary, key), number(summary, base)
    if value is None or math.isnan(value):  # JSON holds null for what is not finite
        return "the fit is not finite"
    error = number(summary, f"{base}_standard_error")
    if level is None or error is None or not sign * (value - level) > SIGMAS * error:
        return None
    return f"worse than the base without a flow ({level:.4g} nats)"


def is_dominated(summary: Summary) -> bool:
    """Return whether a few samples outweigh the others, as far as is known."""
    return dominated(summary) is not None


def dominated(summary: Summary) -> Caveat | None:
    """Tell weights that a few samples dominate, or would if there were more of them.

    The largest of n weights grows as ``n^k``, ``k`` the shape of their tail (Vehtari et al. 2024,
    arXiv 1507.02646), so its part of the sum of squares as ``n^(2k - 1)``. Their mean is finite, so
    ``k`` is at most 1: an estimate above that is of weights that have an end, or no one shape.
    """
    share, tail = (number(summary, key) or 0.0 for key in ("largest_weight", "pareto_k"))
    later = share * float(MORE) ** (2 * min(tail, 1.0) - 1)
    if share >= DOMINATED:
        text = f"one sample holds {share:.0%} of the squared weights"
    elif later >= DOMINATED:
        part = f"{later:.0%} of the squared weights"
        text = f"of {MORE} times the samples one would hold {part} (k-hat {tail:.2f})"
    else:
        return None
    reason = f"{text}: more samples would change these figures by more than their errors"
    return Caveat("dominated", ("ess", "estimated_log_z"), reason)


def lost_mode(summary: Summary, is_annealed: bool) -> Caveat | None:
    """Return the warning of a fit that has nearly no mass where a part of its target lies.

    Its own samples never visit that part, so ESS and log Z by them do not show it; a KL with a
    known log Z does.
    """
    missed, error = (number(summary, f"missed_share{end}") for end in ("", "_standard_error"))
    if missed is None or error is None or not missed - SIGMAS * error > LOST:
        return None
    count = number(summary.get("restarts", {}), "count")
    remedies = [
        *([] if is_annealed else ["--anneal 0.5"]),
        *([f"--restarts {RESTARTS}"] if (count or 1) < RESTARTS else []),
    ]
    remedy = " or ".join(remedies or ["more flows, or train longer"])
    text = f"q has nearly no mass where {missed:.0%} of p lies: a mode, or a part of one, is lost"
    return Caveat("missed mass", ("ess", "estimated_log_z"), f"{text}; try {remedy}")


def mass(summary: Summary) -> Caveat | None:
    """Tell a mass that was not resolved."""
    if "mass_error" not in summary:
        return None
    value, error = (number(summary, key) for key in ("mass", "mass_error"))
    if value is None or error is None or math.isnan(value + error):
        return Caveat("unresolved", ("mass",), "the density has no finite mass where its draws are")
    if error <= UNRESOLVED and abs(value - 1) <= UNRESOLVED:
        return None
    reason = "q is too narrow, or has too long tails, to be summed where its draws are"
    return Caveat("unresolved", ("mass",), reason)


def rows_judged(summary: Summary) -> float | None:
    """Return how many rows a log-likelihood is a mean of: test rows, or ``n`` of other data."""
    if (n := number(summary, "n")) is not None:
        return n - (number(summary, "outside") or 0)
    n = number(summary, "n_test")
    return None if n is None else n - (number(summary, "n_unknown") or 0)


def has_unequal_weights(summary: Summary) -> bool:
    """Return whether the rows of a log-likelihood count for fewer than they are."""
    rows, effective = rows_judged(summary), number(summary, "n_effective")
    return rows is not None and effective is not None and effective < rows * (1 - 1e-6)


def errors_of_95(n: float | None) -> float:
    """Return the standard errors that an interval of 95 % has to either side, by rows in effect.

    Of ten rows or more, and of how many is not known, 2; below 1.5 no number is enough.
    """
    if n is None or n >= FEW:
        return 2.0
    return T_95[min(round(n), FEW - 1) - 2] if n >= LEAST else math.inf


def few_rows(summary: Summary) -> Caveat | None:
    """Return the warning about a log-likelihood of fewer than ten rows in effect."""
    n = number(summary, "n_effective")
    if n is None or not 0 < n < FEW:
        return None
    text, why = f"a mean of {n:.0f} row{'s' if n > 1 else ''}", "its standard error is unknown"
    if has_unequal_weights(summary):
        rows = f"{rows_judged(summary):,.0f} rows of unequal weights"
        text = f"a mean of {rows}, with an effective sample size of {n:.1f}"
        why = why if n < LEAST else "its standard error is itself uncertain, and often too small"
    elif n >= LEAST:
        degrees = round(n) - 1
        freedom = f"{degrees} degree{'s' if degrees > 1 else ''} of freedom"
        interval = f"an interval of 95 % is ± {errors_of_95(n)} standard errors"
        why = f"{interval}, by Student's t with {freedom}"
    return Caveat("few rows", ("log_likelihood", "gain"), f"{text}: {why}")
