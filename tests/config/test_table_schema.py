"""What a config says of the columns of a table."""

import pytest

from nflow_cli.config import presets
from nflow_cli.config.flow_schema import StackFlow
from nflow_cli.config.flow_sizes import natural_preset
from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.presets import Change
from nflow_cli.config.table_schema import FitConfig
from nflow_cli.errors import ConfigError

KINDS = {name: ColumnKind(kind="number") for name in "abc"}
KINDS["d"] = ColumnKind(kind="left out", why="constant")


def config_of(flow=None, train=None, **data):
    config = {"command": "fit", "data": {"name": "t.csv", **data}}
    config |= {"flow": flow} if flow else {}
    config |= {"train": train} if train else {}
    return presets.validate(config, "mine.yaml", {"fit": FitConfig})


def test_a_config_is_settled_once_the_kinds_of_columns_and_the_sizes_are_known():
    asked = config_of({"pattern": ["planar"]}, {"epochs": 2.0, "batch_size": 512}, given=["c"])
    assert not asked.is_settled
    settled = asked.settled(KINDS, rows=5_120)
    assert settled.is_settled and (settled.train.steps, settled.train.epochs) == (20, None)
    assert (settled.columns, settled.given, settled.dim) == (["a", "b"], ["c"], 2)
    assert asked.settled_like(settled) == settled
    again = presets.validate(presets.parse_yaml(presets.dump(settled), "a run"), "a run")
    assert again == settled


def test_what_is_given_stands_in_the_order_of_the_table():
    assert config_of(given=["c", "d", "a"]).settled(KINDS, 500).given == ["a", "c"]


@pytest.mark.parametrize(
    ("rows", "dim", "given", "expected"),
    [
        (7_999, 2, 0, (4, 32, 2_000, 256, 2.0)),
        (7_999, 9, 1, (4, 32, 2_000, 256, 2.0)),
        (8_000, 8, 0, (8, 64, 8_000, 1_024, 0.3)),
        (8_000, 8, 1, (8, 64, 8_000, 1_024, 0.5)),
        (80_000, 9, 0, (8, 64, 4_000, 1_024, 1.0)),
        (80_000, 9, 1, (8, 64, 4_000, 1_024, 1.0)),
    ],
)
def test_sizes_follow_from_the_rows_and_the_columns(rows, dim, given, expected):
    names = [f"x{i}" for i in range(dim + given)]
    kinds = {name: ColumnKind(kind="number") for name in names}
    config = config_of(given=names[:given]).settled(kinds, rows)
    ((item,), train) = config.flow.pattern, config.train
    width, other = item["spline-coupling"]["hidden"]
    sizes = (config.flow.k, width, train.steps, train.batch_size, train.weight_decay)
    assert sizes == expected and other == width


def test_sizes_that_are_said_stay():
    flow = {"pattern": [{"spline-coupling": {"bins": 4}}, {"affine-coupling": {"hidden": [5]}}]}
    said = {"steps": 7, "batch_size": 9, "weight_decay": 0.0, "learning_rate": 0.5, "chunk": 3}
    settled = config_of({**flow, "k": 0}, said).settled(KINDS, 10**6)
    assert settled.flow.k == 0
    assert settled.flow.pattern == [
        {"spline-coupling": {"bins": 4, "hidden": [64, 64]}},
        {"affine-coupling": {"hidden": [5]}},
    ]
    assert settled.train.model_dump(include=set(said)) == said
    part = config_of({**flow, "k": 3}, {"steps": 7}).settled_like(settled)
    assert part.flow.pattern == settled.flow.pattern and part.train.batch_size == 9


def test_weights_of_the_context_count(monkeypatch):
    widths = []

    def weights(self, dim, width=0):
        widths.append((dim, width))
        return 0

    monkeypatch.setattr(StackFlow, "weights", weights)
    config_of({"k": 2}, given=["c"])
    assert widths == []
    kinds = {name: kind.model_dump() for name, kind in KINDS.items()}
    config_of({"k": 2}, given=["c"], kinds=kinds)
    assert widths == [(2, 1)]


