"""The summary of a fit to a whole table: what ``summary.json`` holds. No Keras here."""

from collections.abc import Mapping

from nflow_cli.config.strict import Count, Error, Figure, Strict, Text
from nflow_cli.evaluation.likelihood import Mean
from nflow_cli.evaluation.memorisation import Memorisation
from nflow_cli.evaluation.pit import Pit
from nflow_cli.experiments.table.summary import OfTableSummary


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

    log_likelihood: Figure
    log_likelihood_standard_error: Error
    n_effective: Figure
    n_impossible: Count
    n_unknown: Count
    n_new_levels: Count
    independent_log_likelihood: Figure
    independent_log_likelihood_standard_error: Error
    gain: Figure
    gain_standard_error: Error
    column_gains: Mapping[str, Mean]
    pit: Pit


class CellsSummary(Scores, OfTableSummary):
    """The figures of a density of cells.

    Attributes:
        measure: The SHA-256 of the base measure: log-likelihoods compare only where it is equal.
        shares: The mean weight of the networks beside the marginal, of each column.
        memorisation: How much likelier training rows are than test rows.
    """

    measure: Text
    shares: Mapping[str, Figure]
    memorisation: Memorisation
