"""An opened run, and what the modules of its kind have."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from nflow_cli.backend.start import start_keras
from nflow_cli.config import presets
from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.schema import run_schemas
from nflow_cli.config.strict import LARGEST
from nflow_cli.constants import RUN
from nflow_cli.errors import ConfigError, RunDirectoryError
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.summary import (
    Course,
    Fitted,
    Judgement,
    Measure,
    Rows,
    RunSummary,
    Summary,
)
from nflow_cli.registry import RUN_KINDS, resolve
from nflow_cli.runs.directory import (
    CONFIG,
    EVALUATION,
    METRICS,
    MODEL,
    SUMMARY,
    WEIGHTS,
    RunDirectory,
)
from nflow_cli.runs.npz import Shapes
from nflow_cli.text import command_line

if TYPE_CHECKING:  # which loads batches of images
    from nflow_cli.training.budget import Cost

ConfigT = TypeVar("ConfigT", bound=RunConfig)
ConfigT_contra = TypeVar("ConfigT_contra", bound=RunConfig, contravariant=True)
MOST_ROWS = 2_000  # of metrics.csv that are drawn; of more, means


def plain_preset(directory: RunDirectory, name: str) -> dict[str, Any]:
    """``config.yaml`` or ``sweep.yaml`` of a folder, as a plain mapping."""
    content = directory.read(name, presets.MAX_BYTES)
    return presets.parse_preset(content, str(directory.path / name))


class Run:
    """Run directory, opened: each of its files is read once, when asked for."""

    def __init__(self, directory: RunDirectory, config: RunConfig | None = None):
        self.directory = directory
        if config is not None:
            self.config = config

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Run":
        """Open an existing run; a ``RunDirectoryError`` if it is none."""
        name = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
        return cls(RunDirectory.open(name))

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.directory.path

    @cached_property
    def config(self) -> Any:
        """Resolved preset."""
        data = plain_preset(self.directory, CONFIG)
        return presets.validate(data, str(self.path / CONFIG), run_schemas())

    @property
    def kind(self) -> "RunKind[Any]":
        """Kind of it."""
        return kind_of(self.config)

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``."""
        return self.directory.read_json(RUN)

    @cached_property
    def summary(self) -> Any:
        """``summary.json``, by the schema of its kind."""
        schema = self.kind.report.SCHEMA
        data = self.directory.read_json(SUMMARY)
        try:
            return presets.checked(schema, data, f"{self.path / SUMMARY}: damaged")
        except ConfigError as error:
            raise RunDirectoryError(str(error)) from None

    @property
    def facts(self) -> dict[str, Any]:
        """Figures of ``summary.json`` by key."""
        return self.summary.facts

    @cached_property
    def warnings(self) -> list[ScoreWarning]:
        """Warnings about the scores."""
        return self.kind.report.warnings_of(self.config, self.summary)

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """Columns of ``metrics.csv``."""
        return self.directory.read_metrics()

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """``evaluation.npz``."""
        shapes = self.kind.report.shapes_of(self.config)
        return self.directory.read_arrays(EVALUATION, shapes)

    @property
    def shown_arrays(self) -> dict[str, np.ndarray]:
        """:attr:`arrays`, if they are of its columns and kinds."""
        report = self.kind.report
        if wrong := report.inconsistency_of(self.config, self.arrays, self.summary):
            raise RunDirectoryError(f"{self.path}/{wrong}")
        return self.arrays

    @cached_property
    def data(self) -> Any:
        """Data that it was trained on, unchanged."""
        return self.kind.data.reopen(self)

    @cached_property
    def trained(self) -> Any:
        """Trained model."""
        return self.kind.loading.load(self)

    def curves(self, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Columns of ``metrics.csv``, averaged if long; those beyond ``LARGEST`` are not finite."""
        for name in names:
            if name not in self.metrics:
                raise RunDirectoryError(f"{self.path / METRICS}: damaged: expected a column {name}")
        steps = self.metrics[names[0]]
        starts = np.arange(0, len(steps), math.ceil(len(steps) / MOST_ROWS))
        ends = np.append(starts[1:], len(steps))
        means = {
            name: np.add.reduceat(np.where(np.abs(values) < LARGEST, values, np.nan), starts)
            / (ends - starts)
            for name, values in self.metrics.items()
        }
        return {**means, names[0]: steps[ends - 1]}

    # Its status.

    @property
    def model_file(self) -> str:
        """File of the trained weights."""
        return MODEL if self.config.is_of_flows else WEIGHTS

    @property
    def resume_command(self) -> str:
        """Command that resumes it."""
        return command_line(["nflow", "resume", str(self.path), *self.config.resume_arguments])

    def expect_trained(self) -> None:
        """Check that training has ended; else say what resumes it."""
        if self.directory.has(self.model_file) or self.record.get("status") == "completed":
            return
        counter = self.kind.report.CURVES[0]
        length = 0
        with suppress(RunDirectoryError):  # no row yet
            length = max(0, int(self.metrics[counter][-1]))
        resume = self.resume_command
        if self.record.get("status") == "diverged":
            state = "diverged"
            remedy = "train again with a smaller train.learning_rate"
        elif self.directory.is_busy:
            state = "still in training"
            remedy = "it has one at its end"
        else:
            state = "interrupted"
            remedy = f"to go on: {resume}; to end it there: {resume} --finish"
        progress = f"after {length:,} of {self.config.length:,} {counter}s"
        raise RunDirectoryError(
            f"{self.path}: {state} {progress}, so it has no model yet; {remedy}"
        )


def load(path: str | os.PathLike[str]) -> Any:
    """Load the trained density or VAE of a run directory.

    Raises:
        NflowError: The run has no model yet, or a file of it is damaged.
    """
    run = Run.open(path)
    run.expect_trained()
    if run.config.is_of_flows:
        start_keras()
    return run.trained


class RunData(Protocol):
    """Data of a run, or the density that it is fitted to."""

    @property
    def notes(self) -> Sequence[str]:
        """Lines printed before training."""
        ...

    def record(self) -> Mapping[str, Any] | None:
        """Entry of ``run.json``, if any."""
        ...


class Data(Protocol[ConfigT]):
    """Data of a run, or the density that it is fitted to; of training and of scores."""

    def load(self, config: ConfigT, /) -> RunData:
        """Data of a new run."""
        ...

    def reopen(self, run: Run, /) -> RunData:
        """Data of a run, which must be unchanged."""
        ...

    def read(self, name: str, /) -> Any:
        """User data by which a trained run is scored."""

    def settled_config(self, config: ConfigT, data: Any, /) -> ConfigT:
        """Config resolved by the data."""
        ...


class RowData(Data[ConfigT], Protocol[ConfigT]):
    """Data of a run in rows, of which fewer can be taken."""

    def sampled(self, config: ConfigT, data: Any, share: float, /) -> tuple[ConfigT, RunData]:
        """Config of a share of the rows, drawn at random, and these."""
        ...


class Training(Protocol[ConfigT_contra]):
    """From a config to a saved model."""

    def train(self, config: ConfigT_contra, directory: RunDirectory, data: Any, /) -> Fitted:
        """Train or resume in ``directory``, score and save."""
        ...


class Trial(Protocol[ConfigT_contra]):
    """From a config to the cost of its run."""

    def trial(self, config: ConfigT_contra, data: Any, /) -> "Cost":
        """Seconds that a run costs."""
        ...


class Scoring(Protocol):
    """From a model to its scores."""

    def evaluate(self, run: Run, data: Any, samples: int | None, seed: int, /) -> Judgement:
        """Score a trained model by fresh samples, ``None``: as many as the run's, or by data."""
        ...


class Report(Protocol[ConfigT_contra]):
    """Printed rows and pictures from scores; no Keras, and no Matplotlib until it draws."""

    @property
    def SCHEMA(self) -> type[RunSummary]:
        """Schema of ``summary.json``."""
        ...

    @property
    def MEASURES(self) -> Sequence[Measure]:
        """Scores in comparisons."""
        ...

    @property
    def COURSE(self) -> Course:
        """Training curve in comparisons."""
        ...

    @property
    def CURVES(self) -> Sequence[str]:
        """Columns of ``metrics.csv`` in pictures; the first counts updates or epochs."""
        ...

    @property
    def FORMATS(self) -> Sequence[str]:
        """Suffixes of files of samples."""
        ...

    @property
    def BESIDE(self) -> Sequence[str]:
        """Suffixes of further files beside them."""
        ...

    @property
    def SAMPLES(self) -> tuple[int, int] | None:
        """Range of ``nflow evaluate --samples``; ``None`` without samples."""
        ...

    def labels_of(self, config: ConfigT_contra, /) -> dict[str, Any]:
        """Summary's config entries beside flow, K and seed."""
        ...

    def warnings_of(self, config: ConfigT_contra, summary: Any, /) -> list[ScoreWarning]:
        """Warnings about the scores of a summary, one of ``SCHEMA`` here and below."""
        ...

    def rows_of(
        self, config: ConfigT_contra, summary: Any, warnings: Sequence[ScoreWarning], /
    ) -> Rows:
        """Printed scores."""
        ...

    def verdict_of(self, summary: Any, warnings: Sequence[ScoreWarning], /) -> Rows:
        """Main scores and their baselines."""
        ...

    def compared_of(self, config: ConfigT_contra, summary: Any, /) -> tuple[str, dict[str, str]]:
        """Name of the target or data set, and settings beside the config, in comparisons."""
        ...

    def shapes_of(self, config: ConfigT_contra, /) -> Shapes:
        """Shapes of the arrays in ``evaluation.npz``."""
        ...

    def inconsistency_of(
        self, config: ConfigT_contra, arrays: Mapping[str, np.ndarray], summary: Any, /
    ) -> str:
        """Inconsistency between the files of the pictures and the config, or ""."""
        ...

    def figures_of(
        self,
        config: ConfigT_contra,
        arrays: Mapping[str, np.ndarray],
        metrics: Mapping[str, np.ndarray],
        summary: Summary,
    ) -> dict[str, Any]:
        """Pictures by name; ``summary``: its facts, and the warnings."""
        ...


class Loading(Protocol):
    """From a run to its model."""

    def load(self, run: Run, /) -> Any:
        """Trained model of a finished run."""

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None, /
    ) -> list[Path]:
        """Write ``n`` samples, at each row of ``given`` if any; return the paths."""
        ...


