"""Dates and times as text: known ones, against Python's own calendar."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nflow_cli.data.dates import form_of, in_unit, kind_of_form, numbers_of, texts_of
from nflow_cli.data.raw_columns import RawColumn

EPOCH = datetime.datetime(1970, 1, 1)


@pytest.mark.parametrize(
    ("texts", "form", "kind"),
    [
        (["2020-02-29", "1969-12-31"], "%Y-%m-%d", "date"),
        (["2020/02/29"], "%Y/%m/%d", "date"),
        (["31.12.1999", "01.02.2000"], "%d.%m.%Y", "date"),
        (["31/12/1999", "01/02/2000"], "%d/%m/%Y", "date"),
        (["12/31/1999", "01/02/2000"], "%m/%d/%Y", "date"),
        (["12/31/1999", "1/2/2000"], "%-m/%-d/%Y", "date"),
        (["5 Mar 2001", "17 Dec 2003"], "%-d %b %Y", "date"),
        (["05-Mar-2001"], "%d-%b-%Y", "date"),
        (["March 5, 2001", "May 17, 2003"], "%B %-d, %Y", "date"),
        (["2020-02-29T23:59"], "%Y-%m-%dT%H:%M", "time"),
        (["2020-02-29 23:59:59"], "%Y-%m-%d %H:%M:%S", "time"),
        (["2020-02-29T23:59:59.25Z"], "%Y-%m-%dT%H:%M:%S%fZ", "time"),
        (["23:59", "00:00"], "%H:%M", "clock"),
    ],
)
def test_the_form_of_dates_is_found(texts, form, kind):
    assert form_of(texts) == form
    assert kind_of_form(form) == kind
    assert texts_of(numbers_of(texts, form), form, 2) == texts


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["a"],
        ["12"],
        ["2020"],
        ["2021-02-29"],
        ["2020-13-01"],
        ["2020-01-00"],
        ["01/02/2003", "03/04/2005"],
        ["2020-01-01", "01.01.2020"],
        ["2020-01-01", ""],
        ["24:00"],
        ["1.2.3.4"],
        ["٢٠٢٠-٠١-٠١"],
    ],
)
def test_what_is_no_date_in_one_form_has_none(texts):
    assert form_of(texts) is None


@given(st.lists(st.dates(datetime.date(1, 1, 1)), min_size=1))
def test_dates_are_the_days_of_the_calendar(dates):
    texts = [date.isoformat() for date in dates]
    numbers = numbers_of(texts, "%Y-%m-%d")
    assert numbers.tolist() == [(date - EPOCH.date()).days for date in dates]
    assert texts_of(numbers, "%Y-%m-%d") == texts


@given(st.lists(st.datetimes(datetime.datetime(1700, 1, 1)), min_size=1))
def test_times_are_the_seconds_since_the_epoch(times):
    texts = [time.replace(microsecond=0).isoformat() for time in times]
    numbers = numbers_of(texts, "%Y-%m-%dT%H:%M:%S")
    known = [(time.replace(microsecond=0) - EPOCH).total_seconds() for time in times]
    np.testing.assert_array_equal(numbers, known)
    assert texts_of(numbers, "%Y-%m-%dT%H:%M:%S") == texts


def test_a_date_in_a_column_of_times_is_its_midnight_and_back():
    days = RawColumn("at", "date", np.array([19_783.0, np.nan]), None, [])  # 2024-03-01
    times = in_unit(days, "time")
    np.testing.assert_equal(times.numbers, [1_709_251_200.0, np.nan])
    np.testing.assert_equal(in_unit(times, "date").numbers, days.numbers)
    assert in_unit(days, "date") is days
