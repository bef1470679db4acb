"""Summary of a fit by reverse KL: warnings, printed rows, pictures."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nflow_cli.config.infer import MOST_MODES
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
from nflow_cli.experiments.reverse_kl.data import Config
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
from nflow_cli.runs.npz import FIT, STRIP, Shapes
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
MOST_ROWS = 12  # of moments
MOST_WEIGHTS = 8  # of a mixture
WORDS = {
    "good": "good: the weights have finite variance",
    "rough": "rough: the weights may have infinite variance; errors include the unseen tail",
    "poor": "poor: no reliable log Z or moments; try more flows "
    "(of infer also --base student-t, --bounds)",
    "unknown": "unknown: the weights are not finite",
}
FAILS = "log p fails or is not finite away from q"
BOUNDED = "q is 0 outside a bounded region"
Truth = Mapping[str, tuple[float, float]]


def rows_of(config: Config, summary: ReverseKLSummary, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    facts = summary.facts
    rows = [(config.subject_key, printable(summary.target)), flow_row(facts)]
    rows += judged_rows(summary, warnings, truth_of(config))
    if "mass" in facts:
        rows.append(mass_row(facts, warnings))
    rows += _restarts(summary) + _mixture(summary)
    return [*rows, ("training", training_text(facts, config.length))]


def judged_rows(summary: ReverseKLSummary, warnings: Warnings, truth: Truth) -> Rows:
    """Rows of scores by fresh samples."""
    return _estimates(summary, warnings) + _moments(summary, truth)


def verdict_of(summary: ReverseKLSummary, warnings: Warnings) -> Rows:
    """Rows of KL, free energy, k-hat, ESS and log Z, and of the KL of the base without a flow."""
    rows = _estimates(summary, warnings)
    if summary.base_free_energy is None:
        return rows
    kl = summary.base_free_energy + (summary.log_z or 0.0)
    text = with_error(kl, summary.base_free_energy_standard_error)
    return [*rows, ("base without a flow", f"{text} nats")]


def _estimates(summary: ReverseKLSummary, warnings: Warnings) -> Rows:
    """Rows of KL, free energy, k-hat, ESS and log Z."""
    rows = []
    k = summary.pareto_k
    digits = summary.free_energy_standard_error or 1.0
    if summary.kl is not None:
        kl = or_withheld(summary.kl, summary.kl_standard_error, k, digits)
        rows.append(("KL(q || p)", marked(f"{kl} nats", warnings, "kl")))
    if summary.uncovered_share is not None:
        rows.append(("", _uncovered(summary.uncovered_share)))
    free_energy = with_error(summary.free_energy, summary.free_energy_standard_error)
    log_z = or_withheld(summary.estimated_log_z, summary.log_z_standard_error, k, digits)
    log_z += " nats of the mass that q covers"
    if summary.log_z is not None:
        log_z += f" (true: {summary.log_z:.5f})"
    rows += [
        ("free energy", marked(f"{free_energy} nats", warnings, "free_energy")),
        ("k-hat", f"{in_decimals(k, 2)}, {_reliability(summary, warnings)}"),
        ("ESS", f"{in_decimals(summary.ess, 4)} of the draws"),
        ("log Z", marked(log_z, warnings, "estimated_log_z")),
        ("", _by_q(summary)),
    ]
    if summary.missed_share is None:
        rows.append(("", f"missed mass unknown: {FAILS}"))
    return rows


def _uncovered(share: float) -> str:
    """How the KL was estimated, by the share of exact draws of p that q hardly covers."""
    count = f"{round(share * EXACT_DRAWS):,} of {EXACT_DRAWS:,} draws of p have q < p/100"
    if share:
        return f"by the plain mean: {count}"
    return f"if q misses less than {3 / EXACT_DRAWS:.0e} of p: {count}"


def _by_q(summary: ReverseKLSummary) -> str:
    """Log Z by the draws of q alone, a check."""
    if summary.q_log_z is None:
        reason = BOUNDED if summary.base == "uniform-box" else FAILS
        return f"by draws of q alone: {reason}"
    k = summary.q_pareto_k
    digits = summary.free_energy_standard_error or 1.0
    text = or_withheld(summary.q_log_z, summary.q_log_z_standard_error, k, digits)
    text += f" nats by draws of q alone (k-hat {in_decimals(k, 2)}, {verdict(k)})"
    difference = summary.log_z_difference
    error = summary.log_z_difference_standard_error
    if difference is None or not error or not abs(difference) > JUMP_SIGMAS * error:
        return text
    return f"{text}, {abs(difference) / error:.1f} errors of the difference away"


def _reliability(summary: ReverseKLSummary, warnings: Warnings) -> str:
    """Verdict of k-hat, or the other warnings about log Z."""
    word = verdict(summary.pareto_k)
    others = [warning for warning in warnings if warning.word != f"{word} weights"]
    doubts = words(others, "estimated_log_z")
    return f"{word}, but see [{doubts}]" if doubts else WORDS[word]


def _moments(summary: ReverseKLSummary, truth: Truth) -> Rows:
    """Rows of means and standard deviations, of the first coordinates."""
    rows = []
    all_errors = summary.moments_standard_error
    for name, (mean, deviation) in list(summary.moments.items())[:MOST_ROWS]:
        # Without good weights no moment has an error, else those of poor terms have none.
        errors = (all_errors or {}).get(name, (None, None))
        ks = summary.moments_pareto_k[name]
        if all_errors is None:
            ks = [summary.pareto_k, summary.pareto_k]
        scale = deviation or 1.0
        text = or_withheld(mean, errors[0], ks[0], scale)
        text += f", sd {or_withheld(deviation, errors[1], ks[1], scale)}"
        if name in truth:
            true_mean, true_deviation = truth[name]
            text += f" (true: {true_mean:.5g}, sd {true_deviation:.5g})"
        rows.append((printable(name)[:20], text))
    rest = len(summary.moments) - MOST_ROWS
    if rest > 0:
        rows.append(("", f"{rest:,} more coordinates are in summary.json"))
    return rows


def _restarts(summary: ReverseKLSummary) -> Rows:
    restarts = summary.restarts
    if restarts.count == 1:
        return []
    name = "free energy" if summary.log_z is None else "KL"
    scores = ", ".join(in_decimals(kl, 4) for kl in restarts.kl)
    return [("restarts", f"{name} {scores}; seed {restarts.seed} is kept")]


def _mixture(summary: ReverseKLSummary) -> Rows:
    weights = sorted(summary.member_weights, reverse=True)
    if len(weights) == 1:
        return []
    shown = ", ".join(f"{weight:.3g}" for weight in weights[:MOST_WEIGHTS])
    if len(weights) > MOST_WEIGHTS:
        shown += ", …"
    seconds = f"{len(weights) - 1} added in {in_decimals(summary.member_seconds, 1)} s"
    return [("mixture", f"{len(weights)} flows, weights {shown}; {seconds}")]


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


def _ruined(summary: ReverseKLSummary) -> ScoreWarning | None:
    """Warning if the free energy is not finite, or worse than that of the base."""
    if summary.free_energy is None:
        return ruined_text("the fit is not finite")
    return ruined_fit(summary.facts, "free_energy", 1)


def _heavy_tail(summary: ReverseKLSummary) -> ScoreWarning | None:
    k = summary.pareto_k
    figures = ("estimated_log_z", "moments")
    if k is None or k < GOOD:
        return None
    if k < ROUGH:
        reason = f"k-hat {k:.2f}: from {GOOD} to {ROUGH} the variance may be infinite"
        reason += "; standard errors of log Z and moments include the unseen tail"
        return ScoreWarning("rough weights", figures, reason)
    reason = f"k-hat {k:.2f} is above {ROUGH}: a few weights dominate"
    return ScoreWarning("poor weights", figures, f"{reason}, standard errors are unreliable")


def _missed_mass(summary: ReverseKLSummary) -> ScoreWarning | None:
    share = summary.missed_share
    error = summary.missed_share_standard_error
    remedy = "try --anneal, --restarts or more updates"
    if share is not None and error is not None and share - STANDARD_ERRORS * error > MISSED:
        reason = f"draws of q miss at least {100 * share:.3g}% ± {100 * error:.1g}% of p"
        if summary.missed_mode:
            reason += f", most of it near {_point_text(summary.missed_mode)}"
        return ScoreWarning("missed mass", FIGURES, f"{reason}; {remedy}")
    if summary.uncovered_share is not None:  # by exact samples nothing is missed
        return None
    nats = jump(summary.log_z_difference, summary.log_z_difference_standard_error)
    if nats is None:
        return None
    reason = f"log Z is {nats:.3g} nats larger than by draws of q alone: q misses part of p"
    figures = ENERGIES if verdict(summary.pareto_k) == "good" else FIGURES
    return ScoreWarning("missed mass", figures, f"{reason}; {remedy}")


def _point_text(point: Mapping[str, float | None]) -> str:
    """Known coordinates of a point, at most four."""
    shown = [f"{name}={value:.3g}" for name, value in point.items() if value is not None][:4]
    text = ", ".join(shown)
    return f"{text}, …" if len(point) > len(shown) else text


def _far(summary: ReverseKLSummary) -> ScoreWarning | None:
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
    return ScoreWarning("far from p", FIGURES, reason)


def _rounding(summary: ReverseKLSummary) -> ScoreWarning | None:
    error = summary.rounding_error
    step = summary.log_density_step
    if error is None or step is None or not error > ROUNDED:
        return None
    reason = f"rounding to float32 has an error of {error:.2g} nats in log p: "
    if step**2 > 6 * error**2:
        reason += f"its values are multiples of {step:.2g}; {UNROUNDED}"
    else:
        reason += f"{_coarsest(summary)}shift and scale the coordinates"
    return ScoreWarning("rounding", FIGURES, reason)


def _coarsest(summary: ReverseKLSummary) -> str:
    """Coordinate with the largest float32 step relative to its standard deviation."""
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


def _lost(summary: ReverseKLSummary) -> ScoreWarning | None:
    if not summary.n_lost:
        return None
    reason = f"log p is not finite at {summary.n_lost:,} draws, whose weights count as 0"
    return ScoreWarning("not finite", ("free_energy", "estimated_log_z"), reason)


def _disagreement(summary: ReverseKLSummary) -> ScoreWarning | None:
    has_exact_draws = summary.uncovered_share is not None  # which show missed mass
    if has_exact_draws or len(summary.member_weights) > 1:  # of which the best says little
        return None
    finite = [kl for kl in summary.restarts.kl if kl is not None]
    if len(finite) < 2 or max(finite) - min(finite) <= APART:
        return None
    reason = (
        f"restarts differ by up to {max(finite) - min(finite):.3g} nats: some lost modes or were "
        "dropped early, and all may have lost some"
    )
    return ScoreWarning("restarts differ", ("free_energy", "kl"), reason)


# Warnings about scores by draws.
RULES = (_ruined, _heavy_tail, _missed_mass, _far, _rounding, _lost, _disagreement)


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
    """Density, base and coordinates."""
    return {"target": config.subject, "base": config.base_name, "columns": config.columns}


def truth_of(config: Config) -> Truth:
    """Known moments of a built-in density."""
    return {config.columns[i]: moments for i, moments in config.known_moments.items()}


def warnings_of(config: Config, summary: ReverseKLSummary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    return raised_warnings(*(rule(summary) for rule in RULES), mass(summary.facts))


def compared_of(config: Config, summary: ReverseKLSummary) -> tuple[str, dict[str, str]]:
    """Name of the density, and checksum of the code of a user's."""
    sha256 = (config.recorded_density or {}).get("sha256")
    checksums = {} if sha256 is None else {"density.sha256": sha256[:12]}
    return config.subject, checksums


