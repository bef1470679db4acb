"""JSON schema of presets, for completion and validation in editors."""

import functools
import operator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from nflow_cli.config.schema import SCHEMAS, CellsConfig, FitConfig


def json_schema() -> dict[str, Any]:
    """JSON schema of presets: keys, types, ranges and defaults, without conditions between keys."""
    others = (schema for command, schema in SCHEMAS.items() if command != "fit")
    every: Any = functools.reduce(operator.or_, others)
    preset: Any = Annotated[every, Field(discriminator="command")] | FitConfig | CellsConfig
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "A preset of nflow", **TypeAdapter(preset).json_schema()}
