"""Trained weights of a density of cells, as a Keras layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from nflow_cli.flows.stack import add_initialised_weight, keep_precision


class CellWeights(keras.layers.Layer):
    """Weights of R networks side by side, R first; ``members``: initial ones, by name."""

    def __init__(self, members: Sequence[Mapping[str, np.ndarray]], **kwargs: Any):
        super().__init__(**kwargs)
        keep_precision(self)
        self.arrays = {
            name: add_initialised_weight(self, name, np.stack([one[name] for one in members]))
            for name in members[0]
        }
        self.count = len(members)
        self.built = True

    def members(self) -> list[dict[str, np.ndarray]]:
        """Weights of each network, float32."""
        arrays = {
            name: keras.ops.convert_to_numpy(variable) for name, variable in self.arrays.items()
        }
        return [{name: array[r] for name, array in arrays.items()} for r in range(self.count)]
