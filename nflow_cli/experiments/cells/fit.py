"""Fit a density of cells to the rows of a table by maximum likelihood."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.flow_schema import MAX_WEIGHTS
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import CellDensity, Member, encode
from nflow_cli.densities.cells.fitting import (
    as_parameters,
    fitted_columns,
    fitted_computed,
    fitted_marginals,
    layout_of,
)
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.marginal import Marginal
from nflow_cli.densities.cells.mixing import mixing_weights
from nflow_cli.densities.cells.starting import started
from nflow_cli.densities.cells.weights import CellWeights
from nflow_cli.errors import DataError
from nflow_cli.experiments.cells.training import CellChunks, FitCells, packed
from nflow_cli.flows.side_by_side import seeds_from
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.members import MembersLog
from nflow_cli.training.progress import nats_text
from nflow_cli.training.reporting import ProgressReport
from nflow_cli.training.session import Session
from nflow_cli.training.trainer import Clock, Speed, compiled

AT_A_TIME = 4_096  # validation rows


class Parts(NamedTuple):
    """What a fit is of, before and after its training."""

    columns: list[CellColumn]
    layout: Layout
    marginals: list[Marginal]
    model: FitCells


class Training(NamedTuple):
    """How a fit was trained: its updates, whose weights were kept, and how long it took."""

    steps: int
    best_update: int
    speed: Speed


def build(config: CellsConfig, data: Dataset) -> Parts:
    """Build and compile the networks that a settled config describes."""
    columns, cells = fitted_columns(data), config.cells
    blocks = cells.blocks or 0
    layout = layout_of(columns, len(data.given), cells.components or 0, cells.width or 0)
    marginals = fitted_marginals(columns, data.train, data.weights.train)
    _expect_weights(layout, blocks, data.name)
    seeds = seeds_from(config.seed, config.train.ensemble)
    starts = [network.initial(layout, blocks, stream(seed, "cells")) for seed in seeds]
    trained = CellWeights(starts)
    start = started(layout, columns, data.train, data.weights.train)
    model = FitCells(layout, columns, trained, start, -_measure(columns, data))
    model.prepare(config.train, config.train.steps or 0)
    return Parts(columns, layout, marginals, model)


def _expect_weights(layout: Layout, blocks: int, name: str) -> None:
    """Refuse a network of more weights than a config may ask for elsewhere."""
    count = sum(math.prod(shape) for shape in network.shapes(layout, blocks).values())
    if count > MAX_WEIGHTS:
        raise DataError(
            f"{name}: expected at most {MAX_WEIGHTS:,} weights, received {count:,}, as some "
            "columns have many levels; --exclude some of them, or --set cells.width=32"
        )


def _measure(columns: Sequence[CellColumn], data: Dataset) -> float:
    """Return by how much in nats the mean row's density is above its mass, with a minus sign."""
    total = 0.0
    for column, values in list(zip(columns, data.train.T))[len(data.given) :]:
        share = np.average(column.encode(values).codes == column.number, weights=data.weights.train)
        total += column.log_measure * float(share)
    return total


def train(
    parts: Parts, data: Dataset, config: CellsConfig, directory: RunDirectory | None = None
) -> Training:
    """Train the networks as ``config.train`` says, each to its best validation."""
    model, settings, steps = parts.model, config.train, config.train.steps or 0
    rows = packed(parts.layout, encode(parts.columns, parts.layout, data.train))
    seeds = seeds_from(config.seed, settings.ensemble)
    shape = (steps, settings.chunk or 1, settings.batch_size or 0)
    chunks = CellChunks(parts.layout.n_columns, rows, seeds, *shape, data.weights.train)
    clock = Clock()
    log = MembersLog(
        clock, validate=_validator(parts, data), stopping=settings.early_stopping, from_start=True
    )

    def note(logs: Any) -> str:
        text = f"log-likelihood {nats_text(-float(logs['loss']))}"
        validation = f", validation {nats_text(-log.validation)}" if log.rows else ""
        return f"{text}{validation} nats"

    progress = ProgressReport(steps, clock, note)
    with Session(config, steps, directory, log=log, progress=progress) as session:
        session.fit(model, chunks)
        log.take_best(model)
        session.finish(model)
    return Training(clock.steps, log.kept_at, clock.speed())


def _validator(parts: Parts, data: Dataset) -> Callable[[], Any]:
    """Return the function that computes the loss of the validation rows by each network."""
    loss, weights = compiled(parts.model.negative_log_likelihood), data.weights.validation
    rows = packed(parts.layout, encode(parts.columns, parts.layout, data.validation)).T
    weights = np.ones(rows.shape[1]) if weights is None else weights
    batches = []
    for start in range(0, rows.shape[1], AT_A_TIME):
        part = slice(start, start + AT_A_TIME)
        if weights[part].sum():
            arrays = (rows[:, part], weights[part].astype(np.float32))
            batches.append([ops.convert_to_tensor(array) for array in arrays])
    shares = [float(ops.sum(batch[1])) for batch in batches]

    def validate() -> Any:
        losses = (ops.convert_to_numpy(loss(*batch)).astype(np.float64) for batch in batches)
        return sum(n * one for n, one in zip(shares, losses)) / sum(shares)

    return validate


def fitted(parts: Parts, data: Dataset) -> CellDensity:
    """Return the density of the trained networks, each mixed with the marginals by validation."""
    marginal = as_parameters(parts.layout, parts.marginals)
    members = []
    for arrays in parts.model.members():
        weights = float64(parts.layout, arrays)
        alone = Member(weights, np.ones(len(parts.layout.modelled)))
        density = CellDensity(parts.columns, parts.layout, marginal, [alone])
        cells = density.network_log_cells(alone, data.validation)
        members.append(Member(weights, mixing_weights(*cells, data.weights.validation)))
    computed = fitted_computed(data, parts.columns)
    return CellDensity(parts.columns, parts.layout, marginal, members, computed)


def float64(layout: Layout, arrays: network.Weights) -> dict[str, np.ndarray]:
    """Return the weights of a network as reports are computed from, masked."""
    return network.masked(layout, {name: a.astype(np.float64) for name, a in arrays.items()})
