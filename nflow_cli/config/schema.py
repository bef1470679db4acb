"""Schemas of presets, strict and frozen, by command; as JSON for editors."""

import functools
import operator
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.strict import Strict
from nflow_cli.config.sweep_config import SweepConfig
from nflow_cli.registry import RUN_SCHEMAS, resolve

NAMED = ("target", "data", "density", "base")  # a bare name stands for these mappings
CELLS = "cells"  # the kind of `fit` without flows


@functools.cache
def run_schemas() -> Mapping[str, type[RunConfig]]:
    """Schemas of runs by command; of ``fit``, that with flows."""
    return {name: resolve(place) for name, place in RUN_SCHEMAS.items() if name != CELLS}


@functools.cache
def cells_schema() -> type[RunConfig]:
    """Schema of ``fit`` without flows."""
    return resolve(RUN_SCHEMAS[CELLS])


def preset_schemas() -> dict[str, type[Strict]]:
    """Schemas of presets by command."""
    return {**run_schemas(), "sweep": SweepConfig}


def schema_of(data: Mapping[str, Any]) -> type[Strict]:
    """Schema of a preset, by its command: of ``fit`` with null as ``flow``, that of cells."""
    is_of_cells = data["command"] == "fit" and data.get("flow", "") is None
    return cells_schema() if is_of_cells else preset_schemas()[data["command"]]


def json_schema() -> dict[str, Any]:
    """JSON schema of presets: keys, types, ranges and defaults, without conditions between keys."""
    preset: Any = functools.reduce(operator.or_, [*preset_schemas().values(), cells_schema()])
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "A preset of nflow", **TypeAdapter(preset).json_schema()}
