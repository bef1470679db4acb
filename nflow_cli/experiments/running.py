"""Training in a run directory, with pictures and report."""

import importlib
import math
import platform
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nflow_cli.backend.programs import released
from nflow_cli.backend.start import Machine, expect_tensorflow, memory_errors, start_tensorflow
from nflow_cli.config import presets
from nflow_cli.config.run_config import RunConfig
from nflow_cli.deadline import Deadline
from nflow_cli.errors import BusyError, ConfigError, NflowError
from nflow_cli.evaluation.warnings import records
from nflow_cli.experiments.run import Run, RunData, kind_of
from nflow_cli.experiments.run_report import draw, write_report
from nflow_cli.experiments.summary import identity_of, laid_out
from nflow_cli.runs.directory import EVALUATION, MACHINES, SUMMARY, VERSIONS, RunDirectory
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.progress import about_left, phase
from nflow_cli.terminal.signals import hinted
from nflow_cli.text import printable
from nflow_cli.training.budget import Cost


def versions() -> dict[str, str]:
    """Versions of Python and of the numerical packages, if known."""
    numbers = {"python": platform.python_version()}
    for name in ("keras", "tensorflow", "numpy"):
        with suppress(PackageNotFoundError):  # a build of another name: tensorflow-cpu, tf-nightly
            numbers[name] = version(name)
    return numbers


@released()
def start(
    config: RunConfig,
    preset: Path,
    output: str | Path | None,
    data: RunData,
    *,
    machine: Machine | None = None,
    argv: Sequence[str] = (),
    deadline: Deadline | None = None,
    pictures: bool = True,
) -> Run:
    """Create a run directory, named by ``preset`` or ``output``, and train in it.

    ``machine``: ``None`` for the process's own setting; ``argv`` is recorded; ``deadline``: as of
    :func:`in_time`; ``pictures``: draw and report.
    """
    expect_tensorflow()
    name = presets.run_name(config, preset)
    folder = None if output is None else str(output)
    if deadline is None:
        config = settled_config(config, data)
    else:
        RunDirectory.expect_free(folder)  # before the trial
        config, data = in_time(config, data, machine, deadline)
    run = Run(RunDirectory.create(name, folder), config)
    execute(run, data, machine, argv, pictures)
    return run


def settled_config(config: RunConfig, data: RunData) -> RunConfig:
    """Config resolved by the data, with chunks that fit in memory."""
    config, note = kind_of(config).data.settled_config(config, data).in_memory
    if note:
        tell(note)
    return config


def in_time(
    config: RunConfig, data: RunData, machine: Machine | None, deadline: Deadline
) -> tuple[RunConfig, RunData]:
    """Settled config with the length of training that ends the command in time, and its data.

    A model is built, compiled and timed for some updates; the run builds its own. Of a large table
    some rows are drawn if all would take more than half of the time beside the updates.

    Raises:
        ConfigError: The time is too short for the least training.
    """
    reading = deadline.passed
    requested = config
    config = settled_config(requested, data)
    doing = f"compiling, and timing some updates{about_left(deadline.left)}"
    start_tensorflow(machine and machine.with_threads(config.threads))
    with phase(doing), memory_errors(config.remedy):
        cost = kind_of(config).trial.trial(config, data)
    key = config.train.length_key
    least = config.train.chunk or 1 if key == "steps" else 1
    rows = cost.rows_in(deadline.left - reading)
    if rows == cost.rows:
        _expect_time(cost, least, deadline, 0.0)
    else:
        share = rows / cost.rows
        cost = cost.of_rows(rows)
        _expect_time(cost, least, deadline, reading)
        tell("--minutes: a sample of the rows, as all leave less than half of the time for updates")
        config, data = kind_of(config).row_data.sampled(requested, data, share)
        config = settled_config(config, data)
    length = cost.length(deadline.left, least)
    tell(f"--minutes: --{key} {length}, as the run records{about_left(deadline.left)}")
    return config.of_length(length), data


