"""The config of a fit by cells: what is settled by the table, and what a run needs."""

import pytest
import yaml
from click.testing import CliRunner

from nflow_cli.cli import main
from nflow_cli.config import presets
from nflow_cli.config.cells_schema import Cells, CellsConfig, CellsTrain, sizes
from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.errors import NflowError

CONFIG = {"command": "fit", "data": {"name": "t.csv"}, "flow": None}
KINDS = {"a": ColumnKind(kind="levels", levels=["x", "y"]), "b": ColumnKind(kind="number")}


def config(**changes):
    return presets.validate({**CONFIG, **changes}, "a test")


def test_a_fit_without_a_flow_is_by_cells():
    assert isinstance(config(), CellsConfig)
    assert presets.validate({**CONFIG, "flow": {}}, "a test").flow is not None


def test_a_config_is_settled_by_its_table_once():
    open_ended = config()
    assert not open_ended.is_settled
    settled = open_ended.settled(KINDS, 500)
    assert settled.is_settled and settled.data.kinds == KINDS
    assert settled.settled(KINDS, 10**6) == settled
    assert presets.validate(settled.model_dump(), "a test") == settled
    text = presets.dump(settled)
    assert presets.validate(yaml.safe_load(text), "a test") == settled


def test_levels_that_are_not_known_are_not_settled():
    kinds = {**KINDS, "c": ColumnKind(kind="levels")}
    assert not config().settled(kinds, 500).is_settled


def test_what_is_given_stands_in_the_order_of_the_table():
    kinds = {**KINDS, "c": ColumnKind(kind="number"), "d": ColumnKind(kind="left out")}
    settled = config(data={"name": "t.csv", "given": ["d", "c", "a"]}).settled(kinds, 500)
    assert settled.data.given == ["a", "c"]


@pytest.mark.parametrize("rows", [10, 1_999, 2_000, 49_999, 50_000, 10**7])
def test_what_is_said_stays_and_larger_tables_have_no_smaller_networks(rows):
    cells, train = sizes(Cells(width=7), CellsTrain(steps=33), rows)
    assert (cells.width, train.steps) == (7, 33)
    assert cells.is_settled and train.batch_size
    natural, larger = (sizes(Cells(), CellsTrain(), n) for n in (rows, 10 * rows))
    assert natural[0].width <= larger[0].width and natural[1].steps <= larger[1].steps


@pytest.mark.parametrize(
    ("steps", "chunk", "patience"), [(2_000, 50, 300), (600, 20, 100), (1_000, 90, 360)]
)
def test_the_patience_is_a_share_of_the_updates_unless_it_is_set(steps, chunk, patience):
    train = CellsTrain(steps=steps, chunk=chunk)
    assert train.stopping.patience == patience
    assert train.model_copy(update={"steps": 10 * steps}).stopping.patience == 1.5 * steps
    own = CellsTrain(steps=steps, chunk=chunk, early_stopping={"patience": 7, "min_delta": 0.1})
    assert own.stopping == own.early_stopping and own.stopping.patience == 7
    assert CellsTrain(steps=steps, early_stopping=None).stopping is None


def test_epochs_are_passes_over_the_rows():
    _, train = sizes(Cells(), CellsTrain(epochs=3, batch_size=100), 1_000)
    assert (train.steps, train.epochs) == (30, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": {"steps": 5, "epochs": 2}}, "train.epochs"),
        ({"cells": {"width": 0}}, "cells.width"),
        ({"cells": {"blocks": -1}}, "cells.blocks"),
        ({"cells": {"components": 65}}, "cells.components"),
        ({"cells": {"depth": 3}}, "cells.depth"),
        ({"data": {"name": "t.csv", "kinds": {"a": {"kind": "levels", "levels": []}}}}, "levels"),
        ({"data": {"name": "t.csv", "kinds": {"a": {"kind": "other"}}}}, "kind"),
    ],
)
def test_what_no_config_has_is_one_line(changes, words):
    with pytest.raises(NflowError) as error:
        config(**changes)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_preset_is_such_a_config():
    shown = CliRunner().invoke(main, ["presets", "cells"])
    assert shown.exit_code == 0
    preset = presets.validate(yaml.safe_load(shown.stdout), "cells")
    assert isinstance(preset, CellsConfig) and preset.data.missing == "model"
