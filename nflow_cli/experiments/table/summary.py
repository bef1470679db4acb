"""Summary of a fit of flows to a table."""

from pydantic import Field

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.config.strict import Count, Error, Figure, Strict, Text
from nflow_cli.experiments.summary import DataRecord, UpdatesSummary


class Normality(Strict):
    """Distances of latents from ``N(0, I)``, of :mod:`nflow_cli.evaluation.normality`."""

    worst_column: Text | None
    distance: Error
    band: Error
    radius_distance: Error
    radius_band: Error
    n: Count
    n_lost: Count
    member: Count | None = None


class OfTableSummary(UpdatesSummary):
    """Scores of any fit to a table, in nats a test row.

    Attributes:
        best_update: Update of the kept weights, the latest of several members.
        log_likelihood: Mean ``log q``.
        n_effective: Effective sample size in that mean.
        gain: Mean ``log q`` less that of the baseline, paired by row.
        gap: Mean ``log p - log q`` over fresh points of a built-in set, else ``None``.
    """

    target: None
    data: DataRecord
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    given: list[Text] = Field(max_length=MAX_COLUMNS)
    best_update: Count
    n_train: Count
    n_validation: Count
    n_test: Count
    log_likelihood: Figure
    log_likelihood_standard_error: Error
    n_effective: Figure
    gain: Figure
    gain_standard_error: Error
    gap: Figure
    gap_standard_error: Error


class TableSummary(OfTableSummary):
    """Scores of flows fitted to a table, in nats a test row.

    Attributes:
        gaussian_log_likelihood: Mean of the Gaussian of the training rows, the baseline.
        base_log_likelihood: Mean of the base without a flow.
        member_spread: Mean standard deviation of ``log q`` over members.
        mass: ``∫ q`` of two columns, over a grid.
    """

    base: Text
    gaussian_log_likelihood: Figure
    gaussian_log_likelihood_standard_error: Error
    base_log_likelihood: Figure
    base_log_likelihood_standard_error: Error
    normality: Normality
    member_log_likelihoods: list[Figure] = Field(default=[])
    member_spread: Error = None
    mass: Figure = None
    mass_error: Error = None