class Checks(Protocol):
    """From a run to its checks."""

    @property
    def Checked(self) -> Any:
        """Run with its checks."""
        ...


class RunKind(Generic[ConfigT]):
    """Kind of run: its modules, each imported when it is asked for."""

    @property
    def data(self) -> Data[ConfigT]:
        """Module of its data."""
        raise NotImplementedError

    @property
    def row_data(self) -> RowData[ConfigT]:
        """Module of its data, of kinds whose data are rows."""
        raise NotImplementedError

    @property
    def training(self) -> Training[ConfigT]:
        """Module of its training."""
        raise NotImplementedError

    @property
    def trial(self) -> Trial[ConfigT]:
        """Module of its trial, of kinds with ``--minutes``."""
        raise NotImplementedError

    @property
    def scoring(self) -> Scoring:
        """Module of its scores."""
        raise NotImplementedError

    @property
    def report(self) -> Report[ConfigT]:
        """Module of its printed scores and pictures."""
        raise NotImplementedError

    @property
    def loading(self) -> Loading:
        """Module of its trained models."""
        raise NotImplementedError

    @property
    def checks(self) -> Checks:
        """Module of its checks."""
        raise NotImplementedError


def kind_of(config: RunConfig) -> RunKind[Any]:
    """Kind of a run."""
    return resolve(RUN_KINDS[config.kind])
