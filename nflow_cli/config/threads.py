"""How many threads a training gains by, measured by ``benchmarks/threads.py``. No Keras here."""

from nflow_cli.config.flow_schema import Flow

WORTH = 6_000_000  # products of a map's weights with rows, in an update: fewer are not shared


def gained_by(flow: Flow, dim: int, rows: int) -> int | None:
    """Return how many threads train flows of ``rows`` points ``(D,)`` fastest.

    One where the operations of an update are too small to share; else ``None``, one a core.
    """
    of_a_map = flow.weights(dim) / max(flow.k, 1)
    return 1 if of_a_map * rows < WORTH else None
