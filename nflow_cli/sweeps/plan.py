"""Sweeps: a grid of runs, each in a folder of its own."""

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nflow_cli.config import presets
from nflow_cli.config.presets import MAX_LABEL, Change, text_of
from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.schema import run_schemas
from nflow_cli.config.sweep_config import MAX_RUNS, SweepConfig
from nflow_cli.constants import RUN, SWEEP
from nflow_cli.errors import BusyError, ConfigError, RunDirectoryError
from nflow_cli.experiments.run import Run, plain_preset
from nflow_cli.runs.directory import CONFIG, LOCK, RunDirectory

CLAIM_SECONDS = 30  # seconds to wait for another process to claim a sweep's folder
MAX_NAME = 200  # bytes of a folder's name
MAX_STEM = 100  # letters of its first part
CHECKSUMS = "presets.json"  # of the presets of a sweep, which may change while it goes on


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: folder name, config, and notes for the user."""

    name: str
    config: RunConfig
    notes: tuple[str, ...]

    @property
    def work(self) -> float:
        """Estimated duration, in units that only runs of one kind share."""
        return self.config.work

    def is_finished(self, folder: Path) -> bool:
        """Whether the run has completed."""
        run = RunDirectory(folder).below(self.name)
        if not run.has(RUN):
            return False
        return RunDirectory.open(str(run.path)).read_json(RUN).get("status") == "completed"

    def part_done(self, folder: Path) -> float:
        """Share of updates done, in 0-0.9 (a tenth is left for scoring and drawing)."""
        with contextlib.suppress(RunDirectoryError, KeyError):
            rows = RunDirectory(folder / self.name).read_metrics()
            return min(0.9, float(next(iter(rows.values()))[-1]) / self.config.length)
        return 0.0

    def as_begun(self, folder: Path) -> "PlannedRun":
        """Run with the config in its folder, if any."""
        run = RunDirectory(folder).below(self.name)
        return replace(self, config=Run(run).config) if run.has(CONFIG) else self


def resolve(data: Mapping[str, Any], source: str, folder: Path) -> SweepConfig:
    """Validate a sweep and find its presets; relative paths start at ``folder``."""
    command = data.get("command")
    if command in list(run_schemas()):  # a list, as the value may be unhashable
        raise ConfigError(
            f"{source}: a preset of `nflow {command}`, not of sweep; --preset takes it"
        )
    sweep = presets.validate(data, source, {"sweep": SweepConfig})
    try:
        names = [_absolute(name, folder) for name in sweep.presets]
    except ConfigError as error:
        raise ConfigError(f"{source}: presets: {error}") from None
    return sweep.model_copy(update={"presets": names})


def _absolute(preset: str, folder: Path) -> str:
    if preset in presets.shipped_presets():
        return preset
    beside = folder / preset
    return str(presets.find_preset(str(beside) if beside.is_file() else preset).resolve())


def plan(sweep: SweepConfig, source: str) -> list[PlannedRun]:
    """Runs of a sweep, each with a valid config and a unique name."""
    paths = [presets.find_preset(name) for name in sweep.presets]
    stems = _labels([_stem(path, sweep) for path in paths], MAX_STEM)
    axes = _axes(sweep)
    count = math.prod(len(axis) for axis in [paths, *axes])
    if count > MAX_RUNS:
        raise ConfigError(f"{source}: expected at most {MAX_RUNS:,} runs. Received: {count:,}")
    runs = []
    for stem, path in zip(stems, paths):
        preset = presets.read_preset(path)
        preset_label = presets.preset_label(path)
        for point in itertools.product(*axes):
            name = stem + "".join(label for label, _ in point)
            if len(name.encode()) > MAX_NAME:
                raise ConfigError(
                    f"{source}: folder name longer than {MAX_NAME} bytes: {name:.60}..."
                )
            changes = [*_set(sweep), *(change for _, change in point)]
            try:
                settings = presets.resolve(preset, preset_label, changes, run_schemas())
            except ConfigError as error:
                raise ConfigError(f"{source}: {name}: {error}") from None
            settings, note = settings.in_memory
            runs.append(PlannedRun(name, settings, (note,) if note else ()))
    return runs


def _axes(sweep: SweepConfig) -> list[list[tuple[str, Change]]]:
    """Axes of the grid: of each varied key the changes, with their part of a run's name."""
    varied = [*sorted(sweep.vary.items()), ("seed", sweep.seeds)]
    axes = []
    for key, values in varied:
        changes = [
            (f",{key}={label}", Change(f"vary {key}", key, value))
            for label, value in zip(_labels(values), values)
        ]
        if changes:
            axes.append(changes)
    return axes


