"""Fit, judge and save a density of cells in its run directory."""

from typing import Any

import numpy as np

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.presets import fingerprint
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.experiments.cells import fit, judge
from nflow_cli.experiments.cells.summary import CellsSummary
from nflow_cli.experiments.cells.weights_arrays import arrays_of
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_SAMPLES
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.weights_file import save_weights
from nflow_cli.training.progress import phase


def run(
    config: CellsConfig, directory: RunDirectory, data: Dataset, keeps_rows: bool
) -> dict[str, Any]:
    """Fit, judge and save in ``directory``, from where it is; return the summary."""
    parts = fit.build(config, data)
    training = fit.train(parts, data, config, directory)
    density = fit.fitted(parts, data)
    model_sha256 = save_weights(directory, arrays_of(density, parts.model.members()))
    with phase(f"scoring: {len(data.test):,} test rows"):
        estimated = judge.estimates(density, data.test, config.seed)
        scores = judge.scores(estimated, data.scored, data.weights.test)
        gap = judge.gap(density, data.name, config.seed)
    with phase("preparing pictures"):
        shown = pictures(density, data, estimated, config.seed, keeps_rows)
        directory.write_evaluation(shown)
    return CellsSummary(
        **scores.model_dump(),
        **gap,
        flow=config.cells.text,
        data={"name": data.name, "sha256": data.sha256},
        measure=data.measure,
        columns=data.scored,
        given=list(data.given),
        seed=config.seed,
        steps=training.steps,
        best_update=training.best_update,
        **data.sizes,
        shares=mean_shares(density),
        n_parameters=parts.model.trained.count_params(),
        model_sha256=model_sha256,
        config_sha256=fingerprint(config),
        **training.speed._asdict(),
    ).model_dump()


def mean_shares(density: CellDensity) -> dict[str, float]:
    """Return the mean weight of the networks beside the marginal of each modelled column."""
    shares = np.mean([member.shares[density.order] for member in density.networks], axis=0)
    return {column.name: float(share) for column, share in zip(density.modelled, shares)}


def pictures(
    density: CellDensity, data: Dataset, estimated: judge.Estimates, seed: int, keeps_rows: bool
) -> dict[str, np.ndarray]:
    """Return what the pictures are drawn from: test rows, draws, and the PIT of test cells."""
    rows = data.test[:SHOWN_SAMPLES] if keeps_rows else data.test[:0]
    given = np.resize(data.test, (min(SHOWN_SAMPLES, len(data.train)), data.test.shape[1]))
    draws = density.draw(given, stream(seed, "shown"))
    shown = {"rows": rows, "draws": draws, "draws_log_q": density.log_prob(draws)}
    shown["pit"] = estimated["pit"][:SHOWN_SAMPLES]
    if not keeps_rows:
        return shown
    log_q = np.nan_to_num(estimated["log_q"], nan=0.0, neginf=-np.inf).sum(axis=1)
    weights = {} if data.weights.test is None else {"test_weights": data.weights.test}
    return {**shown, "test_log_q": log_q, **weights}
