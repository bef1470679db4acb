"""What finished runs leave, written by hand: nothing is trained."""

import numpy as np
from drawable_runs import SUMMARIES

from nflow_cli.config import presets
from nflow_cli.runs.directory import RunDirectory

AXIS = np.linspace(-4, 4, 50, dtype="float32")


def log_normal(scale):
    first, second = np.meshgrid(AXIS, AXIS)
    return -(first**2 + second**2) / (2 * scale**2) - np.log(2 * np.pi * scale**2)


def write_run(path, summary=None, **changes):
    """Write what a finished fit-2d run leaves, with ``changes`` to its config by dotted key."""
    data = {"command": "fit-2d", "target": "u1"}
    settings = presets.validate(
        presets.override(data, {key.replace("__", "."): v for key, v in changes.items()}), "a test"
    )
    run = RunDirectory.create("any", str(path))
    with run.recorded({"command": settings.command}):
        run.write_text("config.yaml", presets.dump(settings))
    run.write_arrays(
        "evaluation.npz", {"axis_1": AXIS, "log_target": log_normal(1), "log_q": log_normal(1.2)}
    )
    made = {"steps": settings.train.steps}
    figures = {**SUMMARIES["fit-2d"], **made, "kl": 0.5, "free_energy": -1.5, "ess": 0.9}
    run.write_json("summary.json", {**figures, **(summary or {})})
    return run


def write_fit(path, log_q, weights=None, sha256="0", **changes):
    """Write what a finished fit to a table leaves, with the log-density of each test row."""
    data = {"command": "fit", "data": {"name": "mine.csv", "columns": ["a", "b"]}}
    settings = presets.validate(
        presets.override(data, {key.replace("__", "."): v for key, v in changes.items()}), "a test"
    )
    run = RunDirectory.create("any", str(path))
    with run.recorded({"command": "fit"}):
        run.write_text("config.yaml", presets.dump(settings))
    arrays = {"test_log_q": log_q, "test_weights": weights}
    run.write_arrays(
        "evaluation.npz", {name: array for name, array in arrays.items() if array is not None}
    )
    with np.errstate(invalid="ignore"):  # of infinities
        error = np.std(log_q, ddof=1) / np.sqrt(len(log_q))
    figures = {"log_likelihood": np.mean(log_q), "log_likelihood_standard_error": error}
    data = {"name": "mine.csv", "sha256": sha256}
    run.write_json("summary.json", {**SUMMARIES["fit"], **figures, "data": data})
    return run


def write_vae(path, summary=None, **changes):
    settings = presets.validate(presets.override({"command": "train-vae"}, changes), "a test")
    run = RunDirectory.create("any", str(path))
    with run.recorded({"command": "train-vae"}):
        run.write_text("config.yaml", presets.dump(settings))
    run.write_json("summary.json", {**SUMMARIES["train-vae"], **(summary or {})})
    return run
