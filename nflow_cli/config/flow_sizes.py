"""Default preset of `nflow fit`, and default sizes of flows and training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nflow_cli.config.flow_options import NetworkOptions, options_of, pattern_name

WIDE = 8  # columns, beyond which flows overfit sooner


def natural_preset(pattern: Sequence[Any] | None, changes: Sequence[Any]) -> str:
    """Default preset: ``cells``, or one of flows if an option or a change sets flows."""
    keys = {change.path.partition(".")[0] for change in changes if change.value is not None}
    if keys.isdisjoint({"flow", "units"}):
        return "cells"
    names = {pattern_name(item) for item in pattern or ()}
    return "flows-planar" if names and names <= {"planar", "radial", "sylvester"} else "flows"


def in_place_of_other(changes: Sequence[Any]) -> list[Any]:
    """Set a preset's epochs to null if steps are given, and the reverse."""
    others = {"train.steps": "train.epochs", "train.epochs": "train.steps"}
    said = (change for change in changes if change.path in others)
    return [change._replace(path=others[change.path], value=None) for change in said]


class Size(NamedTuple):
    """Default sizes of flows and their training, up to a number of training rows.

    ``hidden`` is the width of each of two hidden layers.
    """

    rows: float
    k: int
    hidden: int
    train: Mapping[str, float]


def _train(*values: float) -> dict[str, float]:
    names = ("steps", "batch_size", "learning_rate", "weight_decay", "chunk")
    return dict(zip(names, values, strict=True))


SIZES = (
    Size(8_000, 4, 32, _train(2_000, 256, 0.001, 2.0, 50)),
    Size(math.inf, 8, 64, _train(8_000, 1_024, 0.002, 0.3, 100)),
)
# Other training settings for many columns, and for conditional densities; not for few
# rows.
OF_MANY: Mapping[str, float] = {"steps": 4_000, "weight_decay": 1.0}
OF_GIVEN: Mapping[str, float] = {"weight_decay": 0.5}


def size_of(rows: int, dim: int, is_conditional: bool) -> Size:
    """Default sizes by training rows and modelled columns."""
    size = next(size for size in SIZES if rows < size.rows)
    if size.rows < math.inf:
        return size
    others = OF_MANY if dim > WIDE else OF_GIVEN if is_conditional else {}
    return size._replace(train={**size.train, **others})


def with_hidden(pattern: Sequence[Any], width: int) -> list[Any]:
    """Pattern with two hidden layers of a width in its networks, unless set."""
    return [_with_hidden(item, width) for item in pattern]


def _with_hidden(item: Any, width: int) -> Any:
    options = options_of(item)
    if not isinstance(options, NetworkOptions) or options.hidden is not None:
        return item
    name = pattern_name(item)
    return {name: {**({} if isinstance(item, str) else item[name]), "hidden": [width, width]}}
