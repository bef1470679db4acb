"""Forms of the parts of a checkpoint, checked before training resumes (no Keras).

Numbers may be infinite: the best loss before there is one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class StateError(Exception):
    """Saved state that a part of a training cannot have."""


class TrainingState(BaseModel):
    """Of the training itself; ``steps``: updates of the whole."""

    finished: Annotated[bool, Field(strict=True)]
    steps: Count


class ClockState(BaseModel):
    """Of a :class:`~nflow_cli.training.trainer.Clock`."""

    updates: Annotated[list[Count], Field(min_length=1)]
    seconds: list[Seconds]
    cold: list[Count]


class LogState(BaseModel):
    """Of a :class:`~nflow_cli.training.trainer.MetricsLog`."""

    rows: Count
    chunks: list[tuple[Count, Seconds, dict[str, float]]]


class ValidationState(LogState):
    """Of a :class:`~nflow_cli.training.validation.ValidationLog`, one number a member."""

    losses: list[float]
    bests: list[float]
    bests_at: list[Count]
    marks: list[float]
    marks_at: list[Count]
    best_weights: list[Any]  # arrays
    best_moments: list[Any]  # arrays
    mark_rows: list[Any]  # arrays
    stopped_at: Count | None


class FillingState(BaseModel):
    """Of a :class:`~nflow_cli.experiments.cells.filling.Filling`, one of each a network."""

    fills: list[Any]  # arrays
    tallies: list[list[list[float]]]


class EarlyStopState(BaseModel):
    """Of an :class:`~nflow_cli.training.validation.EarlyStop`."""

    smooth: float | None
    best: float
    best_update: Count


class PlateauState(BaseModel):
    """Of a :class:`~nflow_cli.training.plateau.Plateau`."""

    losses: list[float]
    reached: Count | None


class RestartsState(BaseModel):
    """Of :class:`~nflow_cli.training.restarts.Restarts`."""

    alive: Annotated[list[Count], Field(min_length=1)]
    kl: list[float | None]
    updates: list[Count]


State = TypeVar("State", bound=BaseModel)


def checked(form: type[State], state: Mapping[str, Any]) -> State:
    """Saved state of a part in its form; else a ``StateError`` names the key."""
    try:
        return form.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StateError(f"{where}: {first['msg']}" if where else first["msg"]) from None
