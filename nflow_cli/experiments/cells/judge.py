"""Held-out estimates and scores of a density of cells."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.density import CellDensity, Scored
from nflow_cli.evaluation.likelihood import LOG_Q, likelihood_of, tallied
from nflow_cli.evaluation.pit import pit
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.evaluation.truth import UNKNOWN, gap_to_the_truth
from nflow_cli.experiments.cells.arrays import pictures
from nflow_cli.experiments.cells.memorised import copied, lost, memorised
from nflow_cli.experiments.cells.report import Scores
from nflow_cli.experiments.summary import Judged
from nflow_cli.random_streams import stream
from nflow_cli.training.progress import phase

Estimates = Mapping[str, np.ndarray]
BASELINE, ALONE = "independent", "log_independent"  # in a tally


def scored(
    density: CellDensity,
    rows: np.ndarray,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> Scored:
    """Scores of rows ``(n, C)`` by a density."""
    return density.scored_rows(rows, stream(seed, "pit"), advance)


def estimates(density: CellDensity, rows: np.ndarray, found: Scored) -> dict[str, np.ndarray]:
    """Estimates of rows ``(n, C)`` by their scores, from which those of the table are computed.

    Returns:
        ``log_q`` and ``log_independent`` ``(n, D)``, log-probabilities in nats of modelled and
        computed cells by the density and by independent columns, NaN if unknown; ``pit``
        ``(n, D)``; ``members`` ``(n, R)``, log-densities of members; ``new_levels`` ``(n,)``,
        numbers of cells with a level of no training row.
    """
    known = density.are_known(rows)
    has_levels = np.array([not column.has_numbers for column in density.scored])
    is_new = (rows[:, density.n_given :] < 0) & has_levels
    return {
        "log_q": np.where(known, found.log_q, np.nan),
        "log_independent": np.where(known, found.log_independent, np.nan),
        "pit": found.pit,
        "members": found.members,
        "new_levels": is_new.sum(axis=1).astype(float),
    }


def tally(density: CellDensity, estimated: Estimates, weights: np.ndarray | None = None) -> Tally:
    """Sums of scores over rows, by :func:`estimates` of them, with weights ``(n,)``."""
    columns, independent = density.cell_names, estimated["log_independent"]
    judged = tallied(estimated["log_q"], columns, {BASELINE: independent}, weights)
    alone = tallied(independent, columns, {}, weights).means[LOG_Q]
    counts = {**judged.counts, "n_new_levels": int(estimated["new_levels"].sum())}
    return Tally({**judged.means, ALONE: alone}, counts)


def figures(found: Tally, is_unmixed: bool, computed: Sequence[str]) -> dict[str, Any]:
    """Scores by their :func:`tally`: all but the PIT; ``computed``: names of computed columns."""
    judged = likelihood_of(found, [BASELINE])
    alone = likelihood_of(Tally({LOG_Q: found.means[ALONE]}, found.counts), [])
    gain = judged.gains[BASELINE]
    means = [gain.columns[name].mean for name in computed]
    of_computed = [mean for mean in means if mean is not None]
    return {
        "log_likelihood": judged.mean,
        "log_likelihood_standard_error": judged.standard_error,
        "n_effective": judged.n_effective,
        "n_impossible": judged.n_impossible,
        "n_unknown": judged.n_unknown,
        "n_new_levels": found.counts["n_new_levels"],
        "independent_log_likelihood": alone.mean,
        "independent_log_likelihood_standard_error": alone.standard_error,
        "gain": gain.mean,
        "gain_standard_error": gain.standard_error,
        "computed_gain": sum(of_computed) if of_computed else None,
        # An unmixed component is no column.
        "column_gains": {} if is_unmixed else gain.columns,
    }


def scores(density: CellDensity, estimated: Estimates, weights: np.ndarray | None = None) -> Scores:
    """Scores of a density by :func:`estimates` of rows, with weights ``(n,)``."""
    computed = [one.column.name for one in density.computed]
    facts = figures(tally(density, estimated, weights), bool(density.unmixing), computed)
    return Scores(**facts, pit=pit(estimated["pit"], density.cell_names, weights))


def held_out(
    density: CellDensity, data: Dataset, estimated: Estimates, seed: int, fresh: int | None = None
) -> dict[str, Any]:
    """All scores, by :func:`estimates` of the test rows and samples of the truth.

    ``fresh``: seed of the latter (``None``: the same).
    """
    return {
        **scores(density, estimated, data.weights.test).model_dump(),
        **gap(density, data.name, seed if fresh is None else fresh),
        "memorisation": memorised(density, data, seed).model_dump(),
        "copies": None if (found := copied(density, data, seed)) is None else found.model_dump(),
        "lost_relations": [one.model_dump() for one in lost(density, data, seed)],
    }


def judged(config: CellsConfig, density: CellDensity, data: Dataset) -> Judged:
    """Scores of a density by the test rows, and its arrays."""
    with phase(f"scoring: {len(data.test):,} test rows"):
        estimated = estimates(density, data.test, scored(density, data.test, config.seed))
        found = held_out(density, data, estimated, config.seed)
    with phase("preparing pictures"):
        shown = pictures(density, data, estimated, config.seed, config.evaluate.keep_rows)
    return Judged({**found, "shares": mean_shares(density)}, shown)


def mean_shares(density: CellDensity) -> dict[str, float]:
    """Mean weight of the networks beside each column's marginal."""
    shares = np.mean([member.shares[density.order] for member in density.networks], axis=0)
    return {column.name: float(share) for column, share in zip(density.modelled, shares)}


def gap(density: CellDensity, name: str, seed: int) -> dict[str, float | None]:
    """Gap to the truth of a built-in set without atoms or given columns, ``None`` if not finite."""
    are_numbers = all(c.kind.is_continuous for c in density.row)
    if density.n_given or density.computed or not are_numbers:
        return {**UNKNOWN}
    columns = [column.name for column in density.row]
    found = gap_to_the_truth(lambda x: CellDensity.log_prob(density, x), name, seed, columns)
    is_finite = all(value is not None and math.isfinite(value) for value in found.values())
    return found if is_finite else {**UNKNOWN}
