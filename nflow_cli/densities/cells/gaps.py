"""Missing cells, which are mixed apart from values.

A cell is that of the network with weight w, else that of the marginal. Whether it is missing is
mixed first, then the value of a cell that is present:

    q(missing) = w π + (1 - w) ρ
    q(x) = (1 - q(missing)) (w p(x | present) + (1 - w) m(x | present))

Mixed as one, the value of a cell that is seldom present would be the marginal's, whatever the cells
before: gaps would be filled without them where most cells are missing (at random, given those).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.layout import Bank, Layout, Outcomes
from nflow_cli.densities.cells.network import PADDING

TINY = 1e-300  # probability of a present cell, at least


class LogCells(NamedTuple):
    """Log-probabilities of cells in nats, by a network or by the marginals.

    Attributes:
        masses: Of the cells.
        presence: Of being missing for a missing cell, of being present for any other; 0 of new or
            unknown cells and of columns without gaps. ``None``: no column has gaps.
    """

    masses: Any
    presence: Any = None


def with_presence(
    layout: Layout, log_shares: Sequence[Any], codes: Any, masses: Any, xp: Any
) -> LogCells:
    """Cells with the log-probabilities ``masses`` ``(…, D, n)``, bank by bank.

    ``log_shares`` are of outcomes, ``codes`` ``(…, C, n)`` bank by bank.
    """
    if not layout.has_gaps:
        return LogCells(masses)
    found, start, first = [], 0, 0
    for bank, shares in zip(layout.banks, log_shares):
        of_bank = codes[..., start + bank.n_given : start + len(bank.columns), :]
        last = first + len(bank.modelled)
        if any(layout.outcomes[i].has_gaps for i in bank.modelled):
            found.append(_of_bank(layout, bank, shares, of_bank, xp))
        elif bank.modelled:
            found.append(xp.zeros_like(masses[..., first:last, :]))
        start, first = start + len(bank.columns), last
    return LogCells(masses, xp.concatenate(found, axis=-2))


def _of_bank(layout: Layout, bank: Bank, shares: Any, codes: Any, xp: Any) -> Any:
    outcomes = [layout.outcomes[i] for i in bank.modelled]
    gap, learnt = np.array(
        [(-1 if o.missing is None else o.missing, o.learnt) for o in outcomes]
    ).T[..., None]
    is_gap, is_value = (one[..., None] for one in _gaps_and_values(gap, learnt, bank.size))
    missing = xp.sum(xp.where(is_gap, shares, 0.0), axis=-2)
    present = logsumexp(xp.where(is_value, shares, PADDING), -2, xp)
    has_presence = (gap >= 0) & (codes >= 0) & (codes < learnt)
    return xp.where(has_presence, xp.where(codes == gap, missing, present), 0.0)


def _gaps_and_values(gap: Any, learnt: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.arange(size)
    return places == gap, (places < learnt) & (places != gap)


def mixed_outcomes(
    outcomes: Outcomes, share: float, network: np.ndarray, marginal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Parts ``(L, n)`` of a network and of the marginal in the probabilities of outcomes.

    ``share`` is the weight of the network; both have probabilities ``(L, n)`` or
    ``(L, 1)``. The parts of a value, missing or new outcome sum to its probability.
    """
    parts = share * network, (1 - share) * marginal
    if outcomes.missing is None:
        return parts
    _, is_value = _gaps_and_values(outcomes.missing, outcomes.learnt, outcomes.count)
    present = [np.maximum(one[is_value].sum(axis=0), TINY) for one in (network, marginal)]
    total = share * present[0] + (1 - share) * present[1]
    first, second = (
        np.where(is_value[:, None], part * (total / one), part) for part, one in zip(parts, present)
    )
    return first, second
