"""Schemas of presets, strict and frozen, by command."""

from typing import TypeAlias

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.evidence_schema import EvidenceConfig
from nflow_cli.config.fit_2d_schema import Fit2DConfig
from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.strict import Strict
from nflow_cli.config.sweep_schema import SweepConfig
from nflow_cli.config.table_schema import FitConfig
from nflow_cli.config.vae_schema import VAEConfig
from nflow_cli.registry import KINDS, resolve

NAMED = ("target", "data", "density", "base")  # a bare name stands for these mappings
Config: TypeAlias = (  # of a run
    Fit2DConfig | InferConfig | EvidenceConfig | FitConfig | CellsConfig | VAEConfig
)
RUNS: dict[str, type[RunConfig]] = {name: resolve(place) for name, place in KINDS.items()}
SCHEMAS: dict[str, type[Strict]] = {**RUNS, "sweep": SweepConfig}
