"""How many threads the command line takes, by what is trained."""

import pytest

from nflow_cli.config import preset_files, presets
from nflow_cli.config.kinds_schema import ColumnKind


@pytest.mark.parametrize(
    ("preset", "changes", "threads"),
    [
        ("multimodal-planar", {}, 1),
        ("u1-planar-k32", {}, 1),
        ("gaussian-from-uniform-radial", {}, 1),
        ("mnist", {}, None),
        ("infer", {"density": "funnel"}, None),  # what the density takes is not known
    ],
)
def test_small_flows_take_one_thread(preset, changes, threads):
    data = presets.override(presets.read_preset(preset_files.find_preset(preset)), changes)
    config = presets.validate(data, "a test")
    assert config.threads == threads


def test_a_table_whose_columns_are_not_known_takes_what_tensorflow_does():
    config = presets.validate(presets.read_preset(preset_files.find_preset("flows")), "a test")
    assert config.threads is None
    kinds = {name: ColumnKind(kind="number") for name in "abcd"}
    assert config.settled(kinds, 100_000).threads is None
    assert config.settled(kinds, 100).threads == 1
