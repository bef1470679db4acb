"""Cycles of dates and times: harmonics of season, weekday and hour."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind, Cycle
from nflow_cli.data.files.dates import DAY, kind_of_form
from nflow_cli.random_streams import stream

ORDERS = np.arange(1, 4)[:, None]  # of harmonics; three of seven days are any function of these
N_HARMONICS = 2 * len(ORDERS)  # of a cycle, sines and cosines
NEAR_PERIODS = 0.9  # between two dates: nearer ones tell the phases
NATS_OF_CYCLE = 10.0  # by which another column depends on a cycle, at least, if there is but one
MAX_ROWS_JUDGED = 5_000  # at random, by which such dependence is judged
MAX_LEVELS_JUDGED = 20  # of a column, the most frequent, by which it is judged
LEAST_VARIANCE = 1e-6  # of 1, that a regression leaves: an exact one has no logarithm


class Period(NamedTuple):
    """Period of a cycle, in days.

    Attributes:
        least: Span of the dates that tell it.
        is_of_days: The phase changes at midnight alone.
    """

    length: float
    least: float
    is_of_days: bool

    def times(self, days: np.ndarray) -> np.ndarray:
        """Times ``(n,)`` at which the phase of days ``(n,)`` begins: midnight, or themselves."""
        return np.floor(days) if self.is_of_days else days


PERIODS: dict[Cycle, Period] = {
    "season": Period(365.2425, 350.0, True),
    "weekday": Period(7.0, 28.0, True),
    "hour": Period(1.0, 2.0, False),
}


def with_calendars(
    kinds: Mapping[str, ColumnKind], columns: Sequence[str], rows: np.ndarray, n_given: int
) -> dict[str, ColumnKind]:
    """Kinds in which each column of dates or times has its calendar: the cycles whose phases its
    training rows tell, and on which a modelled column behind it depends: others would be noise.

    ``rows`` ``(n, C)``: training rows of ``columns``, the first ``n_given`` of which are given.
    """
    with_cycles = dict(kinds)
    sample = stream(0, "calendar").choice(len(rows), min(len(rows), MAX_ROWS_JUDGED), replace=False)
    for place, name in enumerate(columns):
        kind = kinds[name]
        is_dated = kind.type in ("date", "time") and kind.kind in ("grid", "number")
        if not is_dated or kind.calendar is not None:
            continue
        cycles = list(_cycles_told(rows[:, place], kind))
        known = sample[~np.isnan(rows[sample, place])]
        if cycles and len(known):
            later = range(max(place + 1, n_given), len(columns))
            responses = (_responses(rows[known, j], kinds[columns[j]]) for j in later)
            least = NATS_OF_CYCLE + np.log(max(len(later), 1))
            cycles = _cycles_needed(cycles, _days(rows[known, place], kind), responses, least)
        else:
            cycles = []
        with_cycles[name] = kind.model_copy(update={"calendar": cycles})
    return with_cycles


def _cycles_told(values: np.ndarray, kind: ColumnKind) -> Iterator[Cycle]:
    """Cycles whose phases dates or times ``(n,)`` tell: they span enough days for all phases, and
    two of them are nearer than the period; monthly dates do not tell the weekday.
    """
    is_clock = kind.form is not None and kind_of_form(kind.form) == "clock"
    days = np.unique(_days(values[~np.isnan(values)], kind))
    for cycle, period in PERIODS.items():
        distances = np.diff(np.unique(period.times(days)))
        is_long = is_clock or distances.sum() >= period.least
        if is_long and (distances < NEAR_PERIODS * period.length).any():
            yield cycle


def _cycles_needed(
    cycles: Sequence[Cycle], days: np.ndarray, responses: Iterable[np.ndarray], least: float
) -> list[Cycle]:
    """Cycles of ``days`` ``(n,)`` on which one of the ``responses`` depends, arrays ``(n, P)``.

    A regression on a trend and all cycles loses ``least`` nats and log P without such a one: of
    log-likelihood, less one a parameter (Akaike 1974).
    """

    def basis(chosen: Sequence[Cycle]) -> np.ndarray:
        """Orthonormal basis ``(n, B)`` of a constant, a trend, and some cycles' harmonics."""
        trend = np.stack([np.ones(len(days)), days - days.mean()])
        return np.linalg.qr(np.concatenate([trend, _waves(days, chosen)]).T)[0]

    full = basis(cycles)
    reduced: dict[Cycle, np.ndarray] = {
        cycle: basis([kept for kept in cycles if kept != cycle]) for cycle in cycles
    }
    needed = set[Cycle]()
    degrees = len(days) - full.shape[1]
    for y in responses:
        variances = _residual_variances(full, y)
        for cycle, without_it in reduced.items():
            ratios = _residual_variances(without_it, y) / variances
            gains = degrees / 2 * np.log(ratios) - N_HARMONICS
            if (gains > least + np.log(max(len(gains), 1))).any():
                needed.add(cycle)
    return [cycle for cycle in cycles if cycle in needed]


def _residual_variances(basis: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Variance ``(P,)`` that a regression on an orthonormal basis ``(n, B)`` leaves of responses
    ``(n, P)`` of variance 1.
    """
    return np.maximum(
        1 - np.square(basis.T @ responses).sum(axis=0) / len(responses), LEAST_VARIANCE
    )


def _responses(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    """Responses ``(n, P)`` of a column in a regression, standardised: ranks of numbers, or
    indicators of its levels, and the indicator of missing cells; constant ones are left out.
    """
    are_missing = np.isnan(values)
    if kind.kind == "levels":
        levels, counts = np.unique(values[~are_missing], return_counts=True)
        responses = (
            values[:, None] == levels[np.argsort(-counts, kind="stable")[:MAX_LEVELS_JUDGED]]
        )
    else:
        ranks = np.searchsorted(np.sort(values), values).astype(float)
        middle = ranks[~are_missing].mean() if not are_missing.all() else 0.0
        responses = np.where(are_missing, middle, ranks)
    responses = np.column_stack([responses, are_missing]).astype(float)
    responses = (responses - responses.mean(axis=0))[:, np.ptp(responses, axis=0) > 0]
    return responses / responses.std(axis=0)


def harmonics(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    """Harmonics ``(E, n)`` of the calendar of dates or times ``(n,)``; 0 if missing.

    ``sin 2πkt/T / √3`` and ``cos 2πkt/T / √3``, k = 1, 2, 3, with t days since 1970-01-01; T is a
    mean year, a week or a day. Squares of a cycle sum to 1.
    """
    return np.nan_to_num(_waves(_days(values, kind), kind.calendar or ()))


def _waves(days: np.ndarray, cycles: Iterable[Cycle]) -> np.ndarray:
    """Harmonics ``(E, n)`` of cycles, at days ``(n,)`` since 1970-01-01: the sines of the three
    orders, then the cosines, of each cycle.
    """
    waves = [np.zeros((0, len(days)))]
    for cycle in cycles:
        period = PERIODS[cycle]
        angles = 2 * np.pi * ORDERS * np.mod(period.times(days) / period.length, 1.0)
        waves += [np.sin(angles), np.cos(angles)]
    return np.concatenate(waves) / np.sqrt(len(ORDERS))


def _days(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    """Days since 1970-01-01 of dates or times ``(n,)``."""
    return values if kind.type == "date" else values / DAY
