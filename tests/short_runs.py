"""Short runs for the tests of what is done with a run afterwards."""

import json
import zipfile

import keras

from nflow_cli import experiments
from nflow_cli.config import presets
from nflow_cli.runs.directory import CONFIG, RunDirectory

SHORT = {
    "command": "fit-2d",
    "target": "multimodal",
    "flow": {"k": 2},
    "train": {"steps": 20, "chunk": 10, "batch_size": 64},
    "evaluate": {"samples": 4_000},
}
SHORT_POINTS = {**SHORT, "target": None}
SHORT_VAE = {
    "command": "train-vae",
    "data": {"name": "mnist-sample"},
    "model": {"latent_dim": 2, "hidden": [16]},
    "flow": {"pattern": ["planar"], "k": 2},
    "train": {"epochs": 1, "chunk": 20},
    "evaluate": {"importance_samples": 4},
}


def make_run(path, **changes):
    """Train as ``nflow`` does, with ``changes`` to a short preset; return the run directory."""
    vae = changes.get("command") == "train-vae"
    short = SHORT_VAE if vae else SHORT_POINTS if "data" in changes else SHORT
    settings = presets.validate({**short, **changes}, "a test")
    run = RunDirectory.create("test", str(path))
    run.write_text(CONFIG, presets.dump(settings))
    info = {"command": settings.command, "seed": settings.seed}
    experiment = experiments.of(settings)
    if data := experiment.data():
        info["data"] = data.record()
    with run.recorded(info):
        experiment.train(run, data)
    return run.path


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_member(path, name, change):
    """Replace the member ``name`` of a zip file by ``change`` of its bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def edit_description(run, change):
    """Edit what ``model.keras`` says it holds, in place."""

    def edited(content):
        data = json.loads(content)
        change(data)
        return json.dumps(data).encode()

    edit_member(run / "model.keras", "config.json", edited)


def edit_weights(run, change):
    """Save ``model.keras`` again with ``change(weights)`` for its weights."""
    model = keras.saving.load_model(run / "model.keras", compile=False)
    model.set_weights(change(model.get_weights()))
    keras.saving.save_model(model, run / "model.keras")
