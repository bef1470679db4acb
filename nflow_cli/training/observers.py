"""Observers of a training (no Keras): clock, metrics, divergence, progress; saved states."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from nflow_cli.errors import DivergenceError
from nflow_cli.terminal.output import is_silent, tell
from nflow_cli.terminal.progress import WAIT_SECONDS, left_text, phase, progress_bar

Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Form = TypeVar("Form", bound=BaseModel)
KEEP_SECONDS = 1.0  # time between copies of the weights, which cost about a millisecond
CHECK, TRY = "check the target or the data", "try a smaller train.learning_rate or train.clip_norm"
LEAST_DECIMALS, DECIMALS = 3, 5  # of a score in nats: tables have 5


class Observer:
    """Observer of a training: of its begin, of each chunk, and of an end that is no error."""

    model: Any

    def begin(self) -> None:
        """Called first, again where a training goes on."""

    def before(self) -> None:
        """Called before each chunk, of the last observer first."""

    def after(self, logs: Mapping[str, float]) -> None:
        """Called after each chunk, with its means."""

    def end(self) -> None:
        """Called last."""


class StateError(Exception):
    """Saved state that a part of a training cannot have."""


class Saved:
    """Part of a training that checkpoints save: its attributes that are fields of ``State``."""

    State: type[BaseModel]

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.State.model_fields}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state`, else a ``StateError``."""
        for name, value in checked(self.State, state):
            setattr(self, name, value)

    def be_patient_again(self) -> None:
        """Called where a training that stopped early is extended."""


def checked(form: type[Form], state: Mapping[str, Any]) -> Form:
    """Saved state in its form; else a ``StateError`` names the key."""
    try:
        return form.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
        where, wrong = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise StateError(f"{where}: {wrong}" if where else wrong) from None


def is_finite(logs: Mapping[str, Any]) -> bool:
    """Whether the loss of a chunk and its last gradient are finite."""
    return math.isfinite(logs["loss"]) and math.isfinite(logs["gradient_norm"])


class Speed(NamedTuple):
    """Seconds of compiling and of the whole training; updates per second."""

    compile_seconds: float
    train_seconds: float
    steps_per_second: float | None


class Clock(Saved, Observer):
    """Times the chunks: the first of every program holds its compilation.

    Args:
        first: Number of the first update.
    """

    class State(BaseModel):
        updates: Annotated[list[Count], Field(min_length=1)]
        seconds: list[Seconds]
        cold: list[Count]

        @model_validator(mode="after")
        def _of_each_chunk(self) -> "Clock.State":
            chunks = len(self.seconds)
            if len(self.updates) != chunks + 1 or max(self.cold, default=0) > chunks:
                raise ValueError("expected the updates before and after each of its chunks")
            return self

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.updates: list[int] = []
        self.seconds: list[float] = []
        self.cold: list[int] = []

    def begin(self) -> None:
        self.updates = self.updates or [self._number()]
        self.cold.append(len(self.seconds))

    def before(self) -> None:
        self._start = time.perf_counter()

    def after(self, logs: Mapping[str, float]) -> None:
        self.updates.append(self._number())
        self.seconds.append(time.perf_counter() - self._start)

    def _number(self) -> int:
        return self.first + int(self.model.optimizer.iterations)

    @property
    def made(self) -> int:
        return self.updates[-1] - self.updates[-2]

    @property
    def steps(self) -> int:
        return self.updates[-1]

    def speed(self) -> Speed:
        """Times of the training; a single chunk, which compiles, has no updates per second."""
        compile_seconds, done, warm_seconds = 0.0, 0, 0.0
        made = [end - start for start, end in itertools.pairwise(self.updates)]
        for first, end in itertools.pairwise([*self.cold, len(self.seconds)]):
            warm = slice(first + 1, end)
            paces = [seconds / n for seconds, n in zip(self.seconds[warm], made[warm])]
            if end > first:
                pace = statistics.median(paces) if paces else 0.0
                # A program that a trial compiled already may have a first chunk of less than that.
                compile_seconds += max(0.0, self.seconds[first] - made[first] * pace)
                done += sum(made[warm])
                warm_seconds += sum(self.seconds[warm])
        return Speed(
            compile_seconds=compile_seconds,
            train_seconds=sum(self.seconds),
            steps_per_second=done / warm_seconds if done else None,
        )


