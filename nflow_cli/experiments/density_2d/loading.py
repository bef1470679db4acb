"""Loaded fits to a named 2-D density."""

from functools import cached_property
from pathlib import Path

from nflow_cli.densities.targets import Target
from nflow_cli.experiments.loaded_flows import TrainedFlows, stack_of, with_weights, write_points
from nflow_cli.experiments.run import Run
from nflow_cli.registry import BASES, TARGETS, make, resolve


class TrainedDensity(TrainedFlows):
    """Density ``q`` of a finished fit-2d run, a :class:`TrainedFlows`."""

    @cached_property
    def target(self) -> Target:
        """Density ``p`` that was fitted."""
        return make(TARGETS, self.config.target)


def load(run: Run) -> TrainedDensity:
    """Density of a run."""
    base = resolve(BASES[run.config.base_name])()
    return TrainedDensity(run, base, with_weights(run, stack_of(run.config)))


def write_samples(
    trained: TrainedDensity, n: int, path: Path, seed: int, given: None = None
) -> list[Path]:
    """Write ``n`` draws ``z1``, ``z2`` with their log-density in nats."""
    return write_points(trained, ["z1", "z2"], n, path, seed)
