"""What a checkpoint says of each part of a training: checked before it is gone on from. No Keras.

Numbers that are not finite are among it: the best loss before there is one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class StateError(Exception):
    """A part of a training cannot be in the state that a checkpoint says it is in."""


class TrainingState(BaseModel):
    """Of the training itself; ``steps``: the updates of the whole."""

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
    """Of a :class:`~nflow_cli.training.validation.ValidationLog`, a number of each member."""

    losses: list[float]
    bests: list[float]
    bests_at: list[Count]
    marks: list[float]
    marks_at: list[Count]
    best_weights: list[Any]  # arrays


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
    """Return what a checkpoint says of a part, which has to be of that form.

    Raises:
        StateError: It is not; the key, and what was expected.
    """
    try:
        return form.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StateError(f"{where}: {first['msg']}" if where else first["msg"]) from None
