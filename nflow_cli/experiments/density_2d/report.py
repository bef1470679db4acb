"""Summary of a fit to a named 2-D density: warnings, printed rows, pictures."""

from collections.abc import Mapping
from typing import Any

from nflow_cli.config.fit_2d_schema import Fit2DConfig
from nflow_cli.config.strict import Error, Figure, Text
from nflow_cli.evaluation.reverse_kl import EXACT_DRAWS
from nflow_cli.evaluation.warnings import (
    ScoreWarning,
    dominated,
    few_rows,
    found,
    lost_mode,
    marked,
    mass,
    number,
    ruined_fit,
)
from nflow_cli.experiments.rows import (
    Rows,
    Summary,
    Warnings,
    figure,
    flow_row,
    mass_row,
    training_text,
    with_error,
)
from nflow_cli.experiments.summary import Course, Measure, UpdatesSummary
from nflow_cli.runs.array_shapes import STRIP, Shapes
from nflow_cli.training.restarts_record import RestartsRecord


class TargetSummary(UpdatesSummary):
    """Scores of a fit to a 2-D density, in nats.

    Attributes:
        kl: ``KL(q || p)``, by a control variate if ``uncovered_share`` is 0; ``None`` if log Z is
            unknown.
        kl_standard_error: Also of the free energy.
        ess: Effective sample size of the importance weights, as a share.
        largest_weight: Largest share of a draw in ``Σ w²``.
        free_energy: ``KL - log Z``.
        log_z: Of the target, if known.
        missed_share: Share of ``p`` where ``q`` has nearly no mass.
        uncovered_share: Share of exact draws of ``p`` where ``q < p/100``.
        mass: ``∫ q`` over a grid.
    """

    target: Text
    base: Text
    kl: Figure
    kl_standard_error: Error
    ess: Figure
    largest_weight: Figure
    pareto_k: Figure
    free_energy: Figure
    base_free_energy: Figure
    base_free_energy_standard_error: Error
    log_z: Figure
    log_z_source: Text | None
    missed_share: Figure
    missed_share_standard_error: Error
    uncovered_share: Figure
    mass: Figure
    mass_error: Error
    restarts: RestartsRecord


def rows_of(config: Fit2DConfig, summary: Summary, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    free_energy, ess = f"{figure(summary, 'free_energy')} nats", figure(summary, "ess", 3)
    return [
        ("target", summary["target"]),
        flow_row(summary),
        *_kl_rows(summary, warnings),
        ("free energy", marked(free_energy, warnings, "free_energy")),
        ("ESS", marked(ess, warnings, "ess")),
        mass_row(summary, warnings),
        *_restarts(summary["restarts"]),
        ("training", training_text(summary, config.length)),
    ]


def _kl_rows(scores: Summary, warnings: Warnings) -> Rows:
    if scores["log_z"] is None:
        return [("KL(q || p)", "unknown (as log Z is)")]
    text = f"{with_error(scores['kl'], scores['kl_standard_error'])} nats"
    rows, share = [("KL(q || p)", marked(text, warnings, "kl"))], number(scores, "uncovered_share")
    if share is None:  # without exact draws
        return rows
    uncovered = f"{round(share * EXACT_DRAWS):,} of {EXACT_DRAWS:,} draws of p have q < p/100"
    if share:
        return [*rows, ("", f"by the plain mean: {uncovered}")]
    return [*rows, ("", f"if q misses less than {3 / EXACT_DRAWS:.0e} of p: {uncovered}")]


def verdict_of(summary: Summary, warnings: Warnings) -> Rows:
    """KL, or the free energy where log Z is unknown, beside that of the base."""
    log_z = summary["log_z"]
    of_base, error = (summary[f"base_free_energy{end}"] for end in ("", "_standard_error"))
    base = "not finite" if None in (of_base, error) else with_error(of_base + (log_z or 0), error)
    rows = [("base without a flow", f"{base} nats")]
    if log_z is not None:
        return [*_kl_rows(summary, warnings), *rows, ("target itself", "0")]
    judged = f"{with_error(summary['free_energy'], summary['kl_standard_error'])} nats"
    return [("free energy", marked(judged, warnings, "free_energy")), *rows]


def _restarts(restarts: Summary) -> Rows:
    if restarts["count"] == 1:
        return []
    kls = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"KL {kls}; seed {restarts['seed']} is kept")]


