"""The calendar of dates and times, against the datetime module."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.table import TableData
from nflow_cli.data.files.table_files import table_of
from nflow_cli.data.kinds.cycles import harmonics
from nflow_cli.data.kinds.dataset import load_dataset

START = datetime(2019, 3, 1)
TIMES = [datetime(1969, 12, 31, 23, 30), datetime(2020, 2, 29, 6), datetime(2024, 7, 14, 18, 45)]


def kind(type, *cycles, **facts):
    return ColumnKind(kind="grid", type=type, calendar=list(cycles), **facts)


def waves(part):
    """Return sines, then cosines, of the first three harmonics of parts of a period."""
    angles = [2 * math.pi * k * part for k in (1, 2, 3)]
    return np.array([f(a) / math.sqrt(3) for f in (math.sin, math.cos) for a in angles])


@pytest.mark.parametrize("time", TIMES)
def test_weekday_and_hour_are_those_of_datetime(time):
    seconds = np.array([time.replace(tzinfo=UTC).timestamp()])
    found = harmonics(seconds, kind("time", "weekday", "hour"))[:, 0]
    thursday = 3  # the weekday of 1970-01-01
    np.testing.assert_allclose(found[:6], waves((time.weekday() - thursday) / 7), atol=1e-9)
    np.testing.assert_allclose(found[6:], waves((time.hour + time.minute / 60) / 24), atol=1e-9)
    days = np.array([float((time.date() - datetime(1970, 1, 1).date()).days), np.nan])
    of_dates = harmonics(days, kind("date", "weekday"))
    np.testing.assert_allclose(of_dates, np.stack([found[:6], np.zeros(6)], axis=1), atol=1e-12)


@pytest.mark.parametrize("year", [1975, 2000, 2024, 2050])
def test_the_season_is_that_of_the_day_of_the_year_to_two_days(year):
    days = np.array(
        [(datetime(year, month, 9) - datetime(1970, 1, 1)).days for month in (1, 5, 11)]
    )
    sines = harmonics(days.astype(float), kind("date", "season"))[0] * math.sqrt(3)
    of_year = [datetime(year, month, 9).timetuple().tm_yday - 1 for month in (1, 5, 11)]
    expected = np.sin(2 * np.pi * np.array(of_year) / 365.2425)
    np.testing.assert_allclose(sines, expected, atol=2 * 2 * np.pi / 365)


def cycles(times, effect, form="%Y-%m-%d", missing=0.0):
    """Return the calendar of dates before a column with an effect of them."""
    rng = np.random.default_rng(1)
    y = np.array([effect(one) for one in times]) + 0.1 * rng.standard_normal(len(times))
    texts = [one.strftime(form) if rng.random() >= missing else None for one in times]
    table = table_of({"when": np.array(texts, object), "y": y})
    return load_dataset(TableData(name="table", missing="model"), table).kinds["when"].calendar


def every(count, **step):
    return [START + i * timedelta(**step) for i in range(count)]


def of_season(time):
    return math.sin(2 * math.pi * time.timetuple().tm_yday / 365)


def of_weekday(time):
    return float(time.weekday() == 6)


def of_hour(time):
    return float(8 < time.hour < 17)


MONTHS = [datetime(2000 + i // 12, 1 + i % 12, 1) for i in range(300)]
CLOCK = "%H:%M"
STAMP = "%Y-%m-%d %H:%M"


@pytest.mark.parametrize(
    ("times", "effect", "form", "expected"),
    [
        (every(800, days=1), of_season, "%d.%m.%Y", ["season"]),
        (every(800, days=1), lambda t: of_season(t) + of_weekday(t), "%Y-%m-%d", None),
        (every(800, days=1), lambda t: 0.0, "%Y-%m-%d", []),  # which depends on none
        (every(200, days=1) * 3, of_season, "%Y-%m-%d", []),  # less than a year
        (every(120, days=1) * 5, of_weekday, "%Y-%m-%d", ["weekday"]),
        (every(20, days=1) * 30, of_weekday, "%Y-%m-%d", []),  # less than four weeks
        (MONTHS, lambda t: of_season(t) + of_weekday(t), "%Y-%m-%d", ["season"]),
        (every(1200, hours=1), of_hour, STAMP, ["hour"]),
        (every(900, minutes=7), of_hour, CLOCK, ["hour"]),
    ],
)
def test_a_cycle_is_an_input_where_dates_tell_it_and_a_column_depends_on_it(
    times, effect, form, expected
):
    expected = ["season", "weekday"] if expected is None else expected
    assert cycles(times, effect, form) == expected
    assert cycles(times, effect, form, missing=0.1) == expected


def test_years_have_no_season_and_a_date_behind_all_columns_no_cycle():
    years = [datetime(1700 + i, 1, 1) for i in range(300)]
    assert cycles(years, lambda t: t.year / 100) == []
    times = every(800, days=1)
    y = np.array([of_season(one) for one in times])
    table = table_of({"y": y, "when": np.array([f"{one:%Y-%m-%d}" for one in times], object)})
    assert (
        load_dataset(TableData(name="table", missing="model"), table).kinds["when"].calendar == []
    )
