"""Training in a run directory, with pictures and report."""

import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nflow_cli import experiments
from nflow_cli.backend.programs import released
from nflow_cli.backend.start import (
    PROCESSOR,
    Machine,
    expect_tensorflow,
    memory_errors,
    start_tensorflow,
)
from nflow_cli.config import memory, presets
from nflow_cli.config.naming import run_name
from nflow_cli.config.schema import Config
from nflow_cli.errors import BusyError, NflowError
from nflow_cli.experiments.abilities import FitsFunctions
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.minutes import in_time
from nflow_cli.experiments.rows import laid_out
from nflow_cli.experiments.summary import Result
from nflow_cli.runs.directory import MACHINES, RunDirectory
from nflow_cli.runs.versions import VERSIONS
from nflow_cli.terminal.layout import tell
from nflow_cli.terminal.signals import hinted
from nflow_cli.text import printable


def versions() -> dict[str, str]:
    """Versions of Python and of the numerical packages, if known."""
    known = {"python": platform.python_version()}
    for name in ("keras", "tensorflow", "numpy"):
        with suppress(PackageNotFoundError):  # a build of another name: tensorflow-cpu, tf-nightly
            known[name] = version(name)
    return known


@released()
def begin(
    config: Config,
    preset: Path,
    output: str | None,
    argv: Sequence[str],
    machine: Machine,
    data: Any = None,
    due: float | None = None,
) -> None:
    """Create a run directory, named by ``preset`` or ``output``, and train in it.

    ``due``: as of :func:`~nflow_cli.experiments.minutes.in_time`.
    """
    expect_tensorflow()
    name, config = run_name(config, preset), settled(config, data)
    if output is not None:
        RunDirectory.create(name, output)  # before a trial: it may be taken
    with in_time(config, data, machine, due) as experiment:
        carry_out(experiment, RunDirectory.create(name, output), argv, machine, data)


def settled(config: Config, data: Any) -> Config:
    """Config resolved by the data, if the machine has memory for it (``ConfigError``)."""
    config = experiments.of(config).settled(data)
    config, note = memory.bounded(config)
    if note:
        tell(note)
    memory.expect_memory(config)
    return config


@released()
def train_anew(
    config: Config,
    preset: Path,
    output: str | Path | None,
    data: Any,
    pictures: bool = True,
    due: float | None = None,
) -> Any:
    """Train a config in a new run directory; return the trained model."""
    config, folder = settled(config, data), None if output is None else str(output)
    run = RunDirectory.create(run_name(config, preset), folder)
    with in_time(config, data, None, due) as experiment:
        train(experiment, run, [], None, data, pictures)
    return experiment.load(run)


@released()
def carry_on(
    config: Config,
    run: RunDirectory,
    argv: Sequence[str],
    machine: Machine,
    patience: float = 0.0,
) -> None:
    """Train or resume a run of a sweep.

    Raises:
        BusyError: Another process trains it after ``patience`` seconds.
    """
    experiment = experiments.of(config)
    if isinstance(experiment, FitsFunctions):
        start_tensorflow(machine)  # before a density, which is in operations of it
    data = experiment.data(run if run.begun else None)
    config = config if run.begun else settled(config, data)
    deadline = time.monotonic() + patience
    while True:
        try:
            carry_out(experiments.of(config), run, argv, machine, data)
            return
        except BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)


def carry_out(
    experiment: Experiment,
    run: RunDirectory,
    argv: Sequence[str],
    machine: Machine = PROCESSOR,
    data: Any = None,
) -> None:
    """Train or resume; print the scores and the path of the run."""
    result = train(experiment, run, argv, machine, data)
    print(laid_out(experiment.rows(result.summary, result.warnings), result.warnings))
    print(printable(run.path))


def train(
    experiment: Experiment,
    run: RunDirectory,
    argv: Sequence[str],
    machine: Machine | None,
    data: Any = None,
    pictures: bool = True,
) -> Result:
    """Train or resume, score, draw and report.

    ``argv`` is recorded; ``machine`` ``None``: the process's own setting; ``pictures``: draw and
    report.
    """
    from nflow_cli.experiments.drawing import draw, import_ahead
    from nflow_cli.experiments.picture_data import picture_data
    from nflow_cli.training.progress import phase

    config = experiment.config
    info: dict[str, Any] = {"command": config.command, "argv": list(argv)}
    info |= {VERSIONS: versions(), "seed": config.seed}
    if machine is not None:
        machine = machine.with_threads(config.threads)
        info[MACHINES] = [machine.record()]
    if data is not None:
        info["data"] = data.record()

    def hint() -> str | None:
        return experiment.way_on(run) if run.begun else None

    # Recorded before TensorFlow starts, and even if it never does.
    with hinted(hint), run.locked():
        record = run.recorded(info, presets.dump(config))
        with record, memory_errors(memory.remedy(config)):
            for note in experiment.notes_of_data(data):
                tell(note)
            start_tensorflow(machine)
            if pictures:
                import_ahead()
            result = experiment.train(run, data)
            if pictures:
                with phase("drawing pictures"):
                    draw(run, experiment, picture_data(run, experiment, result))
        if pictures:
            _report(run, experiment, result)
    return result


def _report(run: RunDirectory, experiment: Experiment, result: Result) -> None:
    """Write the report; a failure is a note."""
    from nflow_cli.experiments.report import write_page

    try:
        write_page(run, experiment, result.summary, result.warnings)
    except NflowError as error:
        tell(f"no report: {error}")
