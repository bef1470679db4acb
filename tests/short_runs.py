"""Short runs for the tests of what is done with a run afterwards."""

import fcntl
import hashlib
import json
import threading
import zipfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import keras

from nflow_cli.backend import programs
from nflow_cli.config import presets
from nflow_cli.experiments.run import Run, kind_of
from nflow_cli.experiments.running import train_and_write
from nflow_cli.runs.directory import CONFIG, RunDirectory

TABLE = Path(__file__).with_name("table.csv")  # of level, price and share
SHORT = {
    "command": "fit-2d",
    "target": "multimodal",
    "flow": {"k": 2},
    "train": {"steps": 4, "chunk": 2, "batch_size": 64},
    "evaluate": {"samples": 4_000},
}
SHORT_TABLE = {
    "command": "fit",
    "data": {"name": str(TABLE), "bounds": {"price": [0, None]}},
    "flow": {"pattern": [{"spline-coupling": {"hidden": [8]}}], "k": 2},
    "train": SHORT["train"],
}
SHORT_VAE = {
    "command": "train-vae",
    "data": {"name": "mnist-sample"},
    "model": {"latent_dim": 2, "hidden": [16]},
    "flow": {"pattern": ["planar"], "k": 2},
    "train": {"epochs": 1, "chunk": 20},
    "evaluate": {"importance_samples": 4},
}
CELLS = {
    "command": "fit",
    "data": {"name": str(TABLE.with_name("mixed.csv")), "missing": "model", "split": "part"},
    "flow": None,
    "cells": {"width": 8, "blocks": 1, "components": 3},
    "train": {"steps": 4, "batch_size": 32, "chunk": 2, "ensemble": 2}
    | {"checkpoint_seconds": 0.0},
}
# Runs that serve many tests: any will do, or one of two maps, or of a box, or of images.
MIXED = {"flow": {"pattern": ["planar", "radial"], "k": 5}, "seed": 3}
RETRAINED = {**MIXED, "train": {**SHORT["train"], "batch_size": 128}}
BOX = {"target": "gaussian-from-uniform", "flow": {"pattern": ["radial"], "k": 2}}
POINTS = {"command": "fit", "data": "two-moons", "flow": {"k": 2}}  # in the plane, by flows
VAE = {"command": "train-vae", "flow": {"pattern": ["planar", "radial"], "k": 3}}
KINDS = {
    "target": MIXED,
    "points": POINTS,
    "table": {"command": "fit"},
    "cells": CELLS,
    "images": VAE,
}


@programs.released()
def make_run(path, **changes):
    """Train as ``nflow`` does, with ``changes`` to a short preset; return the run directory."""
    short = {"fit": SHORT_TABLE, "train-vae": SHORT_VAE}.get(changes.get("command"), SHORT)
    settings = presets.validate({**short, **changes}, "a test")
    data = kind_of(settings).data.load(settings)
    settings = kind_of(settings).data.settled_config(settings, data)
    run = RunDirectory.create("test", str(path))
    run.write_text(CONFIG, presets.dump(settings))
    info = {"command": settings.command, "seed": settings.seed}
    if record := data.record():
        info["data"] = record
    with run.recorded(info):
        fitted(settings, run, data)
    return run.path


def fitted(config, directory, data=None):
    """Train as ``nflow`` does, without a record; return the run."""
    run = Run(directory, config)
    train_and_write(run, data or kind_of(config).data.load(config))
    return run


@contextmanager
def without_programs():
    """Run each operation by itself: a fit of few updates takes less time than to compile it."""
    import tensorflow as tf

    def function(function=None, **options):
        return function or (lambda function: function)

    with (
        patch.object(tf, "function", function),
        patch.object(programs, "Program", lambda function: function),
    ):
        yield


@contextmanager
def without_layout():
    """Leave the panels of pictures where they are: to place them takes more time than to draw."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with patch.object(ConstrainedLayoutEngine, "execute"):
        yield


@contextmanager
def without_pictures():
    """Draw nothing: where a run is tested, and not what is drawn of it."""
    from nflow_cli.experiments import running

    with patch.object(running, "draw", lambda *_: []):
        yield


@contextmanager
def workers_in_process():
    """Let workers do here what they are asked, one after the other: processes take seconds."""
    from nflow_cli.errors import NflowError, one_line
    from nflow_cli.registry import resolve
    from nflow_cli.sweeps import workers

    lock = threading.Lock()

    def train(_, request):
        request = json.loads(json.dumps(request))
        try:
            with lock:
                resolve(request.pop("work"))(**request)
        except (NflowError, OSError) as error:
            return {"status": workers.FAILED, "message": one_line(error)}
        return {"status": workers.COMPLETED}

    with patch.object(workers.Workers, "train", train):
        yield


class KilledError(Exception):
    """What ends a training where a kill -9 would."""


@contextmanager
def killed_after(rows):
    """End a fit to a table by ``KilledError`` when it has logged so many rows."""
    from nflow_cli.training.stopping import ValidationLog

    end_row = ValidationLog.end_row

    def end(log):
        if log.rows == rows:
            raise KilledError
        end_row(log)

    with patch.object(ValidationLog, "end_row", end):
        yield


def made_once(folder, **changes):
    """Return the run of ``changes`` in ``folder``; the process that comes first trains it.

    It serves other tests as well: who edits it takes a copy.
    """
    name = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:16]
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            train = changes.get("train", SHORT["train"])
            # An epoch of images is 80 updates, for which programs pay.
            few = changes.get("command") != "train-vae" and train.get("steps", 1_000) < 100
            with without_programs() if few else nullcontext():
                make_run(folder / name, **changes)
    return folder / name


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
