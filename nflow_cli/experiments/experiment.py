"""Base class of experiments. Heavy imports stand inside its methods."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from nflow_cli.config.schema import Config
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation import warnings as cautions
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.summary import Fitted, Result, RunSummary
from nflow_cli.registry import resolve
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.checkpoints import MANIFEST
from nflow_cli.runs.directory import CHECKPOINTS, MODEL, RUN, SUMMARY, RunDirectory
from nflow_cli.text import command_line


class Measure(NamedTuple):
    """Score of ``summary.json`` in tables.

    Runs are ranked by the first known ``judges`` score: lower is better, or higher if ``sign`` is
    -1. ``has_spread``: whether tables show its spread over seeds.
    """

    key: str
    name: str
    unit: str
    decimals: int
    judges: bool = False
    has_spread: bool = True
    sign: int = 1


class Course(NamedTuple):
    """Training curve: ``sign`` times a column of ``metrics.csv``, and its name.

    ``otherwise``: its name if log Z is unknown.
    """

    column: str
    name: str
    sign: int = 1
    otherwise: str = ""


Rule = Callable[[Summary], ScoreWarning | None]


class Identity(NamedTuple):
    """Identity of a line in a comparison: subject, flow, and K."""

    subject: str
    flow: str
    k: int


class Experiment(ABC):
    """Config with its data, training, scores and pictures.

    Attributes:
        config: Resolved preset.
        column: Column of ``metrics.csv`` that counts updates or epochs.
        formats: Suffixes of files of samples.
        beside: Suffixes of further files beside them.
        measures: Scores in comparisons.
        course: Training curve.
        shapes: Shapes of the arrays in ``evaluation.npz``.
        columns: Columns of ``metrics.csv`` in pictures.
        summary_type: Schema of ``summary.json``.
        samples: Range of ``nflow evaluate --samples``; ``None`` without samples.
        model_file: File of the trained weights.
        needs_tensorflow: Whether the model runs on TensorFlow; else on NumPy.
        fitting: ``module:function`` that trains or resumes, scores and saves.
        trying: ``module:function`` that builds the model and measures the cost of a run.
        built: Model of a trial; ``None``: to be built.
        drawing: ``module:function`` of the pictures.
        checking: ``module:class`` of the checks of a run.
        printed: Module of printed scores, with ``rows_of`` and ``verdict_of``.
        rules: Functions of a summary that return a warning or ``None``.
    """

    column: ClassVar[str]
    formats: ClassVar[Sequence[str]]
    beside: ClassVar[Sequence[str]] = ()
    measures: ClassVar[Sequence[Measure]]
    course: ClassVar[Course]
    shapes: ClassVar[Shapes]
    columns: ClassVar[Sequence[str]]
    summary_type: ClassVar[type[RunSummary]]
    samples: ClassVar[tuple[int, int] | None]
    model_file: ClassVar[str] = MODEL
    needs_tensorflow: ClassVar[bool] = True
    fitting: ClassVar[str]
    trying: ClassVar[str]
    drawing: str
    checking: ClassVar[str]
    printed: ClassVar[Any]
    rules: Sequence[Rule]

    def __init__(self, config: Config, built: Any = None):
        self.config, self.built = config, built

    # Before training.

    @property
    def given_example(self) -> str:
        """Example values of the given columns as text; "" without any."""
        return ""

    @abstractmethod
    def data(self, run: RunDirectory | None = None) -> Any:
        """Load the data, or those of a run, which must be unchanged; ``None`` without data."""

    def settled(self, data: Any) -> Config:
        """Config resolved by the data."""
        return self.config

    @abstractmethod
    def expect_fits(self, data: Any) -> None:
        """Check the config against the data; a ``ConfigError`` if it does not fit."""

    def notes_of_data(self, data: Any) -> Sequence[str]:
        """Notes on data left out, a line each."""
        return []

    @property
    def resuming(self) -> Sequence[str]:
        """Arguments of ``nflow resume`` beside the run."""
        return []

    def way_on(self, run: RunDirectory) -> str:
        """Command that resumes a run."""
        return f"to go on: {command_line(['nflow', 'resume', str(run.path), *self.resuming])}"

    def _status(self, run: RunDirectory) -> Any:
        return "completed" if run.has(self.model_file) else run.read_json(RUN).get("status")

    def is_interrupted(self, run: RunDirectory) -> bool:
        """Whether training stopped before its end, and left a checkpoint to resume from."""
        stopped = self._status(run) in ("interrupted", "running") and not run.is_busy
        return stopped and run.has(f"{CHECKPOINTS}/{MANIFEST}")

    def expect_weights(self, run: RunDirectory) -> None:
        """Check that there are weights to load, of an interrupted training too."""
        if not self.is_interrupted(run):
            self.expect_trained(run)

    def loads_tensorflow(self, run: RunDirectory) -> bool:
        """Whether loading a run needs TensorFlow."""
        return self.needs_tensorflow or self.is_interrupted(run)

    def expect_trained(self, run: RunDirectory) -> None:
        """Check that training has ended, without TensorFlow; else say what resumes it."""
        status = self._status(run)
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
        far = f"after {made:,} of {self.config.length:,} {self.column}s"
        raise RunDirectoryError(f"{run.path}: {how} {far}, so it has no model yet; {way_on}")

    # Training.

    def fit(self, run: RunDirectory, data: Any = None) -> Fitted:
        """Train or resume, score, and save the model."""
        model = {} if self.built is None else {"built": self.built}
        return resolve(self.fitting)(self.config, run, data, **model)

    def trial(self, data: Any) -> Any:
        """:class:`~nflow_cli.training.budget.Trial` of a run."""
        return resolve(self.trying)(self.config, data)

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
        """Load the trained model; of an interrupted run as it is so far, with a warning."""

    def load_weights(
        self, run: RunDirectory, model: Any, arguments: Mapping[str, Any], dim: int | None = None
    ) -> None:
        """Load the weights of a built model, of whose constructor ``arguments`` are."""
        from nflow_cli.experiments import interrupted
        from nflow_cli.runs import model_file

        if self.is_interrupted(run):
            interrupted.load_weights(self, run, model)
        else:
            model_file.load_weights(run, model, arguments, dim)

    # Its scores.

    def warnings(self, summary: Summary) -> list[ScoreWarning]:
        """Warnings about the scores of a summary; missing scores give none."""
        return [warning for rule in self.rules if (warning := rule(summary)) is not None]

    @abstractmethod
    def labels(self) -> dict[str, Any]:
        """Summary's config entries beside flow, K and seed."""

    def rows(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Printed scores."""
        return self.printed.rows_of(summary, self.config.length, warnings)

    def verdict(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Main scores and their baselines."""
        return self.printed.verdict_of(summary, warnings)

    @abstractmethod
    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        """Score a trained model by fresh samples or other data.

        ``samples`` ``None``: the run's; ``recorded``: its summary.
        """

    @abstractmethod
    def read_data(self, name: str) -> Any:
        """Read user data by which a trained run is scored."""

    @abstractmethod
    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        """Write ``n`` samples, at each row of ``given`` if any; return the paths."""

    # Side by side with others.

    def identity(self, summary: Summary) -> Identity:
        """Identity of the run in a comparison."""
        return self.identity_of(self.config.subject)

    def identity_of(self, subject: str) -> Identity:
        """Identity of a run on a subject of that name."""
        return Identity(subject, self.config.model_text, self.config.k)

    def settings(self, summary: Summary) -> dict[str, str]:
        """Settings beside the config, as text by key."""
        return {}

    @property
    def target_text(self) -> str:
        """Target with its parameters, as text; "" without one."""
        return ""

    def log_evidence(self, summary: Summary) -> tuple[float | None, float | None]:
        """Estimate of log Z in nats, and its standard error; ``None`` if unknown."""
        return None, None

    # Its pictures and checks.

    def inconsistency(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        """Inconsistency between the files of the pictures and the config, or ""."""
        return ""

    def draw(
        self, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
    ) -> dict[str, Any]:
        """Pictures by name."""
        return resolve(self.drawing)(arrays, metrics, summary)

    @property
    def undrawn(self) -> str:
        """Why its flows cannot be drawn in the plane; "" if they can."""
        return "none; `nflow fit TABLE --flow planar` fits some"


def checksum_of_data(summary: Summary) -> dict[str, str]:
    """Checksum of the data, as a setting."""
    return {"data.sha256": summary["data"]["sha256"][:12]}
