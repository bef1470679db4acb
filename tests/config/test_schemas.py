"""What configs of fits and of inference say, what is settled by the data, what is refused."""

import pytest

from nflow_cli.config import presets
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.flows import StackFlow
from nflow_cli.config.presets import Change
from nflow_cli.config.schema_options import shipped_presets
from nflow_cli.config.table import Cells, CellsConfig, CellsTrain, FitConfig, natural_preset
from nflow_cli.errors import ConfigError
from nflow_cli.inference import infer_config as infer_schema
from nflow_cli.registry import DENSITIES

CELLS = {"command": "fit", "data": {"name": "t.csv"}, "flow": None}
MIXED = {"a": ColumnKind(kind="levels", levels=["x", "y"]), "b": ColumnKind(kind="number")}
LEFT_OUT = {"d": ColumnKind(kind="left out", why="constant")}
NUMBERS = {**{name: ColumnKind(kind="number") for name in "abc"}, **LEFT_OUT}
MINE = {"name": "f", "path": "model.py", "dim": 3}


def cells(**changes):
    return presets.validate({**CELLS, **changes}, "mine")


def flows(flow=None, train=None, **data):
    """Return the config of a fit by flows of the columns that ``data`` says."""
    config = {"command": "fit", "data": {"name": "t.csv", **data}}
    config |= {"flow": flow} if flow else {}
    config |= {"train": train} if train else {}
    return presets.validate(config, "mine", {"fit": FitConfig})


def infer(**changes):
    return presets.validate(
        presets.override({"command": "infer", "density": "banana"}, changes), "mine"
    )


def reread(config):
    return presets.validate(presets.parse_yaml(presets.dump(config), "mine"), "mine")


def assert_refused(make, asked, key, named=""):
    """Check that a config is refused in one line that begins with the key and names the rest."""
    with pytest.raises(ConfigError) as refusal:
        make(**asked)
    line = str(refusal.value)
    assert line.startswith(f"mine: {key}: ") and named in line and "\n" not in line, line


def test_a_fit_without_a_flow_is_by_cells_and_so_is_its_preset():
    assert isinstance(cells(), CellsConfig) and cells(flow={}).flow is not None
    preset = presets.validate(presets.read_preset(shipped_presets()["cells"]), "cells")
    assert isinstance(preset, CellsConfig) and preset.data.missing == "model"


def test_a_config_of_cells_is_settled_by_its_table_once():
    settled = cells().settled(MIXED, 500)
    assert not cells().is_settled and settled.is_settled and settled.data.kinds == MIXED
    assert settled.settled(MIXED, 10**6) == settled == reread(settled)
    assert not cells().settled({**MIXED, "c": ColumnKind(kind="levels")}, 500).is_settled


def test_a_config_of_flows_is_settled_once_the_kinds_and_the_sizes_are_known():
    asked = flows({"pattern": ["planar"]}, {"epochs": 2.0, "batch_size": 512}, given=["c"])
    settled = asked.settled(NUMBERS, rows=5_120)
    assert not asked.is_settled and settled.is_settled
    assert (settled.train.steps, settled.train.epochs) == (20, None)
    assert (settled.columns, settled.given, settled.dim) == (["a", "b"], ["c"], 2)
    assert settled == reread(settled)


def test_what_is_given_stands_in_the_order_of_the_table():
    by_cells = cells(data={"name": "t.csv", "given": ["d", "c", "a"]})
    kinds = {**MIXED, "c": ColumnKind(kind="number"), **LEFT_OUT}
    assert by_cells.settled(kinds, 500).data.given == ["a", "c"]
    assert flows(given=["c", "d", "a"]).settled(NUMBERS, 500).given == ["a", "c"]


def test_what_is_said_stays_and_larger_tables_have_no_smaller_networks():
    for rows in (10, 1_999, 2_000, 49_999, 50_000, 10**7):
        said = cells(cells=Cells(width=7), train=CellsTrain(steps=33)).settled({}, rows)
        assert (said.cells.width, said.train.steps) == (7, 33)
        assert said.cells.is_settled and said.train.batch_size
        natural, larger = (cells().settled({}, n) for n in (rows, 10 * rows))
        assert natural.cells.width <= larger.cells.width
        assert natural.train.steps <= larger.train.steps


