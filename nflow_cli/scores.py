"""How good a trained flow is, by fresh samples of it, and by points that the user has."""

import math
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.objectives import reverse_kl
from nflow_cli.streams import stream
from nflow_cli.trained import CHUNK, TrainedFlow

# Where one sample makes up more of Σw^2, ESS and log Z spread far more than their errors say.
DOMINATED = 0.03


def log_ratios(trained: TrainedFlow, n: int, seed: int) -> np.ndarray:
    """Return ``log q - log p`` at ``n`` samples of ``q``: ``(n,)``, float64, in nats.

    With the seed of the run, the samples are those that its summary was computed from.
    """
    rng = stream(seed, "evaluation")
    ratios = np.empty(n)
    for start in range(0, n, CHUNK):
        noise = ops.convert_to_tensor(trained.base.sample(rng, (min(CHUNK, n - start), 2)))
        z, log_det = trained.flow.forward_and_log_det(noise)
        gap = reverse_kl(trained.base.log_prob(noise), log_det, trained.target.log_prob(z))
        ratios[start : start + CHUNK] = ops.convert_to_numpy(gap)
    return ratios


def score(ratios: np.ndarray, log_z: float | None) -> dict[str, Any]:
    """Judge ``q`` by ``ratios = log q - log p`` at its own samples; all figures in nats.

    With ``w = p/q``: ``kl = E[-log w]``; the effective sample size ``ess = (Σw)^2 / (n Σw^2)``;
    and ``estimated_log_z = log_z + log E[w]``, which estimates ``log ∫ exp(-U)`` where ``q`` covers
    ``p``, and is too small where it does not. Each has its ``*_standard_error``, for the last two
    by the delta method; those say little where one sample's part of ``Σw^2``, ``largest_weight``,
    reaches ``DOMINATED``. Where ``log_z`` is not known (``None``), ``kl`` is not either, and
    ``free_energy`` is what ``E[-log w]`` estimates.
    """
    n = len(ratios)
    mean, error = float(ratios.mean()), float(ratios.std(ddof=1) / math.sqrt(n))
    shift = ratios.min()
    w = np.exp(shift - ratios)
    a, b = w / w.mean(), w * w / np.mean(w * w)
    ess = float(w.mean() ** 2 / np.mean(w * w))
    return {
        "kl": None if log_z is None else mean,
        "kl_standard_error": error,
        "free_energy": mean - (log_z or 0.0),
        "ess": ess,
        "largest_weight": float(b.max() / n),
        "ess_standard_error": float(ess * np.std(2 * a - b) / math.sqrt(n)),
        "estimated_log_z": float((log_z or 0.0) + np.log(w.mean()) - shift),
        "log_z_standard_error": float(np.std(a) / math.sqrt(n)),
    }


def likelihood(trained: TrainedFlow, points: np.ndarray) -> dict[str, Any]:
    """Judge ``q`` by points ``(n, 2)`` drawn elsewhere.

    Returns:
        ``log_likelihood``: the mean ``log q`` in nats over the points where ``q > 0`` (``None``
        where there are none), its ``standard_error`` (``None`` for fewer than 2), ``n``, and how
        many points lie ``outside``, where ``q`` is 0.
    """
    log_q = trained.log_prob(points).astype(np.float64)
    inside = log_q[log_q > -math.inf]
    n = len(inside)
    return {
        "log_likelihood": float(inside.mean()) if n else None,
        "standard_error": float(inside.std(ddof=1) / math.sqrt(n)) if n > 1 else None,
        "n": len(log_q),
        "outside": len(log_q) - n,
    }
