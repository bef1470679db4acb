"""Bridge estimate of log Z by a user's log-density, beside that of the draws alone."""

import numpy as np
from keras import ops

from nflow_cli.data.units import units_of
from nflow_cli.densities.pushforward import PushforwardDensity, values_at
from nflow_cli.errors import TargetError
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.warnings import ScoreWarning, marked, raised_warnings
from nflow_cli.experiments.summary import Rows, Summary, Warnings, figure
from nflow_cli.inference.evidence.draws import Draws
from nflow_cli.inference.evidence.harmonic import bridge
from nflow_cli.inference.log_density import LogDensity
from nflow_cli.inference.models import Bounds
from nflow_cli.inference.trial import density_of
from nflow_cli.inference.user_code import UserFunction
from nflow_cli.random_streams import stream
from nflow_cli.terminal.progress import phase

SAMPLES = 8_000  # of all folds
SPREAD = 0.01  # nats of the difference of function and column, beyond which they are of two models
APART = 3.0  # standard errors between both estimates


def bridge_scores(
    density: PushforwardDensity, draws: Draws, user: UserFunction, bounds: Bounds, seed: int
) -> dict[str, float]:
    """``bridge_log_z`` of the function and its error, and the function's mean difference from the
    column of log-densities, with the standard deviation, in nats.
    """
    target = density_of(user, list(draws.columns), units_of(draws.columns, bounds))
    with phase(f"bridge: {SAMPLES:,} samples"), np.errstate(all="ignore"):
        log_p = values_at(target.values, draws.rows).astype(float)
        if not np.isfinite(log_p).all():
            raise TargetError(f"{user.name}: expected a finite log-density at each draw")
        log_q = density.member_log_probs(draws.rows)
        parts = zip(draws.folds, draws.parts)
        ratios_at_draws = [log_p[part] - log_q[fold][part] for fold, part in parts]
        estimate = bridge(ratios_at_draws, _ratios_at_samples(density, target, seed))
    differences = log_p - draws.log_p
    return {
        "bridge_log_z": estimate.log_z,
        "bridge_log_z_standard_error": estimate.standard_error,
        "log_p_difference": float(differences.mean()),
        "log_p_difference_sd": float(differences.std()),
    }


def _ratios_at_samples(density: PushforwardDensity, target: LogDensity, seed: int) -> np.ndarray:
    """``log p̃ - log q`` at samples, as many of each fold's density."""
    shape = (density.n_members, SAMPLES // density.n_members, density.dim)
    noise = density.base.sample(stream(seed, "bridge"), shape)
    z, log_q = density.push(ops.convert_to_tensor(noise))
    z = ops.convert_to_numpy(z).astype(float).reshape(-1, density.dim)
    log_q = ops.convert_to_numpy(log_q).astype(float).reshape(-1)
    x, log_det = density.units.outside_and_log_det(z)
    log_ratios = values_at(target.values, x).astype(float) - (log_q - log_det)
    return np.where(np.isfinite(log_ratios), log_ratios, -np.inf)


def bridge_rows(scores: Summary, warnings: Warnings) -> Rows:
    """Printed rows of :func:`bridge_scores`."""
    estimate = with_error(scores["bridge_log_z"], scores["bridge_log_z_standard_error"])
    text = f"{estimate} nats, log Z of --density by bridge sampling"
    difference = f"{figure(scores, 'log_p_difference')} nats above that of the draws"
    spread = f"sd {figure(scores, 'log_p_difference_sd')}"
    return [
        ("bridge", marked(text, warnings, "bridge_log_z")),
        ("log p", f"{difference}, {spread}"),
    ]


def _another_density(scores: Summary) -> ScoreWarning | None:
    spread = scores["log_p_difference_sd"]
    if spread <= max(SPREAD, scores["log_p_step"]):
        return None
    reason = (
        f"--density differs from the draws' log-density by more than a constant, sd {spread:.3g}"
    )
    return ScoreWarning("another density", ("bridge_log_z",), f"{reason} nats")


def _estimates_differ(scores: Summary) -> ScoreWarning | None:
    difference = scores["bridge_log_z"] - scores["log_z"] - scores["log_p_difference"]
    error = np.hypot(scores["log_z_standard_error"], scores["bridge_log_z_standard_error"])
    if not abs(difference) > APART * error:
        return None
    reason = f"bridge and harmonic mean differ by {difference:.3g} ± {error:.2g} nats"
    return ScoreWarning("estimates differ", ("log_z", "bridge_log_z"), reason)


def bridge_warnings(scores: Summary) -> list[ScoreWarning]:
    """Warnings about a bridge estimate."""
    return raised_warnings(_another_density(scores), _estimates_differ(scores))
