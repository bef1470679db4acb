"""Schema of a sweep."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
)

from nflow_cli.arguments import MAX_SEED
from nflow_cli.config.strict import COMMAND, Description, Strict


def _seed_range(seeds: object) -> object:
    """List of the seeds that a text is the range of; a list as it is."""
    if isinstance(seeds, list):
        return seeds
    number = r"(\d{1,10})"
    bounds = isinstance(seeds, str) and re.fullmatch(f"{number}:{number}(?::{number})?", seeds)
    if not bounds:
        raise ValueError('a list of seeds, or "first:end" or "first:end:step" in quotes')
    step = int(bounds[3] or 1)
    seeds_in_range = range(int(bounds[1]), int(bounds[2]), max(step, 1))
    if not step or not 0 < len(seeds_in_range) <= MAX_RUNS:
        raise ValueError(f"first < end, a step above 0, and at most {MAX_RUNS:,} seeds")
    return list(seeds_in_range)


def _expect_distinct(values: list[Any]) -> list[Any]:
    for i, value in enumerate(values):
        # Compared with their type: 1, 1.0 and true are equal in Python.
        if any(repr(value) == repr(earlier) for earlier in values[:i]):
            raise ValueError("each value once")
    return values


Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Seeds = Annotated[
    list[Seed],
    BeforeValidator(_seed_range, json_schema_input_type=list[Seed] | str),
    AfterValidator(_expect_distinct),
]
Values = Annotated[list[JsonValue], Field(min_length=1), AfterValidator(_expect_distinct)]
MAX_RUNS = 10_000  # of a sweep


class SweepConfig(Strict):
    """A grid of runs: each preset with each combination of the varied values and seeds."""

    description: Description = ""
    command: Annotated[Literal["sweep"], COMMAND]
    presets: Annotated[list[str], Field(min_length=1), AfterValidator(_expect_distinct)] = Field(
        description="Names, or paths from the folder of this file."
    )
    set: dict[str, JsonValue] = Field(
        default={}, description="Values of dotted keys, in every run."
    )
    vary: dict[str, Values] = Field(
        default={}, description="Lists of values of dotted keys: every combination is a run."
    )
    seeds: Seeds = Field(
        default=[],
        description='A list, or `"first:end"` or `"first:end:step"` as Python counts; none: '
        "the presets' own.",
    )

    @field_validator("set", "vary")
    @classmethod
    def _expect_no_seed(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if "seed" in changes:
            raise ValueError("no `seed`, which `seeds` has a key for")
        return changes

    @field_validator("vary")
    @classmethod
    def _expect_disjoint(cls, vary: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        fixed = info.data.get("set", {})
        repeated = sorted(vary.keys() & fixed.keys())
        if repeated:
            raise ValueError(f"no key that is set as well, as {repeated[0]} is")
        for key in sorted([*vary, *fixed]):
            for parent in vary:
                if key.startswith(f"{parent}."):
                    raise ValueError(f"no key within another, as {key} is within {parent}")
        return vary
