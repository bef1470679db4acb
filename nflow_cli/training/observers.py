"""Observers of a training (no Keras): clock, metrics, divergence, progress; saved states."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from nflow_cli.errors import DivergenceError
from nflow_cli.terminal.output import is_silent, tell
from nflow_cli.terminal.progress import WAIT_SECONDS, left_text, phase, progress_bar

Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Form = TypeVar("Form", bound=BaseModel)
KEEP_SECONDS = 1.0  # between copies of the network weights, each about a millisecond
CHECK_TARGET = "check the target or the data"
SMALLER_STEPS = "try a smaller train.learning_rate or train.clip_norm"
LEAST_DECIMALS = 3  # of a score in nats
MOST_DECIMALS = 5  # as in printed tables


class Observer:
    """Observer of a training, called at its begin, at each chunk, and at an end without an error.

    ``model``: the trainer, set before the first call.
    """

    model: Any

    def begin(self) -> None:
        """Called first, again where a training goes on."""

    def before(self) -> None:
        """Called before each chunk, of the last observer first."""

    def after(self, logs: Mapping[str, float]) -> None:
        """Called after each chunk, with the means of its terms by name."""

    def end(self) -> None:
        """Called last."""


class StateError(Exception):
    """Saved state that a part of a training cannot have."""


class Saved:
    """Part of a training that checkpoints save: its attributes that are fields of ``State``."""

    State: type[BaseModel]

    def state(self) -> dict[str, Any]:
        """Values of the fields by name, for a checkpoint."""
        return {name: getattr(self, name) for name in self.State.model_fields}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the fields to the values of a :meth:`state` (``StateError`` if these are invalid)."""
        for name, value in checked_state(self.State, state):
            setattr(self, name, value)

    def restart_patience(self) -> None:
        """Let a training that stopped early, and is extended, go on."""


def checked_state(form: type[Form], state: Mapping[str, Any]) -> Form:
    """Saved state by the schema ``form``; a ``StateError`` names the first wrong key."""
    try:
        return form.model_validate(state)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        raise StateError(f"{key}: {message}" if key else message) from None


def is_finite(logs: Mapping[str, float]) -> bool:
    """Whether the mean loss of a chunk and the norm of its last gradient are finite."""
    return math.isfinite(logs["loss"]) and math.isfinite(logs["gradient_norm"])


class Speed(NamedTuple):
    """Seconds of compiling and of all training; updates per second without compiling, if known."""

    compile_seconds: float
    train_seconds: float
    steps_per_second: float | None


class Clock(Saved, Observer):
    """Times the chunks; the first chunk of each start of training includes the compilation.

    Args:
        first: Number of the first update.

    Attributes:
        updates: Number of updates before the first chunk and after each.
        seconds: Duration of each chunk.
        cold: Number of chunks before each start of training.
    """

    class State(BaseModel):
        updates: Annotated[list[Count], Field(min_length=1)]
        seconds: list[Seconds]
        cold: list[Count]

        @model_validator(mode="after")
        def _check_counts(self) -> "Clock.State":
            """Check that the lists are of the same chunks."""
            chunks = len(self.seconds)
            if len(self.updates) != chunks + 1 or max(self.cold, default=0) > chunks:
                raise ValueError("expected the updates before and after each of its chunks")
            return self

    def __init__(self, first: int = 0) -> None:
        self.first_update = first
        self.updates: list[int] = []
        self.seconds: list[float] = []
        self.cold: list[int] = []

    def begin(self) -> None:
        if not self.updates:
            self.updates = [self._number()]
        self.cold.append(len(self.seconds))

    def before(self) -> None:
        self._start = time.perf_counter()

    def after(self, logs: Mapping[str, float]) -> None:
        self.updates.append(self._number())
        self.seconds.append(time.perf_counter() - self._start)

    def _number(self) -> int:
        """Number of updates so far, by the optimizer."""
        return self.first_update + int(self.model.optimizer.iterations)

    @property
    def chunk_updates(self) -> int:
        """Updates of the last chunk."""
        return self.updates[-1] - self.updates[-2]

    @property
    def steps(self) -> int:
        """Updates so far."""
        return self.updates[-1]

    def speed(self) -> Speed:
        """Times of the training; updates per second ``None`` if each chunk so far was a first one.

        Compilation time: that of the first chunks less that of their updates at the median pace.
        """
        compile_seconds = 0.0
        warm_seconds = 0.0
        warm_updates = 0
        counts = [end - start for start, end in itertools.pairwise(self.updates)]  # of each chunk
        for first, end in itertools.pairwise([*self.cold, len(self.seconds)]):
            if end <= first:
                continue
            warm = slice(first + 1, end)
            paces = [seconds / n for seconds, n in zip(self.seconds[warm], counts[warm])]
            pace = statistics.median(paces) if paces else 0.0
            # A program that a trial compiled already may have a first chunk of less than that.
            compile_seconds += max(0.0, self.seconds[first] - counts[first] * pace)
            warm_updates += sum(counts[warm])
            warm_seconds += sum(self.seconds[warm])
        return Speed(
            compile_seconds=compile_seconds,
            train_seconds=sum(self.seconds),
            steps_per_second=warm_updates / warm_seconds if warm_updates else None,
        )


