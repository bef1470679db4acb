"""Fit a flow stack to a 2-D density by reverse KL."""

from collections.abc import Iterator
from typing import Any

from keras import ops

from nflow_cli.caveats import caveats_of, records
from nflow_cli.config import fingerprint
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.divergence import trace_flows
from nflow_cli.evaluation import density_arrays, evaluate_samples
from nflow_cli.flows import FlowStack
from nflow_cli.objectives import inverse_temperature
from nflow_cli.programs import compiled_before
from nflow_cli.progress import nats_text
from nflow_cli.registry import BASES, TARGETS, resolve
from nflow_cli.restarts import Restarts
from nflow_cli.run_dir import SUMMARY, RunDirectory
from nflow_cli.saving import save_model
from nflow_cli.scores import mass_of
from nflow_cli.session import Session
from nflow_cli.targets import Target
from nflow_cli.training import (
    ChunkTrainer,
    Clock,
    EarlyStop,
    MetricsLog,
    ProgressReport,
)


class Fit2D(ChunkTrainer):
    """A density and the target it is fitted to."""

    terms = ("loss", "kl", "beta")

    def __init__(self, density: FlowDensity, target: Target, annealing: Any):
        super().__init__()
        self.density, self.target, self.annealing = density, target, annealing
        self.flow = density.flow  # Keras finds the weights here
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Return the annealed free energy and the KL of base samples ``(D, [R,] batch_size)``.

        ``KL(q || p) = E[log q(z) - log p(z)]`` where ``p`` is normalised, else the free energy
        ``KL - log Z`` (arXiv 1505.05770, eq. 15).
        """
        beta = inverse_temperature(update, self.annealing.updates, self.annealing.start)
        z, log_q = self.density.push(ops.moveaxis(batch, 0, -1))
        log_p = self.target.log_prob(z)
        loss, kl = ops.mean(log_q - beta * log_p, axis=-1), ops.mean(log_q - log_p, axis=-1)
        return {"loss": loss, "kl": kl, "beta": beta}

    def trace(self, batch: Any) -> Iterator[tuple[str, Any]]:
        """Yield what :meth:`objective` computes, flow by flow."""
        z0 = ops.moveaxis(batch, 0, -1)
        yield "the log-density of the base", self.density.base.log_prob(z0)
        z = yield from trace_flows(self.flow, z0)
        yield "the log-density of the target", self.target.log_prob(z)

    def with_flow(self, flow: FlowStack) -> "Fit2D":
        """Return the same fit of another flow."""
        flow.build((None, self.density.dim))
        return Fit2D(FlowDensity(self.density.base, flow), self.target, self.annealing)


def build(config: Any) -> Fit2D:
    """Build and compile the model that a :class:`~nflow_cli.schema.Fit2DConfig` describes."""
    target = resolve(TARGETS[config.target.name])(**config.target.model_dump(exclude={"name"}))
    flow = FlowStack(config.flow.pattern, config.flow.k, seed=config.seed)
    flow.build((None, target.dim))
    density = FlowDensity(resolve(BASES[config.base_name])(), flow)
    model = Fit2D(density, target, config.train.annealing)
    model.prepare(config.train, config.train.steps)
    return model


def train(model: Fit2D, config: Any, directory: RunDirectory | None = None) -> dict[str, Any]:
    """Train ``model`` as ``config.train`` says.

    With ``directory``, the training is logged and saved there, and goes on from where it was.

    Returns:
        The figures of speed, and what became of the restarts.
    """
    settings = config.train
    clock, restarts = Clock(), Restarts(model, config)
    figure = "free energy" if model.target.log_z is None else "KL"

    def note(logs: Any) -> str:
        return f"{figure} {nats_text(float(logs['kl']))} nats"

    callbacks: list[Any] = [clock, MetricsLog(clock), ProgressReport(settings.steps, clock, note)]
    if settings.early_stopping:
        callbacks.append(EarlyStop(**settings.early_stopping.model_dump(), clock=clock))
    every = settings.checkpoint_seconds
    with Session(callbacks, settings.steps, directory, every, (restarts,)) as session:
        restarts.train(session)
    return {**clock.figures(), "restarts": restarts.record()}


def run(config: Any, directory: RunDirectory) -> dict[str, Any]:
    """Fit, judge and save in ``directory``, from where it is. Returns the summary."""
    model = compiled_before(config, lambda: build(config))
    speed = train(model, config, directory)
    model_sha256 = save_model(directory, model.flow)
    parts, seed = (model.density, model.target), config.seed
    evaluation = evaluate_samples(*parts, seed, config.evaluate.samples)
    speed["restarts"]["kl"][speed["restarts"]["best"]] = evaluation.figures["kl"]
    mass, mass_error = mass_of(model.density, seed)
    arrays = density_arrays(*parts, evaluation.first, seed, config.evaluate.grid)
    directory.write_evaluation(arrays)
    summary = {
        "flow": ",".join(config.flow.pattern),
        "k": config.flow.k,
        "target": config.target.name,
        "base": config.base_name,
        "seed": seed,
        "steps": speed.pop("steps"),
        **evaluation.figures,
        "mass": mass,
        "mass_error": mass_error,
        "n_parameters": model.flow.count_params(),
        "model_sha256": model_sha256,
        "config_sha256": fingerprint(config),
        **speed,
    }
    summary["caveats"] = records(caveats_of(config, summary))
    directory.write_json(SUMMARY, summary)
    return summary
