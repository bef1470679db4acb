"""Common parts of all schemas: strict models, options, seeds, columns and their values."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nflow_cli.arguments import MAX_SEED

MAX_PATH = 4_096  # letters
LARGEST = 1e100  # of a score; a larger one is meaningless, and overflows in a picture
MAX_COLUMNS = 1_000
MAX_NAME = 1_000  # letters of a column's name
MAX_LEVELS = 1_000  # of a category
MAX_LEVEL = 1_000  # letters of a level
LARGEST_BOUND = 1e100


def option(about: str, *flags: str, form: str = "") -> dict[str, Any]:
    """``Field`` arguments for a key that a command-line option sets.

    Args:
        about: Description; the option's help is its part before `` Null: ``.
        flags: Of the option; default: the last part of the key.
        form: Of its value, one of :mod:`~nflow_cli.config.schema_options`; default: of its type.
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
    """A frozen model without unknown keys or type conversion.

    Attributes:
        unions: Models by tag, of keys whose value is one of several models.
    """

    unions: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _finite(value: object) -> object:
    """Figure, ``None`` if it is not finite or too large."""
    return None if isinstance(value, float) and not abs(value) <= LARGEST else value


# Values of summary.json. A score that is not finite is None, there and in memory.
Count = Annotated[int, Field(ge=0, le=10**12)]
Text = Annotated[str, Field(max_length=MAX_PATH)]
Figure = Annotated[float | None, BeforeValidator(_finite)]
Error = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_finite)]


def by_name(value: object) -> object:
    """Expand a bare name to a mapping."""
    return {"name": value} if isinstance(value, str) else value


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models of a field's type, also in unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from models_in(part)


def _text(value: object) -> object:
    """Whole numbers as text: columns without names are numbered."""
    return str(value) if type(value) is int else value


Column = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME),
    BeforeValidator(_text, json_schema_input_type=str | int),
]
Columns = Annotated[list[Column], Field(max_length=MAX_COLUMNS)]
Path = Annotated[str, Field(min_length=1, max_length=MAX_PATH)]
Bound = Annotated[float, Field(ge=-LARGEST_BOUND, le=LARGEST_BOUND)]
Interval = Annotated[list[Bound | None], Field(min_length=2, max_length=2)]
Step = Annotated[float, Field(gt=0, le=LARGEST_BOUND)]
Level = Annotated[
    str,
    Field(min_length=1, max_length=MAX_LEVEL),
    BeforeValidator(_text, json_schema_input_type=str | int),
]


def intervals(bounds: dict[str, Any]) -> dict[str, Any]:
    """Check the bounds of columns; ``[None, None]`` is none."""
    for ends in bounds.values():
        if ends != [None, None]:
            an_interval(ends)
    return bounds


def an_interval(bounds: Any) -> Any:
    """Check that one or both bounds are set, in order."""
    low, high = bounds
    if low is None and high is None:
        raise ValueError("a lower bound, an upper one or both")
    if low is not None and high is not None and not low < high:
        raise ValueError("a lower bound below the upper one")
    return bounds
