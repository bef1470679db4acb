"""Upper bound on log Z, by densities of maximum likelihood.

For any density ``r``, ``KL(p || r) = E_p[log p̃ - log r] - log Z`` is at least 0. If it is below,
``p̃`` is not the density of these columns: some are generated from others, or one is missing.
"""

import math
from typing import Any

import numpy as np

from nflow_cli.data.draws import Draws
from nflow_cli.evaluation.chains import effective_draws
from nflow_cli.training.chunks import Chunks
from nflow_cli.training.progress import phase

UPDATES = 500


def bound_scores(
    model: Any, chunks: Chunks, draws: Draws, log_z: float, error: float
) -> dict[str, float]:
    """``KL(p || r)`` of the draws left out, and its standard error with that of ``log_z``.

    The members of a trained ``model`` go on by ``chunks`` without ``log p̃``, and become the ``r``.
    """
    with phase("comparing log p with the density of maximum likelihood"):
        model.forget()
        model.lengthen(UPDATES)
        model.weight.assign(0.0)
        model.train_on(chunks, [])
        members = model.density.member_log_probs(draws.rows).astype(float)
    parts = zip(draws.folds, draws.parts)
    off = [draws.log_p[part] - members[fold][part] for fold, part in parts]
    joined = np.concatenate(off)
    effective = float(np.fmin(effective_draws(off), len(joined)))
    return {
        "kl_by_likelihood": float(joined.mean()) - log_z,
        "kl_by_likelihood_standard_error": math.hypot(joined.std() / math.sqrt(effective), error),
    }
