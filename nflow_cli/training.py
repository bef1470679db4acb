"""The shared trainer: many updates in one compiled call, with ``Model.fit`` as the driver."""

from typing import Any

import keras
from keras import ops


class ChunkTrainer(keras.Model):
    """A Keras model whose ``train_step`` runs a whole chunk of updates as one XLA program.

    Small models spend their time in dispatch, not in arithmetic: so what Keras sees as one batch
    is a chunk ``(updates, batch, ...)`` and the loop over it is compiled with the gradient and
    the optimizer. A subclass defines :meth:`objective`.
    """

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Return scalars by name, in nats; ``"loss"`` among them is minimised.

        Args:
            batch: One item of the chunk.
            update: How many updates were made before.
        """
        raise NotImplementedError

    def train_step(self, data: Any) -> dict[str, Any]:
        """Run ``count`` updates on ``data = (chunk, (count,))``; return the terms' means."""
        import tensorflow as tf

        chunk, count = data
        count = count[0]
        variables = self.trainable_variables

        def update(i: Any, sums: dict[str, Any], norm: Any) -> tuple[Any, dict[str, Any], Any]:
            with tf.GradientTape() as tape:
                terms = self.objective(chunk[i], self.optimizer.iterations)
            gradients = tape.gradient(terms["loss"], [v.value for v in variables])
            norm = tf.linalg.global_norm(gradients)
            self.optimizer.apply(gradients, variables)
            return i + 1, {name: sums[name] + terms[name] for name in sums}, norm

        zeros = {name: ops.zeros(()) for name in self.terms}
        start = (tf.constant(0), zeros, ops.zeros(()))
        _, sums, norm = tf.while_loop(lambda i, *_: i < count, update, start)
        means = {name: total / ops.cast(count, total.dtype) for name, total in sums.items()}
        return {**means, "gradient_norm": norm, "learning_rate": self.optimizer.learning_rate}


def make_optimizer(train: Any) -> keras.optimizers.Optimizer:
    """Return Adam with the learning-rate schedule and clipping that ``train`` asks for."""
    rate = train.learning_rate
    if train.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=train.steps)
    return keras.optimizers.Adam(rate, global_clipnorm=train.clip_norm)