def _set(sweep: SweepConfig) -> Iterator[Change]:
    return (Change(f"set {key}", key, value) for key, value in sweep.set.items())


def _stem(path: Path, sweep: SweepConfig) -> str:
    """Preset's name, or one of the keys that are not varied: ``u1-planar``."""
    try:
        settings = presets.resolve(presets.read_preset(path), "", list(_set(sweep)), run_schemas())
    except ConfigError:  # reported with the first of the runs
        return path.stem
    if any(presets.touches(sweep.vary, key) for key in presets.EXPERIMENT):
        return presets.made_name(settings, sweep.vary) or settings.command
    return presets.run_name(settings, path)


def overlap(seeds: Sequence[int], restarts: int) -> str:
    """Warning if runs with these seeds share restarts, else "".

    A run of R restarts trains with its seed and the next R - 1.
    """
    if all(later - seed >= restarts for seed, later in itertools.pairwise(sorted(seeds))):
        return ""
    return (
        f"seeds less than {restarts} apart share some of the {restarts} restarts of a run, so the "
        f"spread over them is too small; --seeds FIRST:END:{restarts} are apart"
    )


def _labels(values: Sequence[object], longest: int = MAX_LABEL) -> list[str]:
    """Label of each value: its text if all are short and distinct, else its number."""
    texts = [text_of(value) for value in values]
    are_short = all(0 < len(text) <= longest for text in texts)
    if are_short and len({text.casefold() for text in texts}) == len(texts):
        return texts
    return [str(n) for n in range(1, len(values) + 1)]


def claim_beside_others(
    folder: RunDirectory, sweep: SweepConfig, patience: float = CLAIM_SECONDS
) -> None:
    """Call :func:`claim` where other processes may do so at the same time."""
    deadline = time.monotonic() + patience
    while not folder.has(SWEEP):
        try:
            with folder.locked("sweep"):
                claim(folder, sweep)
        except BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)
    claim(folder, sweep)


def claim(folder: RunDirectory, sweep: SweepConfig) -> None:
    """Write ``sweep.yaml``, or check that the folder holds the same sweep of the same presets."""
    path = folder.path / SWEEP
    checksums = checksums_of(sweep)
    if folder.has(SWEEP):
        data = plain_preset(folder, SWEEP)
        recorded = presets.validate(data, str(path), {"sweep": SweepConfig})
        if recorded.model_copy(update={"description": sweep.description}) != sweep:
            raise RunDirectoryError(f"{path}: another sweep; --output takes a new folder")
        if folder.read_json(CHECKSUMS) != checksums:
            raise RunDirectoryError(
                f"{folder.path}: a preset has changed since the sweep began; --output takes a new "
                "folder"
            )
    elif any(entry.name not in (LOCK, CHECKSUMS) for entry in folder.path.iterdir()):
        raise RunDirectoryError(f"{folder.path}: not empty; --output takes a new folder")
    else:
        folder.write_json(CHECKSUMS, checksums)
        folder.write_text(SWEEP, presets.dump(sweep))


def checksums_of(sweep: SweepConfig) -> dict[str, str]:
    """SHA-256 of the content of each preset, but for its description."""
    paths = {name: presets.find_preset(name) for name in sweep.presets}
    return {
        name: presets.fingerprint({**presets.read_preset(path), "description": None})
        for name, path in paths.items()
    }
