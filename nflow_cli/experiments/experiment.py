"""The base class of experiments. Heavy imports stand inside its methods."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from nflow_cli.config.schema import Config
from nflow_cli.errors import ConfigError, RunDirectoryError
from nflow_cli.evaluation import warnings as cautions
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.summary import Fitted, Result, RunSummary
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import MODEL, RUN, SUMMARY, RunDirectory
from nflow_cli.text import command_line

if TYPE_CHECKING:
    from nflow_cli.experiments.checked_run import CheckedRun


FLOWS_EXPECTED = "--flow-at, --animate: expected flows of two numbers. Received: a run of"


class Measure(NamedTuple):
    """A score of ``summary.json`` as tables show it.

    Runs are ranked by the first ``judges`` score that they have: lower is better, or higher where
    ``sign`` is -1. ``has_spread``: whether tables show its spread over seeds.
    """

    key: str
    name: str
    unit: str
    decimals: int
    judges: bool = False
    has_spread: bool = True
    sign: int = 1


class Course(NamedTuple):
    """The training curve: ``sign`` times a column of ``metrics.csv``, and its name.

    ``otherwise``: its name in a run whose summary lacks that score.
    """

    column: str
    name: str
    sign: int = 1
    otherwise: str = ""


class Identity(NamedTuple):
    """Identity of a line in a comparison: subject, flow, and K."""

    subject: str
    flow: str
    k: int


class Experiment(ABC):
    """A config with its data, training, scores and pictures; it dispatches to its folder's modules.

    Attributes:
        config: The resolved preset.
        column: Column of ``metrics.csv`` that counts updates or epochs.
        formats: Suffixes of files of samples.
        measures: Scores by which runs are compared.
        course: The training curve.
        shapes: Shapes of the arrays in ``evaluation.npz``.
        columns: Columns of ``metrics.csv`` in pictures.
        summary_type: Schema of ``summary.json``.
        samples: Range of ``nflow evaluate --samples``; ``None`` without samples.
        model_file: File of the trained weights.
        needs_tensorflow: Whether the trained model runs on TensorFlow; else on NumPy.
        scores_rows: Whether rows can be written with their scores.
        predicts: Whether one column can be predicted from the others, and odd rows explained.
        takes_density: Whether a user's function is fitted.
    """

    column: ClassVar[str]
    formats: ClassVar[Sequence[str]]
    measures: ClassVar[Sequence[Measure]]
    course: ClassVar[Course]
    shapes: ClassVar[Shapes]
    columns: ClassVar[Sequence[str]]
    summary_type: ClassVar[type[RunSummary]]
    samples: ClassVar[tuple[int, int] | None]
    model_file: ClassVar[str] = MODEL
    needs_tensorflow: ClassVar[bool] = True
    scores_rows: ClassVar[bool] = False
    predicts: ClassVar[bool] = False
    takes_density: ClassVar[bool] = False

    def __init__(self, config: Config):
        self.config = config

    # Before training.

    @property
    def length(self) -> int:
        """Number of updates, or epochs."""
        return self.config.length

    @property
    def given_example(self) -> str:
        """Example values of the given columns as text; "" without any."""
        return ""

    @abstractmethod
    def data(self, run: RunDirectory | None = None) -> Any:
        """Load the data, or those of a run; ``None`` without data.

        Raises:
            RunDirectoryError: The run does not record them.
            DataError: They cannot be read, or have changed since the run began.
        """

    def density_again(self, place: str) -> Any:
        """Load the user's log-density ``FILE.py:name`` of a run.

        Raises:
            NflowError: It has changed, or cannot be read or fitted.
        """
        raise NotImplementedError

    def settled(self, data: Any) -> Config:
        """Return the config with all that depends on the data resolved."""
        return self.config

    def settled_like(self, written: Config) -> Config:
        """Return the config resolved as that of a run."""
        return self.config

    @abstractmethod
    def expect_fits(self, data: Any) -> None:
        """Check the config against the data.

        Raises:
            ConfigError: It does not fit them.
        """

    def notes_of_data(self, data: Any) -> Sequence[str]:
        """Return notes on data left out, a line each."""
        return []

    @property
    def resuming(self) -> Sequence[str]:
        """Arguments of ``nflow resume`` beside the run."""
        return []

    def way_on(self, run: RunDirectory) -> str:
        """Return the command that resumes a run."""
        return f"to go on: {command_line(['nflow', 'resume', str(run.path), *self.resuming])}"

    def expect_trained(self, run: RunDirectory) -> None:
        """Check that a run has a trained model, without TensorFlow.

        Raises:
            RunDirectoryError: Training has not ended; with the command that resumes it.
        """
        status = "completed" if run.has(self.model_file) else run.read_json(RUN).get("status")
        if status == "completed":
            return
        made = 0
        with suppress(RunDirectoryError):  # no row yet
            made = max(0, int(run.read_metrics()[self.column][-1]))
        how, way_on = "interrupted", self.way_on(run)
        if status == "diverged":
            how, way_on = "diverged", "train again with a smaller train.learning_rate"
        elif run.is_busy:
            how, way_on = "still in training", "it has one at its end"
        far = f"after {made:,} of {self.length:,} {self.column}s"
        raise RunDirectoryError(f"{run.path}: {how} {far}, so it has no model yet; {way_on}")

    # Training.

    @abstractmethod
    def fit(self, run: RunDirectory, data: Any) -> Fitted:
        """Train or resume, score, and save the model."""

    def train(self, run: RunDirectory, data: Any = None) -> Result:
        """Train or resume in ``run``; write model, arrays and summary."""
        fitted = self.fit(run, data)
        run.write_evaluation(fitted.arrays)
        facts = fitted.summary.facts
        warnings = self.warnings(facts)
        facts["warnings"] = cautions.records(warnings)
        run.write_json(SUMMARY, facts)
        return Result(facts, warnings, fitted.arrays)

    @abstractmethod
    def load(self, run: RunDirectory) -> Any:
        """Load the trained model."""

    # Its scores.

    def warnings(self, summary: Summary) -> list[ScoreWarning]:
        """Return the warnings about the scores of a summary; missing scores give none."""
        rules = (cautions.dominated, cautions.mass, cautions.few_rows)
        every = (self.ruined(summary), *(rule(summary) for rule in rules))
        return [warning for warning in every if warning is not None]

    @abstractmethod
    def ruined(self, summary: Summary) -> ScoreWarning | None:
        """Warn of a fit that is worse than its baseline."""

    @abstractmethod
    def labels(self) -> dict[str, Any]:
        """Return the summary's config entries beside flow, K and seed."""

    @abstractmethod
    def rows(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Return the printed scores."""

    def verdict(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Return the main score and its baseline."""
        judges = [(m, cautions.number(summary, m.key)) for m in self.measures if m.judges]
        return [
            (m.name, cautions.marked(f"{value:.{m.decimals}f} {m.unit}", warnings, m.key))
            for m, value in judges
            if value is not None
        ]

    @abstractmethod
    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        """Score a trained model by fresh samples or other data.

        Args:
            trained: The model of :meth:`load`.
            data: Of :meth:`data` or :meth:`read_data`.
            samples: Sample size; ``None``: the run's.
            seed: Of the samples.
            recorded: The summary of the run.
        """

    @abstractmethod
    def read_data(self, name: str) -> Any:
        """Read user data by which a trained run is scored."""

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        """Write rows with their scores, and latents on request; return the judgement."""
        raise NotImplementedError

    def write_explained(self, trained: Any, data: Any, held_out: Any, path: Path) -> Judgement:
        """Write rows with the surprise of each cell, and p-values among the held-out data of
        :meth:`data`; return scores and the oddest rows.
        """
        raise NotImplementedError

    def write_predictions(
        self, trained: Any, data: Any, path: Path, target: str | None, quantiles: Sequence[float]
    ) -> Judgement:
        """Write rows with the distribution of one column given the others; return scores."""
        raise NotImplementedError

    @abstractmethod
    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        """Write ``n`` samples, at each row of ``given`` if any; return the paths.

        Raises:
            DataError: The format of the file cannot hold the samples.
        """

    def write_resampled(
        self, trained: Any, data: Any, n: int, path: Path, seed: int
    ) -> tuple[list[Path], str]:
        """Write ``n`` importance-resampled draws; return the paths and a note."""
        raise NotImplementedError

    # Side by side with others.

    @abstractmethod
    def identity(self, summary: Summary) -> Identity:
        """Return the identity of the run in a comparison."""

    def identity_of(self, subject: str) -> Identity:
        """Return the identity of a run on a subject of that name."""
        k = self.config.flow.k if self.config.flow else 1
        return Identity(subject, self.model_text, 0 if k is None else k)

    @property
    def model_text(self) -> str:
        """The model as text."""
        return self.config.flow.text if self.config.flow else ""

    def settings(self, summary: Summary) -> dict[str, str]:
        """Return settings beside the config, as text by key."""
        return {}

    @property
    def target_text(self) -> str:
        """The target with its parameters, as text; "" without one."""
        return ""

    # Its pictures and checks.

    def inconsistency(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        """Return an inconsistency between the files of the pictures and the config, or ""."""
        return ""

    @abstractmethod
    def draw(
        self, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
    ) -> dict[str, Any]:
        """Return the pictures by name."""

    def flows_in_the_plane(self, run: RunDirectory) -> Any:
        """Load a 2-D density whose flows can be drawn.

        Raises:
            ConfigError: The run has none.
        """
        raise ConfigError(f"{FLOWS_EXPECTED} {self.config.command}, which draws none of its flows")

    @abstractmethod
    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        """Return the checks of a run."""


def checksum_of_data(summary: Summary) -> dict[str, str]:
    """Return the checksum of the data, as a setting."""
    return {"data.sha256": summary["data"]["sha256"][:12]}
