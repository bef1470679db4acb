"""Divergence: training stops at the first non-finite update, and its source is named."""

import math
import time
from collections.abc import Generator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from nflow_cli.errors import DivergenceError
from nflow_cli.flows import FlowStack
from nflow_cli.training.trainer import is_finite

KEEP_SECONDS = 1.0  # time between copies of the weights, which cost about a millisecond
CHECK, TRY = "check the target or the data", "try a smaller train.learning_rate or train.clip_norm"


class DivergenceStop(keras.callbacks.Callback):
    """Raises a :class:`~nflow_cli.errors.DivergenceError` when loss or gradient are not finite.

    Training is replayed from weights kept at most ``KEEP_SECONDS`` before, to its last finite
    update; the terms of the next one show the first layer that is not finite.

    Args:
        chunks: Of the training.
        is_first: Whether it is the first stage, whose learning rate is its own.
    """

    def __init__(self, chunks: Any, is_first: bool = False):
        super().__init__()
        self.chunks, self.is_first, self._norm = chunks, is_first, math.nan
        self._kept: list[np.ndarray] = []
        self._kept_at = -math.inf

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self._keep()
            self._kept_at = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not is_finite(logs):
            raise DivergenceError(self._explained(logs))
        self._norm = float(logs["gradient_norm"])  # where the next chunk fails at once

    def _explained(self, logs: Mapping[str, Any]) -> str:
        end = self._made()
        self._go_back()
        run = self.model.chunk_program()
        start = self._made()
        while start < end:
            self.chunks.start_at(start)
            chunk, count = self.chunks[0]
            self._keep()
            good = self._finite_updates(run, chunk, int(count[0]))
            if good < count[0]:
                return self._taken_apart(chunk, good)
            start += int(count[0])
        # It does not happen again.
        return f"training diverged by update {end:,}: loss {float(logs['loss'])}; {TRY}"

    def _finite_updates(self, run: Any, chunk: Any, count: int) -> int:
        """Number of finite updates of the chunk; the model is left after them."""

        def run_again(updates: int) -> Mapping[str, Any]:
            self._go_back()
            return run((chunk, (ops.convert_to_tensor(updates, "int32"),)))

        good, bad = 0, count + 1
        middle = count  # a chunk that is finite takes one try
        while bad - good > 1:
            if is_finite(run_again(middle)):
                good = middle
            else:
                bad = middle
            middle = (good + bad) // 2
        if good:
            self._norm = float(run_again(good)["gradient_norm"])
        else:
            self._go_back()
        return good

    def _taken_apart(self, chunk: Any, index: int) -> str:
        batch = keras.tree.map_structure(lambda array: array[index], chunk)
        update, fault = self._made() + 1, first_fault(self.model, batch)
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        known = [remedy for part, remedy in self.model.remedies.items() if fault.startswith(part)]
        # At a first update nothing was learnt: what is wrong there is what was asked for.
        ways = [*known, TRY] if update > 1 else known or [CHECK, TRY]
        stage, facts = "", []
        if self.is_first:
            stage, ways = " of the first stage", known or [CHECK]
        if math.isfinite(self._norm):
            facts.append(f"gradient norm before: {self._norm:.4g}")
        if TRY in ways:
            facts.append(f"learning rate: {rate:.4g}")
        told = f"{', '.join(facts)}; " if facts else ""
        return f"training diverged at update {update:,}{stage}: {fault}; {told}{', or '.join(ways)}"

    def _made(self) -> int:
        return int(self.model.optimizer.iterations)

    def _keep(self) -> None:
        self._kept = [ops.convert_to_numpy(v) for v in self.model.state_variables]

    def _go_back(self) -> None:
        for variable, value in zip(self.model.state_variables, self._kept, strict=True):
            variable.assign(value)


def trace_flows(
    flow: FlowStack, points: Any, context: Any = None, inverse: bool = False
) -> Generator[tuple[str, Any], None, Any]:
    """Push points through a stack: yield each flow's result by name, return the last."""
    steps = list(flow.composition(context).steps())
    for step in reversed(steps) if inverse else steps:
        points, log_det = step.run(points, inverse)
        yield f"the {'input' if inverse else 'output'} of {step.name}", points
        yield f"the log-determinant of {step.name}", log_det
    return points


def first_fault(model: Any, batch: Any) -> str:
    """Name the first non-finite layer and term of an update on ``batch``.

    In order of computation: terms of the objective, then gradients from the last layer to the
    first, without restarts that diverged before.
    """
    alive = _alive(model) if model.restarts else 0
    for name, array in model.trace(batch):
        values = ops.convert_to_numpy(array)
        if fault := _fault(values[alive] if model.restarts else values):
            return f"{name} is {fault}"
    _, gradients = model.differentiate(batch)
    for variable, gradient in reversed(list(zip(model.trainable_variables, gradients))):
        values = ops.convert_to_numpy(gradient)
        if fault := _fault(values[alive] if model.restarts else values):
            return f"the gradient of {variable.path} is {fault}"
    return "the loss, or the norm of its gradient, is too large for a float32"


def _alive(model: Any) -> int:
    weights = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    finite = [all(np.isfinite(w[r]).all() for w in weights) for r in range(*model.restarts)]
    return finite.index(True) if True in finite else 0


def _fault(values: np.ndarray) -> str | None:
    faults = values[~np.isfinite(values)]
    return str(faults[0]) if faults.size else None
