"""The summary of flows that are fitted to a table. No Keras here."""

from pydantic import Field

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.config.strict import Count, Error, Figure, Strict, Text
from nflow_cli.experiments.summary import DataRecord, UpdatesSummary


class Normality(Strict):
    """The distance of latents from ``N(0, I)``, as :mod:`nflow_cli.evaluation.normality` has it."""

    worst_column: Text | None
    distance: Error
    band: Error
    radius_distance: Error
    radius_band: Error
    n: Count
    n_lost: Count
    member: Count | None = None


class OfTableSummary(UpdatesSummary):
    """The figures of every fit to a table, in nats a test row.

    Attributes:
        target: None, as rows are fitted.
        data: The table.
        columns: The modelled columns.
        given: The given columns.
        best_update: The update whose weights were kept, of several members the last one.
        n_train: Training rows.
        n_validation: Validation rows.
        n_test: Test rows.
        log_likelihood: The mean ``log q``.
        log_likelihood_standard_error: Its standard error.
        n_effective: The effective sample size of the rows in that mean.
        gain: The mean of ``log q`` less that of the baseline, paired by row.
        gain_standard_error: Its standard error.
        gap: The mean of ``log p - log q`` over fresh points of a built-in set, None of other data.
        gap_standard_error: Its standard error.
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
    """The figures of flows that are fitted to a table, in nats a test row.

    Attributes:
        base: The name of the base.
        gaussian_log_likelihood: The mean of the Gaussian of the training rows, the baseline.
        gaussian_log_likelihood_standard_error: Its standard error.
        base_log_likelihood: The mean of the base without a flow.
        base_log_likelihood_standard_error: Its standard error.
        normality: Of the latents of the test rows.
        member_log_likelihoods: The mean of each member of an ensemble.
        member_spread: The mean standard deviation of ``log q`` over members.
        mass: ``∫ q`` of two columns, over the cells of a grid.
        mass_error: An estimate of its error.
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
