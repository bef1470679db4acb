"""The preset schema: what a preset may hold, strict and frozen. No Keras here."""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.flow_schema import StackFlow, expect_one_pass, expect_weights
from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.config.strict import COMMAND, MAX_PATH, Description, Seed, Strict, by_name
from nflow_cli.config.sweep_schema import SweepConfig
from nflow_cli.config.table_schema import FitConfig
from nflow_cli.config.target_schema import Target, TargetName
from nflow_cli.config.training_schema import Train
from nflow_cli.config.vae_schema import VAEConfig
from nflow_cli.registry import DEFAULT_BASE, POINT_SETS, TARGET_BASES

NAMED = ("target", "data", "density", "base")  # mappings that text stands for: their name
MAX_GRID = 5_000


class PointData(Strict):
    """Points to fit a density to: a built-in set, and how many of it, or a file by its path."""

    name: str = Field(
        min_length=1, max_length=MAX_PATH, description="A built-in set, or the path of a file."
    )
    size: int | None = Field(
        default=None, ge=10, le=10**7, description="Points of a built-in set; null: 50,000."
    )

    @field_validator("size")
    @classmethod
    def _is_of_a_set(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is not None and info.data.get("name") not in POINT_SETS:
            raise ValueError("null for a file, all of whose points are read")
        return size


class Evaluate(Strict):
    """How a 2-D fit is judged."""

    samples: int = Field(
        default=200_000, ge=100, le=10**8, description="Fresh samples that scores are means over."
    )
    grid: int = Field(
        default=500, ge=500, le=MAX_GRID, description="Points a side that densities are drawn by."
    )


class Fit2DConfig(Strict):
    """A whole fit-2d run. ``dim`` is D of its points."""

    dim: ClassVar[int] = 2
    prior: ClassVar[None] = None

    description: Description = ""
    command: Annotated[Literal["fit-2d"], COMMAND]
    seed: Seed = 0
    data: Annotated[
        PointData | None, BeforeValidator(by_name, json_schema_input_type=PointData | str | None)
    ] = None
    target: Target | None = Field(
        default=None,
        validate_default=True,
        description="What is fitted: a density by its name, or spelled out; null: multimodal, or "
        "data.",
    )
    base: Literal["standard-normal", "uniform-box"] | None = Field(
        default=None, description="What the flows start from; null: the target's own."
    )
    flow: StackFlow = StackFlow()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @field_validator("target", mode="before", json_schema_input_type=Target | TargetName | None)
    @classmethod
    def _target_by_name(cls, target: Any, info: ValidationInfo) -> Any:
        if info.data.get("data") is not None:
            if target is not None:
                raise ValueError("null beside data: a density or points are fitted, not both")
            return None
        return by_name("multimodal" if target is None else target)

    @field_validator("base")
    @classmethod
    def _covers_any_point(cls, base: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("data") is not None and base not in (None, DEFAULT_BASE):
            raise ValueError(f"{DEFAULT_BASE} beside data: q must not be 0 at any point")
        return base

    @field_validator("flow")
    @classmethod
    def _can_be_trained(cls, flow: StackFlow, info: ValidationInfo) -> StackFlow:
        if info.data.get("data") is None:
            expect_one_pass(flow, "forward", "a density is fitted")
        else:
            expect_one_pass(flow, "inverse", "points are fitted")
        return expect_weights(flow, flow.weights(cls.dim))

    @field_validator("train")
    @classmethod
    def _suits_what_is_fitted(cls, train: Train, info: ValidationInfo) -> Train:
        if info.data.get("data") is not None:
            if train.annealing.updates:
                raise ValueError(f"annealing.updates 0 beside data, not {train.annealing.updates}")
            if train.restarts > 1:
                raise ValueError(f"restarts 1 beside data, not {train.restarts}")
            if train.first_stage:
                raise ValueError(f"first_stage 0 beside data, not {train.first_stage}")
            if train.draws != "independent":
                raise ValueError(f"draws independent beside data, not {train.draws}")
        flow = info.data.get("flow")
        if train.first_stage and flow and not flow.affine:
            raise ValueError("first_stage 0 without flow.affine: that is what it trains")
        return train

    @property
    def subject_key(self) -> str:
        """The key of what is fitted."""
        return "target" if self.data is None else "data"

    @property
    def subject(self) -> str:
        """The name of the density, or of the points."""
        subject = self.data or self.target
        return subject.name if subject else ""

    @property
    def base_name(self) -> str:
        """The base asked for, or the target's own."""
        natural = TARGET_BASES.get(self.target.name, DEFAULT_BASE) if self.target else DEFAULT_BASE
        return self.base or natural


Config: TypeAlias = Fit2DConfig | InferConfig | FitConfig | CellsConfig | VAEConfig  # of a run
RUNS: dict[str, type[Strict]] = {
    "fit-2d": Fit2DConfig,
    "fit": FitConfig,
    "train-vae": VAEConfig,
    "infer": InferConfig,
}
SCHEMAS: dict[str, type[Strict]] = {**RUNS, "sweep": SweepConfig}
