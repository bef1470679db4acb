"""What nflow says to Python, in Python's words."""

import inspect
import re

import keras
import numpy as np
import pytest

import nflow_cli
from nflow_cli.errors import NflowError
from nflow_cli.experiments.cells.loaded import TrainedCells
from nflow_cli.experiments.python_words import OPTIONS, in_python

X = np.random.default_rng(0).standard_normal((300, 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "--missing drop leaves such rows out, --exclude such a column",
            'missing="drop" leaves such rows out, exclude=[...] such a column',
        ),
        (
            "--discrete price:0.01 spreads out its steps, --given price takes it as known, "
            "--exclude price leaves it out",
            'discrete={"price": 0.01} spreads out its steps, given=["price"] takes it as known, '
            'exclude=["price"] leaves it out',
        ),
        (
            "there; --discrete gross income spreads out its steps, --given gross income takes it "
            "as known, --exclude gross income (kg)\\, net leaves it out",
            'there; discrete=["gross income"] spreads out its steps, given=["gross income"] takes '
            'it as known, exclude=["gross income (kg), net"] leaves it out',
        ),
        ("--categorical ünit takes text", 'categorical=["ünit"] takes text'),
        ("--exclude leaves it out", "exclude=[...] leaves it out"),
        ("--given goes without it", "given=[...] goes without it"),
        ("left out: id (--columns takes them)", "left out: id (columns=[...] takes them)"),
        (
            "-inf at x1=1; give its support by --bounds",
            "-inf at x1=1; give its support by bounds={...}",
        ),
        ("--bounds crim=0: keeps draws so", 'bounds={"crim": (0, None)} keeps draws so'),
        ("--columns without city", "columns=[...] without city"),
        ("--exclude a\\,b", 'exclude=["a,b"]'),
        ("--bounds a=:1,b=0:2", 'bounds={"a": (None, 1), "b": (0, 2)}'),
        ("--discrete a,b:0.1,c", 'discrete={"a": 1, "b": 0.1, "c": 1}'),
        ("--discrete a,b", 'discrete=["a", "b"]'),
        ("try --anneal, --restarts or more", "try anneal=..., restarts=... or more"),
        ("try --restarts 8, or --ensemble 4.", "try restarts=8, or ensemble=4."),
        ("the density has: --dim D", "the density has: dim=D"),
        ("--max-rows 500 fits; --no-halving", "max_rows=500 fits; halving=False"),
        ("not empty; --output takes a new folder", "not empty; output=... takes a new folder"),
        ("--target: expected one of a, b", "target: expected one of a, b"),
        ("--by: expected --coverage too", "by: expected coverage=... too"),
        ("or --set cells.width=32", 'or settings={"cells.width": 32}'),
        ("--no-compile is slower, without", "compile=False is slower, without"),
        *[(text, text) for text in ("`evaluate RUN --data FILE`", "--columnsize", "a--k 3")],
    ],
)
def test_options_are_written_as_keyword_arguments(text, expected):
    assert in_python(text) == expected


def test_every_option_that_is_named_is_a_keyword_argument():
    functions = (nflow_cli.fit, nflow_cli.infer, TrainedCells.predict)
    keywords = {name for function in functions for name in inspect.signature(function).parameters}
    assert {option.replace("-", "_") for option in OPTIONS} <= keywords


ages = np.random.default_rng(0).integers(20, 40, 300)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"a": np.r_[np.nan, X[1:, 0]], "b": X[:, 1]}, 'have missing values (a 1); missing="drop"'),
        (
            {"a": X[:, 0], "age": ages},
            'without flow=[...] and k=..., takes all kinds of columns; exclude=["age"]',
        ),
    ],
)
def test_a_table_is_refused_in_pythons_words(table, text):
    with pytest.raises(NflowError) as refused:
        nflow_cli.fit(table, flow=["planar"])
    assert text in str(refused.value) and "--" not in str(refused.value)


def test_a_log_density_is_refused_in_pythons_words():
    with pytest.raises(NflowError, match=re.escape("has: dim=D")):
        nflow_cli.infer(lambda x: x[:, 0])
    log_p = keras.ops.log
    with pytest.raises(NflowError, match=re.escape("give its support by bounds={...}")):
        nflow_cli.infer(lambda x: log_p(x[:, 0]) + 0 * x[:, 1], dim=2)