class MetricsLog(Saved, Observer):
    """Rows of ``metrics.csv``, also of a training that is no longer finite.

    A row holds means over the updates of ``chunks_per_row`` chunks, and learning rate and gradient
    norm of the last update. ``clock`` must come before this observer; ``add_row`` takes each row.

    Attributes:
        rows: Number of rows written.
        chunks: Updates, seconds and means of the chunks of the next row.
    """

    class State(BaseModel):
        rows: Count
        chunks: list[tuple[Count, Seconds, dict[str, float]]]

    def __init__(self, clock: Clock, chunks_per_row: int = 1):
        self.clock = clock
        self.chunks_per_row = chunks_per_row
        self.rows = 0
        self.add_row: Callable[[Mapping[str, float]], None] = lambda row: None
        self.chunks: list[tuple[int, float, Mapping[str, float]]] = []

    def after(self, logs: Mapping[str, float]) -> None:
        """Take the means of a chunk; write a row if it is complete, or not finite."""
        self.chunks.append((self.clock.chunk_updates, self.clock.seconds[-1], logs))
        if not is_finite(logs):  # training stops here
            self.write_row({})
        elif len(self.chunks) == self.chunks_per_row:
            self.end_row()

    def end_row(self) -> None:
        """Write a row whose chunks are complete."""
        self.write_row({})

    def write_row(self, columns: Mapping[str, float]) -> dict[str, float]:
        """Write one row, with ``columns`` after the trainer's own; return its means."""
        chunks = self.chunks
        self.chunks = []
        updates = sum(count for count, _, _ in chunks)
        seconds = sum(duration for _, duration, _ in chunks)
        _, _, last = chunks[-1]
        means = {}
        for name in last:
            means[name] = sum(count * logs[name] for count, _, logs in chunks) / updates
        for name in ("learning_rate", "gradient_norm"):
            means[name] = last[name]
        self.add({**means, **columns}, updates / seconds)
        return means

    def add(self, columns: Mapping[str, float], speed: float) -> None:
        """Add a row of ``columns`` and ``speed``, in updates per second."""
        self.rows += 1
        timed = {"updates_per_second": speed, "elapsed_seconds": sum(self.clock.seconds, 0.0)}
        self.add_row({"update": self.clock.updates[-1], **columns, **timed})


