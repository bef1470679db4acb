"""Judgement of a density ``q`` by its own draws: KL divergence to ``p``, effective sample size."""

import math
from typing import Any

import numpy as np

EXACT_DRAWS, UNCOVERED_RATIO = 100_000, 100  # of p, which q covers if no p/q at them is larger


def judge(
    log_q: np.ndarray, log_p: np.ndarray, *, log_z: float | None, covered: bool = False
) -> dict[str, Any]:
    """Scores of ``q`` by log-densities ``(n,)`` at its own draws, in nats.

    With ``w = p/q``: ``free_energy = E[-log w]``, and the effective sample size ``ess = (Σw)²/(n
    Σw²)``.

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
    ratios, finite = (log_q - log_p).astype(np.float64), np.isfinite(log_p)
    seen = ratios[finite | np.isnan(log_q)]
    ratios = np.where(finite, ratios, np.inf)
    shift, root = np.min(ratios), math.sqrt(len(ratios))
    with np.errstate(invalid="ignore", divide="ignore"):  # of infinities
        energy = np.mean(seen) if len(seen) else math.inf
        spread = np.std(seen, ddof=1) if len(seen) > 1 else math.nan
        w = np.exp(shift - ratios)  # the largest is 1
        first, second = np.mean(w), np.mean(w**2)
        shares = w / first
        ess, estimate = first**2 / second, np.log(first) - shift
        if covered and log_z is not None and ess < 1:
            slope = -np.mean((ratios - energy) * shares) / (1 / ess - 1)
            spread = np.std(ratios + slope * shares, ddof=1)
            energy -= slope * math.expm1(log_z - estimate)
    scores = {
        "kl_standard_error": spread / root,
        "free_energy": energy,
        "ess": ess,
    }
    kl = {"kl": None if log_z is None else float(energy + log_z)}
    return kl | {name: float(score) for name, score in scores.items()}
