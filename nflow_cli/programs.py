"""Models that were compiled before: TensorFlow frees no program while its process lives."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from nflow_cli.config import fingerprint
from nflow_cli.config_keys import NOT_COMPILED, without

_fits: dict[str, Any] = {}
_widened: WeakKeyDictionary[Any, dict[int, Any]] = WeakKeyDictionary()


def compiled_before(config: Any, build: Callable[[], Any]) -> Any:
    """Return what ``build()`` does, or what it did for a config that needs the same program.

    So a process compiles once however many seeds it fits, and its memory stays flat: each program
    takes 5 to 30 MB for good.

    Args:
        config: Of the run.
        build: Returns a :class:`~nflow_cli.training.ChunkTrainer` with a ``flow``, not trained.
    """
    key = fingerprint(without(config.model_dump(mode="json"), NOT_COMPILED))
    return _again(_fits, key, [config.seed], build)


def widened_before(fit: Any, seeds: list[int], build: Callable[[], Any]) -> Any:
    """Return what ``build()`` does, or did before: ``fit`` with a stack for each of the seeds."""
    return _again(_widened.setdefault(fit, {}), len(seeds), seeds, build)


def _again(built: dict[Any, Any], key: Any, seeds: list[int], build: Callable[[], Any]) -> Any:
    if key not in built:
        built[key] = build()
    else:
        built[key].start_over()
        _begin(built[key].flow, seeds)
    return built[key]


def _begin(flow: Any, seeds: list[int]) -> None:
    """Give a stack, or several side by side, the initial values of other seeds."""
    flow.seed = seeds[0]
    if len(seeds) > 1:
        flow.seeds = seeds
    for own, values in zip(flow.parameters, flow.initial_values(flow.dim)):
        for name, weight in own.items():
            weight.assign(values[name])