class DivergenceStop(Observer):
    """Raises a :class:`~nflow_cli.errors.DivergenceError` when loss or gradient are not finite.

    The cause is looked for with network weights kept at most ``KEEP_SECONDS`` before.

    Args:
        is_first: Whether it is the first stage, whose learning rate is its own.
    """

    def __init__(self, is_first: bool = False):
        self.is_first_stage = is_first
        self._has_learnt = False
        self._norm = math.nan  # of the last finite gradient
        self._weights: list[np.ndarray] = []
        self._kept_at = -math.inf

    def begin(self) -> None:
        self._has_learnt = bool(self.model.optimizer.iterations > 0)

    def before(self) -> None:
        """Keep the network weights, at most once a second."""
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self._weights = self.model.get_weights()
            self._kept_at = time.monotonic()

    def after(self, logs: Mapping[str, float]) -> None:
        """Raise the error, with figures, cause and remedies, if a chunk is not finite."""
        if is_finite(logs):
            self._has_learnt = True
            self._norm = logs["gradient_norm"]
            return
        facts = [f"loss {logs['loss']:.4g}", f"learning rate {logs['learning_rate']:.4g}"]
        if math.isfinite(self._norm):
            facts.append(f"gradient norm before {self._norm:.4g}")
        cause = self.model.cause(self._weights)
        clauses = [", ".join(facts), cause, ", or ".join(self._remedies(cause))]
        stage = " of the first stage" if self.is_first_stage else ""
        update = int(self.model.optimizer.iterations)
        raise DivergenceError(
            f"training diverged by update {update:,}{stage}: {'; '.join(filter(None, clauses))}"
        )

    def _remedies(self, cause: str) -> list[str]:
        """Remedies to try, in words; if no ``cause`` is found, the target or the data may be it."""
        if self.is_first_stage:
            return [] if cause else [CHECK_TARGET]
        # Divergence in the first chunk: the target or the data, as nothing was learnt yet.
        return [SMALLER_STEPS] if cause or self._has_learnt else [CHECK_TARGET, SMALLER_STEPS]


def nats_text(value: float) -> str:
    """Nats with four significant digits, in three to five decimals."""
    if not abs(value) < 1e9:
        return f"{value:.3e}"
    if abs(value) < 0.5 * 10.0**-MOST_DECIMALS:
        return f"< {10.0**-MOST_DECIMALS:.{MOST_DECIMALS}f}"
    decimals = 3 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, LEAST_DECIMALS), MOST_DECIMALS)}f}"


class ProgressReport(Observer):
    """Progress bar with an ETA, or plain lines if stderr is no terminal.

    The ETA goes by the pace since the first chunk, which compiles; the first line comes after ten
    seconds of that pace at the latest.

    Args:
        steps: Updates in all.
        clock: Must come before this observer.
        note: Figures of a chunk's logs.
        line_end: Text behind them in lines, which have more room than a bar.
    """

    def __init__(
        self,
        steps: int,
        clock: Clock,
        note: Callable[[Mapping[str, float]], str],
        line_end: Callable[[], str] = str,
    ):
        self.steps = steps
        self.clock = clock
        self.figures_text = note
        self.line_end = line_end
        self.compiling = ExitStack()  # of a phase, until the first chunk
        self._pace_start: tuple[int, float] | None = None  # update and time after the first chunk

    def begin(self) -> None:
        """Start the bar, or without one the phase of compiling; once only."""
        if hasattr(self, "bar"):
            return
        counts = "{task.completed:,.0f}/{task.total:,.0f}"
        self.bar = progress_bar("{task.fields[note]}", counts)
        self.shown_tenth: int | None = None  # the tenth that the last line was of
        self.task = self.bar.add_task("", total=self.steps, note="compiling")
        self.bar.start()
        if self.bar.disable:
            self.compiling.enter_context(phase("compiling"))

    def after(self, logs: Mapping[str, float]) -> None:
        """Move the bar; without one print a line at each tenth of the updates, and one within ten
        seconds after the first chunk.
        """
        self.compiling.close()
        update = self.clock.updates[-1]
        now = time.monotonic()
        if self._pace_start is None:
            self._pace_start = (update, now)
        first, start = self._pace_start
        note = self.figures_text(logs)
        self.bar.update(self.task, completed=update, note=note)
        tenth = 10 * update // self.steps
        is_late = self.shown_tenth is None and now - start >= WAIT_SECONDS
        if self.bar.disable and (tenth > (self.shown_tenth or 0) or is_late):
            self.shown_tenth = tenth
            seconds = math.nan
            if update > first:
                seconds = (self.steps - update) * (now - start) / (update - first)
            end = f"{self.line_end()}{left_text(seconds)}"
            tell(f"training: {update:,}/{self.steps:,} updates, {note}{end}")

    def end(self) -> None:
        """Print a line if the training stopped early."""
        if self.model.stop_training and not is_silent():
            updates = f"{self.clock.updates[-1]:,}/{self.steps:,} updates"
            self.bar.console.print(
                f"training: stopped early at {updates}, by train.early_stopping",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        """Stop the bar, after an error too."""
        self.compiling.close()
        if hasattr(self, "bar"):
            self.bar.stop()
