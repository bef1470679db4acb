"""Dotted keys of configs: containment, removal, comparison."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

# Keys that may change when a run is resumed.
FREE_TO_CHANGE = (
    "description",
    "evaluate",
    "train.steps",
    "train.epochs",
    "train.checkpoint_seconds",
)
LENGTHS = "train.steps", "train.epochs"  # keys of the length of a training
# Keys that do not change the experiment: description, evaluation, saving. More importance
# samples change the score of a VAE, a tighter bound; more samples of a density keep the score with
# a smaller error.
SAME_EXPERIMENT = (
    "seed",
    "description",
    "data.fallback",
    "train.checkpoint_seconds",
    "evaluate.samples",
    "evaluate.grid",
)


def is_within(path: str, ancestor: str) -> bool:
    """Whether a dotted path is ``ancestor`` or below it."""
    return f"{path}.".startswith(f"{ancestor}.")


def without(data: Mapping[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Nested mappings without some dotted keys."""
    rest = {}
    for key, value in data.items():
        path = f"{prefix}{key}"
        if path not in keys:
            rest[key] = without(value, keys, f"{path}.") if isinstance(value, dict) else value
    return rest


def flat(data: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each dotted key of nested mappings, with its value as text."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value_text(value)


def value_text(value: object) -> str:
    """Text as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def differing(first: Mapping[str, object], second: Mapping[str, object]) -> list[str]:
    """Dotted keys that differ between two configs, in order."""
    texts_1 = dict(flat(first))
    texts_2 = dict(flat(second))
    keys = dict.fromkeys([*texts_1, *texts_2])
    return [key for key in keys if texts_1.get(key) != texts_2.get(key)]
