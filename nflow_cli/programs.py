"""Models that were compiled before: TensorFlow frees no program while its process lives."""

from collections.abc import Callable
from typing import Any

from nflow_cli.config import fingerprint
from nflow_cli.saving import DIM

# What a config holds beside what is compiled.
NOT_COMPILED = {"description", "seed", "evaluate"}

_trainers: dict[str, Any] = {}


def compiled_before(config: Any, seeds: list[int], build: Callable[[], Any]) -> Any:
    """Return what ``build()`` does, or what it did for a config that differs by its seed alone.

    So a process compiles once however many seeds it fits, and its memory stays flat: each program
    takes 5 to 30 MB for good.

    Args:
        config: Of the run.
        seeds: Of the restarts that are trained side by side.
        build: Returns a :class:`~nflow_cli.training.ChunkTrainer` with a ``flow``, not trained.
    """
    shared = config.model_dump(mode="json", exclude=NOT_COMPILED)
    key = f"{len(seeds)} x {fingerprint(shared)}"
    if key not in _trainers:
        _trainers[key] = build()
    else:
        _trainers[key].start_over()
        _begin(_trainers[key].flow, seeds)
    return _trainers[key]


def _begin(flow: Any, seeds: list[int]) -> None:
    """Give a stack, or several side by side, the initial values of other seeds."""
    flow.seed = seeds[0]
    if len(seeds) > 1:
        flow.seeds = seeds
    for own, values in zip(flow.parameters, flow.initial_values(DIM)):
        for name, weight in own.items():
            weight.assign(values[name])