def shapes_of(config: Config) -> Shapes:
    """With a grid densities over it, and samples; else draws weighted and not, and the largest
    weights, of two coordinates also densities.
    """
    if config.evaluate.grid is not None:
        return {**FIT, "samples": ("s", 2), **STRIP}
    shapes: dict[str, Sequence[str | int]] = {
        "rows": ("n", config.dim),
        "samples": ("s", config.dim),
        "columns_shown": "c",
        "tail": "b",
        "smooth_tail": "b",
    }
    if config.dim == 2:
        shapes |= {name: ("?", *axes) for name, axes in {**FIT, **STRIP}.items()}
    return shapes


def inconsistency_of(
    config: Config, arrays: Mapping[str, np.ndarray], summary: ReverseKLSummary
) -> str:
    """Other columns than those of the config."""
    return inconsistency_with_columns(arrays, summary.facts, config.columns)


def figures_of(
    config: Config,
    arrays: Mapping[str, np.ndarray],
    metrics: Mapping[str, np.ndarray],
    summary: Summary,
) -> dict[str, Any]:
    """In the plane density, difference and deformation; without a grid corner and weights; and
    training.
    """
    from nflow_cli import plotting

    if config.evaluate.grid is None:
        return plotting.infer_figures(arrays, metrics, summary)
    return plotting.fit2d_figures(arrays, metrics, summary)
