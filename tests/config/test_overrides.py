"""A change of the length of a training changes how long it is annealed, but not its share."""

from nflow_cli.config import overrides, presets
from nflow_cli.config.schema import SCHEMAS


def test_a_shorter_training_is_annealed_for_the_same_share_of_it():
    preset = presets.read_preset(presets.shipped_presets()["u3-planar-k32"])
    changes = [presets.parse_assignment("train.steps=4000")]
    short = overrides.resolve(preset, "u3", changes, SCHEMAS).train
    assert (short.annealing.share, short.annealed.updates) == (0.5, 2_000)
