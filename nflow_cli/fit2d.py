"""Fit a flow stack to a 2-D density by reverse KL."""

from typing import Any

import keras
from keras import ops

from nflow_cli.flows import FlowStack
from nflow_cli.objectives import inverse_temperature, reverse_kl
from nflow_cli.registry import BASES, TARGETS, resolve
from nflow_cli.training import ChunkTrainer, make_optimizer


class Fit2D(ChunkTrainer):
    """A flow stack, the base it starts from, and the target it is fitted to."""

    terms = ("loss", "kl", "beta")

    def __init__(self, flow: FlowStack, base: Any, target: Any, annealing: Any):
        super().__init__()
        self.flow, self.base, self.target, self.annealing = flow, base, target, annealing
        flow.build((None, 2))
        flow.built = self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Return the annealed free energy and the KL divergence of a batch of base samples."""
        beta = inverse_temperature(update, self.annealing.updates, self.annealing.start)
        z, log_det = self.flow(batch)
        log_q0, log_p = self.base.log_prob(batch), self.target.log_prob(z)
        loss = ops.mean(reverse_kl(log_q0, log_det, beta * log_p))
        return {"loss": loss, "kl": ops.mean(reverse_kl(log_q0, log_det, log_p)), "beta": beta}


def build(config: Any) -> Fit2D:
    """Build and compile the model that a :class:`~nflow_cli.config.Fit2DConfig` describes."""
    target = resolve(TARGETS[config.target.name])(**config.target.model_dump(exclude={"name"}))
    base = resolve(BASES[config.base_name])()
    flow = FlowStack(config.flow.pattern, config.flow.k, seed=config.seed)
    model = Fit2D(flow, base, target, config.train.annealing)
    model.compile(optimizer=make_optimizer(config.train), jit_compile=True)
    return model
