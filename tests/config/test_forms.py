"""What values of options are read as: names, steps, intervals, flows."""

import pytest

from nflow_cli.config.forms import INTERVALS, NAMES, PATTERN, STEPS, items_of
from nflow_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("a=0:,b=0:", {"a": [0, None], "b": [0, None]}),
        ("a=:1e3, b=-1:2.5,c=0:1", {"a": [None, 1e3], "b": [-1, 2.5], "c": [0, 1]}),
        ("g, h=0:1,x=y=2:", {"g, h": [0, 1], "x=y": [2, None]}),
        (r"a=0:,g\, h=:1", {"a": [0, None], "g, h": [None, 1]}),
        ("tau=0::5,b=0:1", {"tau": [0, None, 5], "b": [0, 1]}),
    ],
)
def test_bounds_of_several_columns_have_a_comma_between_them(text, bounds):
    assert items_of(INTERVALS, [text]) == bounds


@pytest.mark.parametrize(
    ("form", "texts", "expected"),
    [
        (NAMES, ["", "a,,b", ",", "a,"], "expected names with a comma between them"),
        (PATTERN, ["planr", "planar,planr"], r"'planr' is not a flow \(did you mean 'planar'\?\)"),
        (
            STEPS,
            ["a:", ":2", "a:0", "a:-1", "a:low", "a:nan", "a:inf", "b,a:0"],
            "expected NAME or NAME:STEP, such as price:0.01",
        ),
        (
            INTERVALS,
            ["", "a", "a=", "a=1", "=0:1", "a=low:", "a=nan:", "a=0:1:2", "a=0:,", "a=0:,b"],
            "expected NAME=LOW:HIGH, such as price=0: or share=0:1",
        ),
    ],
)
def test_another_form_is_refused_with_an_example(form, texts, expected):
    for text in texts:
        with pytest.raises(ConfigError, match=expected):
            items_of(form, [text])
