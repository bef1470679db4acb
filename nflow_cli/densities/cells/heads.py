"""Log-probabilities of cells by the distributions of a network, and mixed with the marginals'.

    log P(cell) = log P(outcome) + [a number] log (mass of its interval)

Of a value that repeats: the sum over the outcomes that it may be, an atom and a number. Written
over an array namespace ``xp``, as :mod:`~nflow_cli.densities.cells.network` is.

A cell is that of the network with weight w, else that of the marginal. Whether it is missing is
mixed first, then the value of a cell that is present:

    q(missing) = w π + (1 - w) ρ
    q(x) = (1 - q(missing)) (w p(x | present) + (1 - w) m(x | present))

Mixed as one, the value of a cell that is seldom present would be the marginal's, whatever the cells
before: gaps would be filled without them where most cells are missing (at random, given those).
"""

from typing import Any, NamedTuple

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.network import PADDING, Parameters
from nflow_cli.mixtures import log_mass


class LogCells(NamedTuple):
    """Log-probabilities of cells in nats, by a network or by the marginals.

    Attributes:
        masses: Of the cells; 0 if unknown or new.
        presence: Of being missing for a missing cell, of being present for any other; 0 of new or
            unknown cells and of columns without gaps.
    """

    masses: Any
    presence: Any


def log_cells(layout: Layout, parameters: Parameters, codes: Any, masses: Any, xp: Any) -> LogCells:
    """Log-probabilities ``(…, D, n)`` of the cells with ``codes`` ``(…, D, n)``, by a network.

    ``masses`` ``(…, N, n)`` are of :func:`log_masses`, of the columns with mixtures.
    """
    shares = parameters.log_shares
    own = xp.take(codes, layout.logits - layout.n_given, axis=-2) == layout.logit_codes

    def total(part: Any) -> Any:
        return xp.sum(part, axis=-2)

    chosen = layout.by_column(total, xp.where(own, shares, 0.0), xp)
    if layout.mixed:
        number, mixed = layout.of_modelled("number"), np.array(layout.mixed) - layout.n_given
        code, of_mixed = xp.take(codes, mixed, axis=-2), xp.take(chosen, mixed, axis=-2)
        is_number = layout.logit_codes == number[layout.logits - layout.n_given]
        smooth = layout.by_column(total, xp.where(is_number, shares, 0.0), xp)
        smooth, number = xp.take(smooth, mixed, axis=-2) + masses, number[mixed]
        if number.any():
            is_atom = (code >= 0) & (code < number)
            of_mixed = xp.where(is_atom, xp.logaddexp(of_mixed, smooth), of_mixed)
        of_mixed = xp.where(code == number, smooth, of_mixed)
        places = np.arange(len(layout.modelled))
        places[mixed] = len(places) + np.arange(len(mixed))
        chosen = xp.take(xp.concatenate([chosen, of_mixed], axis=-2), places, axis=-2)
    log_present = 0.0
    if layout.has_gaps:
        gaps = layout.of_modelled("missing")[layout.logits - layout.n_given]
        values = xp.where(layout.logit_codes != gaps, shares, PADDING)
        log_present = layout.by_column(lambda part: logsumexp(part, -2, xp), values, xp)
    return with_presence(layout, codes, chosen, log_present, xp)


def with_presence(layout: Layout, codes: Any, masses: Any, log_present: Any, xp: Any) -> LogCells:
    """Cells ``(…, D, n)`` of log-probabilities ``masses``, and ``log_present`` of being present."""
    gap, learnt = layout.of_modelled("missing"), layout.of_modelled("learnt")
    is_learnt = (gap >= 0) & (codes >= 0) & (codes < learnt)
    presence = xp.where(is_learnt, xp.where(codes == gap, masses, log_present), 0.0)
    return LogCells(masses, presence)


def log_pair(weights: Any) -> tuple[Any, Any]:
    """``log w`` and ``log(1 - w)`` of weights of a network beside the marginal."""
    with np.errstate(divide="ignore"):
        return np.log(weights), np.log1p(-weights)


def mixed(
    log_weights: tuple[Any, Any], network: LogCells, marginal: LogCells, xp: Any
) -> tuple[Any, Any, Any]:
    """Log-parts of a network and of the marginals in cells, which sum to these, and presence.

    ``log_weights`` are log w and log(1 - w). The third is the log-probability that the cell is
    missing, of a missing one, else that it is present.
    """
    both = list(zip(log_weights, (network, marginal)))
    presence = xp.logaddexp(*(weight + one.presence for weight, one in both))
    first, second = (weight + presence + (one.masses - one.presence) for weight, one in both)
    return first, second, presence


def log_masses(layout: Layout, parameters: Parameters, centre: Any, half: Any, xp: Any) -> Any:
    """Log-masses ``(…, N, n)`` of intervals; -inf off the grid."""
    if not layout.mixed:
        return half  # of no column
    return log_mass(centre, half, *parameters[1:], xp=xp, has_ends=layout.has_ends)
