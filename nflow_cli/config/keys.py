"""Dotted keys of configs: containment, removal, comparison."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Keys that may change when a run is resumed.
FREE_TO_CHANGE = (
    *("description", "evaluate", "train.steps", "train.epochs", "train.checkpoint_seconds"),
)
LENGTHS = "train.steps", "train.epochs"  # keys of the length of a training
# Keys that do not change the experiment: description, evaluation, saving. More importance
# samples change the score of a VAE, a tighter bound; more samples of a density keep the score with
# a smaller error.
SAME_EXPERIMENT = (
    *("seed", "description", "data.fallback", "train.checkpoint_seconds"),
    *("evaluate.samples", "evaluate.grid"),
)


def is_within(path: str, other: str) -> bool:
    """Whether a dotted path is ``other`` or below it."""
    return f"{path}.".startswith(f"{other}.")


def without(data: Mapping[str, Any], keys: Iterable[str], prefix: str = "") -> dict[str, Any]:
    """Nested mappings without some dotted keys."""
    rest = {}
    for key, value in data.items():
        path = f"{prefix}{key}"
        if any(path == other for other in keys):
            continue
        rest[key] = without(value, keys, f"{path}.") if isinstance(value, dict) else value
    return rest


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each dotted key of nested mappings, with its value as text."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Dotted keys that differ between two configs, in order."""
    flat_first, flat_second = dict(flat(first)), dict(flat(second))
    keys = dict.fromkeys([*flat_first, *flat_second])
    return [key for key in keys if flat_first.get(key) != flat_second.get(key)]
