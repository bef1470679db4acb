"""Schema of `nflow fit-2d`: a named density in the plane."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from nflow_cli.config.flows import StackFlow
from nflow_cli.config.run_config import ReverseKLConfig
from nflow_cli.config.strict import COMMAND, Strict, by_name, option
from nflow_cli.config.target_schema import NamedTarget, Target, TargetName
from nflow_cli.config.threads import gained_by
from nflow_cli.config.training import Train
from nflow_cli.registry import BASES, DEFAULT_BASE, TARGET_BASES, TARGETS, make, resolve

MAX_GRID = 1_000  # more than a panel has pixels


class Evaluate(Strict):
    """Evaluation of a 2-D fit."""

    samples: int = Field(
        default=200_000, ge=100, le=10**7, description="Number of fresh samples for the scores."
    )
    grid: int = Field(
        default=500, ge=100, le=MAX_GRID, description="Grid points per side for density plots."
    )


class Fit2DTrain(Train):
    """Training of a 2-D fit: of one member, compiled."""

    start_width: ClassVar[float] = 1.0
    modes: ClassVar[int] = 1
    starts: ClassVar[None] = None
    compile: ClassVar[bool] = True


class Fit2DConfig(ReverseKLConfig):
    """A run of ``nflow fit-2d``. ``dim`` is D of the target."""

    dim: ClassVar[int] = 2
    subject_key: ClassVar[str] = "target"
    is_built_in: ClassVar[bool] = True
    columns: ClassVar[list[str]] = ["z1", "z2"]
    bounds: ClassVar[None] = None  # their units are the flows' own
    recorded_density: ClassVar[None] = None  # in run.json
    known_moments: ClassVar[dict[int, tuple[float, float]]] = {}

    command: Annotated[Literal["fit-2d"], COMMAND]
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
    train: Fit2DTrain = Fit2DTrain()
    evaluate: Evaluate = Evaluate()

    @classmethod
    def dims(cls, data: Mapping[str, Any]) -> tuple[int, int]:
        return cls.dim, 0

    @property
    def base_name(self) -> str:
        """The base that is set, or the target's default."""
        return self.base or TARGET_BASES.get(self.target.name, DEFAULT_BASE)

    def new_base(self) -> Any:
        """Base distribution."""
        return resolve(BASES[self.base_name])()

    def new_target(self) -> Any:
        """Density to fit."""
        return make(TARGETS, self.target)

    @property
    def threads(self) -> int | None:
        return gained_by(self.flow, self.dim, self.rows)
