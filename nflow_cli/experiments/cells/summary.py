"""Summary of a fit to a whole table."""

from collections.abc import Mapping, Sequence

from nflow_cli.config.strict import Count, Error, Figure, Strict, Text
from nflow_cli.evaluation.association import LostRelation
from nflow_cli.evaluation.copies import Copies
from nflow_cli.evaluation.likelihood import Mean
from nflow_cli.evaluation.memorisation import Memorisation
from nflow_cli.evaluation.pit import Pit
from nflow_cli.experiments.table.summary import OfTableSummary


class Scores(Strict):
    """Held-out scores of a density in nats; ``None`` where not finite.

    Attributes:
        log_likelihood: Mean ``log q`` of rows of positive probability.
        n_effective: Effective sample size of those rows.
        n_impossible: Rows of probability 0.
        n_unknown: Cells left out: missing ones of columns without missing cells in training.
        n_new_levels: Cells with a level of no training row.
        gain: Mean difference from independent columns, paired by row.
        computed_gain: Part of it by computed columns; ``None`` without any.
        column_gains: Gain of each column's cells; their sum is ``gain``.
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
    computed_gain: Figure = None
    column_gains: Mapping[str, Mean]
    pit: Pit


class CellsSummary(Scores, OfTableSummary):
    """Scores of a density of cells.

    Attributes:
        measure: SHA-256 of the base measure: log-likelihoods compare only if equal.
        shares: Mean weight of the networks beside the marginal of each column.
        fill_acceptance: Share of the proposed fills of gaps in training rows that were accepted, of
            each column with gaps, if ``train.filled`` is not 0.
        lost_relations: Relations of the rows that draws lose, the most lost first.
    """

    measure: Text
    shares: Mapping[str, Figure]
    fill_acceptance: Mapping[str, Figure] = {}
    memorisation: Memorisation
    copies: Copies | None
    lost_relations: Sequence[LostRelation] = ()
