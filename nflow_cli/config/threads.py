"""Fastest number of threads, measured by ``benchmarks/threads.py``."""

from nflow_cli.config.flows import Flow

MIN_SHARED = 6_000_000  # weights of a map × rows of an update: fewer run on one thread


def gained_by(flow: Flow, dim: int, rows: int) -> int | None:
    """Fastest number of threads to train flows on ``rows`` points ``(D,)``.

    One if the operations of an update are too small to share; else ``None``: one per core.
    """
    of_a_map = flow.weights(dim) / max(flow.k, 1)
    return 1 if of_a_map * rows < MIN_SHARED else None
