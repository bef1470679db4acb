"""Training of flow stacks on rows of a table, by maximum likelihood (forward KL)."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.config.table import FitConfig, FlowsTrain
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.pushforward import PushforwardDensity, chunks, each_member
from nflow_cli.densities.regression import LinearGaussian
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.experiments.summary import Fitted
from nflow_cli.flows.stack import seeds_from
from nflow_cli.registry import BASES, resolve
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.tables import flows_scoring
from nflow_cli.tables.fitted_density import fitted_density
from nflow_cli.tables.flows_loading import built_stack
from nflow_cli.tables.row_training import Training, train_on_rows
from nflow_cli.terminal.output import tell
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.observers import nats_text
from nflow_cli.training.trainer import ChunkTrainer


class FitPoints(ChunkTrainer):
    """Density to train on rows, in the coordinates of its units.

    Args:
        density: With a base positive everywhere.
        log_det: Mean ``log|det dz/dx|`` in nats of the units over training rows.
    """

    terms = ("loss",)

    def __init__(self, density: PushforwardDensity, log_det: float):
        super().__init__()
        self.density = density
        self.trained = density.trained  # where Keras finds the weights
        self.restarts = density.flow.members
        self.log_det = log_det
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """:meth:`negative_log_likelihood` of rows ``(G + D, batch_size)``."""
        return {"loss": self.negative_log_likelihood(ops.swapaxes(batch, -1, -2))}

    def negative_log_likelihood(self, encoded: Any) -> Any:
        """``-mean log q(x)`` in nats of encoded rows ``(n, G + D)``.

        For R members: ``(R,)``, of rows ``(R, n, G + D)``.

        ``log q(x) = log q0(f^-1(z)) + log|det df^-1/dz| + log|det dz/dx|`` (arXiv 1505.05770,
        eq. 5); the last is that of the mean training row. Its expectation over ``p`` is
        ``KL(p || q)`` plus the entropy of ``p``.
        """
        return -ops.mean(self._log_q(encoded), axis=-1) - self.log_det

    def _log_q(self, encoded: Any) -> Any:
        return self.density.pull(*self.density.parts(encoded))[1]

    @cached_property
    def compiled_log_q(self) -> Callable[..., Any]:
        """Log-densities ``(n,)`` or ``(R, n)`` of encoded rows, in their coordinates, as a
        program.
        """
        return compiled(self._log_q)


def starting_density(config: FitConfig, data: Dataset) -> PushforwardDensity:
    """Initial density: the Gaussian of the rows, if the flows have an affine map.

    With given columns its mean is a linear regression.
    """
    units = ColumnUnits([data.units[name] for name in data.modelled_names])
    given_units = ColumnUnits([data.units[name] for name in data.given_names])
    base = resolve(BASES[config.base_name])()
    density = PushforwardDensity(base, built_stack(config), units, given_units)
    if config.flow.affine:
        start = LinearGaussian(density, data.train, data.weights.train).regression
        slope = start.slope if density.n_given else None
        density.flow.adapt(start.intercept, start.cholesky, slope)
    return density


def build(config: FitConfig, data: Dataset) -> FitPoints:
    """Build and compile the model of a settled config."""
    density = starting_density(config, data)
    _, log_det = density.encoded(data.train)
    model = FitPoints(density, float(np.average(log_det, weights=data.weights.train)))
    model.prepare(config.train, config.train.steps or 0)
    return model


def fit(
    model: FitPoints, data: Dataset, config: FitConfig, directory: RunDirectory | None = None
) -> Training:
    """Train ``model`` as ``config.train`` specifies; restore the weights of the best validation."""
    batches = batches_of(model, data, config.train, config.seed)
    validate = validator(model, data)
    name = "linear regression" if data.given_names else "Gaussian"
    gaussian = LinearGaussian(model.density, data.train, data.weights.train)
    log_q = gaussian.log_prob(data.validation)
    mean = float(np.average(log_q, weights=data.weights.validation))
    tell(f"{name}: log-likelihood {nats_text(mean)} nats a validation row")
    return train_on_rows(model, batches, validate, data, config, directory)


def batches_of(model: FitPoints, data: Dataset, settings: FlowsTrain, seed: int) -> PointChunks:
    """Batches of encoded training rows for each member."""
    encoded, _ = model.density.encoded(data.train)
    seeds = seeds_from(seed, settings.ensemble)
    shape = (settings.steps or 0, settings.chunk or 1, settings.batch_size or 0)
    return PointChunks(encoded, seeds, *shape, data.weights.train)


def validator(model: FitPoints, data: Dataset) -> Callable[[], np.ndarray]:
    """Losses ``(R, n)`` of validation rows."""
    encoded, log_det = model.density.encoded(data.validation)
    batches = [
        each_member(model.density.flow, ops.convert_to_tensor(encoded[rows].astype(np.float32)))
        for rows in chunks(len(encoded), model.density.numbers_a_row)
    ]

    def validate() -> np.ndarray:
        log_q = [ops.convert_to_numpy(model.compiled_log_q(batch)) for batch in batches]
        return -(np.atleast_2d(np.concatenate(log_q, axis=-1)) + log_det)

    return validate


def train(config: FitConfig, directory: RunDirectory, data: Dataset) -> Fitted:
    """Train or resume in ``directory``, save the density, and score it."""
    model = build(config, data)
    training = fit(model, data, config, directory)
    model_sha256 = save_model(directory, model.trained)
    facts = {"n_parameters": model.trained.count_params(), "model_sha256": model_sha256}
    if config.is_of_two:
        facts["mass"], facts["mass_error"] = mass_of(model.density, config.seed)
    return fitted_density(flows_scoring, config, model.density, data, training, facts)
