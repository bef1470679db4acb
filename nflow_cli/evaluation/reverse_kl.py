"""Judgement of a density ``q`` by its own draws: KL divergence to ``p``, weights ``p/q``, log Z."""

import math
from typing import Any

import numpy as np

from nflow_cli.evaluation.importance import mean, pareto_k, standard_deviation

EXACT_DRAWS, UNCOVERED_RATIO = 100_000, 100  # of p, which q covers if no p/q at them is larger


def judge(
    log_q: np.ndarray, log_p: np.ndarray, *, log_z: float | None, covered: bool = False
) -> dict[str, Any]:
    """Scores of ``q`` by log-densities ``(n,)`` at its own draws, in nats.

    With ``w = p/q``: ``free_energy = E[-log w]``; effective sample size ``ess = (Σw)²/(n Σw²)``;
    and ``estimated_log_z = log E[w]``, of the mass that ``q`` covers. Each has a
    ``*_standard_error``, the last two by the delta method; unreliable if one draw's share of
    ``Σw²``, ``largest_weight``, is large, or the tail of the weights heavy (:func:`pareto_k`).

    ``kl = free_energy + log_z``, ``None`` if ``log_z`` is. Where ``q`` misses nothing of ``p``,
    ``E[w] = Z``: with the control variate ``w/Z - 1``, its coefficient by regression, the error is
    of second order in ``log w``. Missed mass would bias it by as much.

    Draws where ``log_p`` is not finite weigh nothing, and are left out of ``free_energy``.

    Args:
        log_q: ``log q``.
        log_p: ``log p``, up to a constant.
        log_z: Log of the mass of ``exp(log_p)``, if known.
        covered: Whether ``q`` misses nothing of ``p``.
    """
    ratios, finite = log_q - log_p, np.isfinite(log_p)
    seen = ratios if finite.all() else ratios[finite | np.isnan(log_q)]
    ratios = ratios if finite.all() else np.where(finite, ratios, np.inf)
    shift, root = float(np.min(ratios)), math.sqrt(len(ratios))

    def w(block: np.ndarray) -> np.ndarray:
        return np.exp(shift - block)  # scaled so that the largest is 1

    def share(block: np.ndarray) -> np.ndarray:
        return w(block) / first

    def of_ess(block: np.ndarray) -> np.ndarray:  # influence function of log(ess)
        return 2 * share(block) - w(block) ** 2 / second

    with np.errstate(invalid="ignore", divide="ignore"):  # of infinities
        energy = mean(seen) if len(seen) else math.inf
        spread = standard_deviation(seen, ddof=1) if len(seen) > 1 else math.nan
        first, second = mean(ratios, w), mean(ratios, lambda block: w(block) ** 2)
        ess, estimate = first**2 / second, float(np.log(first)) - shift
        if covered and log_z is not None and ess < 1:
            joint = mean(ratios, lambda block: (block - energy) * share(block))
            slope = -joint / (1 / ess - 1)
            spread = standard_deviation(ratios, lambda b: b + slope * share(b), ddof=1)
            energy -= slope * math.expm1(log_z - estimate)
        return {
            "kl": None if log_z is None else energy + log_z,
            "kl_standard_error": spread / root,
            "free_energy": energy,
            "ess": ess,
            "largest_weight": 1 / second / len(ratios),
            "pareto_k": pareto_k(ratios),
            "ess_standard_error": ess * standard_deviation(ratios, of_ess) / root,
            "estimated_log_z": estimate,
            "log_z_standard_error": standard_deviation(ratios, share) / root,
        }
