"""Compiled models that serve again: TensorFlow frees no program while its process lives."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nflow_cli.config.keys import NOT_COMPILED, without
from nflow_cli.config.presets import fingerprint
from nflow_cli.config.schema import Fit2DConfig


class Programs:
    """Compiled models, each lent to one run at a time.

    Whoever trains several runs keeps one of these for all of them: so a process compiles once
    however many seeds it fits, and its memory stays flat. Each program takes 5 to 30 MB for good.
    """

    def __init__(self) -> None:
        self._idle: dict[str, Any] = {}
        self._widened: dict[tuple[Any, int], Any] = {}

    @contextmanager
    def lent(self, config: Fit2DConfig, build: Callable[[], Any]) -> Iterator[Any]:
        """Lend what ``build()`` makes, or what it made for a config that needs the same program.

        Args:
            config: Of the run; the model starts over with its seed.
            build: Returns a :class:`~nflow_cli.experiments.target.fit.Fit2D`, not trained.
        """
        key = fingerprint(without(config.model_dump(mode="json"), NOT_COMPILED))
        model = self._idle.pop(key, None)
        if model is None:
            model = build()
        else:
            model.start_over([config.seed])
        try:
            yield model
        finally:
            self._idle[key] = model

    def widened(self, model: Any, seeds: Sequence[int], build: Callable[[], Any]) -> Any:
        """Return what ``build()`` makes, or made before: ``model`` with a stack for each seed.

        It is lent with ``model``, and starts over with the seeds.
        """
        key = (model, len(seeds))
        if key in self._widened:
            self._widened[key].start_over(seeds)
        else:
            self._widened[key] = build()
        return self._widened[key]
