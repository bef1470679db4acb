import pytest

from nflow_cli.config import overrides, preset_files, presets
from nflow_cli.config.schema import SCHEMAS
from nflow_cli.sweeps.plan import plan, resolve

SHIPPED = preset_files.shipped_presets()


def shortened(name, *assignments):
    """Return the config of a preset under changes, with its annealing, and the note."""
    preset = presets.read_preset(SHIPPED[name])
    changes = [presets.parse_assignment(text) for text in assignments]
    asked = overrides.resolve(preset, name, changes, SCHEMAS)
    return overrides.in_proportion(asked, preset, changes, SCHEMAS)


def test_a_shorter_training_is_annealed_for_the_same_part_of_it():
    preset = presets.validate(presets.read_preset(SHIPPED["u3-planar-k32"]), "").train
    short, note = shortened("u3-planar-k32", f"train.steps={preset.steps // 5}")
    assert short.train.annealing.updates == preset.annealing.updates // 5
    assert f"{preset.annealing.updates // 5:,} instead of the preset's" in note
    vae, note = shortened("mnist-mlp", "train.epochs=10")
    assert vae.train.warm_up.epochs == pytest.approx(10 * 10 / 200) and note


@pytest.mark.parametrize(
    "assignments",
    [
        (),
        ("seed=3",),
        ("train.steps=1000000",),
        ("train.steps=4000", "train.annealing.updates=3000"),
        ("train.steps=4000", "train.annealing={updates: 4000}"),
        ("train={steps: 4000, annealing: {updates: 4000}}",),
    ],
)
def test_other_annealing_is_what_was_asked_for(assignments):
    preset = presets.read_preset(SHIPPED["u3-planar-k32"])
    changes = [presets.parse_assignment(text) for text in assignments]
    asked = overrides.resolve(preset, "u3", changes, SCHEMAS)
    assert overrides.in_proportion(asked, preset, changes, SCHEMAS) == (asked, "")


def test_a_sweep_shortens_as_well(tmp_path):
    sweep = resolve(
        {
            "command": "sweep",
            "presets": ["u3-planar-k32"],
            "set": {"train.steps": 4_000},
        },
        "a sweep",
        tmp_path,
    )
    (run,) = plan(sweep, "a sweep")
    asked = presets.validate(presets.read_preset(SHIPPED["u3-planar-k32"]), "").train
    assert run.config.train.annealing.updates == 4_000 * asked.annealing.updates // asked.steps
    assert run.notes[0].startswith("train.annealing.updates")


def test_a_training_without_annealing_stays_without():
    short, note = shortened("multimodal-planar", "train.steps=10")
    assert (short.train.annealing.updates, note) == (0, "")
