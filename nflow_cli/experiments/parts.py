"""Kinds of runs: each is a folder here, whose modules have these names and functions, its parts."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, overload

from nflow_cli.config.schema import Config
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.summary import Course, Judged, Measure, RunSummary
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.npz import Shapes


class Data(Protocol):
    """Data of a run, or the density that it is fitted to; of training and of scores."""

    def load(self, config: Any) -> Any:
        """Data of a new run; ``None`` if the config holds all."""

    def again(self, run: Any) -> Any:
        """Data of a run, which must be unchanged."""

    def read(self, name: str) -> Any:
        """User data by which a trained run is scored."""

    def settled(self, config: Any, data: Any) -> Config:
        """Config resolved by the data."""
        ...

    def expect_fits(self, config: Any, data: Any) -> None:
        """Refuse a config that does not fit the data (``ConfigError``)."""


class Training(Protocol):
    """From a config to a saved model."""

    def run(self, config: Any, directory: RunDirectory, data: Any) -> Judged:
        """Train or resume in ``directory``, score and save."""
        ...

    def trial(self, config: Any, data: Any) -> Any:
        """:class:`~nflow_cli.training.budget.Cost` of a run, of kinds with ``--minutes``."""


class Scoring(Protocol):
    """From a model to its scores."""

    def evaluate(self, run: Any, data: Any, samples: int | None, seed: int) -> Judgement:
        """Score a trained model by fresh samples, ``None``: as many as the run's, or by data."""
        ...


class Report(Protocol):
    """Printed rows and pictures from scores; no Keras, and no Matplotlib until it draws.

    Attributes:
        SCHEMA: Schema of ``summary.json``.
        MEASURES: Scores in comparisons.
        COURSE: Training curve in comparisons.
        CURVES: Columns of ``metrics.csv`` in pictures; the first counts updates or epochs.
        FORMATS: Suffixes of files of samples.
        BESIDE: Suffixes of further files beside them.
        SAMPLES: Range of ``nflow evaluate --samples``; ``None`` without samples.
    """

    SCHEMA: ClassVar[type[RunSummary]]
    MEASURES: ClassVar[Sequence[Measure]]
    COURSE: ClassVar[Course]
    CURVES: ClassVar[Sequence[str]]
    FORMATS: ClassVar[Sequence[str]]
    BESIDE: ClassVar[Sequence[str]]
    SAMPLES: ClassVar[tuple[int, int] | None]

    def labels_of(self, config: Any) -> dict[str, Any]:
        """Summary's config entries beside flow, K and seed."""
        ...

    def warnings_of(self, config: Any, summary: Any) -> list[ScoreWarning]:
        """Warnings about the scores of a summary, one of ``SCHEMA`` here and below."""
        ...

    def rows_of(self, config: Any, summary: Any, warnings: Sequence[ScoreWarning]) -> Rows:
        """Printed scores."""
        ...

    def verdict_of(self, summary: Any, warnings: Sequence[ScoreWarning]) -> Rows:
        """Main scores and their baselines."""
        ...

    def subject_of(self, config: Any, summary: Any) -> str:
        """Name of the target or data set in comparisons."""
        ...

    def settings_of(self, config: Any, summary: Any) -> dict[str, str]:
        """Settings beside the config, in comparisons: text by key."""
        ...

    def shapes_of(self, config: Any) -> Shapes:
        """Shapes of the arrays in ``evaluation.npz``."""
        ...

    def inconsistency_of(self, config: Any, arrays: Mapping[str, Any], summary: Any) -> str:
        """Inconsistency between the files of the pictures and the config, or ""."""
        ...

    def figures_of(
        self,
        config: Any,
        arrays: Mapping[str, Any],
        metrics: Mapping[str, Any],
        summary: Summary,
    ) -> dict[str, Any]:
        """Pictures by name; ``summary``: its facts, and the warnings."""
        ...


class Loading(Protocol):
    """From a run to its model."""

    def load(self, run: Any) -> Any:
        """Trained model of a finished run."""

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None
    ) -> list[Path]:
        """Write ``n`` samples, at each row of ``given`` if any; return the paths."""
        ...


class Checks(Protocol):
    """From a run to its checks."""

    Checked: ClassVar[Any]


@overload
def part(config: Config, name: Literal["data"]) -> Data: ...
@overload
def part(config: Config, name: Literal["training"]) -> Training: ...
@overload
def part(config: Config, name: Literal["scoring"]) -> Scoring: ...
@overload
def part(config: Config, name: Literal["report"]) -> Report: ...
@overload
def part(config: Config, name: Literal["loading"]) -> Loading: ...
@overload
def part(config: Config, name: Literal["checks"]) -> Checks: ...
def part(config: Config, name: str) -> Any:
    """Part of the kind of a config."""
    return importlib.import_module(f"nflow_cli.experiments.{config.kind}.{name}")