def test_the_patience_is_a_share_of_the_updates_and_epochs_are_passes_over_the_rows():
    for steps, chunk, patience in [(2_000, 50, 300), (600, 20, 100), (1_000, 90, 360)]:
        train = CellsTrain(steps=steps, chunk=chunk)
        assert train.stopping.patience == patience
        assert train.model_copy(update={"steps": 10 * steps}).stopping.patience == 1.5 * steps
    own = CellsTrain(steps=steps, early_stopping={"patience": 7, "min_delta": 0.1})
    assert own.stopping == own.early_stopping and own.stopping.patience == 7
    assert CellsTrain(steps=steps, early_stopping=None).stopping is None
    train = cells(train=CellsTrain(epochs=3, batch_size=100)).settled({}, 1_000).train
    assert (train.steps, train.epochs) == (30, None)


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
def test_sizes_of_flows_follow_from_the_rows_and_the_columns(rows, dim, given, expected):
    names = [f"x{i}" for i in range(dim + given)]
    kinds = {name: ColumnKind(kind="number") for name in names}
    config = flows(given=names[:given]).settled(kinds, rows)
    ((item,), train) = config.flow.pattern, config.train
    width, other = item["spline-coupling"]["hidden"]
    sizes = (config.flow.k, width, train.steps, train.batch_size, train.weight_decay)
    assert sizes == expected and other == width


def test_sizes_of_flows_that_are_said_stay():
    flow = {"pattern": [{"spline-coupling": {"bins": 4}}, {"affine-coupling": {"hidden": [5]}}]}
    said = {"steps": 7, "batch_size": 9, "weight_decay": 0.0, "learning_rate": 0.5, "chunk": 3}
    settled = flows({**flow, "k": 0}, said).settled(NUMBERS, 10**6)
    assert settled.flow.k == 0
    assert settled.flow.pattern == [
        {"spline-coupling": {"bins": 4, "hidden": [64, 64]}},
        {"affine-coupling": {"hidden": [5]}},
    ]
    assert settled.train.model_dump(include=set(said)) == said


def test_weights_of_the_context_count(monkeypatch):
    widths = []

    def weights(self, dim, width=0):
        widths.append((dim, width))
        return 0

    monkeypatch.setattr(StackFlow, "weights", weights)
    flows({"k": 2}, given=["c"], kinds={name: kind.model_dump() for name, kind in NUMBERS.items()})
    assert widths == [(2, 1)]


def test_what_no_config_of_cells_has_is_refused():
    def kind(**settings):
        return {"data": {"name": "t.csv", "kinds": {"a": settings}}}

    for changes, key in [
        ({"train": {"steps": 5, "epochs": 2}}, "train.epochs"),
        ({"cells": {"width": 0}}, "cells.width"),
        ({"cells": {"blocks": -1}}, "cells.blocks"),
        ({"cells": {"components": 65}}, "cells.components"),
        ({"cells": {"depth": 3}}, "cells.depth"),
        (kind(kind="levels", levels=[]), "data.kinds.a.levels"),
        (kind(kind="other"), "data.kinds.a.kind"),
        (kind(kind="levels", levels=["x", "y"], is_ordered=True), "data.kinds.a"),
    ]:
        assert_refused(cells, changes, key)


def test_columns_that_flows_do_not_take_are_answered_with_the_default_density():
    for key, value in [("categorical", ["c"]), ("discrete", {"c": 1}), ("discrete", {"c": 0.5})]:
        assert_refused(flows, {key: value}, "data", f"no {key} beside flows")
        assert_refused(flows, {key: value}, "data", "leave out --flow and --k, or --exclude c")
    assert_refused(flows, {"kinds": {"a": {"kind": "levels", "levels": ["x", "y"]}}}, "data", "'a'")


