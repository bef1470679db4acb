"""What a config says of the columns of a table."""

import pytest

from nflow_cli.config import presets
from nflow_cli.config.column_schema import MAX_LEVEL_TEXT
from nflow_cli.config.flow_schema import StackFlow
from nflow_cli.config.table_schema import FitConfig, natural_preset
from nflow_cli.errors import ConfigError

CITIES = ["Oslo", "Rome"]


def config_of(flow=None, train=None, **data):
    config = {"command": "fit", "data": {"name": "t.csv", **data}}
    config |= {"flow": flow} if flow else {}
    config |= {"train": train} if train else {}
    return presets.validate(config, "mine.yaml", {"fit": FitConfig})


def test_a_config_without_roles_is_one_whose_numbers_are_modelled():
    config = config_of(columns=["b", "a"])
    assert config.is_settled and config.dim == 2
    assert config.roles.is_plain and config.roles.columns == ["b", "a"]


def test_rows_hold_numbers_before_categories_and_what_is_modelled_before_what_is_given():
    config = config_of(
        columns=["n", "city", "price"],
        given=["shop", "income", "age"],
        categorical={"shop": ["1", "2", "3"], "city": CITIES},
        discrete={"n": 1, "price": 0.01},
        weights="w",
    )
    roles = config.roles
    assert roles.columns == ["n", "price", "city", "income", "age", "shop"]
    assert roles.steps == {"n": 1.0, "price": 0.01}
    assert (config.dim, roles.given_width, roles.width) == (2, 5, 7)
    assert roles.levels == {"city": ("Oslo", "Rome"), "shop": ("1", "2", "3")}


def test_a_config_is_settled_once_the_columns_the_levels_and_the_updates_are_known():
    asked = config_of(
        {"pattern": ["planar"]}, {"steps": None, "epochs": 2.0}, categorical={"city": None}
    )
    assert not asked.is_settled
    settled = asked.settled(["a", "city"], {"city": CITIES}, rows=5_120)
    assert settled.is_settled and settled.train.steps == 20
    assert settled.data.categorical == {"city": CITIES} and settled.data.columns == ["a", "city"]
    assert asked.settled_like(settled) == settled
    again = presets.validate(presets.parse_yaml(presets.dump(settled), "a run"), "a run")
    assert again == settled
    part = config_of(columns=["a", "city"], categorical={"city": None})
    assert not part.is_settled


def test_a_config_is_not_settled_by_another_without_its_categories():
    asked = config_of(categorical={"city": None})
    assert not asked.settled_like(config_of(columns=["a", "city"])).is_settled


@pytest.mark.parametrize(
    ("interval", "data"),
    [
        ((0.0, float("inf")), {"bounds": {"n": [0, None]}}),
        ((-0.5, float("inf")), {"bounds": {"n": [0, None]}, "discrete": {"n": 1}}),
        ((-0.25, 9.25), {"bounds": {"n": [0, 9]}, "discrete": {"n": 0.5}}),
    ],
)
def test_the_bounds_of_a_discrete_column_are_half_a_step_away(interval, data):
    assert config_of(**data).data.interval("n") == interval


def test_levels_that_are_whole_numbers_are_taken_by_their_text():
    config = config_of(columns=["a", "shop"], categorical={"shop": [3, 12]})
    assert config.roles.categories == {"shop": ("3", "12")}


