"""Summary of a fit by reverse KL: warnings, printed rows, pictures."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nflow_cli.config.strict import MAX_COLUMNS, Count, Error, Figure, Text
from nflow_cli.evaluation.estimates import in_decimals, or_withheld, with_error
from nflow_cli.evaluation.warnings import (
    EXACT_DRAWS,
    GOOD,
    JUMP_SIGMAS,
    ROUGH,
    ScoreWarning,
    jump,
    marked,
    mass,
    raised_warnings,
    ruined_fit,
    ruined_text,
    verdict,
    words,
)
from nflow_cli.experiments.summary import (
    LOG_Z,
    Course,
    Measure,
    RestartsRecord,
    Rows,
    Summary,
    UpdatesSummary,
    Warnings,
    flow_row,
    inconsistency_with_columns,
    mass_row,
    training_text,
)
from nflow_cli.inference.infer_config import MOST_MODES
from nflow_cli.inference.reverse_kl_data import Config
from nflow_cli.runs.npz import DEFORMATION_ARRAYS, DENSITY_ARRAYS, Shapes
from nflow_cli.text import printable

Moments = Annotated[list[Figure], Field(min_length=2, max_length=2)]


class ReverseKLSummary(UpdatesSummary):
    """Scores of a fit by reverse KL, in nats; ``evaluation.reverse_kl`` defines them.

    ``has_exact_samples``: whether the density has a sampler. ``uncovered_share``: of its exact
    draws those where ``q < p/100``. ``member_weights``: of the members of a mixture, ``[1.0]`` of
    one; ``member_seconds``: of training those beyond the first. Of a density over a grid alone:
    ``mass``, ``∫ q``, and the free energy of the base without a flow.
    """

    target: Text
    base: Text
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    has_exact_samples: bool
    kl: Figure
    kl_standard_error: Error
    free_energy: Figure
    free_energy_standard_error: Error
    estimated_log_z: Figure
    log_z_standard_error: Error
    pareto_k: Figure
    q_log_z: Figure
    q_log_z_standard_error: Error
    q_pareto_k: Figure
    log_z_difference: Figure
    log_z_difference_standard_error: Error
    missed_share: Figure
    missed_share_standard_error: Error
    missed_mode: Mapping[str, Figure] | None
    uncovered_share: Figure
    log_density_step: Figure
    rounding_error: Figure
    ess: Figure
    log_z: Figure
    log_z_source: Text | None
    n_lost: Count
    moments: Mapping[str, Moments]
    moments_standard_error: Mapping[str, Moments] | None
    moments_pareto_k: Mapping[str, Moments]
    restarts: RestartsRecord
    member_weights: list[float] = Field(min_length=1, max_length=MOST_MODES)
    member_seconds: Figure
    mass: Figure = None
    mass_error: Error = None
    base_free_energy: Figure = None
    base_free_energy_standard_error: Error = None


NETCDF = ".nc"  # suffix
# Printed at most: coordinates with moments, and mixture weights.
MOST_MOMENTS = 12
MOST_WEIGHTS = 8
# What the verdict on k-hat says of the importance weights p/q.
K_HAT_TEXTS = {
    "good": "good: the weights have finite variance",
    "rough": "rough: the weights may have infinite variance; errors include the unseen tail",
    "poor": "poor: no reliable log Z or moments; try more flows "
    "(of infer also --base student-t, --bounds)",
    "unknown": "unknown: the weights are not finite",
}
LOG_P_FAILS = "log p fails or is not finite away from q"
Q_IS_BOUNDED = "q is 0 outside a bounded region"
Truth = Mapping[str, tuple[float, float]]  # mean and sd by coordinate


def rows_of(config: Config, summary: ReverseKLSummary, warnings: Warnings) -> Rows:
    """Labels and texts of all scores, printed after training."""
    facts = summary.facts
    rows = [(config.subject_key, printable(summary.target)), flow_row(facts)]
    rows += judged_rows(summary, warnings, truth_of(config))
    if "mass" in facts:
        rows.append(mass_row(facts, warnings))
    rows += _printed_restarts(summary) + _printed_mixture(summary)
    return [*rows, ("training", training_text(facts, config.length))]


def judged_rows(summary: ReverseKLSummary, warnings: Warnings, truth: Truth) -> Rows:
    """Labels and texts of the scores by fresh draws."""
    return _printed_estimates(summary, warnings) + _printed_moments(summary, truth)


def verdict_of(summary: ReverseKLSummary, warnings: Warnings) -> Rows:
    """Labels and texts of the scores that judge a fit, and of the KL of the base without a flow."""
    rows = _printed_estimates(summary, warnings)
    if summary.base_free_energy is None:
        return rows
    kl = summary.base_free_energy + (summary.log_z or 0.0)
    text = with_error(kl, summary.base_free_energy_standard_error)
    return [*rows, ("base without a flow", f"{text} nats")]


def _printed_estimates(summary: ReverseKLSummary, warnings: Warnings) -> Rows:
    """Labels and texts of KL, free energy, k-hat, ESS and log Z, with standard errors."""
    rows = []
    k_hat = summary.pareto_k
    scale = summary.free_energy_standard_error or 1.0  # gives the digits where errors are withheld
    if summary.kl is not None:
        kl = or_withheld(summary.kl, summary.kl_standard_error, k_hat, scale)
        rows.append(("KL(q || p)", marked(f"{kl} nats", warnings, "kl")))
    if summary.uncovered_share is not None:
        rows.append(("", _uncovered_text(summary.uncovered_share)))
    free_energy = with_error(summary.free_energy, summary.free_energy_standard_error)
    log_z = or_withheld(summary.estimated_log_z, summary.log_z_standard_error, k_hat, scale)
    log_z += " nats of the mass that q covers"
    if summary.log_z is not None:
        log_z += f" (true: {summary.log_z:.5f})"
    rows += [
        ("free energy", marked(f"{free_energy} nats", warnings, "free_energy")),
        ("k-hat", f"{in_decimals(k_hat, 2)}, {_reliability_text(summary, warnings)}"),
        ("ESS", f"{in_decimals(summary.ess, 4)} of the draws"),
        ("log Z", marked(log_z, warnings, "estimated_log_z")),
        ("", _log_z_by_q(summary)),
    ]
    if summary.missed_share is None:
        rows.append(("", f"missed mass unknown: {LOG_P_FAILS}"))
    return rows


def _uncovered_text(share: float) -> str:
    """Text on how the KL was estimated, by the share of exact draws of p with ``q < p/100``."""
    count = f"{round(share * EXACT_DRAWS):,} of {EXACT_DRAWS:,} draws of p have q < p/100"
    if share:
        return f"by the plain mean: {count}"
    return f"if q misses less than {3 / EXACT_DRAWS:.0e} of p: {count}"


def _log_z_by_q(summary: ReverseKLSummary) -> str:
    """Text on log Z by the draws of q alone, and its distance from log Z by all draws: a check."""
    if summary.q_log_z is None:
        reason = Q_IS_BOUNDED if summary.base == "uniform-box" else LOG_P_FAILS
        return f"by draws of q alone: {reason}"
    k_hat = summary.q_pareto_k
    scale = summary.free_energy_standard_error or 1.0
    text = or_withheld(summary.q_log_z, summary.q_log_z_standard_error, k_hat, scale)
    text += f" nats by draws of q alone (k-hat {in_decimals(k_hat, 2)}, {verdict(k_hat)})"
    difference = summary.log_z_difference
    error = summary.log_z_difference_standard_error
    if difference is None or not error or not abs(difference) > JUMP_SIGMAS * error:
        return text
    return f"{text}, {abs(difference) / error:.1f} errors of the difference away"


def _reliability_text(summary: ReverseKLSummary, warnings: Warnings) -> str:
    """Verdict of k-hat in words, or the labels of other warnings about log Z."""
    word = verdict(summary.pareto_k)
    further = [warning for warning in warnings if warning.word != f"{word} weights"]
    doubts = words(further, "estimated_log_z")
    return f"{word}, but see [{doubts}]" if doubts else K_HAT_TEXTS[word]


def _printed_moments(summary: ReverseKLSummary, truth: Truth) -> Rows:
    """Labels and texts of the means and standard deviations of the first coordinates."""
    rows = []
    all_errors = summary.moments_standard_error
    for name, (mean, deviation) in list(summary.moments.items())[:MOST_MOMENTS]:
        # None: all errors are withheld, by the k-hat of the weights; else by that of each moment.
        errors = (all_errors or {}).get(name, (None, None))
        k_hats = summary.moments_pareto_k[name]
        if all_errors is None:
            k_hats = [summary.pareto_k, summary.pareto_k]
        scale = deviation or 1.0
        text = or_withheld(mean, errors[0], k_hats[0], scale)
        text += f", sd {or_withheld(deviation, errors[1], k_hats[1], scale)}"
        if name in truth:
            true_mean, true_deviation = truth[name]
            text += f" (true: {true_mean:.5g}, sd {true_deviation:.5g})"
        rows.append((printable(name)[:20], text))
    n_further = len(summary.moments) - MOST_MOMENTS
    if n_further > 0:
        rows.append(("", f"{n_further:,} more coordinates are in summary.json"))
    return rows


def _printed_restarts(summary: ReverseKLSummary) -> Rows:
    """Label and text of the scores of several restarts."""
    restarts = summary.restarts
    if restarts.count == 1:
        return []
    name = "free energy" if summary.log_z is None else "KL"
    scores = ", ".join(in_decimals(kl, 4) for kl in restarts.kl)
    return [("restarts", f"{name} {scores}; seed {restarts.seed} is kept")]


def _printed_mixture(summary: ReverseKLSummary) -> Rows:
    """Label and text of the mixture weights of several flows, the largest first."""
    weights = sorted(summary.member_weights, reverse=True)
    if len(weights) == 1:
        return []
    shown = ", ".join(f"{weight:.3g}" for weight in weights[:MOST_WEIGHTS])
    if len(weights) > MOST_WEIGHTS:
        shown += ", …"
    seconds = f"{len(weights) - 1} added in {in_decimals(summary.member_seconds, 1)} s"
    return [("mixture", f"{len(weights)} flows, weights {shown}; {seconds}")]


# Limits of the warnings.
LARGEST_DISAGREEMENT = 0.1  # nats between the best and the worst restart
LARGEST_MISSED_SHARE = 0.01  # of the mass of p
MISSED_ERRORS = 2.0  # standard errors by which a share must exceed it
LARGE_KL = 5.0  # nats, at which log-normal importance weights have an ESS of e^-10
LARGEST_ROUNDING = 0.01  # nats of rounding error of log p, which changes log Z by 5e-5
ROUNDING_REMEDY = (
    "subtract a constant from each term before summing, or return a pair of arrays of float64"
)
# Scores that a warning is about.
ENERGY_SCORES = ("free_energy", "kl")
ALL_SCORES = ("estimated_log_z", *ENERGY_SCORES, "moments")


def _ruined_warning(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if the free energy is not finite, or worse than that of the base."""
    if summary.free_energy is None:
        return ruined_text("the fit is not finite")
    return ruined_fit(summary.facts, "free_energy", 1)