class MetricsLog(Saved, Observer):
    """Rows of ``metrics.csv``, also of a training that is no longer finite.

    A row holds means over the updates of ``chunks_per_row`` chunks, and learning rate and gradient
    norm of the last update. ``clock`` must come before this observer; ``add_row`` takes each row.
    """

    class State(BaseModel):
        rows: Count
        chunks: list[tuple[Count, Seconds, dict[str, float]]]

    def __init__(self, clock: Clock, chunks_per_row: int = 1):
        self.clock, self.chunks_per_row, self.rows = clock, chunks_per_row, 0
        self.add_row: Callable[[Mapping[str, Any]], None] = lambda row: None
        self.chunks: list[tuple[int, float, Mapping[str, float]]] = []

    def after(self, logs: Mapping[str, float]) -> None:
        self.chunks.append((self.clock.made, self.clock.seconds[-1], logs))
        if not is_finite(logs):  # training stops here
            self.write_row({})
        elif len(self.chunks) == self.chunks_per_row:
            self.end_row()

    def end_row(self) -> None:
        self.write_row({})

    def write_row(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Write one row, with ``columns`` after the trainer's own; return its means."""
        counts, seconds, terms = zip(*self.chunks)
        self.chunks, made, last = [], sum(counts), terms[-1]
        means = {
            name: sum(n * chunk[name] for n, chunk in zip(counts, terms)) / made for name in last
        }
        means |= {name: last[name] for name in ("learning_rate", "gradient_norm")}
        self.add({**means, **columns}, made / sum(seconds))
        return means

    def add(self, columns: Mapping[str, float], speed: float) -> None:
        """Add a row of ``columns`` and ``speed``, in updates per second."""
        self.rows += 1
        timed = {"updates_per_second": speed, "elapsed_seconds": sum(self.clock.seconds, 0.0)}
        self.add_row({"update": self.clock.updates[-1], **columns, **timed})


class DivergenceStop(Observer):
    """Raises a :class:`~nflow_cli.errors.DivergenceError` when loss or gradient are not finite.

    The cause is looked for with weights kept at most ``KEEP_SECONDS`` before.

    Args:
        is_first: Whether it is the first stage, whose learning rate is its own.
    """

    def __init__(self, is_first: bool = False):
        self.is_first, self._begun, self._norm = is_first, False, math.nan
        self._weights: list[Any] = []
        self._kept_at = -math.inf

    def begin(self) -> None:
        self._begun = bool(self.model.optimizer.iterations > 0)

    def before(self) -> None:
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self._weights = self.model.get_weights()
            self._kept_at = time.monotonic()

    def after(self, logs: Mapping[str, float]) -> None:
        if is_finite(logs):
            self._begun, self._norm = True, logs["gradient_norm"]
            return
        facts = [f"loss {logs['loss']:.4g}", f"learning rate {logs['learning_rate']:.4g}"]
        if math.isfinite(self._norm):
            facts.append(f"gradient norm before {self._norm:.4g}")
        cause = self.model.cause(self._weights)
        # Divergence in the first chunk: the target or the data, as nothing was learnt yet.
        ways = [CHECK, TRY] if not cause and not self._begun else [TRY]
        stage = ""
        if self.is_first:
            stage, ways = " of the first stage", [CHECK] if not cause else []
        update = int(self.model.optimizer.iterations)
        told = [", ".join(facts), cause, ", or ".join(ways)]
        raise DivergenceError(
            f"training diverged by update {update:,}{stage}: {'; '.join(filter(None, told))}"
        )


def nats_text(value: float) -> str:
    """Nats with four significant digits, in three to five decimals."""
    if not abs(value) < 1e9:
        return f"{value:.3e}"
    if abs(value) < 0.5 * 10.0**-DECIMALS:
        return f"< {10.0**-DECIMALS:.{DECIMALS}f}"
    decimals = 3 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, LEAST_DECIMALS), DECIMALS)}f}"


class ProgressReport(Observer):
    """Progress bar with an ETA, or plain lines if stderr is no terminal.

    The ETA goes by the pace since the first chunk, which compiles; the first line comes after ten
    seconds of that pace at the latest.

    Args:
        steps: Updates in all.
        clock: :class:`~nflow_cli.training.observers.Clock`, before this observer.
        note: Figures of a chunk's logs.
        more: Text behind them in lines, which have more room than a bar.
    """

    def __init__(
        self,
        steps: int,
        clock: Any,
        note: Callable[[Mapping[str, Any]], str],
        more: Callable[[], str] = str,
    ):
        self.steps, self.clock, self.note, self.more = steps, clock, note, more
        self.compiling = ExitStack()  # of a phase, until the first chunk
        self._warm: tuple[int, float] | None = None  # the first update of the pace, and when it was

    def begin(self) -> None:
        if hasattr(self, "bar"):
            return
        made = "{task.completed:,.0f}/{task.total:,.0f}"
        self.bar = progress_bar("{task.fields[note]}", made)
        self.shown: int | None = None  # the tenth that the last line was of
        self.task = self.bar.add_task("", total=self.steps, note="compiling")
        self.bar.start()
        if self.bar.disable:
            self.compiling.enter_context(phase("compiling"))

    def after(self, logs: Mapping[str, float]) -> None:
        """Move the bar, or print a line at every tenth, with the validation of this chunk."""
        self.compiling.close()
        update, now = self.clock.updates[-1], time.monotonic()
        self._warm = self._warm or (update, now)
        note = self.note(logs)
        self.bar.update(self.task, completed=update, note=note)
        tenth, waited = 10 * update // self.steps, now - self._warm[1] >= WAIT_SECONDS
        if self.bar.disable and (tenth > (self.shown or 0) or (waited and self.shown is None)):
            self.shown = tenth
            left = left_text(self._seconds_left(update, now))
            tell(f"training: {update:,}/{self.steps:,} updates, {note}{self.more()}{left}")

    def _seconds_left(self, update: int, now: float) -> float:
        first, begun = self._warm or (update, now)
        made = update - first
        return (self.steps - update) * (now - begun) / made if made else math.nan

    def end(self) -> None:
        if self.model.stop_training and not is_silent():
            made = f"{self.clock.updates[-1]:,}/{self.steps:,} updates"
            self.bar.console.print(
                f"training: stopped early at {made}, by train.early_stopping",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        self.compiling.close()
        if hasattr(self, "bar"):
            self.bar.stop()
