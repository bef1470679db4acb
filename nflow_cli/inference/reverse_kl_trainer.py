"""Trainers by reverse KL: on a log-density of tensors, or on one that NumPy computes."""

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.config.run_config import Annealed
from nflow_cli.densities.pushforward import PushforwardDensity, values_at
from nflow_cli.densities.target import Target
from nflow_cli.errors import TargetError, one_line
from nflow_cli.flows.stack import FlowStack
from nflow_cli.inference.log_density import ArrayDensity, LogDensity
from nflow_cli.inference.user_code import MOST_LETTERS
from nflow_cli.random_streams import stream
from nflow_cli.training.trainer import ChunkTrainer, best_restart, inverse_temperature

START_SAMPLES = 1_000  # for comparing a mode with the base
SUPPORT_REMEDY = "give its support by --bounds, or map R^D to it"
COMPILE_REMEDY = "--no-compile is slower, without compilation"
SEARCH_DRAWS = 10_000  # in search of the cause of a divergence
WIDEST_DRAWS = 3.0  # scale of the base sample of the last of these
Terms = dict[str, tf.Tensor]  # of the objective, one per restart
Chunk = tuple[np.ndarray, tuple[int]]  # base samples of its updates, and their number
Differentiated = TypeVar("Differentiated")


class ReverseKL(ChunkTrainer):
    """Fit of a density to a target by reverse KL; ``annealing`` is the schedule of ``beta``, the
    inverse temperature of the target.

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
        self.density = density
        self.target = target
        self.annealing = annealing
        self.flow = density.flow  # Keras finds the weights here
        self.restarts = restarts
        self.is_first = is_first
        self.built = True

    def objective(self, batch: tf.Tensor, update: tf.Tensor) -> Terms:
        """Annealed free energy, KL and ``beta`` by base samples ``(D, [R,] batch_size)``.

        ``KL(q || p) = E[log q(z) - log p(z)]`` where ``p`` is normalised, else the free energy
        ``KL - log Z`` (arXiv 1505.05770, eq. 15).
        """
        beta = self.beta(update)
        z, log_q = self.density.push(ops.swapaxes(batch, -1, -2))
        log_p = self.target.log_prob(z)
        loss = ops.mean(self.log_q_to_train(z, log_q) - beta * log_p, axis=-1)
        return {"loss": loss, "kl": ops.mean(log_q - log_p, axis=-1), "beta": beta}

    def log_q_to_train(self, z: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
        """``log q`` at samples ``z`` ``(..., D)``, with the gradient used for training.

        ``d log q(z(θ); θ)/dθ`` is a path term, ``∇_z log q · dz/dθ``, plus the score at fixed
        ``z``, whose mean is 0. Without the score the gradient has no variance where q = p (Roeder,
        Wu & Duvenaud 2017, arXiv 1703.09194).
        """
        return self.density.held_log_prob(z) if self._by_path else log_q

    def differentiate(self, batch: tf.Tensor) -> tuple[Terms, list[Any]]:
        """Terms of the next update and the gradient of its loss by the network weights."""
        return self.by_path_if_late(lambda: super(ReverseKL, self).differentiate(batch))

    def by_path_if_late(self, differentiate: Callable[[], Differentiated]) -> Differentiated:
        """Call ``differentiate``, from the update ``path_from`` on with the path gradient: unstable
        far from ``p``, of less variance near it.
        """
        if self.path_from is None:
            return differentiate()

        def with_gradient(by_path: bool) -> Differentiated:
            """Call ``differentiate`` with the path gradient or the whole one."""
            self._by_path = by_path
            try:
                return differentiate()
            finally:
                self._by_path = False

        is_late = ops.convert_to_tensor(self.optimizer.iterations) >= self.path_from
        return ops.cond(is_late, lambda: with_gradient(True), lambda: with_gradient(False))

    def beta(self, update: tf.Tensor) -> tf.Tensor:
        """Inverse temperature of the target at an update; in a first stage the initial one."""
        if self.is_first:
            update = 0 * update
        return inverse_temperature(update, self.annealing.updates, self.annealing.start)

    def start_over(self, seeds: Sequence[int]) -> None:
        """Restart with other seeds, one for each stack."""
        self.forget()
        self.flow.restart(*seeds)

    def starts(self, modes: np.ndarray) -> np.ndarray:
        """Means ``(R, D)`` of the Gaussians that start the first stage: modes ``(R, D)``, or 0
        where base samples shifted to one have no larger mean ``log p`` than unshifted.

        A hierarchical model can have a peak without mass: a funnel's neck.
        """

        def mean_log_p(points: np.ndarray) -> float:
            """Mean ``log p`` of points ``(n, D)``; -inf if one is not finite."""
            log_p = values_at(self.target.log_prob, points).astype(np.float64)
            return float(log_p.mean()) if np.isfinite(log_p).all() else -math.inf

        shape = (START_SAMPLES, modes.shape[-1])
        noise = self.density.base.sample(stream(0, "starts"), shape)
        log_p_at_modes = np.stack([mean_log_p(noise + mode) for mode in modes])
        is_higher = log_p_at_modes > mean_log_p(noise)
        return np.where(is_higher[:, None], modes, 0.0).astype(modes.dtype)

    def with_flow(self, flow: FlowStack, restarts: int) -> "ReverseKL":
        """Same fit with another flow of ``restarts`` stacks."""
        return self._same_fit(flow, (restarts,))

    def member_fit(self, flow: FlowStack) -> "ReverseKL":
        """Same fit with another flow, not annealed."""
        fit = self._same_fit(flow, flow.members)
        fit.annealing = Annealed(1.0, 0)
        return fit

    def first_stage(self) -> "ReverseKL":
        """Fit of the last affine map alone."""
        return self._same_fit(self.flow.without_maps(), self.restarts, is_first=True)

    def _same_fit(
        self, flow: FlowStack, restarts: tuple[int, ...], is_first: bool = False
    ) -> "ReverseKL":
        """Fit of another flow of ``restarts`` stacks, with the same target and settings."""
        flow.build((None, self.density.dim))
        density = PushforwardDensity(self.density.base, flow)
        fit = type(self)(density, self.target, self.annealing, restarts, is_first)
        fit.xla = self.xla
        fit.start_width = self.start_width
        fit.path_from = None if is_first else self.path_from
        return fit

    def cause(self, weights: list[np.ndarray]) -> str:
        """Text on a point where the log-density is not finite, as the cause of a divergence; "" if
        none is found.

        Of draws by a density with these network weights, whose base samples are scaled by 1 to 3.
        """
        if not isinstance(self.target, LogDensity):
            return ""
        self.set_weights(weights)
        shape = (*self.restarts, SEARCH_DRAWS, self.target.dim)
        noise = self.density.base.sample(stream(0, "divergence"), shape)
        noise = noise * np.linspace(1, WIDEST_DRAWS, SEARCH_DRAWS, dtype=noise.dtype)[:, None]
        z = ops.convert_to_numpy(self.density.push(ops.convert_to_tensor(noise))[0])
        z = z.reshape(-1, self.target.dim)
        try:
            log_p = values_at(self.target.log_prob, z)
        except TargetError:  # fails far away: the error is divergence
            return ""
        x = self.target.units.outside(z)
        wrong = np.flatnonzero(np.isfinite(x).all(axis=-1) & ~np.isfinite(log_p))
        if not len(wrong):
            return ""
        point = point_text(x[wrong[0]], self.target.names)
        return f"the log-density of the target at {point} is {log_p[wrong[0]]}; {SUPPORT_REMEDY}"


class ReverseKLOnArrays(ReverseKL):
    """Density and the NumPy log-density that it is fitted to.

    No compiled loop can call NumPy, so each update is one program: with ``log p`` and its gradient
    at the points ``x`` of its base samples, it minimises a surrogate of equal gradient,
    ``E[log q(x(z_0)) - β x(z_0) · ∇log p(x)]`` at constant ``∇log p``, and pushes the base samples
    of the next update.
    """

    target: ArrayDensity

    def chunk_program(self) -> Callable[[Chunk], Terms]:
        """:meth:`run_chunk`, of which each update is a program."""
        return self.run_chunk

    def run_chunk(self, data: Chunk) -> Terms:
        """Run ``count`` updates on ``data = (chunk, (count,))``; return means of the terms over
        them, and gradient norm and learning rate of the last.
        """
        batches = data[0]
        count = int(data[1][0])
        sums = np.zeros((len(self.terms), *self.restarts))
        norms = np.zeros(self.restarts)
        batch = ops.convert_to_tensor(batches[0])
        points = self._compiled_points(batch)
        for i in range(count):
            log_p, gradients = self.target.at(ops.convert_to_numpy(points))
            next_batch = ops.convert_to_tensor(batches[min(i + 1, count - 1)])
            means, norms, points = self._compiled_update(batch, log_p, gradients, next_batch)
            sums = sums + ops.convert_to_numpy(means)
            batch = next_batch
        terms = dict(zip(self.terms, sums / max(count, 1)))
        logs = best_restart({**terms, "gradient_norm": ops.convert_to_numpy(norms)})
        return {**logs, "learning_rate": self.optimizer.learning_rate}

    def differentiate(self, batch: tf.Tensor) -> tuple[Terms, list[Any]]:
        """Terms of the next update and the gradient of its loss by the network weights."""
        log_p, gradients = self.target.at(ops.convert_to_numpy(self.points_of(batch)))
        return self._differentiated_at(
            batch, ops.convert_to_tensor(log_p), ops.convert_to_tensor(gradients)
        )

    def points_of(self, batch: tf.Tensor) -> tf.Tensor:
        """Points ``x`` ``([R,] batch_size, D)`` of base samples ``(D, [R,] batch_size)``."""
        z, _ = self.density.push(ops.swapaxes(batch, -1, -2))
        return self.target.outside(z)[0]

    @cached_property
    def _compiled_points(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """:meth:`points_of` as a program."""
        return compiled(self.points_of, self.xla)

    @cached_property
    def _compiled_update(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Program of an update: means of the terms, gradient norms, and points of the next batch.

        Its arguments are a batch, ``log p`` and its gradients at the batch's points, and the next
        batch.
        """

        def update(
            batch: tf.Tensor, log_p: tf.Tensor, gradients: tf.Tensor, next_batch: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Run one update; push the base samples of the next."""
            terms, weight_gradients = self._differentiated_at(batch, log_p, gradients)
            norms = self.norms(weight_gradients)
            self.optimizer.apply(self.clipped(weight_gradients, norms), self.trainable_variables)
            shape = ops.shape(norms)
            means = ops.stack([ops.broadcast_to(terms[name], shape) for name in self.terms])
            return means, norms, self.points_of(next_batch)

        return compiled(update, self.xla)

    def _differentiated_at(
        self, batch: tf.Tensor, log_p: tf.Tensor, gradients: tf.Tensor
    ) -> tuple[Terms, list[Any]]:
        """Terms of an update and the gradient of its loss by the network weights, by ``log p`` and
        its gradients at the points of the batch.
        """
        return self.by_path_if_late(lambda: self._terms_and_gradients(batch, log_p, gradients))

    def _terms_and_gradients(
        self, batch: tf.Tensor, log_p_of_x: tf.Tensor, gradients: tf.Tensor
    ) -> tuple[Terms, list[Any]]:
        """Terms, and the gradient of a surrogate: ``x · ∇log p(x)`` in place of ``log p(x)``."""
        beta = self.beta(self.optimizer.iterations)
        with tf.GradientTape() as tape:
            z, log_q = self.density.push(ops.swapaxes(batch, -1, -2))
            x, log_det = self.target.outside(z)
            linear = ops.sum(x * gradients, axis=-1) + log_det
            surrogate = ops.mean(self.log_q_to_train(z, log_q) - beta * linear, axis=-1)
        # In float64: of a large log-density float32 would keep no decimals.
        log_q = ops.cast(log_q, "float64")
        log_p = log_p_of_x + ops.cast(log_det, "float64")
        beta = ops.cast(beta, "float64")
        loss = ops.mean(log_q - beta * log_p, axis=-1)
        terms = {"loss": loss, "kl": ops.mean(log_q - log_p, axis=-1), "beta": beta}
        network_weights = [variable.value for variable in self.trainable_variables]
        return terms, tape.gradient(surrogate, network_weights)


def point_text(x: np.ndarray, names: Sequence[str]) -> str:
    """Text of the coordinates of a point ``(D,)`` with their names, at most four."""
    coordinates = [f"{name}={value:.4g}" for name, value in zip(names, x)]
    text = ", ".join(coordinates[:4])
    return f"{text}, …" if len(names) > 4 else text


@contextmanager
def compiling(compiles: bool) -> Iterator[None]:
    """Turn a compilation failure of a user's function into a one-line TargetError.

    ``compiles``: whether the fit is compiled, so that it may be tried without.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except tf.errors.OpError as error:
        cause = one_line(error)
        operation = re.search(r"unsupported operations.*?: (\w+)", cause)
        if operation:
            cause = f"the operation {operation[1]}"
        else:
            cause = textwrap.shorten(cause, MOST_LETTERS)
        mend = f"; {COMPILE_REMEDY}" if compiles else ""
        raise TargetError(f"the function cannot be compiled: {cause}{mend}") from None