def test_roles_of_columns_that_cannot_be_are_refused():
    for asked, key, named in [
        ({"given": ["a", "a"]}, "given", "'a'"),
        ({"given": "a"}, "given", "a list"),
        ({"given": [""]}, "given.0", ""),
        ({"columns": ["a"], "exclude": ["a"]}, "exclude", "data.columns"),
        ({"columns": ["a"], "group": "a"}, "group", "data.columns"),
        ({"columns": ["a"], "split": "a"}, "split", "data.columns"),
        ({"columns": ["a", "b"], "given": ["b"]}, "given", "data.columns, where 'b' is"),
        ({"exclude": ["b"], "given": ["b"]}, "given", "data.exclude"),
        ({"bounds": {"b": [0, None]}, "given": ["b"]}, "given", "data.bounds"),
        ({"split": "b", "given": ["b"]}, "given", "data.split"),
        ({"categorical": {"c": None}}, "categorical", "a list"),
        ({"categorical": ["c", "c"]}, "categorical", "'c'"),
        ({"exclude": ["c"], "categorical": ["c"]}, "categorical", "data.exclude"),
        ({"bounds": {"c": [0, 1]}, "categorical": ["c"]}, "categorical", "data.bounds"),
        ({"group": "c", "categorical": ["c"]}, "categorical", "data.group"),
        ({"columns": ["a"], "categorical": ["c"]}, "categorical", "data.columns or data.given"),
        ({"discrete": {"n": 0}}, "discrete.n", "0"),
        ({"discrete": {"n": None}}, "discrete.n", "None"),
        ({"discrete": ["n"]}, "discrete", "a mapping"),
        ({"discrete": {"n": 1}, "given": ["n"]}, "discrete", "data.given"),
        ({"discrete": {"n": 1}, "categorical": ["n"]}, "discrete", "data.categorical"),
        ({"columns": ["a"], "discrete": {"n": 1}}, "discrete", "data.columns"),
        ({"columns": ["a"], "bounds": {"c": [0, 1]}}, "bounds", "data.columns"),
        ({"exclude": ["c"], "bounds": {"c": [0, 1]}}, "bounds", "data.exclude"),
        ({"split": "c", "bounds": {"c": [0, 1]}}, "split", "data.bounds"),
        ({"group": "c", "bounds": {"c": [0, 1]}}, "group", "data.bounds"),
        ({"ordered": {"c": ["x"]}}, "ordered.c", "2 or more items"),
        ({"ordered": {"c": ["x", "x"]}}, "ordered", "each level of 'c' once"),
        ({"ordered": {"c": ["x", "y"]}, "categorical": ["c"]}, "ordered", "data.categorical"),
        ({"weights": ["w"]}, "weights", "text"),
        (
            {"date": {"d": "%d.%m."}},
            "date.d",
            "with a year, an hour, or minutes and seconds, such as %d.%m.%y or %H:%M",
        ),
        ({"date": {"d": "%I:%M"}}, "date.d", "with a year, an hour, or minutes and seconds"),
        ({"date": {"d": "%Y-%Q"}}, "date.d", "with a year, an hour, or minutes and seconds"),
        ({"date": {"d": "%Y"}, "categorical": ["d"]}, "date", "data.categorical"),
    ]:
        assert_refused(flows, asked, f"data.{key}", named)
    other = {"bounds": {"w": [0, None]}, "split": "w", "group": "w", "discrete": {"w": 1}}
    for key in ("columns", "exclude", "given", "categorical", *other):
        asked = {key: other.get(key, ["w"]), "weights": "w"}
        assert_refused(flows, asked, "data.weights", f"data.{key}, where 'w'")
    # Those that go together are taken.
    flows(exclude=["x"], given=["a"], weights="w")


def test_flows_that_take_d_passes_for_a_row_are_answered_with_what_takes_one():
    pattern = ["affine", {"inverse-autoregressive": {"hidden": [8]}}]
    instead = "affine-autoregressive in place of inverse-autoregressive"
    assert_refused(flows, {"flow": {"pattern": pattern}}, "flow", instead)
    assert flows({"pattern": ["affine-autoregressive"]}).flow.affine == "full"


