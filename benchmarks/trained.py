"""Train what a preset says, in a process of its own, and tell how fast and in how much memory."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from nflow_cli.experiments import running
from nflow_cli.experiments.run import Run, part

POINTS = 50_000


def plane(k: int, flow: str = "planar", **train: Any) -> dict[str, Any]:
    """Return a fit of the mixture of two modes."""
    return _preset("fit-2d", k, flow, train, target="multimodal", evaluate={"samples": 1000})


def table(dim: int, k: int, hidden: int, rows: int = POINTS, **train: Any) -> dict[str, Any]:
    """Return a fit of spline couplings to so many rows of ``½ N(2, I) + ½ N(-2, I)``."""
    flow = {"spline-coupling": {"hidden": [hidden, hidden]}}
    return _preset("fit", k, flow, train, data={"name": f"{rows}x{dim}.npy"})


def vae(k: int, **train: Any) -> dict[str, Any]:
    """Return the VAE of `mnist-mlp`, on the sample of digits that is there."""
    model = {"latent_dim": 40, "hidden": [400, 400]}
    data, train = {"name": "mnist-sample"}, {"batch_size": 100, **train}
    evaluate = {"importance_samples": 1}
    return _preset("train-vae", k, "planar", train, data=data, model=model, evaluate=evaluate)


def _preset(command: str, k: int, flow: Any, train: Mapping[str, Any], **others: Any) -> Any:
    return {"command": command, "flow": {"pattern": [flow], "k": k}, "train": train, **others}


def in_process(preset: Mapping[str, Any], threads: int, device: str = "cpu") -> dict[str, Any]:
    """Train in a fresh process.

    Returns:
        ``seconds`` an update, ``processor_seconds`` of all cores an update, and of all cores too
        ``compile_seconds`` and ``in_all_seconds`` from the data to the scores, ``peak_gb`` of
        memory, and ``sha256`` of the weights.
    """
    words = [sys.executable, "-m", "benchmarks.trained", json.dumps(preset), str(threads), device]
    anew = {**os.environ, "NFLOW_CACHE": "off"}  # else a later one compiles faster
    done = subprocess.run(words, capture_output=True, text=True, env=anew)
    if done.returncode:
        raise click.ClickException(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def medians(results: list[dict[str, Any]]) -> dict[str, float]:
    """Return the medians of what is a number."""
    keys = [key for key, value in results[0].items() if isinstance(value, int | float)]
    return {key: statistics.median(result[key] for result in results) for key in keys}


def _write_rows(name: str, folder: Path) -> str:
    """Draw the rows that a preset of :func:`table` names; return where they are."""
    rows, dim = map(int, name.removesuffix(".npy").split("x"))
    rng = np.random.default_rng(0)
    means = rng.choice([-2.0, 2.0], (rows, 1))
    np.save(folder / name, (means + rng.standard_normal((rows, dim))).astype(np.float32))
    return str(folder / name)


def _train(preset: dict[str, Any], threads: int, device: str) -> dict[str, Any]:
    from nflow_cli.backend.start import machine_of, start_tensorflow

    machine = machine_of(device)
    start_tensorflow(machine if machine.is_gpu else machine.of(threads))
    from nflow_cli.config import presets
    from nflow_cli.runs.directory import CONFIG, RunDirectory
    from nflow_cli.training.observers import Clock, Observer
    from nflow_cli.training.trainer import ChunkTrainer

    class Cost(Observer):
        """Notes the seconds of the processor that each chunk took."""

        def before(self) -> None:
            self._start = time.process_time()

        def after(self, logs: Any) -> None:
            spent.append(time.process_time() - self._start)

    spent: list[float] = []
    clocks: list[Clock] = []
    train_on = ChunkTrainer.train_on

    def watched(self: Any, chunks: Any, observers: Sequence[Any]) -> None:
        clocks.extend(one for one in observers if isinstance(one, Clock))
        train_on(self, chunks, [Cost(), *observers])

    ChunkTrainer.train_on = watched
    with tempfile.TemporaryDirectory() as folder:
        if preset["command"] == "fit":
            preset["data"]["name"] = _write_rows(preset["data"]["name"], Path(folder))
        config, start = presets.validate(preset, "benchmark"), time.process_time()
        data = part(config, "data").load(config)
        config = part(config, "data").settled(config, data)
        run = RunDirectory.create("benchmark", f"{folder}/run")
        run.write_text(CONFIG, presets.dump(config))
        with run.recorded({}):
            opened = Run(run, config)
            running.fit(opened, data)
        summary = opened.facts
        in_all = time.process_time() - start
    clock = clocks[0]
    updates = np.diff(clock.updates)[1:]  # the first chunk compiles
    seconds = clock.seconds[1:]
    return {
        "seconds": statistics.median(np.array(seconds) / updates),
        "processor_seconds": statistics.median(np.array(spent[1:]) / updates),
        "compile_seconds": spent[0] - statistics.median(spent[1:]),
        "in_all_seconds": in_all,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "sha256": summary["model_sha256"],
        **{key: summary[key] for key in ("kl", "kl_standard_error") if key in summary},
    }


if __name__ == "__main__":
    print(json.dumps(_train(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
