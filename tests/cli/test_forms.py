"""What values of options are read as: names, steps, intervals, flows."""

import click
import pytest

from nflow_cli.cli.forms import intervals, names, pattern, steps


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("a=0:,b=0:", {"a": [0, None], "b": [0, None]}),
        ("a=:1e3, b=-1:2.5,c=0:1", {"a": [None, 1e3], "b": [-1, 2.5], "c": [0, 1]}),
        ("g, h=0:1,x=y=2:", {"g, h": [0, 1], "x=y": [2, None]}),
        (r"a=0:,g\, h=:1", {"a": [0, None], "g, h": [None, 1]}),
    ],
)
def test_bounds_of_several_columns_have_a_comma_between_them(text, bounds):
    assert dict(intervals(text)) == bounds


@pytest.mark.parametrize(
    ("read", "texts", "expected"),
    [
        (names, ["", "a,,b", ",", "a,"], "expected names with a comma between them"),
        (pattern, ["planr", "planar,planr"], r"'planr' is not a flow \(did you mean 'planar'\?\)"),
        (
            steps,
            ["a:", ":2", "a:0", "a:-1", "a:low", "a:nan", "a:inf", "b,a:0"],
            "expected NAME or NAME:STEP, such as price:0.01",
        ),
        (
            intervals,
            ["", "a", "a=", "a=1", "=0:1", "a=low:", "a=nan:", "a=0:1:2", "a=0:,", "a=0:,b"],
            "expected NAME=LOW:HIGH, such as price=0: or share=0:1",
        ),
    ],
)
def test_another_form_is_refused_with_an_example(read, texts, expected):
    for text in texts:
        with pytest.raises(click.BadParameter, match=expected):
            list(read(text))
