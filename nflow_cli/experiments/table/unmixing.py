"""Training of the linear map of plain numbers to components, before the networks that take these.

    v = L U A u,    log q(u) = log q(v) + log|det A|

A is the start: independent components, or the columns as they are. L and U are triangular with
diagonals of 1, and trained with a small network of v by maximum likelihood: where no components
are independent, each is to be simple given those before.
"""

from typing import Any

import numpy as np
from keras import ops

from nflow_cli.config.table import CellsConfig
from nflow_cli.constants import LOG_2PI
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.fitting import layout_of
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.start import StartingWeights, starting_weights
from nflow_cli.densities.cells.unmixing import FLOOR, RESOLUTION, Unmixing, component, units_of
from nflow_cli.densities.cells.weights import CellWeights
from nflow_cli.experiments.table.trainer import FitCells
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import PointChunks

WIDTH, BLOCKS, COMPONENTS = 64, 1, 10  # of the network
CHUNKS = 12  # of updates, each as long as those of a fit
DECAY = 0.3  # of the kernels
FAR = 30.0  # largest means of its normals
BROAD = 3.0  # scale of the normal that bounds the loss of a component
VALIDATED = 4_096  # validation rows, at most
LEAST_GAIN = 1e-3  # nats a number of a map: less is what a larger network learns without one
TURN = "turn"  # L below the diagonal, U above it


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
    *losses, plain = ops.convert_to_numpy(model.objective(held_out, 0)["loss"])
    best = int(np.argmin(losses))
    matrix = ops.convert_to_numpy(model.matrices)[best].astype(np.float64)
    found = Unmixing(columns, matrix / (train @ matrix.T).std(axis=0)[:, None])
    return found, bool(plain - losses[best] > LEAST_GAIN * len(columns) ** 2)
