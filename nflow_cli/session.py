"""A training that is logged and saved in a run directory, and goes on from where it was."""

import contextlib
from typing import Any

from nflow_cli.checkpoints import Checkpoints
from nflow_cli.divergence import DivergenceStop
from nflow_cli.resuming import Checkpointer
from nflow_cli.run_dir import RunDirectory
from nflow_cli.training import ChunkTrainer, MetricsLog, ProgressReport, release_freed_memory


class Session:
    """What one training shares, however many models it goes through (restarts are narrowed down).

    Used as a context; :meth:`fit` trains, :meth:`finish` says that training is over.

    Args:
        callbacks: What watches the training, in this order; a MetricsLog among them.
        steps: How many updates the whole training makes.
        directory: Where rows and checkpoints go, and where the training goes on if it had begun.
        checkpoint_seconds: Time between checkpoints.
        parts: More objects with ``state()`` and ``restore(state)`` to save.
    """

    def __init__(
        self,
        callbacks: list[Any],
        steps: int,
        directory: RunDirectory | None,
        checkpoint_seconds: float,
        parts: tuple[Any, ...] = (),
    ):
        self.callbacks, self.directory = list(callbacks), directory
        self.finished, self.checkpointer, self._saved = False, None, None
        if directory:
            store = Checkpoints(directory)
            saved = [*callbacks, *parts]
            self.checkpointer = Checkpointer(store, checkpoint_seconds, steps, saved)

    def __enter__(self) -> "Session":
        with contextlib.ExitStack() as stack:
            stack.callback(release_freed_memory)
            for callback in self.callbacks:
                if isinstance(callback, ProgressReport):
                    stack.callback(callback.close)
            if self.directory and self.checkpointer:
                self._saved = self.checkpointer.load()
                self.finished = self.checkpointer.finished(self._saved)
                log = next(c for c in self.callbacks if isinstance(c, MetricsLog))
                log.add_row = stack.enter_context(self.directory.metrics_writer(log.rows))
                stack.enter_context(self.checkpointer.signals)
                self.callbacks.append(self.checkpointer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def take_over(self, model: ChunkTrainer) -> None:
        """Put ``model`` into the state of the checkpoint, if the training goes on from one."""
        if self.checkpointer and self._saved:
            self.checkpointer.assign(model, self._saved)
        self._saved = None

    def fit(self, model: ChunkTrainer, chunks: Any) -> None:
        """Train ``model`` on the chunks that are still to come."""
        self.take_over(model)
        chunks.start_at(int(model.optimizer.iterations))
        if self.finished or not len(chunks):
            return
        model.train_on(chunks, [*self.callbacks, DivergenceStop(chunks)])

    def finish(self, model: ChunkTrainer) -> None:
        """Save what training ended with."""
        if self.checkpointer and not self.finished:
            self.checkpointer.set_model(model)
            self.checkpointer.save(finished=True)
            self.checkpointer.stop_if_asked()
