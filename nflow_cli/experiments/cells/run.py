"""A training of a density of cells, from data to summary."""

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.presets import fingerprint
from nflow_cli.data.dataset import Dataset
from nflow_cli.experiments.cells import fit, judge
from nflow_cli.experiments.cells.arrays import pictures
from nflow_cli.experiments.cells.summary import CellsSummary
from nflow_cli.experiments.cells.weights_arrays import arrays_of
from nflow_cli.experiments.summary import DataRecord, Fitted
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.weights_file import save_weights
from nflow_cli.training.progress import phase


def run(config: CellsConfig, directory: RunDirectory, data: Dataset) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    parts = fit.build(config, data)
    training = fit.train(parts, data, config, directory)
    density = fit.fitted(parts, data)
    model_sha256 = save_weights(directory, arrays_of(density, parts.model.members()))
    with phase(f"scoring: {len(data.test):,} test rows"):
        estimated = judge.estimates(density, data.test, config.seed)
        scores = judge.held_out(density, data, estimated, config.seed)
    with phase("preparing pictures"):
        shown = pictures(density, data, estimated, config.seed, config.evaluate.keep_rows)
    summary = CellsSummary(
        **scores,
        flow=config.cells.text,
        k=1,
        target=None,
        data=DataRecord(name=data.name, sha256=data.sha256),
        measure=data.measure,
        columns=data.scored,
        given=list(data.given),
        seed=config.seed,
        steps=training.steps,
        best_update=training.best_update,
        **data.sizes,
        shares=judge.mean_shares(density),
        n_parameters=parts.model.trained.count_params(),
        model_sha256=model_sha256,
        config_sha256=fingerprint(config),
        **training.speed._asdict(),
    )
    return Fitted(summary, shown)