def test_the_preset_of_a_fit_goes_by_its_flows():
    for pattern, name in [
        (None, "cells"),
        ([], "flows"),
        (["affine-coupling"], "flows"),
        (["planar", "affine-coupling"], "flows"),
        (["planar", "radial"], "flows-planar"),
        ([{"sylvester": {"width": 2}}], "flows-planar"),
    ]:
        changes = [] if pattern is None else [Change("--flow", "flow.pattern", pattern)]
        assert natural_preset(pattern, changes) == name
        assert natural_preset(pattern, [Change("--k", "flow.k", 0)]).startswith("flows")


def test_a_built_in_density_is_known_by_its_name_and_another_by_its_file():
    for name in DENSITIES:
        config = infer(density=name)
        assert config.density.is_built_in and config.subject == name
        assert config.dim == infer_schema.usual_dim(name) == len(config.density.columns)
    assert infer(density="eight-schools").density.columns == infer_schema.SCHOOLS
    assert not infer(density=MINE).density.is_built_in
    assert infer(density=MINE).density.columns == ["x1", "x2", "x3"]
    assert infer(density=MINE | {"names": ["a", "b", "c"]}).density.columns == ["a", "b", "c"]


def test_what_no_config_of_inference_has_is_refused():
    for density, key in [
        ("funel", "path"),
        ({"name": "f", "path": "model.py"}, "dim"),
        ({"name": "many-well", "dim": 3}, "dim"),
        ({"name": "banana", "dim": 3}, "dim"),
        (MINE | {"dim": 0}, "dim"),
        (MINE | {"names": ["a", "b"]}, "names"),
        (MINE | {"names": ["a", "a", "b"]}, "names"),
        (MINE | {"bounds": {"y": [0, None]}}, "bounds"),
        (MINE | {"bounds": {"x1": [1.0, 0.0]}}, "bounds"),
        (MINE | {"bounds": {"x1": [0.0, 1.0, 5.0]}}, "bounds"),
        (MINE | {"bounds": {"x1": [0.0, None, 0.0]}}, "bounds"),
        ({"name": "banana", "bounds": {"x1": [0.0, 1.0]}}, "bounds"),
        (MINE | {"sha256": "../.."}, "sha256"),
        (MINE | {"code": "1"}, "code"),
    ]:
        assert_refused(infer, {"density": density}, f"density.{key}")
    for changes, key, named in [
        ({"base": {"name": "standard-normal", "df": 3.0}}, "base.df", "null"),
        ({"base": "uniform-box"}, "base.name", "'student-t'"),
        ({"base": "student-t", "train.draws": "even"}, "train", "student-t"),
        ({"flow.affine": None}, "train", "first_stage"),
        ({"evaluate.samples": 10}, "evaluate.samples", "1000"),
    ]:
        assert_refused(infer, changes, key, named)


def test_the_path_is_taken_where_it_is_asked_for_and_the_inverse_takes_one_pass():
    def path_from(**changes):
        config = infer(**changes)
        return config.train.path_from(config.flow.pattern)

    by_path = {"train.gradient": "path", "train.steps": 100}
    assert path_from(**by_path) == 50
    assert path_from(**by_path, **{"train.annealing.share": 0.6}) == 60
    assert path_from(**by_path, **{"flow.pattern": ["inverse-autoregressive"]}) is None
    assert path_from() is None


def test_the_base_is_normal_and_the_last_map_affine_unless_it_is_said():
    assert infer().base.df is None and infer().base_name == "standard-normal"
    assert infer(base="student-t").base.df == 5
    assert infer(**{"base": {"name": "student-t", "df": 3.0}}).base_name.startswith("student-t")
    planar = {"flow.pattern": ["planar"]}
    assert infer(**planar).flow.affine == "full"
    assert infer(**planar, **{"flow.affine": None, "train.first_stage": 0}).flow.affine is None


def test_a_config_of_inference_comes_back_from_its_dump():
    config = infer(density=MINE | {"bounds": {"x2": [None, 3.0]}, "sha256": "a" * 64})
    assert reread(config) == config


def test_the_preset_of_inference_goes_by_the_dimension():
    names = [infer_schema.natural_preset(dim) for dim in (1, 6, 7, 100)]
    assert names == ["infer", "infer", "infer-wide", "infer-wide"]
    for name in names:
        assert presets.read_preset(shipped_presets()[name])["command"] == "infer"