def evaluated_rows(trained: Any, scores: Summary, n: int, seed: int, warnings: Warnings) -> Rows:
    """Rows of ``nflow evaluate``, from ``n`` fresh samples."""
    config = trained.config
    free_energy = f"{with_error(scores['free_energy'], scores['kl_standard_error'])} nats"
    ess = f"{scores['ess']:.4f} ± {scores['ess_standard_error']:.4f}"
    rows = [
        ("target", config.target.name),
        ("flow", f"{config.flow.text}, K = {config.flow.k}"),
        ("samples", f"{n:,}, seed {seed}"),
        *_kl_rows(scores, warnings),
        ("free energy", marked(free_energy, warnings, "free_energy")),
        ("ESS", marked(ess, warnings, "ess")),
        ("log Z", marked(_log_z(scores, trained), warnings, "estimated_log_z")),
        ("k-hat", f"{scores['pareto_k']:.2f}, of the weights' tail"),
    ]
    if trained.base.bounded:
        rows.append(("", "q is 0 outside a bounded region: log Z is that of the region"))
    return rows


def _log_z(scores: Summary, trained: Any) -> str:
    estimate = f"{scores['estimated_log_z']:.5f} ± {scores['log_z_standard_error']:.5f} nats"
    true = trained.target.log_z
    bound = "a lower bound, " if trained.base.bounded else ""
    return f"{estimate} ({bound}true: {'unknown' if true is None else f'{true:.5f}'})"


SCHEMA = TargetSummary
MEASURES = (
    Measure("kl", "KL", "nats", 5, judges=True),
    Measure("free_energy", "free energy", "nats", 5, judges=True),
    Measure("ess", "ESS", "", 3),
    Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
)
COURSE = Course("kl", "KL (nats)", otherwise="free energy (nats)")
CURVES = ("update", "loss", "kl", "beta")
FORMATS, BESIDE, SAMPLES = (".csv", ".npy"), (), (100, 10**7)


def labels_of(config: Fit2DConfig) -> dict[str, Any]:
    """Target and base."""
    return {"target": config.target.name, "base": config.base_name}


def warnings_of(config: Fit2DConfig, summary: Summary) -> list[ScoreWarning]:
    """Warnings about the scores. A lost mode explains a few large weights."""
    lost = lost_mode(summary, config.train.annealing.share > 0)
    ruined = ruined_fit(summary, "free_energy", 1)
    large = None if lost else dominated(summary)
    return found(lost, ruined, large, mass(summary), few_rows(summary))


def subject_of(config: Fit2DConfig, summary: Summary) -> str:
    """Name of the target."""
    return config.subject


def settings_of(config: Fit2DConfig, summary: Summary) -> dict[str, str]:
    """None beside the config."""
    return {}


def shapes_of(config: Fit2DConfig) -> Shapes:
    """Densities over a grid, and samples."""
    return {
        **{"axis_1": "x", "axis_2": "y", "log_target": "yx", "log_base": "yx", "log_q": "yx"},
        **{"samples": ("s", 2), "base_samples": ("t", 2), "target_samples": ("u", 2), **STRIP},
    }


def inconsistency_of(config: Fit2DConfig, arrays: Mapping[str, Any], summary: Summary) -> str:
    """None that is known."""
    return ""


def figures_of(
    config: Fit2DConfig, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
) -> dict[str, Any]:
    """Density, difference, deformation and training."""
    from nflow_cli.plotting import fit2d_figures

    return fit2d_figures(arrays, metrics, summary)
