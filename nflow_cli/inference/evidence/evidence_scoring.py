"""log Z by the draws that each density left out, diagnostics of chains, and a bound on log Z."""

import math
from typing import Any

import numpy as np

from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.summary import Judged, Judgement
from nflow_cli.inference.evidence import bridge, evidence_report
from nflow_cli.inference.evidence.chains import effective_draws, rhat_limit, split_rhat
from nflow_cli.inference.evidence.draws import Draws
from nflow_cli.inference.evidence.evidence_data import fold_rows
from nflow_cli.inference.evidence.harmonic import (
    Estimate,
    HeldOutDraws,
    best_temperature,
    harmonic_mean,
)
from nflow_cli.inference.user_code import UserFunction
from nflow_cli.runs.npz import SHOWN_SAMPLES
from nflow_cli.terminal.progress import phase
from nflow_cli.training.chunks import Chunks

BOUND_UPDATES = 500


def evaluate(
    run: Run, data: Draws | tuple[UserFunction, Draws], samples: int | None, seed: int
) -> Judgement:
    """Estimate log Z of draws, and by a bridge if ``data`` is a pair of log-density and draws."""
    density, draws = data if isinstance(data, tuple) else (None, data)
    config = run.config
    scores = dict(judged(run.trained, draws).scores)
    summary = run.summary.with_scores(scores)
    warnings = evidence_report.warnings_of(config, summary)
    bridge_rows = []
    if density is not None:
        scores |= bridge.bridge_scores(run.trained, draws, density, config.data.bounds, seed)
        warnings = warnings + bridge.bridge_warnings(scores)
        bridge_rows = bridge.bridge_rows(scores, warnings)
    rows = [
        evidence_report.draws_row(config),
        *evidence_report.judged_rows(summary, warnings),
        *bridge_rows,
    ]
    return Judgement(scores, rows, warnings)


def judged(density: PushforwardDensity, draws: Draws) -> Judged:
    """Scores of the draws by the densities of the folds, and arrays of their pictures."""
    with phase(f"scoring: {len(draws.rows):,} draws"):
        by_folds, temperatures, kl = estimate(density, draws)
        scores = {
            "log_z": by_folds.log_z,
            "log_z_standard_error": by_folds.standard_error,
            "within_error": by_folds.within,
            "between_error": by_folds.between,
            "pareto_k": by_folds.k,
            "ess": by_folds.effective,
            "temperatures": temperatures,
            "log_z_by_chain": by_folds.by_chain,
            "kl": kl - by_folds.log_z,
            **diagnostics(draws),
        }
    arrays = {
        "tail": by_folds.tail[-SHOWN_SAMPLES:],
        "smooth_tail": by_folds.smooth_tail[-SHOWN_SAMPLES:],
    }
    return Judged(scores, arrays)


def estimate(density: PushforwardDensity, draws: Draws) -> tuple[Estimate, list[float], float]:
    """Estimate of log Z, the temperature of each fold, and the mean of ``log p̃ - log q``.

    The temperature is chosen by the validation rows of the chains that a density was fitted to.
    """
    log_q = density.member_log_probs(draws.rows)
    latents = density.member_latents(draws.rows)
    squared = np.square(latents.astype(float)).sum(axis=-1)
    _, validation = fold_rows(draws)

    def draws_at(fold: int, rows: np.ndarray) -> HeldOutDraws:
        return HeldOutDraws(log_q[fold][rows], squared[fold][rows], draws.log_p[rows], density.dim)

    temperatures = [best_temperature(draws_at(fold, rows)) for fold, rows in enumerate(validation)]
    parts = [draws_at(fold, part) for fold, part in zip(draws.folds, draws.parts)]
    ratios = [part.log_ratios(temperatures[fold]) for fold, part in zip(draws.folds, parts)]
    differences = np.concatenate([part.log_p - part.log_q for part in parts])
    return harmonic_mean(ratios), temperatures, float(differences.mean())


def diagnostics(draws: Draws) -> dict[str, Any]:
    """Convergence, moments with their Monte-Carlo errors, and rounding of the log-density."""
    names = [*draws.columns, "log_p"]
    values = np.column_stack([draws.rows, draws.log_p])
    chains = [[column[part] for part in draws.parts] for column in values.T]
    rhats = np.array([split_rhat(column_chains) for column_chains in chains])
    effective = np.array([effective_draws(column_chains) for column_chains in chains])
    worst = int(np.nanargmax(rhats)) if np.isfinite(rhats).any() else 0
    spreads = draws.rows.std(axis=0)
    errors = spreads / np.sqrt(effective[:-1])
    moments = np.column_stack([draws.rows.mean(axis=0), spreads])
    return {
        "n_draws": len(draws.rows),
        "n_chains": int(draws.chains.max()) + 1,
        "rhat": float(rhats[worst]),
        "rhat_column": names[worst],
        "rhat_limit": rhat_limit(chains[worst], len(names)),
        "effective_draws": float(np.nanmin(effective)),
        "log_p_step": rounding_step(draws.log_p),
        "is_stan": draws.is_stan,
        "moments": dict(zip(draws.columns, moments.tolist())),
        "moments_standard_error": dict(zip(draws.columns, errors.tolist())),
    }


def rounding_step(values: np.ndarray) -> float:
    """Power of ten of which all values ``(n,)`` are multiples, relative to their size; else 0."""
    largest = float(np.abs(values).max())
    for digits in range(3, 12):
        rounded = np.array([float(f"{value:.{digits}g}") for value in values[:SHOWN_SAMPLES]])
        if (rounded == values[:SHOWN_SAMPLES]).all():
            return 10.0 ** (np.floor(np.log10(largest)) + 1 - digits) if largest else 0.0
    return 0.0


def bound_scores(
    model: Any, chunks: Chunks, draws: Draws, log_z: float, error: float
) -> dict[str, float]:
    """``KL(p || r)`` of the draws left out, an upper bound on log Z, and its standard error with
    that of ``log_z``.

    For any density ``r``, ``KL(p || r) = E_p[log p̃ - log r] - log Z`` is at least 0. If it is
    below, ``p̃`` is not the density of these columns: some are generated from others, or one is
    missing. The members of a trained ``model`` go on by ``chunks`` without ``log p̃``, by maximum
    likelihood, and become the ``r``.
    """
    with phase("comparing log p with the density of maximum likelihood"):
        model.forget()
        model.lengthen(BOUND_UPDATES)
        model.weight.assign(0.0)
        model.train_on(chunks, [])
        log_r = model.density.member_log_probs(draws.rows).astype(float)
    parts = zip(draws.folds, draws.parts)
    by_part = [draws.log_p[part] - log_r[fold][part] for fold, part in parts]
    differences = np.concatenate(by_part)
    effective = float(np.fmin(effective_draws(by_part), len(differences)))
    mean_error = differences.std() / math.sqrt(effective)
    return {
        "kl_by_likelihood": float(differences.mean()) - log_z,
        "kl_by_likelihood_standard_error": math.hypot(mean_error, error),
    }
