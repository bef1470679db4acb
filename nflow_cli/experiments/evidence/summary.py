"""Summary of an estimate of log Z from draws."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.config.evidence_schema import MOST_FOLDS
from nflow_cli.config.strict import Count, Error, Figure, Strict, Text
from nflow_cli.experiments.summary import DataRecord, UpdatesSummary

MOST_CHAINS = 10_000
ByFold = Annotated[list[Figure], Field(max_length=MOST_FOLDS)]


class Scores(Strict):
    """Estimate of log Z in nats, and diagnostics of chains.

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
        effective_draws: Least effective sample size of parameters and log-density.
        log_p_step: Rounding step of the log-densities, in nats.
        is_stan: Whether CmdStan wrote the draws.
    """

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
    effective_draws: Figure
    log_p_step: Figure
    is_stan: bool
    moments: Mapping[str, Annotated[list[Figure], Field(min_length=2, max_length=2)]]
    moments_standard_error: Mapping[str, Figure]


class EvidenceSummary(Scores, UpdatesSummary):
    """Summary of a run of ``nflow evidence``.

    Attributes:
        rhat_limit: Split R-hat that chains which agree seldom exceed.
        space: What the recorded log-density is taken for, in words; None without bounds.
        kl_by_likelihood: Mean ``log p̃ - log r - log Z`` of densities ``r`` by maximum likelihood.
        kl_by_likelihood_standard_error: With that of log Z.
    """

    target: None
    data: DataRecord
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    rhat_limit: Figure = None
    space: str | None = None
    best_update: Count
    kl_by_likelihood: Figure
    kl_by_likelihood_standard_error: Error
