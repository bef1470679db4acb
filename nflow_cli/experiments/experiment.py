"""What is asked of an experiment, whichever it is. Heavy imports stand inside its methods."""

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
    """A score of ``summary.json``: its key, its name in tables, its unit, and its decimals.

    A run is judged by the first ``judges`` that it has, the lower the better, or the higher where
    ``sign`` is -1; these are drawn. Tables tell the spread of all but speed.
    """

    key: str
    name: str
    unit: str
    decimals: int
    judges: bool = False
    has_spread: bool = True
    sign: int = 1


class Course(NamedTuple):
    """What the course of a training is followed by: a column of ``metrics.csv``, and its name.

    The values are those of the column, or of a ``sign`` of -1 their negatives. ``otherwise`` is
    their name in a run whose summary has no such score, if that is another.
    """

    column: str
    name: str
    sign: int = 1
    otherwise: str = ""


class Identity(NamedTuple):
    """What a line of a comparison is of: what is trained on, the flow, and K."""

    subject: str
    flow: str
    k: int


class Experiment(ABC):
    """A config, and what becomes of it from its data to its pictures.

    It dispatches: the work stands in the modules of its folder.

    Attributes:
        config: The resolved preset.
        column: Of ``metrics.csv``, that counts updates or epochs.
        formats: Endings of the files that samples are written to.
        measures: The scores that runs are compared by.
        course: What the course of its training is followed by.
        shapes: Of the arrays in ``evaluation.npz``.
        columns: Of ``metrics.csv``, that pictures are drawn from.
        summary_type: Of the figures in ``summary.json``.
        samples: The least and the greatest number of samples that ``nflow evaluate`` takes;
            ``None`` where it takes none.
        model_file: What holds the weights that were trained.
        needs_tensorflow: Whether what was trained is computed by TensorFlow; else by NumPy alone.
        scores_rows: Whether rows of data can be written with their scores.
        predicts: Whether one column can be predicted from the others.
        takes_density: Whether what is fitted may be a function that the command line names.
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
        """Values of given columns that samples may be drawn at, as text; "" where none are."""
        return ""

    @abstractmethod
    def data(self, run: RunDirectory | None = None) -> Any:
        """Load what is trained on, or what ``run`` was trained on; ``None`` of a target.

        Raises:
            RunDirectoryError: The run does not say what it was.
            DataError: It cannot be read, or is something else than when the run began.
        """

    def density_again(self, place: str) -> Any:
        """Load the function that a run was fitted to, ``FILE.py:name``, and see that it is that.

        Raises:
            NflowError: It is another one, or cannot be read or fitted.
        """
        raise NotImplementedError

    def settled(self, data: Any) -> Config:
        """Return the config with all written out that depends on the data."""
        return self.config

    def settled_like(self, written: Config) -> Config:
        """Return the config with what depends on the data as that of a run has it."""
        return self.config

    @abstractmethod
    def expect_fits(self, data: Any) -> None:
        """See that the training fits the data.

        Raises:
            ConfigError: It does not.
        """

    def notes_of_data(self, data: Any) -> Sequence[str]:
        """Return what was left out of the data, a line each."""
        return []

    @property
    def resuming(self) -> Sequence[str]:
        """The arguments of `nflow resume`, beside the run, that go on with a training."""
        return []

    def way_on(self, run: RunDirectory) -> str:
        """Return the command that goes on with a run."""
        return f"to go on: {command_line(['nflow', 'resume', str(run.path), *self.resuming])}"

    def expect_trained(self, run: RunDirectory) -> None:
        """See that a run has a model, as one has whose training ended. It loads no TensorFlow.

        Raises:
            RunDirectoryError: It has none yet: how far it is, and how to go on with it.
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
        """Train from where the run is, and judge; save the model."""

    def train(self, run: RunDirectory, data: Any = None) -> Result:
        """Train, judge and save in ``run``, from where it is."""
        fitted = self.fit(run, data)
        run.write_evaluation(fitted.arrays)
        facts = fitted.summary.facts
        warnings = self.warnings(facts)
        facts["warnings"] = cautions.records(warnings)
        run.write_json(SUMMARY, facts)
        return Result(facts, warnings, fitted.arrays)

    @abstractmethod
    def load(self, run: RunDirectory) -> Any:
        """Load what a run trained."""

    # Its scores.

    def warnings(self, summary: Summary) -> list[ScoreWarning]:
        """Return the warnings about the scores of a summary.

        Facts that the summary lacks, or that are not numbers, give none.
        """
        rules = (cautions.dominated, cautions.mass, cautions.few_rows)
        every = (self.ruined(summary), *(rule(summary) for rule in rules))
        return [warning for warning in every if warning is not None]

    @abstractmethod
    def ruined(self, summary: Summary) -> ScoreWarning | None:
        """Tell a fit that is worse than no fit at all."""

    @abstractmethod
    def labels(self) -> dict[str, Any]:
        """Return what the summary says of the config, beside its flow, K and seed."""

    @abstractmethod
    def rows(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Return the rows of the table that a training ends with."""

    def verdict(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Return what a run is judged by, first, and what that is to be compared with."""
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
        """Judge what a run trained anew, by fresh samples or by other data.

        Args:
            trained: What :meth:`load` returned.
            data: What it is judged by: :meth:`data`, or :meth:`read_data`.
            samples: How many; as many as the run for ``None``.
            seed: Of the samples.
            recorded: The summary of the run.
        """

    @abstractmethod
    def read_data(self, name: str) -> Any:
        """Read data of the user's own, to judge a trained run by."""

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        """Write rows of data with their scores, and latents if asked to; judge the run by them."""
        raise NotImplementedError

    def write_predictions(
        self, trained: Any, data: Any, path: Path, target: str | None, quantiles: Sequence[float]
    ) -> Judgement:
        """Write rows of data with the distribution of one column given the others; score it."""
        raise NotImplementedError

    @abstractmethod
    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        """Draw ``n`` samples into a file; return the paths that were written.

        Where samples take values of given columns, ``given`` says these: so many at each.

        Raises:
            DataError: The name of the file says a format that the samples do not fit in.
        """

    def write_resampled(
        self, trained: Any, data: Any, n: int, path: Path, seed: int
    ) -> tuple[list[Path], str]:
        """Draw ``n`` samples by their weights into a file; return the paths written and a note."""
        raise NotImplementedError

    # Side by side with others.

    @abstractmethod
    def identity(self, summary: Summary) -> Identity:
        """Return what a line of a comparison is of."""

    def identity_of(self, subject: str) -> Identity:
        """Return what a line of a comparison is of, by the name of its subject."""
        k = self.config.flow.k if self.config.flow else 1
        return Identity(subject, self.model_text, 0 if k is None else k)

    @property
    def model_text(self) -> str:
        """The model as text: its flows, where it has some."""
        return self.config.flow.text if self.config.flow else ""

    def settings(self, summary: Summary) -> dict[str, str]:
        """Return settings that are not in the config, as text by key."""
        return {}

    @property
    def target_text(self) -> str:
        """The target as text, with its parameters; "" where there is none."""
        return ""

    # Its pictures and checks.

    def damage(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        """Return which file that pictures are drawn from is not of this config, and why, or ""."""
        return ""

    @abstractmethod
    def draw(
        self, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
    ) -> dict[str, Any]:
        """Draw the pictures of a run; return them by name."""

    def flows_in_the_plane(self, run: RunDirectory) -> Any:
        """Load a density of two numbers, each of whose flows can be drawn.

        Raises:
            ConfigError: The run trained something else, or has no flow.
        """
        raise ConfigError(f"{FLOWS_EXPECTED} {self.config.command}, which draws none of its flows")

    @abstractmethod
    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        """Return a run to be checked."""


def checksum_of_data(summary: Summary) -> dict[str, str]:
    """Return what tells data of one name apart, as a setting."""
    return {"data.sha256": summary["data"]["sha256"][:12]}
