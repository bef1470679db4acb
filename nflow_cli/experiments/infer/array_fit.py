"""Training on log-densities that NumPy computes between compiled programs."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.densities.log_density import ArrayDensity
from nflow_cli.experiments.density_2d.training import Fit2D
from nflow_cli.training.trainer import best_restart


class ArrayFit(Fit2D):
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
        import tensorflow as tf

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
