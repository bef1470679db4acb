"""What flows, values of options and dotted keys are read as, and what is none of them."""

import re

import pytest

from nflow_cli.config.flows import checked_item, checked_pattern, pattern_name, pattern_text
from nflow_cli.config.keys import differing, flat, is_within, without
from nflow_cli.config.schema_options import FORMATS, INTERVALS, NAMES, PATTERN, STEPS, items_of
from nflow_cli.errors import ConfigError
from nflow_cli.registry import FLOWS

FULL = {"affine": {"full": True}}
NESTED = {"seed": 0, "train": {"steps": 3, "annealing": {"start": 0.5}}, "pattern": ["planar"]}


def test_every_flow_is_an_item_by_its_name_and_options_are_kept():
    for name in FLOWS:
        assert checked_item(name) == checked_item({name: None}) == checked_item({name: {}}) == name
    for full in (True, False):
        item = {"affine": {"full": full}}
        assert checked_item(item) == item
        assert checked_item(item)["affine"] is not item["affine"]


def test_a_pattern_has_names_and_a_text():
    for pattern, names, text in [
        (["planar"], ["planar"], "planar"),
        (("radial", FULL), ["radial", "affine"], "radial,affine(full=True)"),
        (
            [{"planar": {}}, {"affine": {"full": False}}],
            ["planar", "affine"],
            "planar,affine(full=False)",
        ),
    ]:
        checked = checked_pattern(pattern)
        assert type(checked) is list
        assert [pattern_name(item) for item in checked] == names
        assert pattern_text(checked) == text


@pytest.mark.parametrize(
    ("item", "named"),
    [
        ("planer", "did you mean 'planar'"),
        ("PLANAR", "did you mean 'planar'"),
        ("spline-coupler", "did you mean 'spline-coupling'"),
        *((item, ", ".join(FLOWS)) for item in ("sline", 1000 * "x")),
        ("RealNVP", "RealNVP is 'affine-coupling' here"),
        ({"nsf": {"bins": 8}}, "nsf is 'spline-coupling' here"),
        ("MAF", "MAF is 'affine-autoregressive' here"),
        ("iaf", "iaf is 'inverse-autoregressive' here"),
        ("snf", "snf is 'sylvester' here"),
        ({"afine": {"full": True}}, "did you mean 'affine'"),
        *((item, ", ".join(FLOWS)) for item in (3, None, ["planar"], {}, {1: {}})),
        ({"affine": {}, "planar": {}}, ", ".join(FLOWS)),
        ({"affine": {"ful": 1}}, "affine only full (did you mean 'full'?)"),
        ({"affine": {"full": True, "x": 1}}, "affine only full"),
        ({"affine": {1: 2}}, "affine only full"),
        ({"planar": {"full": True}}, "no options of planar"),
        *(({"affine": {"full": v}}, "full of affine") for v in (1, "yes", None)),
        ({"spline-autoregressive": {"bin": 8}}, "did you mean 'bins'"),
        ({"sylvester": {"reflections": 0}}, "reflections of sylvester"),
        *(({"affine": options}, "options of affine") for options in (5, 0, [], "", True)),
    ],
)
def test_what_is_no_flow_is_one_line_that_names_what_was_meant_and_what_was_given(item, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        checked_item(item)
    with pytest.raises(ConfigError, match=re.escape(named)) as caught:
        checked_pattern(["planar", item])
    line = str(caught.value)
    given = f"pattern={['planar', item]!r}"
    assert "\n" not in line and len(line) < 170 + len(", ".join(FLOWS))
    assert line.endswith(f"Received: {given}") == (len(given) < 100)


def test_what_is_no_list_of_flows_is_one_line_that_names_it():
    for pattern in ([], (), "planar", 5, None, FULL, {"planar"}):
        with pytest.raises(ConfigError, match="a list") as caught:
            checked_pattern(pattern)
        assert str(caught.value).endswith(f"Received: {pattern=!r}")


def test_bounds_of_several_columns_have_a_comma_between_them():
    for text, bounds in [
        ("a=0:,b=0:", {"a": [0, None], "b": [0, None]}),
        ("a=:1e3, b=-1:2.5,c=0:1", {"a": [None, 1e3], "b": [-1, 2.5], "c": [0, 1]}),
        ("g, h=0:1,x=y=2:", {"g, h": [0, 1], "x=y": [2, None]}),
        (r"a=0:,g\, h=:1", {"a": [0, None], "g, h": [None, 1]}),
        ("tau=0::5,b=0:1", {"tau": [0, None, 5], "b": [0, 1]}),
    ]:
        assert items_of(INTERVALS, [text]) == bounds


@pytest.mark.parametrize(
    ("form", "texts", "example"),
    [
        (NAMES, ["", "a,,b", ",", "a,"], "names"),
        (PATTERN, ["planr", "planar,planr"], "'planar'"),
        (STEPS, ["a:", ":2", "a:0", "a:-1", "a:low", "a:nan", "a:inf", "b,a:0"], "price:0.01"),
        (
            INTERVALS,
            ["", "a", "a=", "a=1", "=0:1", "a=low:", "a=nan:", "a=0:1:2", "a=0:,", "a=0:,b"],
            "price=0:",
        ),
        (FORMATS, ["", "a", "a=", "=%d", "a=day"], "day=%d.%m.%y"),
    ],
    ids=["names", "pattern", "steps", "intervals", "formats"],
)
def test_another_form_of_a_value_is_refused_with_an_example(form, texts, example):
    for text in texts:
        with pytest.raises(ConfigError, match=example):
            items_of(form, [text])


def test_keys_are_left_out_where_they_stand():
    for keys, expected in [
        ([], NESTED),
        (["train.steps"], {**NESTED, "train": {"annealing": {"start": 0.5}}}),
        (["train", "seed"], {"pattern": ["planar"]}),
        (["steps", "train.step"], NESTED),
    ]:
        assert without(NESTED, keys) == expected


def test_a_config_is_flattened_to_dotted_keys_which_differ_where_one_has_none_too():
    assert dict(flat(NESTED)) == {
        "seed": "0",
        "train.steps": "3",
        "train.annealing.start": "0.5",
        "pattern": '["planar"]',
    }
    assert differing(NESTED, without(NESTED, ["train.annealing"])) == ["train.annealing.start"]
    assert differing(NESTED, {**NESTED, "seed": 1}) == ["seed"]
    assert not differing(NESTED, NESTED)
    assert is_within("train.steps", "train") and is_within("train", "train")
    assert not is_within("training", "train")
