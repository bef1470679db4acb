"""Fits of a density to a table, by ``nflow fit``."""

from importlib import import_module
from typing import Any


def model_of(config: Any, part: str = "") -> Any:
    """Module of what differs between the models of a table, ``flows`` and ``cells``, or of what
    differs in a part: ``"_training"``, ``"_trial"``. That of flows loads Keras.
    """
    return import_module(f"{__name__}.{'flows' if config.is_of_flows else 'cells'}{part}")
