import re

import pytest

from nflow_cli.config.flow_options import (
    checked_item,
    checked_pattern,
    pattern_name,
    pattern_text,
)
from nflow_cli.errors import ConfigError
from nflow_cli.registry import FLOWS

FULL = {"affine": {"full": True}}
KNOWN = f"one of {', '.join(FLOWS)}"


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_is_an_item_by_its_name_with_no_options_or_with_empty_ones(name):
    assert checked_item(name) == name
    assert checked_item({name: None}) == checked_item({name: {}}) == name


@pytest.mark.parametrize("full", [True, False])
def test_options_are_kept(full):
    item = {"affine": {"full": full}}
    assert checked_item(item) == item
    assert checked_item(item)["affine"] is not item["affine"]


@pytest.mark.parametrize(
    ("pattern", "names", "text"),
    [
        (["planar"], ["planar"], "planar"),
        (("radial", FULL), ["radial", "affine"], "radial,affine(full=True)"),
        (
            [{"planar": {}}, {"affine": {"full": False}}],
            ["planar", "affine"],
            "planar,affine(full=False)",
        ),
    ],
)
def test_a_pattern_has_names_and_a_text(pattern, names, text):
    checked = checked_pattern(pattern)
    assert type(checked) is list
    assert [pattern_name(item) for item in checked] == names
    assert pattern_text(checked) == text


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("planer", f"{KNOWN} (did you mean 'planar'?)"),
        ("PLANAR", f"{KNOWN} (did you mean 'planar'?)"),
        ("spline-coupler", f"{KNOWN} (did you mean 'spline-coupling'?)"),
        ("sline", KNOWN),
        ("RealNVP", f"{KNOWN} (RealNVP is 'affine-coupling' here)"),
        ({"nsf": {"bins": 8}}, f"{KNOWN} (nsf is 'spline-coupling' here)"),
        ("MAF", f"{KNOWN} (MAF is 'affine-autoregressive' here)"),
        ("iaf", f"{KNOWN} (iaf is 'inverse-autoregressive' here)"),
        ("snf", f"{KNOWN} (snf is 'sylvester' here)"),
        ({"afine": {"full": True}}, f"{KNOWN} (did you mean 'affine'?)"),
        *((item, KNOWN) for item in (3, None, ["planar"], {}, {1: {}})),
        ({"affine": {}, "planar": {}}, KNOWN),
        ({"affine": {"ful": 1}}, "of the options of affine only full (did you mean 'full'?)"),
        ({"affine": {"full": True, "x": 1}}, "of the options of affine only full"),
        ({"affine": {1: 2}}, "of the options of affine only full"),
        ({"planar": {"full": True}}, "no options of planar"),
        *(({"affine": {"full": v}}, "a valid boolean as full of affine") for v in (1, "yes", None)),
        (
            {"spline-autoregressive": {"bin": 8}},
            "of the options of spline-autoregressive only hidden, bins, bound, least (did you mean "
            "'bins'?)",
        ),
        (
            {"sylvester": {"reflections": 0}},
            "greater than or equal to 1 as reflections of sylvester",
        ),
        *(({"affine": options}, "options of affine by name") for options in (5, 0, [], "", True)),
    ],
)
def test_what_is_no_item_is_one_line_of_what_was_expected(item, expected):
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        checked_item(item)
    with pytest.raises(ConfigError) as caught:
        checked_pattern(["planar", item])
    received = f"pattern={['planar', item]!r}"
    assert str(caught.value) == f"unknown flow or option: expected {expected}. Received: {received}"


@pytest.mark.parametrize("pattern", [[], (), "planar", 5, None, FULL, {"planar"}])
def test_what_is_no_list_of_flows_is_one_line_that_says_so(pattern):
    with pytest.raises(ConfigError) as caught:
        checked_pattern(pattern)
    expected = 'expected a list of one or more flows, such as ["planar"]'
    assert str(caught.value) == f"{expected}. Received: {pattern=!r}"


def test_a_long_pattern_is_cut_to_a_part_of_a_line():
    with pytest.raises(ConfigError) as caught:
        checked_pattern([1000 * "x"])
    known = ", ".join(FLOWS)  # of which the message names each
    assert len(str(caught.value)) < 150 + len(known) and "\n" not in str(caught.value)