def _heavy_tail_warning(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if k-hat says that the importance weights p/q have a heavy tail."""
    k = summary.pareto_k
    scores = ("estimated_log_z", "moments")
    if k is None or k < GOOD:
        return None
    if k < ROUGH:
        reason = f"k-hat {k:.2f}: from {GOOD} to {ROUGH} the variance may be infinite"
        reason += "; standard errors of log Z and moments include the unseen tail"
        return ScoreWarning("rough weights", scores, reason)
    reason = f"k-hat {k:.2f} is above {ROUGH}: a few weights dominate"
    return ScoreWarning("poor weights", scores, f"{reason}, standard errors are unreliable")


def _missed_mass_warning(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if q misses mass of p, by a search, or by log Z from draws of q alone."""
    share = summary.missed_share
    error = summary.missed_share_standard_error
    remedy = "try --anneal, --restarts or more updates"
    if (
        share is not None
        and error is not None
        and share - MISSED_ERRORS * error > LARGEST_MISSED_SHARE
    ):
        reason = f"draws of q miss at least {100 * share:.3g}% ± {100 * error:.1g}% of p"
        if summary.missed_mode:
            reason += f", most of it near {_point_text(summary.missed_mode)}"
        return ScoreWarning("missed mass", ALL_SCORES, f"{reason}; {remedy}")
    if summary.uncovered_share is not None:  # by exact samples nothing is missed
        return None
    nats = jump(summary.log_z_difference, summary.log_z_difference_standard_error)
    if nats is None:
        return None
    reason = f"log Z is {nats:.3g} nats larger than by draws of q alone: q misses part of p"
    scores = ENERGY_SCORES if verdict(summary.pareto_k) == "good" else ALL_SCORES
    return ScoreWarning("missed mass", scores, f"{reason}; {remedy}")


def _point_text(point: Mapping[str, float | None]) -> str:
    """Text of the known coordinates of a point, at most four."""
    shown = [f"{name}={value:.3g}" for name, value in point.items() if value is not None][:4]
    text = ", ".join(shown)
    return f"{text}, …" if len(point) > len(shown) else text


def _large_kl_warning(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if the KL is too large for importance weights, though k-hat is not poor."""
    k = summary.pareto_k
    kl = summary.kl
    if kl is None and summary.free_energy is not None and summary.estimated_log_z is not None:
        kl = summary.free_energy + summary.estimated_log_z
    if k is None or kl is None or not k < ROUGH or not kl > LARGE_KL:
        return None
    reason = (
        f"KL(q || p) is {kl:.3g} nats by free energy and log Z: at this KL weights are "
        "not reliable, whatever k-hat is; train longer, or shift and scale the coordinates"
    )
    return ScoreWarning("far from p", ALL_SCORES, reason)


def _rounding_warning(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if log p is rounded coarsely, in its values or in the coordinates."""
    error = summary.rounding_error
    step = summary.log_density_step
    if error is None or step is None or not error > LARGEST_ROUNDING:
        return None
    reason = f"rounding to float32 has an error of {error:.2g} nats in log p: "
    if step**2 > 6 * error**2:  # half of the variance, as rounding to steps has step²/12
        reason += f"its values are multiples of {step:.2g}; {ROUNDING_REMEDY}"
    else:
        reason += f"{_coarsest_coordinate(summary)}shift and scale the coordinates"
    return ScoreWarning("rounding", ALL_SCORES, reason)


def _coarsest_coordinate(summary: ReverseKLSummary) -> str:
    """Text on the coordinate with the largest float32 step relative to its standard deviation; ""
    if none is known.
    """
    text = ""
    largest = -math.inf
    for name, (mean, deviation) in summary.moments.items():
        if mean is None or not deviation:
            continue
        step = float(np.spacing(np.float32(abs(mean))))
        if step / deviation > largest:
            largest = step / deviation
            text = f"{name} at {mean:.4g} ± {deviation:.2g} has steps of {step:.2g}; "
    return text


def _not_finite_warning(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if log p is not finite at some draws."""
    if not summary.n_lost:
        return None
    reason = f"log p is not finite at {summary.n_lost:,} draws, whose weights count as 0"
    return ScoreWarning("not finite", ("free_energy", "estimated_log_z"), reason)


def _disagreement_warning(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if restarts differ in their KL, unless exact draws show missed mass, or the fit is a
    mixture, of which restarts say little.
    """
    has_exact_draws = summary.uncovered_share is not None
    if has_exact_draws or len(summary.member_weights) > 1:
        return None
    finite = [kl for kl in summary.restarts.kl if kl is not None]
    if len(finite) < 2 or max(finite) - min(finite) <= LARGEST_DISAGREEMENT:
        return None
    reason = (
        f"restarts differ by up to {max(finite) - min(finite):.3g} nats: some lost modes or were "
        "dropped early, and all may have lost some"
    )
    return ScoreWarning("restarts differ", ("free_energy", "kl"), reason)


# Warnings about scores by draws.
RULES = (
    _ruined_warning,
    _heavy_tail_warning,
    _missed_mass_warning,
    _large_kl_warning,
    _rounding_warning,
    _not_finite_warning,
    _disagreement_warning,
)


SCHEMA = ReverseKLSummary
MEASURES = (
    Measure("kl", "KL", "nats", 5, judges=True),
    Measure("free_energy", "free energy", "nats", 5, judges=True),
    Measure("estimated_log_z", LOG_Z, "nats", 5),
    Measure("pareto_k", "k-hat", "", 2),
    Measure("ess", "ESS", "", 3),
    Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
)
COURSE = Course("kl", "KL (nats)", otherwise="free energy (nats)")
CURVES = ("update", "loss", "kl", "beta")
FORMATS = (".csv", ".npy", NETCDF)
BESIDE = ()
SAMPLES = (100, 10**7)


def labels_of(config: Config) -> dict[str, str | list[str]]:
    """Names of density, base and coordinates, by key of a summary."""
    return {"target": config.subject, "base": config.base_name, "columns": config.columns}


def truth_of(config: Config) -> Truth:
    """Known mean and sd of the coordinates of a built-in density."""
    return {config.columns[i]: moments for i, moments in config.known_moments.items()}


def warnings_of(config: Config, summary: ReverseKLSummary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    return raised_warnings(*(rule(summary) for rule in RULES), mass(summary.facts))


def compared_of(config: Config, summary: ReverseKLSummary) -> tuple[str, dict[str, str]]:
    """Name of the density, and the checksum of its code by key if it is a user's."""
    sha256 = (config.recorded_density or {}).get("sha256")
    checksums = {} if sha256 is None else {"density.sha256": sha256[:12]}
    return config.subject, checksums


def shapes_of(config: Config) -> Shapes:
    """Shapes of a run's arrays by name: with a grid, densities over it and samples; else draws,
    weighted and not, and the largest importance weights, for two coordinates also densities.
    """
    if config.evaluate.grid is not None:
        return {**DENSITY_ARRAYS, "samples": ("s", 2), **DEFORMATION_ARRAYS}
    shapes: dict[str, Sequence[str | int]] = {
        "rows": ("n", config.dim),
        "samples": ("s", config.dim),
        "columns_shown": "c",
        "tail": "b",
        "smooth_tail": "b",
    }
    if config.dim == 2:
        shapes |= {
            name: ("?", *axes) for name, axes in {**DENSITY_ARRAYS, **DEFORMATION_ARRAYS}.items()
        }
    return shapes


def inconsistency_of(
    config: Config, arrays: Mapping[str, np.ndarray], summary: ReverseKLSummary
) -> str:
    """Text on columns of the arrays that are not those of the config; "" if they agree."""
    return inconsistency_with_columns(arrays, summary.facts, config.columns)


def figures_of(
    config: Config,
    arrays: Mapping[str, np.ndarray],
    metrics: Mapping[str, np.ndarray],
    summary: Summary,
) -> dict[str, Any]:
    """Pictures by name: with a grid, density, difference, deformation and training; else corner,
    weights and training.
    """
    from nflow_cli.inference.weight_figures import infer_figures
    from nflow_cli.plotting.plane import fit2d_figures

    if config.evaluate.grid is None:
        return infer_figures(arrays, metrics, summary)
    return fit2d_figures(arrays, metrics, summary)
