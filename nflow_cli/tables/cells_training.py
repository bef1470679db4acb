"""Training of a density of cells, by maximum likelihood.

If it is unmixed, the linear map of plain numbers to components is trained first, before the
networks that take these:

    v = L U A u,    log q(u) = log q(v) + log|det A|

A is the start: independent components, or the columns as they are. L and U are triangular with
diagonals of 1, and trained with a small network of v by maximum likelihood: where no components
are independent, each is to be simple given those before.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.config import presets
from nflow_cli.config.flows import MAX_WEIGHTS
from nflow_cli.config.table import Cells, CellsConfig, CellsTrain
from nflow_cli.constants import LOG_2PI
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.errors import DataError
from nflow_cli.experiments.summary import Fitted
from nflow_cli.flows.stack import seeds_from
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import CONFIG, RunDirectory
from nflow_cli.runs.weights_file import save_weights
from nflow_cli.tables import cells_scoring as cells
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cells_density import CellDensity, CellScores
from nflow_cli.tables.cells.fitting import (
    fitted_columns,
    fitted_computed,
    fitted_marginals,
    layout_of,
)
from nflow_cli.tables.cells.heads import LogCells, log_mixture
from nflow_cli.tables.cells.layout import Layout
from nflow_cli.tables.cells.marginal import mixing_shares
from nflow_cli.tables.cells.network_start import StartingWeights, starting_weights
from nflow_cli.tables.cells.unmixing import (
    FLOOR,
    RESOLUTION,
    Unmixing,
    component,
    fit_unmixing,
    is_clear,
    units_of,
)
from nflow_cli.tables.cells_trainer import (
    CellChunks,
    CellWeights,
    EarlyWeights,
    FilledChunks,
    Filling,
    FitCells,
    PackedParts,
    filled_start,
    gaps_of,
    log_present,
    packed_rows,
)
from nflow_cli.tables.cells_weights import arrays_of, stacked
from nflow_cli.tables.fitted_density import fitted_density
from nflow_cli.tables.row_training import Training, train_on_rows
from nflow_cli.terminal.progress import phase
from nflow_cli.training.chunks import PointChunks

# Of the training of an unmixing map, beside a network of its components:
MAP_WIDTH = 64  # of the network
MAP_BLOCKS = 1  # of the network
MAP_COMPONENTS = 10  # normals in a mixture
MAP_CHUNKS = 12  # of updates, each as long as those of a fit
MAP_DECAY = 0.3  # weight decay of the network's kernels
LARGEST_MEAN = 30.0  # of the normals, of either sign
BOUNDING_SCALE = 3.0  # of the normal that bounds the loss of a component
MAP_VALIDATION_ROWS = 4_096  # at most
# A map is taken if rows are likelier by as many nats for each of its D² numbers, as a larger
# network learns less without one, and by as many standard errors, lest rounding decide.
LEAST_GAIN_A_NUMBER = 1e-3
LEAST_ERRORS = 2.0
TURN_ARRAY = "turn"  # L below the diagonal, U above it
# Of the networks of a fit:
BATCH_ROWS = 4_096  # validation rows at a time


class FitMaps(FitCells):
    """Unmixing maps side by side, each with a network of its components.

    ``maps``: initial matrices ``(R, D, D)``, of which the last is not trained; ``components``: the
    D columns of numbers that rows are mapped to.
    """

    def __init__(
        self,
        maps: np.ndarray,
        layout: Layout,
        components: Sequence[CellColumn],
        trained: CellWeights,
        start: StartingWeights,
    ):
        log_slopes = np.linalg.slogdet(maps)[1] - maps.shape[-1] * np.log(RESOLUTION)
        log_present = np.zeros((len(layout.modelled), 1))
        shift = log_slopes.astype(np.float32)
        super().__init__(layout, components, trained, start, log_present, shift)
        self.maps = maps.astype(np.float32)

    @property
    def matrices(self) -> Any:
        """Matrices ``L U A`` ``(R, D, D)`` of the maps as they are now, A the initial ones."""
        count = len(self.maps)
        unit = np.eye(self.maps.shape[-1], dtype=np.float32)
        turn = self.trained.arrays[TURN_ARRAY] * (np.arange(count) < count - 1)[:, None, None]
        return (ops.tril(turn, -1) + unit) @ (ops.triu(turn, 1) + unit) @ self.maps

    def parts(self, packed: Any) -> PackedParts:
        """Training inputs of the components ``(R, D, n)`` of rows in units ``(D, n)``: numbers in
        short intervals, with a normal as their marginal; none is hidden or filled.
        """
        v = self.matrices @ packed
        return PackedParts(
            codes=ops.zeros_like(v),
            units=v,
            centres=v,
            halves=ops.full_like(v, RESOLUTION / 2),
            log_marginals=(
                np.log(RESOLUTION / BOUNDING_SCALE)
                - LOG_2PI / 2
                - ops.square(v / BOUNDING_SCALE) / 2
            ),
            hidden=v[..., :0, :],
            are_filled=v[..., :0, :],
        )


def trained_unmixing(
    start: Unmixing, data: Dataset, settings: CellsTrain, seed: int
) -> tuple[Unmixing, bool]:
    """Train an unmixing map from ``start`` and from the identity; return the one by which
    validation rows are likelier, with components of variance 1, and whether these are clearly
    likelier than without a map.
    """
    columns = start.columns
    train = units_of(columns, data.train)
    validation = units_of(columns, data.validation)
    identity = np.eye(len(columns))
    # The last map stays the identity: none.
    model = _fit_maps(np.stack([start.matrix, identity, identity]), train, settings, seed)
    held_out = ops.convert_to_tensor(validation[:MAP_VALIDATION_ROWS].T.astype(np.float32))
    log_probs = ops.convert_to_numpy(model.log_probs(held_out)).astype(np.float64)
    log_q = log_probs + np.reshape(model.shift, (-1, 1))
    log_q_mapped = log_q[:-1]
    log_q_plain = log_q[-1]
    best = int(np.argmax(np.mean(log_q_mapped, axis=1)))
    matrix = ops.convert_to_numpy(model.matrices)[best].astype(np.float64)
    unmixing = Unmixing(columns, matrix / (train @ matrix.T).std(axis=0)[:, None])
    gains = log_q_mapped[best] - log_q_plain
    is_large = bool(gains.mean() > LEAST_GAIN_A_NUMBER * len(columns) ** 2)
    return unmixing, is_large and is_clear(gains, LEAST_ERRORS)


def _fit_maps(maps: np.ndarray, train: np.ndarray, settings: CellsTrain, seed: int) -> FitMaps:
    """Train maps from initial ones ``(R, D, D)``, with networks, on rows ``(n, D)`` in units."""
    chunk = settings.chunk or 1
    steps = MAP_CHUNKS * chunk
    components = [component(i, FLOOR, -LARGEST_MEAN, LARGEST_MEAN) for i in range(train.shape[1])]
    layout = layout_of(components, 0, MAP_COMPONENTS, MAP_WIDTH)
    starts = [starting_weights(layout, components, train @ matrix.T, None) for matrix in maps]
    arrays = stacked([start.arrays for start in starts])
    units = stacked([start.units for start in starts])
    seen = np.ones(len(layout.inputs))
    initial = network.initial_weights(layout, MAP_BLOCKS, stream(seed, "maps"), seen)
    trained = CellWeights([{**initial, TURN_ARRAY: np.zeros(maps.shape[1:])}] * len(maps))
    model = FitMaps(maps, layout, components, trained, StartingWeights(arrays, units))
    model.prepare(settings, steps)
    model.decay = MAP_DECAY
    chunks = PointChunks(train, [seed], steps, chunk, settings.batch_size or 1)
    model.train_on(chunks, [])
    return model


class BuiltCells(NamedTuple):
    """Density without networks, the networks to train, and training rows ``(n, C)`` with filled
    gaps; ``None``: gaps are not filled.
    """

    density: CellDensity
    model: FitCells
    filled: np.ndarray | None


def build(config: CellsConfig, data: Dataset) -> BuiltCells:
    """Build and compile the networks of a settled config, behind a map to linear components if it
    has one, or leaves it to the training and a map is likelier.
    """
    blocks = config.cells.blocks or 0
    row_weights = data.weights.train
    density, train = _without_networks(config, data)
    layout = density.layout
    _expect_few_weights(layout, blocks, data.name)
    seeds = seeds_from(config.seed, config.train.members)
    recipes = config.train.recipes
    seen = [layout.seen_inputs(recipe.atoms, recipe.waves, recipe.ramps) for recipe in recipes]
    initial = [
        network.initial_weights(layout, blocks, stream(seed, "cells"), inputs)
        for seed, inputs in zip(seeds, seen)
    ]
    if config.train.filled and gaps_of(density, data.train).any():
        start, filled = filled_start(density, train, row_weights, config.seed)
    else:
        start = starting_weights(layout, density.columns, train, row_weights)
        filled = None
    shift = _shift_to_log_density(density, data.train, row_weights)
    networks = CellWeights(initial)
    model = FitCells(layout, density.columns, networks, start, log_present(density), shift)
    model.vary(np.stack(seen), [recipe.dropout for recipe in recipes], seeds)
    model.prepare(config.train, config.train.steps or 0)
    model.decay = np.array([recipe.decay for recipe in recipes])
    return BuiltCells(density, model, filled)


def _without_networks(config: CellsConfig, data: Dataset) -> tuple[CellDensity, np.ndarray]:
    """Density without networks and its training rows: of components ``(n, D)`` if a map to these is
    asked for or likelier, else of columns ``(n, C)``.
    """
    unmixing = _unmixing_to_use(config, data)
    if unmixing is None:
        return _by_columns(config.cells, config.train, data), data.train
    independent = _by_columns(config.cells, config.train, data.straightened())
    components, rows = unmixing.fitted(data.train)
    marginals = fitted_marginals(components, rows, None)
    layout = independent.layout
    density = CellDensity(components, layout, marginals, unmixing=unmixing, independent=independent)
    return density, rows


def _unmixing_to_use(config: CellsConfig, data: Dataset) -> Unmixing | None:
    """Trained map to linear components, if one is asked for or validation rows are clearly likelier
    with it; else ``None``.
    """
    if config.cells.unmixed is False:
        return None
    straight = data.straightened()
    start = fit_unmixing(fitted_columns(straight), straight)
    if start is None:
        return None
    with phase("training a map to linear components"):
        unmixing, is_likelier = trained_unmixing(start, straight, config.train, config.seed)
    return unmixing if config.cells.unmixed or is_likelier else None


def _by_columns(cells: Cells, train: CellsTrain, data: Dataset) -> CellDensity:
    """Density of the columns of a table, without networks and without a map."""
    n_given = len(data.given_names)
    columns = fitted_columns(data)
    computed = fitted_computed(data, columns)
    layout = layout_of(
        columns,
        n_given,
        cells.components or 0,
        cells.width or 0,
        train.frequencies,
        train.knots,
    )
    marginals = fitted_marginals(columns[n_given:], data.train[:, n_given:], data.weights.train)
    rules = cells.rules or ()
    return CellDensity(columns, layout, marginals, computed=computed, rules=rules)


def _expect_few_weights(layout: Layout, blocks: int, name: str) -> None:
    """Check that a network for the table ``name`` is not too large (``DataError``)."""
    count = sum(math.prod(shape) for shape in network.shapes(layout, blocks).values())
    if count > MAX_WEIGHTS:
        raise DataError(
            f"{name}: expected at most {MAX_WEIGHTS:,} weights, received {count:,}, as some "
            "columns have many levels; --exclude some of them, or --set cells.width=32"
        )


def _shift_to_log_density(
    density: CellDensity, rows: np.ndarray, row_weights: np.ndarray | None
) -> float:
    """Mean ``log q(row)`` less the mean log-probability of a row given that its cells are levels
    or numbers of training rows, in nats.
    """
    number_codes = density.layout.of_modelled("number_code")

    def are_numbers(block: CellScores) -> tuple[np.ndarray]:
        return ((block.codes == number_codes).T,)

    (are_of_numbers,) = density.by_blocks(are_numbers, rows)
    shares = np.average(are_of_numbers, axis=0, weights=row_weights)
    total = float(density.log_p_learnt.sum())
    for column, share in zip(density.modelled_columns, shares.tolist()):
        total -= column.log_width * share
    if density.unmixing:
        total += float(np.nanmean(density.unmixing.log_slopes(rows).sum(axis=1)))
    return total


def fit(
    built: BuiltCells, data: Dataset, config: CellsConfig, directory: RunDirectory | None = None
) -> tuple[Training, list[dict[str, np.ndarray]], dict[str, float]]:
    """Train the networks as ``config.train`` specifies, each to its best validation loss, or to its
    end.

    Returns also the weights of each network that is kept, early ones first, and the acceptance of
    fills by column.
    """
    with phase(f"preparing batches of {len(data.train):,} rows"):
        chunks = batches_of(built, data, config.train, config.seed)
        validate = validator(built, data.validation, data.weights.validation)
        filling = filling_of(built, data, chunks)
    update = config.train.early_update
    early = [EarlyWeights(update)] if update else []
    observers = [*filling, *early]
    keeps_last = bool(early)
    training = train_on_rows(
        built.model, chunks, validate, data, config, directory, observers, keeps_last
    )
    networks = built.model.networks()
    if early:
        networks = [*built.model.networks(early[0].early_weights), *networks]
    acceptance = filling[0].acceptance if filling else {}
    return training, networks, acceptance


def batches_of(built: BuiltCells, data: Dataset, settings: CellsTrain, seed: int) -> CellChunks:
    """Chunks of batches of training rows for each network, drawn by their row weights; if gaps are
    filled, a share ``train.filled`` of the rows has them filled.

    Settings that may be null are set where the config is settled.
    """
    n_columns = built.model.layout.n_columns
    rows = packed_rows(built.density, data.train)
    seeds = seeds_from(seed, settings.members)
    shape = (settings.steps or 0, settings.chunk or 1, settings.batch_size or 0)
    row_weights = data.weights.train
    if settings.filled:
        return FilledChunks(settings.filled, n_columns, rows, seeds, *shape, row_weights)
    return CellChunks(n_columns, rows, seeds, *shape, row_weights)


def filling_of(built: BuiltCells, data: Dataset, chunks: CellChunks) -> list[Filling]:
    """Observer that moves the fills of gaps before each chunk; none if gaps are not filled."""
    if not isinstance(chunks, FilledChunks) or built.filled is None:
        return []
    networks = partial(masked_networks, built)
    return [Filling(built.density, networks, data.train, built.filled, chunks)]


def validator(
    built: BuiltCells, rows: np.ndarray, row_weights: np.ndarray | None
) -> Callable[[], np.ndarray]:
    """Function that returns the losses ``(R, n)`` in nats of validation rows by the networks, each
    mixed with the marginals.
    """
    log_cells = built.model.compiled_log_cells
    inputs = packed_rows(built.density, rows).T
    marginal = _cells_by_row(built.model.marginal_log_cells(inputs, np))
    batches = [
        ops.convert_to_tensor(inputs[:, start : start + BATCH_ROWS])
        for start in range(0, len(rows), BATCH_ROWS)
    ]
    shift = _shift_to_log_density(built.density, rows, row_weights)
    first = slice(BATCH_ROWS)  # rows by which the networks' mixture weights are fitted
    first_weights = None if row_weights is None else row_weights[first]
    first_marginal = _cells_of_rows(marginal, first)

    def losses(cells: LogCells) -> np.ndarray:
        shares = _network_shares(
            built.density, [_cells_of_rows(cells, first)], first_marginal, first_weights
        )
        with np.errstate(divide="ignore"):
            log_shares = list(np.log(shares))
        return -log_mixture(log_shares, [cells, marginal], np).sum(axis=1) - shift

    def validate() -> np.ndarray:
        """Losses ``(R, n)`` by the networks as they are now."""
        by_batch = [log_cells(batch) for batch in batches]
        masses = _joined_batches([cells.masses for cells in by_batch])
        presence = _joined_batches([cells.presence for cells in by_batch])
        networks = map(LogCells, masses, presence)
        return np.array([losses(_cells_by_row(cells)) for cells in networks])

    return validate


def _joined_batches(batches: Sequence[Any]) -> np.ndarray:
    """Tensors ``(…, n)`` of batches of rows as one array."""
    return np.concatenate([ops.convert_to_numpy(batch) for batch in batches], axis=-1)


def _cells_of_rows(cells: LogCells, rows: slice) -> LogCells:
    """Log-probabilities of the cells ``(n, D)`` of some ``rows``."""
    return LogCells(cells.masses[rows], cells.presence[rows])


def _cells_by_row(cells: LogCells) -> LogCells:
    """Log-probabilities of cells ``(D, n)`` as ``(n, D)``, in float64."""
    return LogCells(cells.masses.T.astype(float), cells.presence.T.astype(float))


def _network_shares(
    density: CellDensity,
    networks: Sequence[LogCells],
    marginal: LogCells,
    weights: np.ndarray | None,
) -> np.ndarray:
    """Shares ``(R + 1, D)`` of networks and marginals, by held-out cells.

    The first column is conditioned on none: it is its marginal.
    """
    shares = mixing_shares(networks, marginal, weights)
    if not density.n_given:
        shares[:-1, 0] = 0.0
        shares[-1, 0] = 1.0
    return shares


def fitted(density: CellDensity, networks: Sequence[network.Weights], data: Dataset) -> CellDensity:
    """Trained density of ``networks``, with their shares and those of the marginals by the
    validation rows.
    """
    rows = data.validation
    cells = [density.network_log_cells(weights, rows) for weights in networks]
    marginal = density.marginal_log_cells(rows)
    shares = _network_shares(density, cells, marginal, data.weights.validation)
    return density.with_networks(networks, shares)


def masked_networks(
    built: BuiltCells, networks: Sequence[Mapping[str, np.ndarray]] = ()
) -> list[network.Weights]:
    """Masked weights of ``networks`` in float64, by default of the trained ones now."""
    masked = []
    for arrays in networks or built.model.networks():
        float64 = {name: array.astype(np.float64) for name, array in arrays.items()}
        masked.append(network.masked_weights(built.density.layout, float64))
    return masked


def train(config: CellsConfig, directory: RunDirectory, data: Dataset) -> Fitted:
    """Train or resume a fit in ``directory``, save the density, and score it.

    The config, in which it is decided whether columns are unmixed, is written before the first
    checkpoint: a run that is killed before decides again.
    """
    with phase(f"building the model of {len(data.columns):,} columns"):
        built = build(config, data)
    if config.cells.unmixed is None:
        settings = config.cells.model_copy(update={"unmixed": built.density.unmixing is not None})
        config = config.model_copy(update={"cells": settings})
        directory.write_text(CONFIG, presets.dump(config))
    training, networks, acceptance = fit(built, data, config, directory)
    density = fitted(built.density, masked_networks(built, networks), data)
    model_sha256 = save_weights(directory, arrays_of(density, networks))
    facts = {
        "n_parameters": sum(array.size for arrays in networks for array in arrays.values()),
        "model_sha256": model_sha256,
        "fill_acceptance": acceptance,
    }
    return fitted_density(cells, config, density, data, training, facts)
