"""What counts as another value, and what as rounding."""

import numpy as np
import pytest

from nflow_cli.constants import RUN
from nflow_cli.experiments.comparison import differences
from nflow_cli.runs.directory import ESTIMATES, EVALUATION, SUMMARY

CITY = {"distance": 0.5, "n": 20}
MOMENTS = {"a": [3.0, 0.1], "b": [0.0, 20.0]}
SCALE = {"name": "scale", "scale": 2.0}
POINTS = np.random.default_rng(0).normal(size=(100, 2)) * np.array([1.0, 1e4])


def pit(**city):
    return {"columns": {"city": {**CITY, **city}}}


def units(**scale):
    return {"a": [{**SCALE, **scale}]}


@pytest.mark.parametrize(
    ("file", "key", "expected", "near"),
    [
        (SUMMARY, "kl", 0.5, 0.5 + 1e-6),
        (SUMMARY, "kl", -800.0, -800.001),
        (SUMMARY, "kl", None, None),
        (SUMMARY, "mass", 1.0, 1.0 + 1e-6),  # of a kind without mass_error
        (SUMMARY, "moments", MOMENTS, {"a": [3.002, 0.1001], "b": [0.01, 20.01]}),
        (RUN, "units", units(), units(scale=2.000001)),
        (EVALUATION, "log_q", [-3.0, -np.inf, np.nan], [-3.0002, -np.inf, np.nan]),
        (EVALUATION, "samples", [[0.0], [2.0]], [[0.0], [2.0005]]),
        (EVALUATION, "rows", [[np.nan, 1.0], [np.nan, 3.0]], [[np.nan, 1.0005], [np.nan, 3.0]]),
        (EVALUATION, "samples", POINTS, POINTS + np.array([0.0, 1.0])),
        (ESTIMATES, "kl", [20.0, 0.0], [20.001, 0.00005]),
    ],
)
def test_rounding_is_no_difference(file, key, expected, near):
    if file in (EVALUATION, ESTIMATES):
        expected, near = np.array(expected), np.array(near)
    assert differences(file, {key: expected}, {key: near}) == []


@pytest.mark.parametrize(
    ("file", "key", "expected", "received", "where"),
    [
        (SUMMARY, "kl", 0.5, 0.5 + 1e-5, "kl: expected 0.5, received 0.50001"),
        (SUMMARY, "kl", 0.5, None, "kl: expected 0.5, received None"),
        (SUMMARY, "kl", None, 0.5, "kl: expected None"),
        (SUMMARY, "kl", 1.0, True, "kl: expected 1.0"),
        (SUMMARY, "n_test", 10**9, 10**9 + 1, "n_test: "),
        (SUMMARY, "pit", pit(), pit(distance=0.50001), "pit: columns: city: distance: "),
        (SUMMARY, "pit", pit(), pit(n=21), "pit: columns: city: n: "),
        (SUMMARY, "pit", pit(), {"columns": {}}, "pit: columns: expected"),
        (SUMMARY, "pit", pit(), None, "pit: expected"),
        (SUMMARY, "moments", MOMENTS, {**MOMENTS, "a": [3.1, 0.1]}, "moments: a: 0: "),
        (SUMMARY, "columns", ["a", "b"], ["a", "c"], "columns: 1: "),
        (SUMMARY, "columns", ["a", "b"], ["a"], "columns: expected ['a', 'b']"),
        (RUN, "units", units(), units(name="log"), "units: a: 0: name: "),
        (RUN, "units", units(), units(scale=2.00001), "units: a: 0: scale: "),
        (EVALUATION, "log_q", [0.0, 0.0], [0.0, 2e-4], "log_q: 50% of its numbers"),
        (EVALUATION, "log_q", [0.0, 0.0], [0.0, -np.inf], "log_q: "),
        (EVALUATION, "log_q", [0.0, 0.0], [0.0, np.nan], "log_q: "),
        (EVALUATION, "samples", np.zeros((2, 3)), np.zeros((3, 2)), "samples: expected shape"),
        (EVALUATION, "samples", POINTS, POINTS + np.array([0.01, 0.0]), "samples: "),
        (EVALUATION, "columns_shown", [0, 4], [0, 5], "columns_shown: "),
        (EVALUATION, "axis_1", [0.0, 0.5, 1.0], [0.0, 0.5, 1.001], "axis_1: "),
    ],
)
def test_another_value_is_named_where_it_stands(file, key, expected, received, where):
    if file == EVALUATION:
        expected, received = np.array(expected), np.array(received)
    (line,) = differences(file, {key: expected}, {key: received})
    assert line.startswith(f"{file}: {where}")


def test_the_tolerance_is_a_twentieth_of_an_error_and_a_thousandth_of_an_array():
    for error, wrong in [(1e-2, False), (1e-4, True)]:
        expected = {"mass": 1.0, "mass_error": error}
        assert bool(differences(SUMMARY, expected, {**expected, "mass": 1.0004})) == wrong
    zeros = {"log_q": np.zeros(2_000)}
    for count, wrong in [(2, False), (3, True)]:
        received = {"log_q": 1.0 * (np.arange(2_000) < count)}
        assert bool(differences(EVALUATION, zeros, received)) == wrong


def test_each_key_has_one_line():
    expected = {"kl": 0.0, "shares": {"a": 0.0, "b": 0.0}, "seed": 1}
    received = {"kl": 1.0, "shares": {"a": 1.0, "b": 1.0}, "seed": 1}
    lines = differences(SUMMARY, expected, received)
    assert [line.split(":")[1].strip() for line in lines] == ["kl", "shares"]
