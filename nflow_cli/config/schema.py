"""Schemas of presets, strict and frozen, by command."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.flow_schema import StackFlow, expect_one_pass, expect_weights
from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.config.strict import COMMAND, Description, Seed, Strict, by_name, option
from nflow_cli.config.sweep_schema import SweepConfig
from nflow_cli.config.table_schema import FitConfig
from nflow_cli.config.target_schema import NamedTarget, Target, TargetName
from nflow_cli.config.training_schema import Train
from nflow_cli.config.vae_schema import VAEConfig
from nflow_cli.registry import DEFAULT_BASE, TARGET_BASES

NAMED = ("target", "data", "density", "base")  # a bare name stands for these mappings
MAX_GRID = 5_000


class Evaluate(Strict):
    """Evaluation of a 2-D fit."""

    samples: int = Field(
        default=200_000, ge=100, le=10**8, description="Number of fresh samples for the scores."
    )
    grid: int = Field(
        default=500, ge=500, le=MAX_GRID, description="Grid points per side for density plots."
    )


class Fit2DConfig(Strict):
    """A run of ``nflow fit-2d``. ``dim`` is D of the target."""

    dim: ClassVar[int] = 2
    prior: ClassVar[None] = None
    subject_key: ClassVar[str] = "target"

    description: Description = ""
    command: Annotated[Literal["fit-2d"], COMMAND]
    seed: Seed = 0
    target: Annotated[
        Target, BeforeValidator(by_name, json_schema_input_type=Target | TargetName)
    ] = Field(
        default=NamedTarget(name="multimodal"),
        **option("Density to fit, by name; in a preset also with parameters."),
    )
    base: Literal["standard-normal", "uniform-box"] | None = Field(
        default=None, description="Base distribution; null: the target's default."
    )
    flow: StackFlow = StackFlow()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @field_validator("flow")
    @classmethod
    def _can_be_trained(cls, flow: StackFlow) -> StackFlow:
        expect_one_pass(flow, "forward", "a density is fitted")
        return expect_weights(flow, flow.weights(cls.dim))

    @field_validator("train")
    @classmethod
    def _has_a_first_stage(cls, train: Train, info: ValidationInfo) -> Train:
        flow = info.data.get("flow")
        if train.first_stage and flow and not flow.affine:
            raise ValueError("first_stage 0 without flow.affine: that is what it trains")
        return train

    @property
    def subject(self) -> str:
        """Name of the density."""
        return self.target.name

    @property
    def base_name(self) -> str:
        """The base that is set, or the target's default."""
        return self.base or TARGET_BASES.get(self.target.name, DEFAULT_BASE)


Config: TypeAlias = Fit2DConfig | InferConfig | FitConfig | CellsConfig | VAEConfig  # of a run
RUNS: dict[str, type[Strict]] = {
    "fit-2d": Fit2DConfig,
    "fit": FitConfig,
    "train-vae": VAEConfig,
    "infer": InferConfig,
}
SCHEMAS: dict[str, type[Strict]] = {**RUNS, "sweep": SweepConfig}
