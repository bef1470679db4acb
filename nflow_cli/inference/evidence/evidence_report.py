"""Summary of an estimate of log Z from draws: warnings, printed rows, pictures."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nflow_cli.config.strict import MAX_COLUMNS, Count, Error, Figure, Text
from nflow_cli.evaluation.estimates import in_decimals, with_error
from nflow_cli.evaluation.warnings import (
    GOOD,
    ROUGH,
    ScoreWarning,
    marked,
    raised_warnings,
    verdict,
    words,
)
from nflow_cli.experiments.summary import (
    LOG_Z,
    Course,
    DataRecord,
    Measure,
    Rows,
    Summary,
    UpdatesSummary,
    Warnings,
    flow_row,
    training_text,
)
from nflow_cli.inference.evidence.chains import RHAT
from nflow_cli.inference.evidence.evidence_config import MOST_FOLDS, EvidenceConfig
from nflow_cli.runs.npz import Shapes
from nflow_cli.text import printable

MOST_CHAINS = 10_000
ByFold = Annotated[list[Figure], Field(max_length=MOST_FOLDS)]


class EvidenceSummary(UpdatesSummary):
    """Estimate of log Z from draws in nats, and diagnostics of chains.

    Attributes:
        log_z: ``-log E_p[q_T/p̃]``, see ``evaluation.evidence``.
        log_z_standard_error: The larger of the two errors.
        within_error: By batch means within chains.
        between_error: Between chains.
        pareto_k: k-hat of the ratios.
        ess: Effective sample size of the mean ratio.
        temperatures: Of each fold's latents.
        log_z_by_chain: log Z of each chain, or quarter of one.
        kl: Mean ``log p̃ - log q - log Z`` of the draws left out.
        n_draws: Draws.
        n_chains: Chains.
        rhat: Largest split R-hat of parameters and log-density.
        rhat_column: Its column.
        rhat_limit: Split R-hat that chains which agree seldom exceed.
        effective_draws: Least effective sample size of parameters and log-density.
        log_p_step: Rounding step of the log-densities, in nats.
        is_stan: Whether CmdStan wrote the draws.
        space: What the recorded log-density is taken for, in words; None without bounds.
        kl_by_likelihood: Mean ``log p̃ - log r - log Z`` of densities ``r`` by maximum likelihood.
        kl_by_likelihood_standard_error: With that of log Z.
    """

    target: None
    data: DataRecord
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    log_z: Figure
    log_z_standard_error: Error
    within_error: Error
    between_error: Error
    pareto_k: Figure
    ess: Figure
    temperatures: ByFold
    log_z_by_chain: list[Figure] = Field(max_length=MOST_CHAINS)
    kl: Figure
    n_draws: Count
    n_chains: Count
    rhat: Figure
    rhat_column: Text
    rhat_limit: Figure = None
    effective_draws: Figure
    log_p_step: Figure
    is_stan: bool
    moments: Mapping[str, Annotated[list[Figure], Field(min_length=2, max_length=2)]]
    moments_standard_error: Mapping[str, Figure]
    space: str | None = None
    best_update: Count
    kl_by_likelihood: Figure
    kl_by_likelihood_standard_error: Error


REGIONS = "log Z is that of the regions that the chains visited: no other is in it"
DROPPED = (
    "lp__ leaves out the constants of ~ statements, so this log Z has none of them: write target "
    "+= …_lpdf(…), or compare models that drop the same"
)
KINDS = {"poor ratios": "poor", "rough ratios": "rough"}


def rows_of(config: EvidenceConfig, summary: EvidenceSummary, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    return [
        draws_row(config),
        flow_row(summary.facts),
        *judged_rows(summary, warnings),
        ("training", training_text(summary.facts, config.length)),
    ]


def draws_row(config: EvidenceConfig) -> tuple[str, str]:
    """Row of the files."""
    text = printable(config.subject)
    if config.data.others:
        text += f" and {len(config.data.others):,} more"
    return "draws", text


def judged_rows(summary: EvidenceSummary, warnings: Warnings) -> Rows:
    """Rows of log Z and of the chains."""
    chains = f"{summary.n_draws:,} draws of {summary.n_chains:,} chains"
    rhat = f"split R-hat {in_decimals(summary.rhat, 3)} ({printable(summary.rhat_column)})"
    temperatures = ", ".join(f"{t:g}" for t in summary.temperatures)
    kl = f"{in_decimals(summary.kl, 3)} nats, temperatures {temperatures}"
    return [
        *verdict_of(summary, warnings),
        ("KL(p || q)", marked(kl, warnings, "kl")),
        ("chains", f"{chains}, {rhat}, {summary.effective_draws or 0:,.0f} effective draws"),
    ]


def verdict_of(summary: EvidenceSummary, warnings: Warnings) -> Rows:
    """Rows of log Z, its reliability, and its limits."""
    log_z = f"{with_error(summary.log_z, summary.log_z_standard_error)} nats"
    rows = [("log Z", marked(log_z, warnings, "log_z"))]
    if summary.space:
        rows.append(("space", printable(summary.space)))
    k = f"{in_decimals(summary.pareto_k, 2)}, {_reliability(summary, warnings)}"
    rows += [("k-hat", k), ("", REGIONS)]
    if summary.is_stan:
        rows.append(("", DROPPED))
    return rows


def _reliability(summary: EvidenceSummary, warnings: Warnings) -> str:
    """Verdict of the ratios, and the other warnings about log Z."""
    verdicts = [KINDS[warning.word] for warning in warnings if warning.word in KINDS]
    word = verdicts[0] if verdicts else verdict(summary.pareto_k)
    others = [warning for warning in warnings if warning.word not in KINDS]
    doubts = words(others, "log_z")
    return f"{word}, but see [{doubts}]" if doubts else word


FIGURES = ("log_z",)
FEW_DRAWS = 400  # effective
LARGE_ERROR = 0.15  # nats
STEP = 0.05  # nats
SIGMAS = 4.0  # below 0, of a KL divergence that cannot be negative
FAR = 0.25  # nats; ratios of a q farther from p have tails that the draws do not show


def _heavy_tail(summary: EvidenceSummary) -> ScoreWarning | None:
    k = summary.pareto_k
    error = summary.log_z_standard_error
    kl = summary.kl
    if k is None or error is None or not k < ROUGH:
        shown = "not finite" if k is None else f"{k:.2f}"
        reason = f"k-hat {shown}: a few draws dominate, log Z and its error are unreliable"
        remedy = "a parameter may be missing from the columns; else try more draws or more updates"
        return ScoreWarning("poor ratios", FIGURES, f"{reason}; {remedy}")
    if k >= GOOD:
        reason = f"k-hat {k:.2f}: from {GOOD} to {ROUGH} the standard error may be too small"
        return ScoreWarning("rough ratios", FIGURES, reason)
    if error > LARGE_ERROR:
        reason = f"a standard error above {LARGE_ERROR} nats is rough: more draws reduce it"
        return ScoreWarning("rough ratios", FIGURES, reason)
    if kl is not None and kl > FAR:
        reason = f"KL(p || q) is {kl:.2f} nats, above {FAR}: the tail of the ratios may be unseen"
        return ScoreWarning("rough ratios", FIGURES, f"{reason}; try more draws or more updates")
    return None


def _disagreement(summary: EvidenceSummary) -> ScoreWarning | None:
    rhat = summary.rhat
    limit = summary.rhat_limit or RHAT
    if rhat is None or not rhat > limit:
        return None
    digits = next(n for n in range(3, 18) if f"{rhat:.{n}f}" != f"{limit:.{n}f}")
    reason = (
        f"split R-hat of {summary.rhat_column} is {rhat:.{digits}f}; chains of one "
        f"distribution, as many and as long, seldom exceed {limit:.{digits}f}"
    )
    remedy = "some chains may not have seen all of p: log Z may lack a part; draw longer ones"
    return ScoreWarning("chains disagree", FIGURES, f"{reason}: {remedy}")


def _few_draws(summary: EvidenceSummary) -> ScoreWarning | None:
    effective = summary.effective_draws
    if effective is None or effective >= FEW_DRAWS:
        return None
    reason = f"{effective:.0f} effective draws of some column, fewer than {FEW_DRAWS}"
    return ScoreWarning("few draws", FIGURES, reason)


def _rounding(summary: EvidenceSummary) -> ScoreWarning | None:
    step = summary.log_p_step
    if step is None or not step > STEP:
        return None
    reason = f"the log-densities are multiples of {step:g} nats: write more digits, by sig_figs=10"
    return ScoreWarning("few digits", FIGURES, reason)


def _other_columns(summary: EvidenceSummary) -> ScoreWarning | None:
    kl = summary.kl_by_likelihood
    error = summary.kl_by_likelihood_standard_error
    if kl is None or error is None or not kl < -SIGMAS * error:
        return None
    reason = (
        f"a density by maximum likelihood is {-kl:.3g} ± {error:.2g} nats above p, as none can be: "
        "log p is not the log-density of these columns"
    )
    remedy = "leave generated ones out, add missing ones, or set --space"
    return ScoreWarning("other columns", FIGURES, f"{reason}; {remedy}")


RULES = (_other_columns, _heavy_tail, _disagreement, _few_draws, _rounding)


SCHEMA = EvidenceSummary
MEASURES = (
    Measure("log_z", LOG_Z, "nats", 4),
    Measure("log_z_standard_error", "± log Z", "nats", 4, has_spread=False),
    Measure("pareto_k", "k-hat", "", 2),
    Measure("kl", "KL", "nats", 3, judges=True),
)
COURSE = Course("validation_loss", "validation loss (nats)")
CURVES = ("update", "loss", "validation_loss")
FORMATS = (".csv", ".npy")
BESIDE = ()
SAMPLES = None


def labels_of(config: EvidenceConfig) -> dict[str, list[str] | None]:
    """Parameters."""
    return {"target": None, "columns": config.columns}


def warnings_of(config: EvidenceConfig, summary: EvidenceSummary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    return raised_warnings(*(rule(summary) for rule in RULES))


def compared_of(config: EvidenceConfig, summary: EvidenceSummary) -> tuple[str, dict[str, str]]:
    """Name and checksum of the draws."""
    return config.subject, summary.data.checksum


def shapes_of(config: EvidenceConfig) -> Shapes:
    """Largest ratios."""
    return {"tail": "u", "smooth_tail": "u"}


def inconsistency_of(
    config: EvidenceConfig, arrays: Mapping[str, np.ndarray], summary: EvidenceSummary
) -> str:
    """None that is known."""
    return ""


def figures_of(
    config: EvidenceConfig,
    arrays: Mapping[str, np.ndarray],
    metrics: Mapping[str, np.ndarray],
    summary: Summary,
) -> dict[str, Any]:
    """Log Z by chain, weights and training."""
    from nflow_cli.inference.weight_figures import evidence_figures

    return evidence_figures(arrays, metrics, summary)
