"""Training in a run directory: logged, saved, resumable."""

import contextlib
import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from nflow_cli.config.schema import Config
from nflow_cli.runs.checkpoints import Checkpoints
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.terminal.layout import tell
from nflow_cli.training.checkpointing import Checkpointer
from nflow_cli.training.divergence import DivergenceStop
from nflow_cli.training.observer import Observer, Saved
from nflow_cli.training.progress import ProgressReport
from nflow_cli.training.trainer import ChunkTrainer, Clock, MetricsLog


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
        config: Config,
        steps: int,
        directory: RunDirectory | None,
        *,
        log: MetricsLog,
        progress: ProgressReport,
        observers: Sequence[Observer] = (),
        parts: Sequence[Saved] = (),
    ):
        self.directory, self.log, self.progress = directory, log, progress
        self.observers: list[Observer] = [progress, *observers]
        self.finished, self.checkpointer, self._saved = False, None, None
        if directory:
            saved = [log.clock, log, *self.observers, *parts]
            self.checkpointer = Checkpointer(Checkpoints(directory), config, steps, saved)

    def __enter__(self) -> "Session":
        with contextlib.ExitStack() as stack:
            stack.callback(_release_freed_memory)
            stack.callback(self.progress.close)
            if self.directory and self.checkpointer:
                self._saved = self.checkpointer.load()
                self.finished = self.checkpointer.finished(self._saved)
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
        saved, self._saved = self._saved, None
        if self.checkpointer and saved:
            self.checkpointer.assign(model, saved)
        return saved is not None

    def fit(self, model: ChunkTrainer, chunks: Any) -> None:
        self.take_over(model)
        chunks.start_at(int(model.optimizer.iterations))
        if self.finished or not len(chunks):
            return
        first = self.log.clock, self.log, DivergenceStop()
        model.train_on(chunks, [*first, *self.observers])

    def fit_first(self, model: ChunkTrainer, chunks: Any) -> None:
        """Train ``model`` before update 0: its rows have negative updates.

        Without checkpoint: a training stopped here begins again. Prints the last loss.
        """
        log, last = MetricsLog(Clock(first=-chunks.steps)), {}

        def add_row(row: Mapping[str, Any]) -> None:
            self.log.add_row(row)
            last.update(row)
            self._stop_if_asked()

        log.add_row = add_row
        model.train_on(chunks, [log.clock, log, DivergenceStop(is_first=True)])
        self.log.rows += log.rows
        tell(f"first stage, a Gaussian: {self.progress.note(last)}")

    def begin(self, model: ChunkTrainer) -> None:
        """Save the start of the training, after a first stage."""
        self.log.clock.updates = [0]
        self._save(model, finished=False)

    def _stop_if_asked(self) -> None:
        if self.checkpointer:
            self.checkpointer.stop_if_asked()

    def _save(self, model: ChunkTrainer, finished: bool) -> None:
        if self.checkpointer:
            self.checkpointer.model = model
            self.checkpointer.save(finished)
            self.checkpointer.stop_if_asked()

    def finish(self, model: ChunkTrainer) -> None:
        if not self.finished:
            self._save(model, finished=True)


def _release_freed_memory() -> None:
    """Return freed memory to the system: the C library keeps about 85 MB of the compiler's."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