ODD = ["a\nb", " lead", "trail ", "\x01", "null", "1.0", "- x", "#", "é\u2028", "~", "a: b", "'\""]
LONG = [chr(0x1F600 + i) + 999 * "\U0001f600" for i in range(MAX_LEVEL_TEXT // 1_000)]


@pytest.mark.parametrize("levels", [ODD, LONG])
def test_levels_are_written_down_and_read_again_whatever_their_text(levels):
    config = config_of(columns=["a", "c"], categorical={"c": levels})
    assert presets.validate(presets.parse_yaml(presets.dump(config), "a run"), "a run") == config


def test_weights_of_the_context_count(monkeypatch):
    widths = []

    def weights(self, dim, width=0):
        widths.append((dim, width))
        return 0

    monkeypatch.setattr(StackFlow, "weights", weights)
    known = {"columns": ["a", "city"], "given": ["g"]}
    config_of({"k": 2}, **known, categorical={"city": None})
    assert widths == []
    config_of({"k": 2}, **known, categorical={"city": CITIES})
    assert widths == [(1, 3)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"given": ["a", "a"]}, "data.given: expected each column once"),
        ({"given": "a"}, "data.given: expected a list"),
        ({"given": [""]}, "data.given.0: expected text of 1 or more letters"),
        ({"columns": ["a"], "exclude": ["a"]}, "data.exclude: expected no column of data.columns"),
        ({"columns": ["a"], "group": "a"}, "data.group: expected no column of data.columns, where"),
        ({"columns": ["a"], "split": "a"}, "data.split: expected no column of data.columns, where"),
        (
            {"columns": ["a", "b"], "given": ["b"]},
            "data.given: expected no column of data.columns, where 'b' is. Received: ['b']",
        ),
        ({"exclude": ["b"], "given": ["b"]}, "data.given: expected no column of data.exclude, whe"),
        ({"bounds": {"b": [0, None]}, "given": ["b"]}, "data.given: expected no column of data.b"),
        ({"split": "b", "given": ["b"]}, "data.given: expected no column of data.split, where 'b'"),
        ({"categorical": ["c"]}, "data.categorical: expected a mapping"),
        ({"categorical": {"c": ["x"]}}, "data.categorical.c: expected 2 or more items"),
        ({"categorical": {"c": ["x", "x"]}}, "data.categorical: expected each level of 'c' once"),
        ({"categorical": {"c": ["x", ""]}}, "data.categorical.c.1: expected text of 1 or more"),
        ({"categorical": {"c": ["x", "y" * 1_001]}}, "c.1: expected text of at most 1000 letters"),
        ({"categorical": {"c": list(range(1_001))}}, "data.categorical.c: expected 1000 items"),
        (
            {"categorical": {f"c{i}": list(range(1_000)) for i in range(11)}},
            "data.categorical: expected at most 10,000 levels of all categories, not 11,000",
        ),
        (
            {"categorical": {"c": [f"{i:0900}" for i in range(MAX_LEVEL_TEXT // 900 + 1)]}},
            "data.categorical: expected at most 80,000 letters in all levels, not 80,100",
        ),
        ({"exclude": ["c"], "categorical": {"c": None}}, "expected no column of data.exclude, whe"),
        ({"bounds": {"c": [0, 1]}, "categorical": {"c": None}}, "no column of data.bounds, where"),
        ({"group": "c", "categorical": {"c": None}}, "expected no column of data.group, where 'c'"),
        (
            {"columns": ["a"], "categorical": {"c": None}},
            "data.categorical: expected columns of data.columns or data.given, as 'c' is not",
        ),
        (
            {"columns": ["c"], "categorical": {"c": None}},
            "data: expected columns: one of numbers beside the categories, for flows",
        ),
        ({"discrete": {"n": 0}}, "data.discrete.n: expected a number greater than 0"),
        ({"discrete": {"n": None}}, "data.discrete.n: expected a number"),
        ({"discrete": ["n"]}, "data.discrete: expected a mapping"),
        ({"discrete": {"n": 1}, "given": ["n"]}, "data.discrete: expected no column of data.given"),
        (
            {"discrete": {"n": 1}, "categorical": {"n": None}},
            "data.discrete: expected no column of data.categorical, where 'n' is",
        ),
        ({"columns": ["a"], "discrete": {"n": 1}}, "data.discrete: expected columns of data.colum"),
        ({"weights": ["w"]}, "data.weights: expected text"),
        *(
            ({key: value, "weights": "w"}, f"data.weights: expected no column of data.{key}, where")
            for key, value in {
                "columns": ["w"],
                "exclude": ["w"],
                "bounds": {"w": [0, None]},
                "split": "w",
                "group": "w",
                "given": ["w"],
                "categorical": {"w": None},
                "discrete": {"w": 1},
            }.items()
        ),
    ],
)
def test_roles_that_cannot_be_are_one_line(data, words):
    with pytest.raises(ConfigError) as refused:
        config_of(**data)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        {"group": "g", "given": ["g"]},
        {"given": ["c"], "categorical": {"c": None}},
        {"exclude": ["x"], "given": ["a"], "discrete": {"n": 1}, "weights": "w"},
    ],
)
def test_roles_that_go_together_are_taken(data):
    config_of(**data)


def test_flows_that_take_d_passes_for_a_row_are_answered_with_what_takes_one():
    expected = "flow: expected affine-autoregressive in place of inverse-autoregressive: rows are "
    with pytest.raises(ConfigError, match=expected):
        config_of({"pattern": ["affine", {"inverse-autoregressive": {"hidden": [8]}}]})
    assert config_of({"pattern": ["affine-autoregressive"]}).flow.affine == "full"


@pytest.mark.parametrize(
    ("pattern", "rows", "dim", "is_conditional", "name"),
    [
        (None, None, 1, False, "cells"),
        ([], None, 1, False, "table"),
        ([], 8_000, 8, True, "table-conditional"),
        (["affine-coupling"], 80_000, 1, True, "table-conditional"),
        ([], 7_999, 2, True, "table-small"),
        ([], 80_000, 9, True, "table-wide"),
        (["planar", "radial"], 80_000, 2, True, "table-planar"),
        (["sylvester"], None, 1, False, "table-planar"),
        (["spline-autoregressive"], None, 1, False, "table"),
    ],
)
def test_the_preset_goes_by_the_flows_the_rows_the_columns_and_what_is_given(
    pattern, rows, dim, is_conditional, name
):
    assert natural_preset(pattern, rows, dim, is_conditional) == name
