"""Parts of dates and times, dates of their parts, and columns that follow from others by these.

Times are seconds since 1970-01-01, dates days.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from nflow_cli.config.column_kinds import DatePart, Relation
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.dates import DAY

PARTS: tuple[DatePart, ...] = get_args(DatePart)
JOINED: tuple[DatePart, ...] = ("year", "month", "day", "hour", "minute", "second")
HOUR = 3_600
SECONDS: dict[DatePart, int] = {"hour": HOUR, "minute": 60, "second": 1}
MOST = 1e11  # seconds, about 3,000 years
EVIDENCE = 20.0  # nats of each column
FIRST = 100  # rows for a first test


def part_of(part: DatePart, times: np.ndarray) -> np.ndarray:
    """Part of times `(n,)`, NaN where they are missing or beyond 3,000 years from 1970."""
    known = np.abs(times) <= MOST
    seconds = np.floor(np.where(known, times, 0.0)).astype("datetime64[s]")
    days = seconds.astype("datetime64[D]")
    months = seconds.astype("datetime64[M]")
    years = seconds.astype("datetime64[Y]")
    if part == "year":
        value = years.astype(int) + 1970
    elif part == "month":
        value = months.astype(int) % 12 + 1
    elif part == "day":
        value = (days - months.astype("datetime64[D]")).astype(int) + 1
    elif part == "day of year":
        value = (days - years.astype("datetime64[D]")).astype(int) + 1
    elif part == "weekday":
        value = (days.astype(int) + 3) % 7
    elif part == "weekday from Sunday":
        value = (days.astype(int) + 4) % 7
    else:
        count = 24 if part == "hour" else 60
        value = seconds.astype(int) % DAY // SECONDS[part] % count
    return np.where(known, value, np.nan)


def time_of(parts: Mapping[DatePart, np.ndarray]) -> np.ndarray:
    """Times `(n,)` of their parts, of a month that is not among them January, of a day the first;
    NaN where there is no such time, as on 30 February.
    """
    values = np.stack(np.broadcast_arrays(*parts.values()))
    known = (np.abs(values) <= MOST).all(axis=0)
    of = dict(zip(parts, np.where(known, values, 1.0)))
    months = np.floor((of["year"] - 1970) * 12 + of.get("month", 1) - 1)
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(float)
    times = (days + of.get("day", 1) - 1) * DAY + sum(SECONDS[p] * of.get(p, 0) for p in SECONDS)
    are_equal = [part_of(part, times) == of[part] for part in of]
    return np.where(known & np.all(are_equal, axis=0), times, np.nan)


def by_calendar(relation: Relation, columns: Sequence[np.ndarray], are_days: bool) -> np.ndarray:
    """Values `(n,)` of a relation by the rule `date`: times, or parts.

    ``are_days``: a column that is no part has dates.
    """
    if relation.parts:
        year: dict[DatePart, np.ndarray] = {"year": np.array(float(relation.year or 0))}
        times = time_of({**year, **dict(zip(relation.parts, columns))})
    else:
        times = columns[0] * DAY if are_days else columns[0]
    if relation.part is None:
        return times - relation.zone
    return part_of(relation.part, times + relation.zone) + relation.constant


def calendar_relations(columns: Sequence[Column], fixed: set[str]) -> dict[str, Relation]:
    """Relations between dates, or times, and their parts, by name; ``fixed`` ones are not computed.

    A date is computed from its parts if they give it, so that these can be predicted, and are what
    others depend on; else its parts are computed from it. Times of another zone differ by the same
    hours in all rows: of summer time there is none.
    """
    relations: dict[str, Relation] = {}
    for column in columns:
        if column.cell_type in ("date", "time") and column.numbers is not None:
            others = [c for c in columns if c.name not in relations and _may_be_part(c, column)]
            if others:
                relations |= _of_time(column, others, fixed | {*relations})
    return relations


def _may_be_part(column: Column, time: Column) -> bool:
    return (
        column.cell_type == "number"
        and column.distinct_numbers.decimals == 0
        and min(column.total_entropy, time.total_entropy) >= EVIDENCE
        and np.array_equal(column.value_indices < 0, time.value_indices < 0)
    )


def _of_time(time: Column, others: Sequence[Column], fixed: set[str]) -> dict[str, Relation]:
    """Relations between a column of dates or times and those of its parts, by name."""
    rows = np.flatnonzero(time.value_indices >= 0)
    x = np.stack([column.cells[rows] for column in others], axis=1)
    times = time.cells[rows] * DAY if time.cell_type == "date" else time.cells[rows]
    zones = _zones(times, x) if time.cell_type == "time" else [0.0]
    parts_by_zone = {zone: _parts(times + zone, x) for zone in zones}
    zone = max(parts_by_zone, key=lambda zone: len(parts_by_zone[zone]))
    parts = parts_by_zone[zone]
    first = {part: k for k, (part, constant) in reversed(parts.items()) if constant == 0}
    used: dict[DatePart, int] = {part: first[part] for part in JOINED if part in first}
    facts: dict[str, Any] = {"rule": "date", "columns": [time.name], "zone": zone}
    relations: dict[str, Relation] = {}
    if used and time.name not in fixed:
        year = None if "year" in used else int(part_of("year", times[:1] + zone)[0])
        joined: dict[DatePart, str] = {part: others[k].name for part, k in used.items()}
        by_parts = _joined(joined, year=year, zone=zone)
        if (by_calendar(by_parts, [x[:, k] for k in used.values()], False) == times).all():
            relations[time.name] = by_parts
            day: dict[DatePart, str] = {
                part: name for part, name in joined.items() if part not in SECONDS
            }
            facts = _joined(day, year=year).model_dump()
            rest = {*PARTS} - {*used, *SECONDS}
            parts = {k: (part, constant) for k, (part, constant) in parts.items() if part in rest}
    for k, (part, constant) in parts.items():
        if others[k].name not in fixed:
            relations[others[k].name] = Relation(**{**facts, "part": part, "constant": constant})
    return relations


def _joined(columns: Mapping[DatePart, str], **facts: Any) -> Relation:
    return Relation(rule="date", columns=[*columns.values()], parts=[*columns], **facts)


def _parts(times: np.ndarray, x: np.ndarray) -> dict[int, tuple[DatePart, float]]:
    """Columns `(n, C)` that are a part of times but for a constant: the part and the constant."""
    parts: dict[int, tuple[DatePart, float]] = {}
    sample = np.linspace(0, len(x) - 1, min(FIRST, len(x))).astype(int)
    for part in PARTS:
        values = part_of(part, times)
        may_be_part = np.ptp(x[sample] - values[sample, None], axis=0) == 0
        for k in np.flatnonzero(may_be_part).tolist():
            constants = x[:, k] - values
            if np.ptp(constants) != 0:
                continue
            if k not in parts or (parts[k][1] != 0 and constants[0] == 0):
                parts[k] = part, float(constants[0])
    return parts


def _zones(times: np.ndarray, x: np.ndarray) -> list[float]:
    """Seconds from times to those of columns of hours, and 0."""
    sample = np.linspace(0, len(x) - 1, min(FIRST, len(x))).astype(int)
    x = x[sample]
    hours = (x - part_of("hour", times[sample])[:, None]) % 24
    are_hours = (np.ptp(hours, axis=0) == 0) & (x >= 0).all(axis=0) & (x < 24).all(axis=0)
    later = np.unique(hours[0, are_hours])
    return [0.0, *(HOUR * later).tolist(), *(HOUR * (later - 24)).tolist()]
