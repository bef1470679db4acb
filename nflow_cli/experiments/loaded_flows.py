"""Loaded densities of flows."""

from pathlib import Path
from typing import Any

from nflow_cli.data.files.tables import LOG_Q
from nflow_cli.data.files.writing import batch_of, write_table
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.experiments.loaded import TrainedRun
from nflow_cli.experiments.run import Run
from nflow_cli.flows.stack import FlowStack
from nflow_cli.runs import model_file


class TrainedFlows(TrainedRun, PushforwardDensity):
    """The trained density ``q`` of flows, of a finished run.

    Attributes:
        path: Run directory.
        config: Resolved preset.
        flow: :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: Base distribution ``q0``.
        units: From user units to the coordinates of the flows.
    """

    def __init__(self, run: Run, *parts: Any):
        TrainedRun.__init__(self, run)
        PushforwardDensity.__init__(self, *parts)


def with_weights(run: Run, flow: FlowStack) -> FlowStack:
    """Flows with the weights of a run."""
    config: Any = run.config
    arguments = config.flow.model_dump(exclude_none=True)
    model_file.load_weights(run.directory, flow, arguments, config.dim)
    return flow


def write_points(
    trained: TrainedFlows, columns: list[str], n: int, path: Path, seed: int
) -> list[Path]:
    """Write ``n`` draws with their log-density in nats."""
    batches = (batch_of([*x.T, log_q]) for _, x, log_q in trained.batches(n, seed))
    write_table(path, [*columns, LOG_Q], batches)
    return [path]
