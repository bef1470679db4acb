"""Trainers by reverse KL: on a log-density of tensors, or on one that NumPy computes."""

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.config.training import Annealed
from nflow_cli.densities.log_density import ArrayDensity, LogDensity
from nflow_cli.densities.pushforward import PushforwardDensity, values_at
from nflow_cli.densities.targets import Target
from nflow_cli.errors import TargetError, one_line
from nflow_cli.experiments.reverse_kl.user_code import MOST_LETTERS
from nflow_cli.flows.stack import FlowStack
from nflow_cli.random_streams import stream
from nflow_cli.training.trainer import ChunkTrainer, best_restart, inverse_temperature

START_SAMPLES = 1_000  # for comparing a mode with the base
WHERE_IT_ENDS = "give its support by --bounds, or map R^D to it"
NO_COMPILE = "--no-compile is slower, without compilation"
AHEAD, WIDEST = 10_000, 3.0  # draws in search of a divergence, and their widest, times q's


class ReverseKL(ChunkTrainer):
    """Trainable density and its target; ``annealing`` is the schedule of ``beta``.

    ``restarts`` is ``(R,)`` for R stacks side by side. ``is_first``: first stage, to the target as
    annealed at the start.
    """

    terms = ("loss", "kl", "beta")
    start_width = 1.0  # of the starting Gaussian, relative to that of the first stage
    path_from: int | None = None  # first update whose gradient leaves out the score
    _by_path = False

    def __init__(
        self,
        density: PushforwardDensity,
        target: Target,
        annealing: Annealed,
        restarts: tuple[int, ...] = (),
        is_first: bool = False,
    ):
        super().__init__()
        self.density, self.target, self.annealing = density, target, annealing
        self.flow = density.flow  # Keras finds the weights here
        self.restarts, self.is_first = restarts, is_first
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Annealed free energy and the KL of base samples ``(D, [R,] batch_size)``.

        ``KL(q || p) = E[log q(z) - log p(z)]`` where ``p`` is normalised, else the free energy
        ``KL - log Z`` (arXiv 1505.05770, eq. 15).
        """
        beta = self.beta(update)
        z, log_q = self.density.push(ops.swapaxes(batch, -1, -2))
        log_p, kept = self.target.log_prob(z), self.log_q_to_train(z, log_q)
        loss, kl = ops.mean(kept - beta * log_p, axis=-1), ops.mean(log_q - log_p, axis=-1)
        return {"loss": loss, "kl": kl, "beta": beta}

    def log_q_to_train(self, z: Any, log_q: Any) -> Any:
        """``log q`` at samples ``z`` ``(..., D)``, with the gradient used for training.

        ``d log q(z(θ); θ)/dθ`` is a path term, ``∇_z log q · dz/dθ``, plus the score at fixed
        ``z``, whose mean is 0. Without the score the gradient has no variance where q = p (Roeder,
        Wu & Duvenaud 2017, arXiv 1703.09194).
        """
        return self.density.held_log_prob(z) if self._by_path else log_q

    def differentiate(self, batch: Any) -> tuple[dict[str, Any], list[Any]]:
        """Terms of the next update and the gradient of its loss."""
        return self.early_or_late(lambda: super(ReverseKL, self).differentiate(batch))

    def early_or_late(self, differentiated: Callable[[], Any]) -> Any:
        """``differentiated()``, from ``path_from`` on with the path gradient: unstable far from
        ``p``, of less variance near it.
        """
        if self.path_from is None:
            return differentiated()

        def by_path(choice: bool) -> Any:
            self._by_path = choice
            try:
                return differentiated()
            finally:
                self._by_path = False

        is_late = ops.convert_to_tensor(self.optimizer.iterations) >= self.path_from
        return ops.cond(is_late, lambda: by_path(True), lambda: by_path(False))

    def beta(self, update: Any) -> Any:
        """Inverse temperature of the target at an update."""
        made = 0 * update if self.is_first else update
        return inverse_temperature(made, self.annealing.updates, self.annealing.start)

    def start_over(self, seeds: Sequence[int]) -> None:
        """Restart with other seeds, one for each stack."""
        self.forget()
        self.flow.restart(*seeds)

    def starts(self, modes: np.ndarray) -> np.ndarray:
        """Means of the Gaussians ``(R, D)`` that start the first stage: modes, or 0 where base
        samples shifted to one have no larger mean ``log p``.

        A hierarchical model can have a peak without mass: a funnel's neck.
        """

        def height(points: np.ndarray) -> float:
            values = values_at(self.target.log_prob, points).astype(np.float64)
            return float(values.mean()) if np.isfinite(values).all() else -math.inf

        shape = (START_SAMPLES, modes.shape[-1])
        noise = self.density.base.sample(stream(0, "starts"), shape)
        there = np.stack([height(noise + mode) for mode in modes])
        return np.where((there > height(noise))[:, None], modes, 0.0).astype(modes.dtype)

    def with_flow(self, flow: FlowStack, restarts: int) -> "ReverseKL":
        """Same fit with another flow of ``restarts`` stacks."""
        return self._like(flow, (restarts,))

    def member_fit(self, flow: FlowStack) -> "ReverseKL":
        """Same fit with another flow, not annealed."""
        fit = self._like(flow, flow.members)
        fit.annealing = Annealed(1.0, 0)
        return fit

    def first_stage(self) -> "ReverseKL":
        """Fit of the last affine map alone."""
        return self._like(self.flow.without_maps(), self.restarts, is_first=True)

    def _like(
        self, flow: FlowStack, restarts: tuple[int, ...], is_first: bool = False
    ) -> "ReverseKL":
        flow.build((None, self.density.dim))
        density = PushforwardDensity(self.density.base, flow)
        fit = type(self)(density, self.target, self.annealing, restarts, is_first)
        fit.xla, fit.start_width = self.xla, self.start_width
        fit.path_from = None if is_first else self.path_from
        return fit

    def cause(self, weights: list[Any]) -> str:
        """A point where the log-density is not finite: of draws, the farther the wider."""
        if not isinstance(self.target, LogDensity):
            return ""
        self.set_weights(weights)
        shape = (*self.restarts, AHEAD, self.target.dim)
        noise = self.density.base.sample(stream(0, "divergence"), shape)
        wider = noise * np.linspace(1, WIDEST, AHEAD, dtype=noise.dtype)[:, None]
        z = ops.convert_to_numpy(self.density.push(ops.convert_to_tensor(wider))[0])
        z = z.reshape(-1, self.target.dim)
        try:
            log_p, x = values_at(self.target.log_prob, z), self.target.units.outside(z)
        except TargetError:  # fails far away: the error is divergence
            return ""
        wrong = np.flatnonzero(np.isfinite(x).all(axis=-1) & ~np.isfinite(log_p))
        if not len(wrong):
            return ""
        place = point_text(x[wrong[0]], self.target.names)
        return f"the log-density of the target at {place} is {log_p[wrong[0]]}; {WHERE_IT_ENDS}"


class ReverseKLOnArrays(ReverseKL):
    """Density and the NumPy log-density that it is fitted to.

    No compiled loop can call NumPy, so each update is one program: with ``log p`` and its gradient
    at the points ``x`` of its base samples, it minimises a surrogate of equal gradient,
    ``E[log q(x(z_0)) - β x(z_0) · ∇log p(x)]`` at constant ``∇log p``, and pushes the base samples
    of the next update.
    """

    target: ArrayDensity

    def chunk_program(self) -> Callable[[Any], dict[str, Any]]:
        """:meth:`run_chunk`, which is not one program."""
        return self.run_chunk

    def run_chunk(self, data: Any) -> dict[str, Any]:
        """Run ``count`` updates on ``data = (chunk, (count,))``, as :meth:`train_step` does."""
        chunk, count = data[0], int(data[1][0])
        sums = np.zeros((len(self.terms), *self.restarts))
        norms = np.zeros(self.restarts)
        batch = ops.convert_to_tensor(chunk[0])
        points = self._points(batch)
        for i in range(count):
            held = self.target.at(ops.convert_to_numpy(points))
            following = ops.convert_to_tensor(chunk[min(i + 1, count - 1)])
            terms, norms, points = self._update(batch, *held, following)
            sums, batch = sums + ops.convert_to_numpy(terms), following
        means = dict(zip(self.terms, sums / max(count, 1)))
        logs = best_restart({**means, "gradient_norm": ops.convert_to_numpy(norms)})
        return {**logs, "learning_rate": self.optimizer.learning_rate}

    def differentiate(self, batch: Any) -> tuple[dict[str, Any], list[Any]]:
        """Terms and gradients."""
        points = ops.convert_to_numpy(self.points_of(batch))
        return self._differentiated(batch, *map(ops.convert_to_tensor, self.target.at(points)))

    def points_of(self, batch: Any) -> Any:
        """Points ``x`` of base samples ``(D, [R,] batch_size)``."""
        z, _ = self.density.push(ops.swapaxes(batch, -1, -2))
        return self.target.outside(z)[0]

    @cached_property
    def _points(self) -> Callable[[Any], Any]:
        return compiled(self.points_of, self.xla)

    @cached_property
    def _update(self) -> Callable[..., Any]:
        def update(batch: Any, values: Any, gradients: Any, following: Any) -> tuple[Any, ...]:
            terms, slopes = self._differentiated(batch, values, gradients)
            norms = self.norms(slopes)
            self.optimizer.apply(self.clipped(slopes, norms), self.trainable_variables)
            shape = ops.shape(norms)
            means = ops.stack([ops.broadcast_to(terms[t], shape) for t in self.terms])
            return means, norms, self.points_of(following)

        return compiled(update, self.xla)

    def _differentiated(self, batch: Any, values: Any, gradients: Any) -> Any:
        return self.early_or_late(lambda: self._differentiated_so(batch, values, gradients))

    def _differentiated_so(self, batch: Any, values: Any, gradients: Any) -> Any:
        beta = self.beta(self.optimizer.iterations)
        with tf.GradientTape() as tape:
            z, log_q = self.density.push(ops.swapaxes(batch, -1, -2))
            x, log_det = self.target.outside(z)
            held = ops.sum(x * gradients, axis=-1) + log_det
            surrogate = ops.mean(self.log_q_to_train(z, log_q) - beta * held, axis=-1)
        # In float64: of a large log-density float32 would keep no decimals.
        log_q, log_det, beta = (ops.cast(part, "float64") for part in (log_q, log_det, beta))
        log_p = values + log_det
        loss, kl = ops.mean(log_q - beta * log_p, axis=-1), ops.mean(log_q - log_p, axis=-1)
        weights = [v.value for v in self.trainable_variables]
        return {"loss": loss, "kl": kl, "beta": beta}, tape.gradient(surrogate, weights)


def point_text(x: np.ndarray, names: Sequence[str]) -> str:
    """Coordinates of a point ``(D,)`` by name, at most four."""
    shown = ", ".join(f"{name}={value:.4g}" for name, value in list(zip(names, x))[:4])
    return shown + (", …" if len(names) > 4 else "")


@contextmanager
def compiling(compiles: bool) -> Iterator[None]:
    """Turn a compilation failure of a user's function into a one-line error."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except tf.errors.OpError as error:
        text = one_line(error)
        lacking = re.search(r"unsupported operations.*?: (\w+)", text)
        what = f"the operation {lacking[1]}" if lacking else textwrap.shorten(text, MOST_LETTERS)
        way = f"; {NO_COMPILE}" if compiles else ""
        raise TargetError(f"the function cannot be compiled: {what}{way}") from None
