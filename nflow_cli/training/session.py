"""Training in a run directory: logged, saved in checkpoints, stopped by signals, resumable."""

import contextlib
import ctypes
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import keras
import numpy as np
from pydantic import BaseModel, Field

from nflow_cli.arrays import Tensor
from nflow_cli.config.keys import FREE_TO_CHANGE, differing, without
from nflow_cli.config.presets import validate
from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.schema import run_schemas
from nflow_cli.config.strict import Strict
from nflow_cli.errors import ConfigError, Interrupted, RunDirectoryError
from nflow_cli.runs.checkpoints import Checkpoint, Checkpoints
from nflow_cli.runs.directory import CHECKPOINTS, CONFIG, RunDirectory
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.signals import DeferredSignals
from nflow_cli.training.chunks import Chunks
from nflow_cli.training.observers import (
    Clock,
    Count,
    DivergenceStop,
    MetricsLog,
    Observer,
    ProgressReport,
    Saved,
    StateError,
    checked_state,
)
from nflow_cli.training.trainer import ChunkTrainer


class Session:
    """One training with its log, checkpoints and progress, over all its models (restarts narrow
    down).

    A context; :meth:`fit` trains, :meth:`finish` saves the end.

    Args:
        steps: Updates of the whole training.
        directory: Of rows and checkpoints; a training begun there is resumed.
        log: Called, with its clock, before the other ``observers``.
        parts: Further objects to save.
    """

    def __init__(
        self,
        config: RunConfig,
        steps: int,
        directory: RunDirectory | None,
        *,
        log: MetricsLog,
        progress: ProgressReport,
        observers: Sequence[Observer] = (),
        parts: Sequence[Saved] = (),
    ):
        self.directory = directory
        self.log = log
        self.progress = progress
        self.observers: list[Observer] = [progress, *observers]
        self.finished = False
        self.checkpointer: Checkpointer | None = None
        self._checkpoint: Checkpoint | None = None  # that no model has taken over
        if directory:
            candidates = [log.clock, log, *self.observers, *parts]
            self.checkpointer = Checkpointer(Checkpoints(directory), config, steps, candidates)

    def __enter__(self) -> "Session":
        with contextlib.ExitStack() as stack:
            stack.callback(_release_freed_memory)
            stack.callback(self.progress.close)
            if self.directory and self.checkpointer:
                self._checkpoint = self.checkpointer.load()
                self.finished = self.checkpointer.is_end(self._checkpoint)
                rows = self.directory.metrics_writer(self.log.rows)
                self.log.add_row = stack.enter_context(rows)
                stack.enter_context(self.checkpointer.signals)
                self.observers.append(self.checkpointer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def take_over(self, model: ChunkTrainer) -> bool:
        """Restore ``model`` from the checkpoint, if any; return whether there was one."""
        checkpoint = self._checkpoint
        self._checkpoint = None
        if self.checkpointer and checkpoint:
            self.checkpointer.assign(model, checkpoint)
        return checkpoint is not None

    def fit(self, model: ChunkTrainer, chunks: Chunks) -> None:
        """Train ``model`` on the chunks after its updates so far; a checkpoint is taken over."""
        self.take_over(model)
        chunks.start_at(int(model.optimizer.iterations))
        if self.finished or not len(chunks):
            return
        self.progress.begin()  # the first validation compiles, too
        model.train_on(chunks, [self.log.clock, self.log, DivergenceStop(), *self.observers])

    def fit_first(self, model: ChunkTrainer, chunks: Chunks) -> None:
        """Train ``model`` before update 0: its rows have negative updates.

        Without checkpoint: a training stopped here begins again. Prints the last loss.
        """
        log = MetricsLog(Clock(first=-chunks.steps))
        last: dict[str, float] = {}

        def add_row(row: Mapping[str, float]) -> None:
            self.log.add_row(row)
            last.update(row)
            if self.checkpointer:
                self.checkpointer.stop_if_asked()

        log.add_row = add_row
        model.train_on(chunks, [log.clock, log, DivergenceStop(is_first=True)])
        self.log.rows += log.rows
        tell(f"first stage, a Gaussian: {self.progress.figures_text(last)}")

    def save_start(self, model: ChunkTrainer) -> None:
        """Save a checkpoint of update 0, after a first stage."""
        self.log.clock.updates = [0]
        self._save(model, finished=False)

    def _save(self, model: ChunkTrainer, finished: bool) -> None:
        if self.checkpointer:
            self.checkpointer.model = model
            self.checkpointer.save(finished)
            self.checkpointer.stop_if_asked()

    def finish(self, model: ChunkTrainer) -> None:
        """Save the end of the training with the weights of ``model``."""
        if not self.finished:
            self._save(model, finished=True)


def _release_freed_memory() -> None:
    """Return freed memory to the system: the C library keeps about 85 MB of the compiler's."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


class TrainingState(BaseModel):
    """State of the training itself in a checkpoint; ``steps``: its updates at the end."""

    finished: Annotated[bool, Field(strict=True)]
    steps: Count


class Checkpointer(Observer):
    """Saves checkpoints at intervals, at the end, and before training stops at a signal.

    A checkpoint holds the weights, the optimizer's variables and, by class name (``ValueError`` for
    two of one), the state of each of the ``candidates`` that is ``Saved``: values for JSON, or
    lists of arrays.
    """

    def __init__(
        self,
        store: Checkpoints,
        config: RunConfig,
        steps: int,
        candidates: Sequence[Observer | Saved],
    ):
        self.store = store
        self.steps = steps
        self.seconds = config.train.checkpoint_seconds
        self.settings = _settings_of(config)
        self.parts = _by_class([part for part in candidates if isinstance(part, Saved)])
        self.signals = DeferredSignals()

    def begin(self) -> None:
        self._saved_at = time.monotonic()

    def after(self, logs: Mapping[str, float]) -> None:
        if self.model.stop_training:
            return  # what it ends with is saved when every observer is done
        if self.signals.received or time.monotonic() - self._saved_at >= self.seconds:
            self.save(finished=False)
            self._saved_at = time.monotonic()
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raise :class:`~nflow_cli.errors.Interrupted` if a signal has come."""
        if self.signals.received:
            raise Interrupted(self.signals.received)

    def save(self, finished: bool) -> None:
        """Write a checkpoint; ``finished``: no update is left."""
        arrays = {
            f"variable/{i}": keras.ops.convert_to_numpy(variable)
            for i, variable in enumerate(self.model.state_variables)
        }
        state = {"finished": finished, "steps": self.steps, "config": self.settings}
        for name, part in self.parts.items():
            values = {}
            for key, value in part.state().items():
                if isinstance(value, list) and any(isinstance(a, np.ndarray) for a in value):
                    arrays |= {f"{name}/{key}/{i}": array for i, array in enumerate(value)}
                else:
                    values[key] = value
            state[name] = values
        self.store.save(int(self.model.optimizer.iterations), Checkpoint(arrays, state))

    def load(self) -> Checkpoint | None:
        """Newest checkpoint, if any; the parts are restored from it.

        If damaged, or of other settings: a ``RunDirectoryError``.
        """
        checkpoint = self.store.load()
        if checkpoint is None:
            return None
        self._expect_settings(checkpoint.state)
        self._restore_parts(checkpoint)
        if self._is_extended_after_early_stop(checkpoint.state):
            for part in self.parts.values():
                part.restart_patience()
        return checkpoint

    def _expect_settings(self, state: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of other settings; a key that it lacks has its default."""
        try:
            settings = _settings_of(validate(state["config"], "", run_schemas()))
        except (KeyError, ConfigError, AttributeError):
            raise self.damaged("a checkpoint's config") from None
        if changed := differing(self.settings, settings):
            raise RunDirectoryError(
                f"{self.store.directory.path / CONFIG}: differs from the config of its checkpoints "
                f"({', '.join(changed)}); restore it, or train a new run from this one"
            )

    def _restore_parts(self, checkpoint: Checkpoint) -> None:
        name = "training"
        try:
            checked_state(TrainingState, checkpoint.state)
            for name, part in self.parts.items():
                values = checkpoint.state.get(name)
                arrays = grouped(checkpoint.arrays, f"{name}/")
                part.restore({**values, **arrays} if isinstance(values, dict) else {})
        except StateError as error:
            raise self.damaged(f"the state of {name}: {error}") from None

    def damaged(self, fault: str) -> RunDirectoryError:
        """Error of checkpoints with a fault."""
        return RunDirectoryError(f"{self.store.directory.path / CHECKPOINTS}: damaged: {fault}")

    def _is_extended_after_early_stop(self, state: Mapping[str, Any]) -> bool:
        updates = state["Clock"]["updates"][-1]
        return state["finished"] and state["steps"] != self.steps and updates < state["steps"]

    def is_end(self, checkpoint: Checkpoint | None) -> bool:
        """Whether a checkpoint is the end of a training of these steps."""
        if checkpoint is None:
            return False
        return checkpoint.state["finished"] and checkpoint.state["steps"] == self.steps

    def assign(self, model: ChunkTrainer, checkpoint: Checkpoint) -> None:
        """Restore the variables of ``model`` and its optimizer."""
        self.model = model
        variables = model.state_variables
        values = grouped(checkpoint.arrays, "").get("variable", [])
        if forms(values) != forms(variables) or not self._has_forms_of(model, checkpoint):
            raise self.damaged("a checkpoint of another model")
        for variable, value in zip(variables, values):
            variable.assign(value)
        updates = int(model.optimizer.iterations)
        clock = self.parts.get("Clock")
        if isinstance(clock, Clock) and clock.steps != updates:
            raise self.damaged(f"{updates} updates, of which it counts {clock.steps}")

    def _has_forms_of(self, model: ChunkTrainer, checkpoint: Checkpoint) -> bool:
        """Whether the kept weights and moments of a checkpoint can be those of a model."""
        expected = {
            "best_weights": forms(model.weights),
            "best_moments": forms(model.moments),
            "early_weights": forms(model.weights),
        }
        for name in self.parts:
            for key, arrays in grouped(checkpoint.arrays, f"{name}/").items():
                if key in expected and forms(arrays) != expected[key]:
                    return False
        return True


def _by_class(parts: list[Saved]) -> dict[str, Saved]:
    names = [type(part).__name__ for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"expected parts of different classes. Received: two of {name}")
    return dict(zip(names, parts))


def _settings_of(config: Strict) -> dict[str, Any]:
    return without(config.model_dump(mode="json"), FREE_TO_CHANGE)


def forms(arrays: Iterable[Tensor]) -> list[tuple[tuple[int, ...], str]]:
    """Shapes and types of arrays or variables."""
    return [(tuple(array.shape), str(array.dtype)) for array in arrays]


def grouped(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, list[np.ndarray]]:
    """Arrays saved as ``prefix + name/index``."""
    groups: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        key, _, _ = name.removeprefix(prefix).rpartition("/")
        if name.startswith(prefix) and "/" not in key:
            groups.setdefault(key, []).append(array)
    return groups