def _expect_time(cost: Cost, least: int, deadline: Deadline, reading: float) -> None:
    """Refuse a deadline before the end of the least training, after ``reading`` rows again."""
    late = cost.late(least, deadline.left - reading)
    if late > 0:
        minutes = math.ceil(1.1 * (deadline.minutes + late / 60) * 10) / 10
        raise ConfigError(
            f"--minutes {deadline.minutes:g}: expected at least {minutes:.1f}: "
            f"{deadline.passed:.0f} s for reading, building and timing a model, and about "
            f"{late + deadline.left:.0f} s more for the least training and its scores"
        )


@released()
def carry_on(
    config: RunConfig,
    directory: RunDirectory,
    argv: Sequence[str],
    machine: Machine,
    patience: float = 0.0,
) -> None:
    """Train or resume a run of a sweep, and print its scores.

    Raises:
        BusyError: Another process trains it after ``patience`` seconds.
    """
    run = Run(directory, config)
    if config.is_of_flows:
        start_tensorflow(machine)  # before a density, which may be in operations of it
    data = run.data if directory.begun else kind_of(config).data.load(config)
    run.config = config if directory.begun else settled_config(config, data)
    deadline = time.monotonic() + patience
    while True:
        try:
            execute(run, data, machine, argv)
            break
        except BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)
    show(run)


def show(run: Run) -> None:
    """Print the scores and the path of a run."""
    rows = run.kind.report.rows_of(run.config, run.summary, run.warnings)
    print(laid_out(rows, run.warnings))
    print(printable(run.path))


def execute(
    run: Run,
    data: RunData,
    machine: Machine | None,
    argv: Sequence[str],
    pictures: bool = True,
) -> None:
    """Train or resume, score, draw and report."""
    config = run.config
    info: dict[str, Any] = {"command": config.command, "argv": list(argv)}
    info |= {VERSIONS: versions(), "seed": config.seed}
    if machine is not None:
        machine = machine.with_threads(config.threads)
        info[MACHINES] = [machine.record()]
    if (record := data.record()) is not None:
        info["data"] = record

    def hint() -> str | None:
        return f"to go on: {run.resume_command}" if run.directory.begun else None

    # Recorded before TensorFlow starts, and even if it never does.
    with hinted(hint), run.directory.locked():
        record = run.directory.recorded(info, presets.dump(config))
        with record, memory_errors(config.remedy):
            for note in data.notes:
                tell(note)
            with phase("starting TensorFlow"):
                start_tensorflow(machine)
            if pictures:
                _import_ahead()
            train_and_write(run, data)
            if pictures:
                with phase("drawing pictures"):
                    draw(run)
        if pictures:
            _report(run)


def train_and_write(run: Run, data: RunData) -> None:
    """Train or resume, score, and write model, arrays and summary."""
    fitted = run.kind.training.train(run.config, run.directory, data)
    config = fitted.config
    run.config = config
    report = kind_of(config).report
    scores = {**identity_of(config), **report.labels_of(config), **fitted.scores}
    run.arrays = dict(fitted.arrays)
    run.summary = report.SCHEMA(**scores)
    scores["warnings"] = records(run.warnings)
    run.summary = report.SCHEMA(**scores)
    run.directory.write_arrays(EVALUATION, run.arrays)
    run.directory.write_json(SUMMARY, run.facts)


def _import_ahead() -> None:
    """Import Matplotlib in a thread: a compiled training leaves Python idle."""

    def import_plotting() -> None:
        with suppress(ImportError):  # told by the one who needs it
            importlib.import_module("nflow_cli.plotting.plane")

    threading.Thread(target=import_plotting).start()


def _report(run: Run) -> None:
    """Write the report; a failure is a note."""
    try:
        write_report(run)
    except NflowError as error:
        tell(f"no report: {error}")
