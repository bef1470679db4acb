"""Calendar of dates and times: harmonics of season, weekday and hour."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.config.kinds import ColumnKind, Cycle
from nflow_cli.data.dates import DAY, kind_of_form
from nflow_cli.random_streams import stream

ORDERS = np.arange(1, 4)[:, None]  # of harmonics; three of seven days are any function of these
N_HARMONICS = 2 * len(ORDERS)  # of a cycle, sines and cosines
NEAR = 0.9  # periods between two dates, below which they tell the phases
NATS = 10.0  # by which another column depends on a cycle, at least
ROWS = 20_000  # at random, most by which it is judged
PARTS, QUARTERS = 7, 4  # of a cycle, and of a column's numbers, in these


class Period(NamedTuple):
    """Period of a cycle, in days.

    Attributes:
        least: Span of the dates that tell it.
        is_of_days: The phase changes at midnight alone.
    """

    length: float
    least: float
    is_of_days: bool


PERIODS: dict[Cycle, Period] = {
    "season": Period(365.2425, 350.0, True),
    "weekday": Period(7.0, 28.0, True),
    "hour": Period(1.0, 2.0, False),
}


def with_calendars(
    kinds: Mapping[str, ColumnKind], columns: Sequence[str], rows: np.ndarray, n_given: int
) -> dict[str, ColumnKind]:
    """Kinds with the cycles that dates and times of training rows ``(n, C)`` tell, of which a
    modelled column behind depends on one at least: other inputs would be noise.
    """
    found = dict(kinds)
    some = stream(0, "calendar").choice(len(rows), min(len(rows), ROWS), replace=False)
    for place, name in enumerate(columns):
        kind = kinds[name]
        is_dated = kind.type in ("date", "time") and kind.kind in ("grid", "number")
        if not is_dated or kind.calendar is not None:
            continue
        behind = [
            _outcomes(rows[some, j], kinds[columns[j]])
            for j in range(max(place + 1, n_given), len(columns))
        ]
        cycles = [
            cycle
            for cycle in _told(rows[:, place], kind)
            if any(_gain(_days(rows[some, place], kind), cycle, one) > NATS for one in behind)
        ]
        found[name] = kind.model_copy(update={"calendar": cycles})
    return found


def _told(values: np.ndarray, kind: ColumnKind) -> Iterator[Cycle]:
    """Cycles of which dates or times ``(n,)`` have the phases: their span leaves none to be
    extrapolated, and two are nearer than the period, as monthly dates have no weekday.
    """
    is_clock = kind.form is not None and kind_of_form(kind.form) == "clock"
    days = np.unique(_days(values[~np.isnan(values)], kind))
    for cycle, period in PERIODS.items():
        apart = np.diff(np.unique(np.floor(days)) if period.is_of_days else days)
        is_long = is_clock or apart.sum() >= period.least
        if is_long and (apart < NEAR * period.length).any():
            yield cycle


def _outcomes(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    """Levels, or quarters of numbers ``(n,)``, as whole numbers from 0 on; missing is one."""
    if kind.kind != "levels":
        parts = QUARTERS * np.searchsorted(np.sort(values), values) // max(len(values), 1)
        values = np.where(np.isnan(values), np.nan, parts)
    return np.unique(values, return_inverse=True)[1]


def _gain(days: np.ndarray, cycle: Cycle, outcomes: np.ndarray) -> float:
    """Log-likelihood in nats that outcomes ``(n,)`` gain by the part of a cycle that days are in,
    less one a parameter (Akaike 1974).
    """
    known = ~np.isnan(days)
    parts = np.floor(PARTS * _phases(days[known], cycle)).astype(int)
    counts = np.zeros((PARTS, outcomes.max(initial=0) + 1))
    np.add.at(counts, (parts, outcomes[known]), 1)
    counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(counts.sum(), 1)
    gain = np.sum(counts * np.log(np.where(counts > 0, counts / expected, 1.0)))
    return float(gain - np.prod(np.array(counts.shape) - 1))


def harmonics(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    """Harmonics ``(E, n)`` of the calendar of dates or times ``(n,)``; 0 if missing.

    ``sin 2πkt/T / √3`` and ``cos 2πkt/T / √3``, k = 1, 2, 3, with t days since 1970-01-01; T is a
    mean year, a week or a day. Squares of a cycle sum to 1.
    """
    days, found = _days(values, kind), [np.zeros((0, len(values)))]
    for cycle in kind.calendar or ():
        angles = 2 * np.pi * ORDERS * _phases(days, cycle)
        found += [np.sin(angles), np.cos(angles)]
    return np.nan_to_num(np.concatenate(found) / np.sqrt(len(ORDERS)))


def _days(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    return values if kind.type == "date" else values / DAY


def _phases(days: np.ndarray, cycle: Cycle) -> np.ndarray:
    """Phases of days since 1970-01-01, from 0 to 1."""
    period = PERIODS[cycle]
    return np.mod((np.floor(days) if period.is_of_days else days) / period.length, 1.0)
