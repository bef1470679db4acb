"""Dates and their parts, by Python's calendar, and columns that follow from each other by it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nflow_cli.config.column_kinds import Relation
from nflow_cli.config.table import TableData
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.dates import DAY
from nflow_cli.data.kinds.asked import asked_columns
from nflow_cli.data.kinds.date_parts import part_of, time_of
from nflow_cli.data.kinds.found_kinds import kinds_of

RNG = np.random.default_rng(1)
N = 500
HOURS = RNG.integers(365 * 24 * 40, 365 * 24 * 43, N)  # since 1970
TIMES = [datetime.fromtimestamp(int(hour) * 3_600, UTC) for hour in HOURS]
SECONDS = HOURS * 3_600.0
DAYS = SECONDS // DAY
OTHER = RNG.normal(size=N)
OF = {
    "year": lambda time: time.year,
    "month": lambda time: time.month,
    "day": lambda time: time.day,
    "hour": lambda time: time.hour,
    "minute": lambda time: time.minute,
    "second": lambda time: time.second,
    "weekday": lambda time: time.weekday(),
    "weekday from Sunday": lambda time: time.isoweekday() % 7,
    "day of year": lambda time: time.timetuple().tm_yday,
}


def parts(*names):
    """Return columns of parts of the times."""
    return {name: np.array([OF[name](time) for time in TIMES], float) for name in names}


def found(table, time="time", **settings):
    """Return the relations of a table whose column `when` is of dates or times."""
    sources = {name: time if name == "when" else "number" for name in table}
    columns = [Column(name, sources[name], cells, None, []) for name, cells in table.items()]
    kinds = kinds_of(asked_columns(columns, TableData(name="t.csv", **settings)))
    return {name: kind.relation.text for name, kind in kinds.items() if kind.relation}


@pytest.mark.parametrize("part", OF)
def test_the_parts_of_times_are_those_of_pythons_calendar(part):
    seconds = RNG.integers(-(10**9), 4 * 10**9, 2_000) + RNG.random(2_000)
    times = [datetime(1970, 1, 1) + timedelta(seconds=float(one)) for one in seconds]
    np.testing.assert_array_equal(part_of(part, seconds), [OF[part](time) for time in times])
    assert np.isnan(part_of(part, np.array([np.nan, 1e300]))).all()


def test_times_of_their_parts_are_the_same_times_and_no_day_is_invented():
    some = ("year", "month", "day", "hour", "minute", "second")
    np.testing.assert_array_equal(time_of(parts(*some)), SECONDS)
    of_february = {"year": [2023, 2024], "month": [2, 2], "day": [29, 29]}
    leap = time_of({name: np.array(values, float) for name, values in of_february.items()})
    assert np.isnan(leap[0]) and leap[1] == datetime(2024, 2, 29, tzinfo=UTC).timestamp()
    for wrong in ({"month": 13}, {"day": 0}, {"hour": 24}, {"day": 1.5}, {"month": np.nan}):
        row = {"year": 2024, "month": 3, "day": 4, "hour": 5, **wrong}
        assert np.isnan(time_of({name: np.array([float(one)]) for name, one in row.items()}))


WHOLE = parts("year", "month", "day", "hour")
CLOCK = "year, month, day, hour"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({**WHOLE, "when": SECONDS}, {"when": f"time of {CLOCK}"}),
        ({"when": SECONDS, **WHOLE}, {"when": f"time of {CLOCK}"}),
        ({**WHOLE, "when": SECONDS + 5 * 3_600}, {"when": f"time of {CLOCK} + 5 hours"}),
        (
            {**WHOLE, "when": SECONDS, "w": parts("weekday")["weekday"] + 1},
            {"when": f"time of {CLOCK}", "w": "weekday of year, month, day + 1"},
        ),
        (
            {"when": SECONDS + RNG.integers(0, 3_600, N), **parts("year", "weekday", "hour")},
            {"year": "year of when", "weekday": "weekday of when", "hour": "hour of when"},
        ),
        (
            {"when": SECONDS + RNG.integers(0, 1_800, N) - 7_200, **parts("hour", "day")},
            {"hour": "hour of when + 2 hours", "day": "day of when + 2 hours"},
        ),
        (
            {"when": SECONDS, "a": RNG.integers(1, 13, N) * 1.0, "b": RNG.integers(0, 24, N) * 1.0},
            {},
        ),
    ],
)
def test_times_are_computed_from_their_parts_or_these_from_them(table, expected):
    assert found({**table, "other": OTHER}) == expected


def test_times_of_a_zone_with_summer_time_are_not_computed():
    later = np.where(np.median(SECONDS) < SECONDS, 5, 4) * 3_600
    assert not {"when", "hour", "day"} & set(found({**WHOLE, "when": SECONDS + later, "x": OTHER}))


def test_dates_go_with_their_parts():
    day = parts("year", "month", "day")
    assert found({**day, "when": DAYS, "x": OTHER}, "date") == {"when": "date of year, month, day"}
    year = {"yr": day["year"] - 2010, "month": day["month"], "when": DAYS, "x": OTHER}
    assert found(year, "date") == {"yr": "year of when - 2010", "month": "month of when"}
    given = found({**day, "when": DAYS, "x": OTHER}, "date", given=["when"])
    assert given == {name: f"{name} of when" for name in day}
    one = day["year"] == 2011
    table = {name: cells[one] for name, cells in {**day, "when": DAYS, "x": OTHER}.items()}
    first = Column("when", "date", DAYS[one], None, [])
    columns = [first, *(Column(n, "number", c, None, []) for n, c in table.items() if n != "when")]
    kinds = kinds_of(asked_columns(columns, TableData(name="t.csv")))
    assert (kinds["year"].kind, kinds["when"].why) == ("left out", "= date of month, day")


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": ["a", "b"], "parts": ["month"]},
        {"columns": ["a"], "parts": ["month"]},
        {"columns": ["a"]},
        {"columns": ["a", "b"], "parts": ["year", "year"]},
    ],
)
def test_a_date_without_a_year_or_a_part_of_it_is_refused(wrong):
    with pytest.raises(ValueError, match="a part for each column"):
        Relation(rule="date", **wrong)
