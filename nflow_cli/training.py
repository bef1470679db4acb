"""The shared trainer: many updates in one compiled call, with ``Model.fit`` as the driver."""

import contextlib
import ctypes
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from nflow_cli.checkpoints import Checkpoints
from nflow_cli.errors import DivergenceError
from nflow_cli.resuming import Checkpointer
from nflow_cli.run_dir import RunDirectory


class ChunkTrainer(keras.Model):
    """A Keras model whose ``train_step`` runs a whole chunk of updates as one XLA program.

    Small models spend their time in dispatch, not in arithmetic: so what Keras sees as one batch
    is a chunk, an array ``(updates, ...)`` or a nest of them, and the loop over it is compiled with
    the gradient and the optimizer. A subclass defines :meth:`objective` and names its ``terms``.
    """

    terms: tuple[str, ...]

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Return the ``terms`` as scalars, in nats; ``"loss"`` among them is minimised.

        Args:
            batch: One item of the chunk.
            update: How many updates were made before.
        """
        raise NotImplementedError

    def train_step(self, data: Any) -> dict[str, Any]:
        """Run ``count`` updates on ``data = (chunk, (count,))``; return the terms' means."""
        import tensorflow as tf

        chunk, count = data[0], data[1][0]
        variables = self.trainable_variables

        def update(i: Any, sums: dict[str, Any], _: Any) -> tuple[Any, dict[str, Any], Any]:
            with tf.GradientTape() as tape:
                batch = keras.tree.map_structure(lambda array: array[i], chunk)
                terms = self.objective(batch, self.optimizer.iterations)
            gradients = tape.gradient(terms["loss"], [v.value for v in variables])
            if variables:
                self.optimizer.apply(gradients, variables)
            else:  # K = 0: nothing to train, but the updates still count
                self.optimizer.iterations.assign_add(1)
            sums = {name: sums[name] + terms[name] for name in self.terms}
            return i + 1, sums, tf.linalg.global_norm(gradients)

        start = (tf.constant(0), {name: ops.zeros(()) for name in self.terms}, ops.zeros(()))
        _, sums, norm = tf.while_loop(lambda i, *_: i < count, update, start)
        means = {name: total / ops.cast(count, total.dtype) for name, total in sums.items()}
        return {**means, "learning_rate": self.optimizer.learning_rate, "gradient_norm": norm}


def make_optimizer(train: Any, steps: int) -> keras.optimizers.Optimizer:
    """Return Adam with the learning-rate schedule and clipping that ``train`` asks for."""
    rate = train.learning_rate
    if train.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=steps)
    return keras.optimizers.Adam(rate, global_clipnorm=train.clip_norm)


