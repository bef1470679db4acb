"""The summary of a fit to a whole table: what ``summary.json`` holds. No Keras here."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from nflow_cli.config.strict import Strict
from nflow_cli.evaluation.likelihood import Mean
from nflow_cli.evaluation.memorisation import Memorisation
from nflow_cli.evaluation.pit import Pit
from nflow_cli.experiments.picture_data import Count, DataForm, Error, Figure, SummaryForm


class Scores(Strict):
    """The scores of a density by held-out rows, in nats; None where not finite.

    Attributes:
        log_likelihood: The mean ``log q`` a row that ``q`` gives a probability.
        log_likelihood_standard_error: Its standard error.
        n_effective: The effective sample size of those rows.
        n_impossible: Rows of probability 0.
        n_unknown: Cells that are left out, as they are gaps of columns that had none in training.
        n_new_levels: Cells whose level no training row has.
        independent_log_likelihood: The same mean by independent columns.
        independent_log_likelihood_standard_error: Its standard error.
        gain: The mean difference of the two, paired by row.
        gain_standard_error: Its standard error.
        column_gains: That of the cells of each column: they add up to the gain.
        pit: The calibration of each column.
    """

    log_likelihood: float | None
    log_likelihood_standard_error: float | None
    n_effective: float
    n_impossible: int
    n_unknown: int
    n_new_levels: int
    independent_log_likelihood: float | None
    independent_log_likelihood_standard_error: float | None
    gain: float | None
    gain_standard_error: float | None
    column_gains: Mapping[str, Mean]
    pit: Pit


class CellsSummary(Scores):
    """All figures of a run: what it is of, its training, its scores, its warnings.

    Attributes:
        flow: The model as text.
        k: How many maps: a density of cells is one.
        target: None, as rows are fitted.
        data: The table's ``name`` and ``sha256``.
        measure: The SHA-256 of the base measure: log-likelihoods compare only where it is equal.
        columns: The modelled columns.
        given: What is given.
        seed: Of the run.
        steps: Updates that were made.
        best_update: When the last of the members was at its best validation.
        shares: The mean weight of the networks beside the marginal, of each column.
        gap: The mean of ``log p - log q`` over fresh points of a built-in set, None of other data.
        gap_standard_error: Its standard error.
        memorisation: How much likelier training rows are than test rows.
        n_parameters: Of the networks.
        model_sha256: Of the weights.
        config_sha256: Of the config.
    """

    flow: str
    k: int = 1
    target: None = None
    data: Mapping[str, str]
    measure: str
    columns: list[str]
    given: list[str]
    seed: int
    steps: int
    best_update: int
    n_train: int
    n_validation: int
    n_test: int
    shares: Mapping[str, float]
    gap: float | None
    gap_standard_error: float | None
    memorisation: Memorisation
    n_parameters: int
    model_sha256: str
    config_sha256: str
    compile_seconds: float
    train_seconds: float
    steps_per_second: float | None
    caveats: list[Mapping[str, Any]] = Field(default=[])


class CellsForm(SummaryForm):
    """What the pictures need of ``summary.json``."""

    target: None = None
    data: DataForm
    best_update: Count
    log_likelihood: Figure
    log_likelihood_standard_error: Error = None
    independent_log_likelihood: Figure