@pytest.mark.parametrize(
    ("key", "value"), [("categorical", ["c"]), ("discrete", {"c": 1}), ("discrete", {"c": 0.5})]
)
def test_levels_and_steps_beside_flows_are_refused_with_the_way_on(key, value):
    expected = f"data: expected no {key} beside flows, which take plain numbers: the default dens"
    with pytest.raises(ConfigError, match=expected) as refused:
        config_of(**{key: value})
    assert "leave out --flow and --k, or --exclude c" in str(refused.value)


def test_kinds_that_flows_do_not_take_are_refused():
    kinds = {"a": {"kind": "levels", "levels": ["x", "y"]}}
    with pytest.raises(ConfigError, match="kinds number and left out alone beside flows, as of 'a"):
        config_of(kinds=kinds)


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
        ({"categorical": {"c": None}}, "data.categorical: expected a list"),
        ({"categorical": ["c", "c"]}, "data.categorical: expected each column once"),
        ({"exclude": ["c"], "categorical": ["c"]}, "expected no column of data.exclude, whe"),
        ({"bounds": {"c": [0, 1]}, "categorical": ["c"]}, "no column of data.bounds, where"),
        ({"group": "c", "categorical": ["c"]}, "expected no column of data.group, where 'c'"),
        (
            {"columns": ["a"], "categorical": ["c"]},
            "data.categorical: expected columns of data.columns or data.given, as 'c' is not",
        ),
        ({"discrete": {"n": 0}}, "data.discrete.n: expected a number greater than 0"),
        ({"discrete": {"n": None}}, "data.discrete.n: expected a number"),
        ({"discrete": ["n"]}, "data.discrete: expected a mapping"),
        ({"discrete": {"n": 1}, "given": ["n"]}, "data.discrete: expected no column of data.given"),
        (
            {"discrete": {"n": 1}, "categorical": ["n"]},
            "data.discrete: expected no column of data.categorical, where 'n' is",
        ),
        ({"columns": ["a"], "discrete": {"n": 1}}, "data.discrete: expected columns of data.colum"),
        (
            {"columns": ["a"], "bounds": {"c": [0, 1]}},
            "data.bounds: expected columns of data.col",
        ),
        ({"exclude": ["c"], "bounds": {"c": [0, 1]}}, "data.bounds: expected no column of data.ex"),
        ({"split": "c", "bounds": {"c": [0, 1]}}, "data.split: expected no column of data.bounds"),
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
                "categorical": ["w"],
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
    "data", [{"group": "g", "given": ["g"]}, {"exclude": ["x"], "given": ["a"], "weights": "w"}]
)
def test_roles_that_go_together_are_taken(data):
    config_of(**data)


def test_flows_that_take_d_passes_for_a_row_are_answered_with_what_takes_one():
    expected = "flow: expected affine-autoregressive in place of inverse-autoregressive: rows are "
    with pytest.raises(ConfigError, match=expected):
        config_of({"pattern": ["affine", {"inverse-autoregressive": {"hidden": [8]}}]})
    assert config_of({"pattern": ["affine-autoregressive"]}).flow.affine == "full"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (None, "cells"),
        ([], "flows"),
        (["affine-coupling"], "flows"),
        (["planar", "affine-coupling"], "flows"),
        (["planar", "radial"], "flows-planar"),
        ([{"sylvester": {"width": 2}}], "flows-planar"),
    ],
)
def test_the_preset_goes_by_the_flows(pattern, name):
    changes = [] if pattern is None else [Change("--flow", "flow.pattern", pattern)]
    assert natural_preset(pattern, changes) == name
    assert natural_preset(pattern, [Change("--k", "flow.k", 0)]).startswith("flows")
