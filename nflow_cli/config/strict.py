"""Common parts of all schemas: strict models, options, seeds."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nflow_cli.arguments import MAX_SEED

MAX_PATH = 4_096  # letters
LARGEST = 1e100  # of a score; a larger one is meaningless, and overflows in a picture


def option(about: str, *flags: str, form: str = "") -> dict[str, Any]:
    """``Field`` arguments for a key that a command-line option sets.

    Args:
        about: Description; the option's help is its part before `` Null: ``.
        flags: Of the option; default: the last part of the key.
        form: Of its value, one of :mod:`~nflow_cli.config.forms`; default: of its type.
    """
    return {"description": about, "json_schema_extra": {"cli": {"flags": [*flags], "form": form}}}


# Keys of every preset, or every preset of a run.
COMMAND = Field(description="The command of the preset.")
Description = Annotated[str, Field(description="One line, printed by `nflow presets`.")]
Seed = Annotated[
    int,
    Field(ge=0, le=MAX_SEED, **option("The same seed gives the same run, bit for bit.")),
]


class Strict(BaseModel):
    """A frozen model without unknown keys or type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not abs(value) <= LARGEST else value


# Values of summary.json. A score that is not finite is None, there and in memory.
Count = Annotated[int, Field(ge=0, le=10**12)]
Text = Annotated[str, Field(max_length=MAX_PATH)]
Figure = Annotated[float | None, BeforeValidator(_finite)]
Error = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_finite)]


def by_name(value: Any) -> Any:
    """Expand a bare name to a mapping."""
    return {"name": value} if isinstance(value, str) else value


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models of a field's type, also in unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from models_in(part)
