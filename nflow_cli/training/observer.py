"""Observers of a training, and the parts of it that checkpoints save (no Keras)."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Form = TypeVar("Form", bound=BaseModel)


class Observer:
    """Observer of a training: of its begin, of each chunk, and of an end that is no error."""

    model: Any

    def begin(self) -> None:
        """Called first, again where a training goes on."""

    def before(self) -> None:
        """Called before each chunk, of the last observer first."""

    def after(self, logs: Mapping[str, float]) -> None:
        """Called after each chunk, with its means."""

    def end(self) -> None:
        """Called last."""


class StateError(Exception):
    """Saved state that a part of a training cannot have."""


class Saved:
    """Part of a training that checkpoints save: its attributes that are fields of ``State``."""

    State: type[BaseModel]

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.State.model_fields}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state`, else a ``StateError``."""
        for name, value in checked(self.State, state):
            setattr(self, name, value)


def checked(form: type[Form], state: Mapping[str, Any]) -> Form:
    """Saved state in its form; else a ``StateError`` names the key."""
    try:
        return form.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
        where, wrong = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise StateError(f"{where}: {wrong}" if where else wrong) from None
