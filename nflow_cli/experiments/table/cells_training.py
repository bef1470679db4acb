"""Training of a density of cells, by maximum likelihood.

If it is unmixed, the linear map of plain numbers to components is trained first, before the
networks that take these:

    v = L U A u,    log q(u) = log q(v) + log|det A|

A is the start: independent components, or the columns as they are. L and U are triangular with
diagonals of 1, and trained with a small network of v by maximum likelihood: where no components
are independent, each is to be simple given those before.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.config import presets
from nflow_cli.config.flows import MAX_WEIGHTS
from nflow_cli.config.table import CellsConfig
from nflow_cli.constants import LOG_2PI
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.fitting import (
    fitted_columns,
    fitted_computed,
    fitted_marginals,
    layout_of,
)
from nflow_cli.densities.cells.heads import LogCells, log_pair, mixed
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.marginal import member_weights, mixing_weights
from nflow_cli.densities.cells.start import StartingWeights, starting_weights
from nflow_cli.densities.cells.unmixing import (
    FLOOR,
    RESOLUTION,
    Unmixing,
    component,
    fit_unmixing,
    is_clear,
    units_of,
)
from nflow_cli.errors import DataError
from nflow_cli.experiments.table.trainer import (
    CellChunks,
    CellWeights,
    FilledChunks,
    Filling,
    FitCells,
    filled_start,
    gaps_of,
    log_present,
    packed,
)
from nflow_cli.experiments.table.weights import arrays_of
from nflow_cli.flows.stack import seeds_from
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import CONFIG, RunDirectory
from nflow_cli.runs.weights_file import save_weights
from nflow_cli.terminal.progress import phase
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.session import Training, train_on_rows

# Of the training of a map:
WIDTH, BLOCKS, COMPONENTS = 64, 1, 10  # of the network
CHUNKS = 12  # of updates, each as long as those of a fit
DECAY = 0.3  # of the kernels
FAR = 30.0  # largest means of its normals
BROAD = 3.0  # scale of the normal that bounds the loss of a component
VALIDATED = 4_096  # validation rows, at most
LEAST_GAIN = 1e-3  # nats a number of a map, at least: a larger network learns less without one
LEAST_ERRORS = 2.0  # standard errors by which they must be likelier, beyond which no bits decide
TURN = "turn"  # L below the diagonal, U above it
# Of the networks:
AT_A_TIME = 4_096  # validation rows


class FitMaps(FitCells):
    """Maps side by side, each with a network of its components; ``maps``: starts ``(R, D, D)``, of
    which the last stays as it is.
    """

    def __init__(self, maps: np.ndarray, layout: Layout, *rest: Any):
        log_slopes = np.linalg.slogdet(maps)[1] - maps.shape[-1] * np.log(RESOLUTION)
        of_none = {"log_present": np.zeros((len(layout.modelled), 1))}
        super().__init__(layout, *rest, **of_none, shift=log_slopes.astype(np.float32))
        self.maps = maps.astype(np.float32)

    @property
    def matrices(self) -> Any:
        """``L U A`` of each ``(R, D, D)``."""
        count, unit = len(self.maps), np.eye(self.maps.shape[-1], dtype=np.float32)
        turn = self.trained.arrays[TURN] * (np.arange(count) < count - 1)[:, None, None]
        return (ops.tril(turn, -1) + unit) @ (ops.triu(turn, 1) + unit) @ self.maps

    def parts(self, packed: Any) -> list[Any]:
        """Those of components of rows in units ``(D, n)``."""
        v = self.matrices @ packed
        none, half = v[..., :0, :], ops.full_like(v, RESOLUTION / 2)
        broad = np.log(RESOLUTION / BROAD) - LOG_2PI / 2 - ops.square(v / BROAD) / 2
        return [ops.zeros_like(v), v, v, half, broad, none, none]


def trained_unmixing(start: Unmixing, data: Dataset, config: CellsConfig) -> tuple[Unmixing, bool]:
    """Train the map from ``start`` and from the identity; return that of the likelier validation
    rows, with components of variance 1, and whether these are clearly likelier than without a map.
    """
    columns, settings = start.columns, config.train
    train, validation = (units_of(columns, rows) for rows in (data.train, data.validation))
    maps = np.stack([start.matrix, *[np.eye(len(columns))] * 2])
    of_rows = [component(i, FLOOR, -FAR, FAR) for i in range(len(columns))]
    layout = layout_of(of_rows, 0, COMPONENTS, WIDTH)
    starts = [starting_weights(layout, of_rows, train @ each.T, None) for each in maps]
    every = StartingWeights(
        *(
            {name: np.stack([one[name] for one in some]) for name in some[0]}
            for some in zip(*starts)
        )
    )
    initial = network.initial(layout, BLOCKS, stream(config.seed, "maps"))
    weights = CellWeights([{**initial, TURN: np.zeros(maps.shape[1:])}] * len(maps))
    model, chunk = FitMaps(maps, layout, of_rows, weights, every), settings.chunk or 1
    model.prepare(settings, CHUNKS * chunk)
    model.decay = DECAY
    shape = CHUNKS * chunk, chunk, settings.batch_size or 1
    model.train_on(PointChunks(train, [config.seed], *shape), [])
    held_out = ops.convert_to_tensor(validation[:VALIDATED].T.astype(np.float32))
    log_probs = ops.convert_to_numpy(model.log_probs(held_out)).astype(np.float64)
    *mapped, plain = log_probs + np.reshape(model.shift, (-1, 1))
    best = int(np.argmax(np.mean(mapped, axis=1)))
    matrix = ops.convert_to_numpy(model.matrices)[best].astype(np.float64)
    found = Unmixing(columns, matrix / (train @ matrix.T).std(axis=0)[:, None])
    gains = mapped[best] - plain
    is_large = bool(gains.mean() > LEAST_GAIN * len(columns) ** 2)
    return found, is_large and is_clear(gains, LEAST_ERRORS)


class Parts(NamedTuple):
    """Density without networks, the networks to train, and training rows with filled gaps."""

    density: CellDensity
    model: FitCells
    filled: np.ndarray | None


def build(config: CellsConfig, data: Dataset) -> Parts:
    """Build and compile the networks of a settled config, behind a map to linear components if it
    has one, or leaves it to the training and a map is likelier.
    """
    blocks, members = config.cells.blocks or 0, config.train.members
    density, train = _without_networks(config, data)
    layout, columns = density.layout, density.cells
    _expect_weights(layout, blocks, data.name)
    starts = [
        network.initial(layout, blocks, stream(seed, "cells"))
        for seed in seeds_from(config.seed, members)
    ]
    if config.train.filled and gaps_of(density, data.train).any():
        start, filled = filled_start(density, train, data.weights.train, config.seed)
    else:
        start, filled = starting_weights(layout, columns, train, data.weights.train), None
    shift = _shift(density, data.train, data.weights.train)
    model = FitCells(layout, columns, CellWeights(starts), start, log_present(density), shift)
    model.prepare(config.train, config.train.steps or 0)
    model.decay = np.array(config.train.decays)
    return Parts(density, model, filled)


def _without_networks(config: CellsConfig, data: Dataset) -> tuple[CellDensity, np.ndarray]:
    """Density of components if a map to these is asked for or likelier, else of columns; and
    training rows of its cells.
    """
    unmixing = _unmixing(config, data)
    if unmixing is None:
        return _by_columns(config, data), data.train
    independent = _by_columns(config, data.straightened())
    components, rows = unmixing.fitted(data.train)
    marginals = fitted_marginals(components, rows, None)
    layout = independent.layout
    return CellDensity(components, layout, marginals, [], [], unmixing, independent), rows


def _unmixing(config: CellsConfig, data: Dataset) -> Unmixing | None:
    """Trained map to components, if one is asked for or clearly likelier than none."""
    if config.cells.unmixed is False:
        return None
    straight = data.straightened()
    start = fit_unmixing(fitted_columns(straight), straight)
    if start is None:
        return None
    with phase("training a map to linear components"):
        unmixing, is_likelier = trained_unmixing(start, straight, config)
    return unmixing if config.cells.unmixed or is_likelier else None


def _by_columns(config: CellsConfig, data: Dataset) -> CellDensity:
    columns, rows, cells = fitted_columns(data), data.train, config.cells
    sizes = len(data.given), cells.components or 0, cells.width or 0
    layout, computed = layout_of(columns, *sizes), fitted_computed(data, columns)
    some = slice(layout.n_given, None)
    marginals = fitted_marginals(columns[some], rows[:, some], data.weights.train)
    return CellDensity(columns, layout, marginals, [], computed)


def _expect_weights(layout: Layout, blocks: int, name: str) -> None:
    count = sum(math.prod(shape) for shape in network.shapes(layout, blocks).values())
    if count > MAX_WEIGHTS:
        raise DataError(
            f"{name}: expected at most {MAX_WEIGHTS:,} weights, received {count:,}, as some "
            "columns have many levels; --exclude some of them, or --set cells.width=32"
        )


def _shift(density: CellDensity, rows: np.ndarray, weights: np.ndarray | None) -> float:
    """Nats from the mean log-probability of rows, given learnt cells, to their log-density."""
    total, numbers = float(density.log_learnt.sum()), density.layout.of_modelled("number")
    (are_numbers,) = density.by_blocks(lambda block: ((block.codes == numbers).T,), rows)
    shares = np.average(are_numbers, axis=0, weights=weights)
    for column, share in zip(density.modelled, shares.tolist()):
        total -= column.log_measure * share
    if density.unmixing:
        total += float(np.nanmean(density.unmixing.log_slopes(rows).sum(axis=1)))
    return total


def fit(
    parts: Parts, data: Dataset, config: CellsConfig, directory: RunDirectory | None = None
) -> tuple[Training, dict[str, float]]:
    """Train the networks as ``config.train`` specifies, each to its best validation loss.

    Returns also the acceptance of fills by column.
    """
    with phase(f"preparing batches of {len(data.train):,} rows"):
        chunks = batches_of(parts, data, config)
        validate = validator(parts, data.validation, data.weights.validation)
        filling = filling_of(parts, data, chunks)
    training = train_on_rows(parts.model, chunks, validate, data, config, directory, filling)
    return training, filling[0].acceptance if filling else {}


def batches_of(parts: Parts, data: Dataset, config: CellsConfig) -> CellChunks:
    """Batches of training rows for each network."""
    settings, rows = config.train, packed(parts.density, data.train)
    seeds = seeds_from(config.seed, settings.members)
    shape = (settings.steps or 0, settings.chunk or 1, settings.batch_size or 0)
    arguments = parts.model.layout.n_columns, rows, seeds, *shape, data.weights.train
    if settings.filled:
        return FilledChunks(settings.filled, *arguments)
    return CellChunks(*arguments)


def filling_of(parts: Parts, data: Dataset, chunks: CellChunks) -> list[Filling]:
    """Observer that fills the gaps of training rows anew, if they are filled."""
    if not isinstance(chunks, FilledChunks) or parts.filled is None:
        return []
    networks = partial(networks_of, parts)
    return [Filling(parts.density, networks, data.train, parts.filled, chunks)]


def validator(parts: Parts, rows: np.ndarray, weights: np.ndarray | None) -> Callable[[], Any]:
    """Losses ``(R, n)`` of validation rows by the networks, each mixed with the marginals."""
    log_cells, of_rows = parts.model.compiled_log_cells, packed(parts.density, rows).T
    marginal = _in_rows(parts.model.marginal_log_cells(of_rows, np))
    batches = [
        ops.convert_to_tensor(of_rows[:, start : start + AT_A_TIME])
        for start in range(0, len(rows), AT_A_TIME)
    ]
    shift = _shift(parts.density, rows, weights)
    few = slice(AT_A_TIME)  # rows that the mixture weights are fitted to
    few_weights = None if weights is None else weights[few]

    def loss(cells: LogCells) -> np.ndarray:
        shares = _shares(parts.density, _some(cells, few), _some(marginal, few), few_weights)
        first, second, _ = mixed(log_pair(shares), cells, marginal, np)
        return -np.logaddexp(first, second).sum(axis=1) - shift

    def validate() -> np.ndarray:
        found = zip(*(log_cells(batch) for batch in batches))
        every = LogCells(
            *(np.concatenate([*map(ops.convert_to_numpy, part)], axis=-1) for part in found)
        )
        return np.array([loss(_in_rows(_some(every, r))) for r in range(len(every.masses))])

    return validate


def _some(cells: LogCells, places: slice | int) -> LogCells:
    return LogCells(*(part[places] for part in cells))


def _in_rows(cells: LogCells) -> LogCells:
    """Cells ``(D, n)`` as ``(n, D)`` in float64."""
    return LogCells(*(part.T.astype(float) for part in cells))


def _shares(
    density: CellDensity, cells: LogCells, marginal: LogCells, weights: np.ndarray | None
) -> np.ndarray:
    """Weights ``(D,)`` of a network beside the marginals, by held-out cells.

    The first column is conditioned on none: its weight is 0.
    """
    return mixing_weights(cells, marginal, weights) * (np.array(density.layout.modelled) > 0)


def fitted(parts: Parts, data: Dataset) -> CellDensity:
    """Trained density, with mixture weights by the validation rows.

    Each network is mixed with the marginals by cell; then networks are mixed by row.
    """
    density, rows, weights = parts.density, data.validation, data.weights.validation
    marginal = density.marginal_log_cells(rows)
    networks = []
    for one in networks_of(parts):
        cells = density.network_log_cells(one, rows)
        networks.append(one._replace(shares=_shares(density, cells, marginal, weights)))
    found = member_weights(density.with_networks(networks).member_log_probs(rows), weights)
    return density.with_networks(
        one._replace(weight=float(weight)) for one, weight in zip(networks, found)
    )


def networks_of(parts: Parts) -> Iterator[Member]:
    """Trained networks, each alone, in float64."""
    density = parts.density
    for arrays in parts.model.members():
        float64 = {name: array.astype(np.float64) for name, array in arrays.items()}
        masked = network.masked(density.layout, float64)
        yield Member(masked, np.ones(len(density.modelled)))


def train(
    config: CellsConfig, directory: RunDirectory, data: Dataset
) -> tuple[CellsConfig, CellDensity, Training, dict[str, Any]]:
    """Train or resume in ``directory``, and save: config as decided, density, training, further
    facts.

    The decision is recorded before the first checkpoint: a run killed before it decides again.
    """
    with phase(f"building the model of {len(data.columns):,} columns"):
        parts = build(config, data)
    if config.cells.unmixed is None:
        cells = config.cells.model_copy(update={"unmixed": parts.density.unmixing is not None})
        config = config.model_copy(update={"cells": cells})
        directory.write_text(CONFIG, presets.dump(config))
    training, acceptance = fit(parts, data, config, directory)
    density = fitted(parts, data)
    model_sha256 = save_weights(directory, arrays_of(density, parts.model.members()))
    facts = {"n_parameters": parts.model.trained.count_params(), "model_sha256": model_sha256}
    return config, density, training, {**facts, "fill_acceptance": acceptance}