def fit_chunks(
    model: ChunkTrainer,
    chunks: Any,
    callbacks: list[Any],
    directory: RunDirectory | None = None,
    checkpoint_seconds: float = 30.0,
) -> None:
    """Train ``model`` on every chunk: an epoch of Keras.

    Args:
        model: Compiled.
        chunks: A data set of chunks; ``start_at(update)`` makes it go on from there.
        callbacks: What watches the training, in this order; a MetricsLog among them.
        directory: Where rows and checkpoints go, and where the training goes on if it had begun.
        checkpoint_seconds: Time between checkpoints.
    """
    log = next(callback for callback in callbacks if isinstance(callback, MetricsLog))
    with contextlib.ExitStack() as stack:
        stack.callback(release_freed_memory)
        for callback in callbacks:
            if isinstance(callback, ProgressReport):
                stack.callback(callback.close)
        checkpointer = None
        if directory:
            store = Checkpoints(directory)
            checkpointer = Checkpointer(store, checkpoint_seconds, chunks.steps, callbacks)
            if checkpointer.restore(model):
                return
            log.add_row = stack.enter_context(directory.metrics_writer(log.rows))
            stack.enter_context(checkpointer.signals)
        chunks.start_at(int(model.optimizer.iterations))
        every = [*callbacks, *([checkpointer] if checkpointer else [])]
        fit = {"epochs": len(chunks), "steps_per_epoch": 1, "shuffle": False, "verbose": 0}
        model.fit(chunks, callbacks=every, **fit)
        if checkpointer:
            checkpointer.save(finished=True)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` of tensors as one XLA program."""
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def release_freed_memory() -> None:
    """Give back to the system what the compiler has freed: the C library keeps it, about 85 MB."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


class Clock(keras.callbacks.Callback):
    """Times the chunks: the first holds the compilation, the others are warm."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[int] = []
        self.seconds: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Note where training starts, unless it goes on."""
        self.updates = self.updates or [int(self.model.optimizer.iterations)]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note how long the chunk took."""
        self.updates.append(int(self.model.optimizer.iterations))
        self.seconds.append(time.perf_counter() - self._start)

    @property
    def made(self) -> int:
        """How many updates the last chunk made."""
        return self.updates[-1] - self.updates[-2]

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"updates": self.updates, "seconds": self.seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.updates, self.seconds = list(state["updates"]), list(state["seconds"])

    def figures(self) -> dict[str, Any]:
        """Return updates made, and compile time, training time (s) and speed (updates/s)."""
        warm = self.seconds[1:]
        done = self.updates[-1] - self.updates[1]
        compile_seconds = self.seconds[0] - (statistics.median(warm) if warm else 0.0)
        return {
            "steps": self.updates[-1],
            "compile_seconds": compile_seconds,
            "train_seconds": sum(self.seconds),
            "steps_per_second": done / sum(warm) if warm else self.updates[-1] / self.seconds[0],
        }


class MetricsLog(keras.callbacks.Callback):
    """Adds rows to ``metrics.csv``, and stops a run that is no longer finite.

    A row holds the means over the updates since the last one, and the learning rate and gradient
    norm of the last of them.

    Args:
        clock: Must come before this callback.
        chunks_per_row: How many chunks a row is about.
    """

    def __init__(self, clock: Clock, chunks_per_row: int = 1):
        super().__init__()
        self.clock, self.chunks_per_row, self.rows = clock, chunks_per_row, 0
        self.add_row: Callable[[Mapping[str, Any]], None] = lambda row: None
        self._chunks: list[tuple[int, float, dict[str, float]]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the terms of the chunk that ended."""
        terms = {name: float(value) for name, value in (logs or {}).items()}
        self._chunks.append((self.clock.made, self.clock.seconds[-1], terms))
        if not (math.isfinite(terms["loss"]) and math.isfinite(terms["gradient_norm"])):
            self.write_row({})
            raise DivergenceError(
                f"training diverged by update {self.clock.updates[-1]}: loss {terms['loss']}, "
                f"gradient norm {terms['gradient_norm']}; try a smaller train.learning_rate or "
                "train.clip_norm"
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write a row if it is time."""
        if len(self._chunks) == self.chunks_per_row:
            self.end_row()

    def end_row(self) -> None:
        """Write the row of the chunks that ended."""
        self.write_row({})

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows, "chunks": self._chunks}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rows, self._chunks = state["rows"], [tuple(chunk) for chunk in state["chunks"]]

    def write_row(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Write one row, with ``more`` columns after the trainer's own; return its means."""
        counts, seconds, terms = zip(*self._chunks)
        self._chunks, self.rows = [], self.rows + 1
        made, last = sum(counts), terms[-1]
        means = {
            name: sum(n * chunk[name] for n, chunk in zip(counts, terms)) / made for name in last
        }
        means |= {name: last[name] for name in ("learning_rate", "gradient_norm")}
        self.add_row(
            {
                "update": self.clock.updates[-1],
                **means,
                **more,
                "updates_per_second": made / sum(seconds),
                "elapsed_seconds": sum(self.clock.seconds),
            }
        )
        return means


class EarlyStop(keras.callbacks.Callback):
    """Stops when the smoothed loss has not fallen by ``min_delta`` for ``patience`` updates.

    The loss is smoothed exponentially over a quarter of the patience; while the objective is
    still annealed, nothing is counted.
    """

    def __init__(self, patience: int, min_delta: float, clock: Clock):
        super().__init__()
        self.patience, self.min_delta, self.clock = patience, min_delta, clock
        self.smooth, self.best, self.best_update = None, math.inf, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the smoothed loss with the best one."""
        if logs["beta"] < 1:
            return
        update, loss, made = self.clock.updates[-1], float(logs["loss"]), self.clock.made
        keep = math.exp(-made / (self.patience / 4))
        self.smooth = loss if self.smooth is None else keep * self.smooth + (1 - keep) * loss
        if self.smooth < self.best - self.min_delta:
            self.best, self.best_update = self.smooth, update
        elif update - self.best_update >= self.patience:
            self.model.stop_training = True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"smooth": self.smooth, "best": self.best, "best_update": self.best_update}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.smooth, self.best = state["smooth"], state["best"]
        self.best_update = state["best_update"]


class ProgressReport(keras.callbacks.Callback):
    """Shows how far training is, on stderr: a bar with an ETA, or plain lines elsewhere."""

    def __init__(self, steps: int, clock: Clock, note: Callable[[Mapping[str, Any]], str]):
        super().__init__()
        self.steps, self.clock, self.note = steps, clock, note

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self.terminal = console.is_terminal
        self.shown = 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} updates"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not self.terminal,
        )
        self.task = self.bar.add_task("training", total=self.steps, note="compiling")
        self.bar.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar; print a line for every tenth of the way where there is no terminal."""
        update = self.clock.updates[-1]
        note = self.note(logs or {})
        self.bar.update(self.task, completed=update, note=note)
        tenth = 10 * update // self.steps
        if not self.terminal and tenth > self.shown:
            self.shown = tenth
            print(f"training: {update:,}/{self.steps:,} updates, {note}", file=sys.stderr)

    def close(self) -> None:
        """Close the bar, however training ended."""
        if hasattr(self, "bar"):
            self.bar.stop()
