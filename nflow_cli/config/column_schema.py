"""Types of columns and their values in presets."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from nflow_cli.config.strict import MAX_PATH

MAX_COLUMNS = 1_000
MAX_NAME = 1_000  # letters of a column's name
MAX_LEVELS = 1_000  # of a category
MAX_LEVEL = 1_000  # letters of a level
LARGEST_BOUND = 1e100


def _text(value: Any) -> Any:
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
    return {n: e if e == [None, None] else an_interval(e) for n, e in bounds.items()}


def an_interval(bounds: Any) -> Any:
    """Check that one or both bounds are set, in order."""
    low, high = bounds
    if low is None and high is None:
        raise ValueError("a lower bound, an upper one or both")
    if low is not None and high is not None and not low < high:
        raise ValueError("a lower bound below the upper one")
    return bounds
