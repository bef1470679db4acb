"""Training of a density of cells, from data to summary."""

from typing import Any

import numpy as np

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.experiments.cells import fit, judge
from nflow_cli.experiments.cells.summary import CellsSummary
from nflow_cli.experiments.cells.weights_arrays import arrays_of
from nflow_cli.experiments.interrupted import load_weights
from nflow_cli.experiments.summary import DataRecord, Fitted, identity_of
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.weights_file import save_weights


def arrays_so_far(directory: RunDirectory, experiment: Any) -> dict[str, np.ndarray]:
    """Arrays of the density of an interrupted run, all but its networks fitted to its table again.

    A table that is gone or has changed is a ``DataError``.
    """
    data = experiment.data(directory)
    parts = fit.build(experiment.config, data)
    load_weights(experiment, directory, parts.model)
    return arrays_of(fit.fitted(parts, data), parts.model.members())


def run(
    config: CellsConfig, directory: RunDirectory, data: Dataset, built: fit.Parts | None = None
) -> Fitted:
    """Train or resume in ``directory``, score and save; ``built`` in a trial."""
    parts = built or fit.build(config, data)
    training, acceptance = fit.train(parts, data, config, directory)
    density = fit.fitted(parts, data)
    model_sha256 = save_weights(directory, arrays_of(density, parts.model.members()))
    scores, arrays = judge.judged(config, density, data)
    summary = CellsSummary(
        **scores,
        **identity_of(config),
        target=None,
        data=DataRecord(name=data.name, sha256=data.sha256),
        measure=data.measure,
        columns=data.scored,
        given=list(data.given),
        steps=training.steps,
        best_update=training.best_update,
        **data.sizes,
        fill_acceptance=acceptance,
        n_parameters=parts.model.trained.count_params(),
        model_sha256=model_sha256,
        **training.speed._asdict(),
    )
    return Fitted(summary, arrays)
