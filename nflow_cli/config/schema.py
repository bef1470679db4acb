"""Schemas of presets, strict and frozen, by command; as JSON for editors."""

import functools
import operator
from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from nflow_cli.config.evidence import EvidenceConfig
from nflow_cli.config.fit_2d import Fit2DConfig
from nflow_cli.config.infer import InferConfig
from nflow_cli.config.strict import Strict
from nflow_cli.config.sweep import SweepConfig
from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.config.training import RunConfig
from nflow_cli.config.vae import VAEConfig

NAMED = ("target", "data", "density", "base")  # a bare name stands for these mappings
Config: TypeAlias = (  # of a run
    Fit2DConfig | InferConfig | EvidenceConfig | FitConfig | CellsConfig | VAEConfig
)
RUNS: dict[str, type[RunConfig]] = {
    "fit-2d": Fit2DConfig,
    "infer": InferConfig,
    "fit": FitConfig,
    "evidence": EvidenceConfig,
    "train-vae": VAEConfig,
}
SCHEMAS: dict[str, type[Strict]] = {**RUNS, "sweep": SweepConfig}


def schema_of(data: Mapping[str, Any]) -> type[Strict]:
    """Schema of a preset, by its command: of ``fit`` with null as ``flow``, that of cells."""
    schema = SCHEMAS[data["command"]]
    return CellsConfig if schema is FitConfig and data.get("flow", "") is None else schema


def json_schema() -> dict[str, Any]:
    """JSON schema of presets: keys, types, ranges and defaults, without conditions between keys."""
    preset: Any = functools.reduce(operator.or_, [*SCHEMAS.values(), CellsConfig])
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "A preset of nflow", **TypeAdapter(preset).json_schema()}
