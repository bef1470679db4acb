"""Shared trainer: many updates in one compiled call; schedules of its rate and objective."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.backend.programs import compiled
from nflow_cli.config.run_config import TrainSettings
from nflow_cli.training.chunks import Chunks
from nflow_cli.training.observers import Observer

NEVER = 1e30  # an update that does not come

Schedule: TypeAlias = keras.optimizers.schedules.LearningRateSchedule
Rate: TypeAlias = float | Schedule  # of learning


class ChunkTrainer(keras.Model):
    """Keras model whose ``train_step`` runs a whole chunk of updates as one XLA program.

    Small models spend their time in dispatch, not in arithmetic: a chunk is an array
    ``(updates, ...)`` or a nest of them, and the loop over it is compiled with gradient and
    optimizer. A subclass defines :meth:`objective` and names its ``terms``.

    R restarts are trained side by side if ``restarts`` is ``(R,)``: the shape of the terms, and R
    the first axis of every weight. Each makes the updates that it would make alone.
    """

    terms: tuple[str, ...]
    restarts: tuple[int, ...] = ()
    clip_norm: float | None = None
    decay: float | np.ndarray = 0.0  # of the kernels; an array has one for each restart
    xla: bool = True  # without it the loop is TensorFlow's own, which convolves faster

    def objective(self, batch: Tensor, update: Tensor) -> dict[str, Tensor]:
        """``terms``, in nats, one per restart; ``"loss"`` among them is minimised.

        ``batch`` is one item of the chunk, ``update`` the number of updates before.
        """
        raise NotImplementedError

    def prepare(self, train: TrainSettings, steps: int) -> None:
        """Compile with the optimizer and clipping of the settings ``train``."""
        self.clip_norm = train.clip_norm
        self.rate = learning_rate(train, steps)
        self.cooled = self.rate if isinstance(self.rate, Cooled) else None
        self.decay = getattr(train, "weight_decay", 0.0)
        self.compile(optimizer=keras.optimizers.Adam(self.rate))
        self.program = self.chunk_program()
        self.optimizer.build(self.trainable_variables)
        self._fresh = [ops.convert_to_numpy(v) for v in self.optimizer.variables]

    def lengthen(self, steps: int) -> None:
        """Set the number of updates of the whole training, as :meth:`prepare` does: the program
        stays.
        """
        if isinstance(self.rate, Cosine):
            self.rate.lengthen(steps)

    def forget(self) -> None:
        """Reset the optimizer; the weights are reset by a subclass."""
        for variable, value in zip(self.optimizer.variables, self._fresh):
            variable.assign(value)
        self.stop_training = False

    def train_on(self, chunks: Chunks, observers: Sequence[Observer]) -> None:
        """Train on chunks, until ``stop_training`` is set."""
        self.stop_training = False
        for observer in observers:
            observer.model = self
            observer.begin()
        with closing(iter(chunks)) as drawn:
            for _ in range(len(chunks)):
                for observer in reversed(observers):
                    observer.before()
                means = self.program(next(drawn))
                logs = {name: float(means[name]) for name in sorted(means)}
                for observer in observers:
                    observer.after(logs)
                if self.stop_training:
                    break
        for observer in observers:
            observer.end()

    def chunk_program(self) -> Callable[[tuple[Tensor, Tensor]], dict[str, Tensor]]:
        """:meth:`train_step`, compiled."""
        return compiled(self.train_step, self.xla)

    def train_step(self, data: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Run ``count`` updates on ``data = (chunk, (count,))``.

        Returns:
            Means of the terms over the chunk and norm of the last gradient, of the restart with the
            lowest mean loss; and the learning rate.
        """
        chunk, counts = data
        count = counts[0]
        variables = self.trainable_variables

        def update(
            i: Tensor, sums: dict[str, Tensor], norms: Tensor
        ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
            batch = keras.tree.map_structure(lambda array: array[i], chunk)
            terms, gradients = self.differentiate(batch)
            if self.clip_norm is None:  # only the last norm is logged
                norms = tf.cond(i + 1 < count, lambda: norms, lambda: self.norms(gradients))
            else:
                norms = self.norms(gradients)
            if variables:
                self.decay_weights()
                self.optimizer.apply(self.clipped(gradients, norms), variables)
            else:  # K = 0: nothing to train, but the updates still count
                self.optimizer.iterations.assign_add(1)
            sums = {name: sums[name] + terms[name] for name in self.terms}
            return i + 1, sums, norms

        zeros = ops.zeros(self.restarts)
        start = (tf.constant(0), dict.fromkeys(self.terms, zeros), zeros)
        _, sums, norms = tf.while_loop(lambda i, *_: i < count, update, start)
        share = 1 / ops.cast(count, zeros.dtype)  # as XLA divides by a constant, to the bit
        means = {name: total * share for name, total in sums.items()}
        logs = best_restart({**means, "gradient_norm": norms})
        return {**logs, "learning_rate": self.optimizer.learning_rate}

    def differentiate(self, batch: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Terms of the next update and the gradients of its loss."""
        with tf.GradientTape() as tape:
            terms = self.objective(batch, self.optimizer.iterations)
        # Summed over restarts by the tape: what one depends on, no other does.
        return terms, tape.gradient(terms["loss"], [v.value for v in self.trainable_variables])

    def cause(self, weights: list[Tensor]) -> str:
        """Cause of a divergence, if known, that was not yet at ``weights``; these are assigned."""
        return ""

    def decay_weights(self) -> None:
        """Decoupled weight decay: shrink the kernels by ``decay`` times the learning rate.

        Loshchilov & Hutter 2019 (arXiv 1711.05101), with one decay or, ``(R,)``, one per restart.
        """
        if not np.any(self.decay):
            return
        rate = self.optimizer.learning_rate
        for weight in self.trainable_variables:
            if "kernel" in weight.name:
                ones = (1,) * (len(weight.shape) - len(self.restarts))
                decay = np.float32(self.decay).reshape(np.shape(self.decay) + ones)
                weight.assign(weight - weight * decay * rate)

    @property
    def state_variables(self) -> list[Tensor]:
        """Weights, then the optimizer's variables."""
        return [*self.weights, *self.optimizer.variables]

    @property
    def moments(self) -> list[Tensor]:
        """Adam's moments: of each weight the first, then the second."""
        return self.optimizer.variables[1:]

    def go_back(
        self, weights: list[np.ndarray], moments: list[np.ndarray], updates: np.ndarray
    ) -> None:
        """Restore weights, and Adam's moments of ``updates`` updates, each restart's own.

        The count of updates stays: moments are scaled to be as large, corrected by it, as then.
        """
        count = int(self.optimizer.iterations)
        counts_then = np.maximum(updates, 1).astype(float)
        self.set_weights(weights)
        for i, (variable, value) in enumerate(zip(self.moments, moments)):
            decay = self.optimizer.beta_2 if i % 2 else self.optimizer.beta_1
            scale = ((1 - decay**count) / (1 - decay**counts_then)).astype(value.dtype)
            ones = (1,) * (value.ndim - len(self.restarts))
            variable.assign(value * scale.reshape(self.restarts + ones))

    def norms(self, gradients: list[Tensor]) -> Tensor:
        """Norm of the gradient of each restart."""
        squares = ops.zeros(self.restarts)
        for gradient in gradients:
            axes = list(range(len(self.restarts), len(gradient.shape)))
            squares = squares + ops.sum(gradient * gradient, axis=axes)
        return ops.sqrt(squares)

    def clipped(self, gradients: list[Tensor], norms: Tensor) -> list[Tensor]:
        """Gradient clipping: each restart's norm is at most ``clip_norm``."""
        if self.clip_norm is None:
            return gradients
        scale = self.clip_norm / ops.maximum(norms, self.clip_norm)
        clipped = []
        for gradient in gradients:
            ones = (1,) * (len(gradient.shape) - len(self.restarts))
            clipped.append(gradient * ops.reshape(scale, self.restarts + ones))
        return clipped


def best_restart(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Logs of the finite restart with the lowest loss."""
    finite = ops.isfinite(logs["loss"]) & ops.isfinite(logs["gradient_norm"])
    best = ops.argmin(ops.where(finite, logs["loss"], math.inf))
    # Not ``[best]``: what the start of a slice depends on, here the count of updates by the mean
    # loss, is a constant to XLA, and a last chunk that is cut short was compiled anew.
    return {name: ops.take(ops.reshape(values, (-1,)), best) for name, values in logs.items()}


def with_gradient(
    function: Callable[..., Tensor], xla: bool | None = True
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Function of points ``(n, D)``: values ``(n,)`` and gradients ``(n, D)``.

    By :func:`compiled`, or operation by operation where ``xla`` is ``None``. Further arguments are
    those of ``function``.
    """

    def values_and_gradients(points: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(points)
            values = function(points, *arguments)
        return values, tape.gradient(values, points)

    return values_and_gradients if xla is None else compiled(values_and_gradients, xla)


class RuntimeConstant:
    """Number that a compiled loop reads: another one takes no new compilation.

    No weight of the model that holds it.
    """

    def __init__(self, value: float):
        self._variable = keras.Variable(value, trainable=False, dtype="float32")

    def assign(self, value: float) -> None:
        self._variable.assign(value)

    @property
    def value(self) -> Tensor:
        """As a tensor, float32."""
        return self._variable.value


class Cosine(Schedule):
    """Cosine decay to 0: ``rate (1 + cos(π t/T)) / 2`` at update ``t`` of ``T``."""

    def __init__(self, rate: float, steps: int):
        super().__init__()
        self.rate = rate
        self.angle = RuntimeConstant(_angle(steps))  # of an update

    def __call__(self, step: Tensor) -> Tensor:
        angle = ops.minimum(ops.cast(step, "float32") * self.angle.value, math.pi)
        return self.rate * (0.5 * (1.0 + ops.cos(angle)))

    def lengthen(self, steps: int) -> None:
        """Set the number of updates T."""
        self.angle.assign(_angle(steps))


def _angle(steps: int) -> float:
    """``π/T`` with the rounding of XLA's constants: the bits are those of a fixed ``T``."""
    return float(np.float32(math.pi) * (np.float32(1) / np.float32(steps)))


class Cooled(Schedule):
    """Learning rate, or schedule, that falls to 0 by a cosine after :meth:`cool`.

    Weights are noisy at a high rate: a training that just stops is worse.
    """

    def __init__(self, rate: Rate, steps: int):
        super().__init__()
        self.rate = rate
        self.steps = steps
        self.start = RuntimeConstant(NEVER)
        self.length = RuntimeConstant(1)

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        last_hot = ops.minimum(step, self.start.value)
        rate: Tensor = self.rate(last_hot) if callable(self.rate) else self.rate
        cooled = ops.clip((step - last_hot) / self.length.value, 0.0, 1.0)
        return rate * 0.5 * (1.0 + ops.cos(math.pi * cooled))

    def cool(self, update: int | None, length: int) -> None:
        """Let the rate fall from that of ``update`` on, in ``length`` updates or those that are
        left; ``None``: not yet.
        """
        self.start.assign(NEVER if update is None else update)
        self.length.assign(max(min(length, self.steps - (update or 0)), 1))


def learning_rate(train: TrainSettings, steps: int) -> Rate:
    """Learning rate of the settings ``train``: a number, or a schedule."""
    rate = train.learning_rate
    if train.schedule == "cosine":
        rate = Cosine(rate, steps)
    if getattr(train.early_stopping, "cools", False):
        rate = Cooled(rate, steps)
    return rate


def inverse_temperature(update: Tensor, anneal_updates: int, start: float) -> Tensor:
    """``β_t``, linear from ``start`` to 1 over ``anneal_updates`` updates.

    The annealed objective has ``β_t log p`` in place of ``log p``; in the paper
    ``β_t = min(1, 0.01 + t/10000)`` (arXiv 1505.05770, eq. 20).
    """
    if anneal_updates == 0:
        return ops.ones_like(ops.cast(update, "float32"))
    # Rounded as XLA's constants.
    rise = float(np.float32(1 - start) * (np.float32(1) / np.float32(anneal_updates)))
    return ops.clip(start + rise * ops.cast(update, "float32"), start, 1.0)
