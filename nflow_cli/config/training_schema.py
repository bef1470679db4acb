"""What the schemas of trainings share. No Keras here."""

from typing import NamedTuple

from pydantic import Field

from nflow_cli.config.strict import Strict


class Annealed(NamedTuple):
    """``β`` rises from ``start`` to 1 in the first ``length`` updates or epochs."""

    start: float
    length: float


class EarlyStopping(Strict):
    """Stop when the loss has not fallen by ``min_delta`` nats for ``patience`` updates.

    The smoothed loss of a target; of points that of the validation points.
    """

    patience: int = Field(default=5_000, ge=1)
    min_delta: float = Field(default=1e-3, ge=0)
