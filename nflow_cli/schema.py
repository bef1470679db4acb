"""The preset schema: what a preset may hold, strict and frozen. No Keras here."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from nflow_cli.registry import DEFAULT_BASE, FLOWS, TARGET_BASES, TARGETS, nearest

MAX_SEED = 2**32 - 1


class Strict(BaseModel):
    """Nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _known(name: str, names: list[str]) -> str:
    if name not in names:
        raise ValueError(f"one of {', '.join(names)}{nearest(name, names)}")
    return name


class NamedTarget(Strict):
    """A target without parameters (or one whose name is not known)."""

    name: Annotated[str, AfterValidator(lambda name: _known(name, list(TARGETS)))]


Positive = Annotated[float, Field(gt=0)]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Matrix = Annotated[list[Point], Field(min_length=2, max_length=2)]


def _counts_agree(target: Any) -> Any:
    """Check that a target spelled out has one entry of each list per component."""
    counts = {key: len(value) for key, value in target if isinstance(value, list)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"lists of the same length, not of {counts}")
    return target


class MixtureTarget(Strict):
    """A mixture of Gaussians, spelled out."""

    _agree = model_validator(mode="after")(_counts_agree)

    name: Literal["mixture"]
    weights: list[Positive] = Field(min_length=1)
    means: list[Point]
    covariances: list[Matrix] | None = None


class RingTarget(Strict):
    """A mixture of rings, spelled out."""

    _agree = model_validator(mode="after")(_counts_agree)

    name: Literal["ring"]
    weights: list[Positive] = Field(min_length=1)
    centers: list[Point]
    radii: list[Annotated[float, Field(ge=0)]]
    widths: list[Positive]


TARGET_KINDS = {"named": NamedTarget, "mixture": MixtureTarget, "ring": RingTarget}


def _target_kind(target: Any) -> str:
    name = target.get("name") if isinstance(target, dict) else getattr(target, "name", None)
    return name if name in ("mixture", "ring") else "named"


class Flow(Strict):
    """Which flows, and how many."""

    pattern: list[Annotated[str, AfterValidator(lambda name: _known(name, list(FLOWS)))]] = Field(
        default=["planar"], min_length=1
    )
    k: int = Field(default=8, ge=0, le=10_000)


class Annealing(Strict):
    """``β`` rises from ``start`` to 1 in ``updates`` updates."""

    updates: int = Field(default=0, ge=0)
    start: float = Field(default=0.01, gt=0, le=1)


class EarlyStopping(Strict):
    """Stop when the smoothed loss has not fallen by ``min_delta`` nats for ``patience`` updates."""

    patience: int = Field(default=5_000, ge=1)
    min_delta: float = Field(default=1e-3, ge=0)


class Train(Strict):
    """How a 2-D fit is trained."""

    steps: int = Field(default=20_000, ge=1, le=10**9)
    batch_size: int = Field(default=512, ge=1, le=10**6)
    learning_rate: float = Field(default=0.01, gt=0, le=1e6)
    schedule: Literal["cosine", "constant"] = "cosine"
    annealing: Annealing = Annealing()
    clip_norm: float | None = Field(default=10.0, gt=0)
    early_stopping: EarlyStopping | None = None
    chunk: int = Field(default=500, ge=1, le=100_000)
    restarts: int = Field(default=1, ge=1, le=100)
    halving: bool = True


class Evaluate(Strict):
    """How a 2-D fit is judged."""

    samples: int = Field(default=200_000, ge=100, le=10**8)
    grid: int = Field(default=500, ge=500, le=5_000)


class Fit2DConfig(Strict):
    """A whole fit-2d run."""

    description: str = ""
    command: Literal["fit-2d"]
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    target: Annotated[
        Annotated[NamedTarget, Tag("named")]
        | Annotated[MixtureTarget, Tag("mixture")]
        | Annotated[RingTarget, Tag("ring")],
        Discriminator(_target_kind),
    ] = NamedTarget(name="multimodal")
    base: Literal["standard-normal", "uniform-box"] | None = None
    flow: Flow = Flow()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @field_validator("target", mode="before")
    @classmethod
    def _by_name(cls, target: Any) -> Any:
        return {"name": target} if isinstance(target, str) else target

    @property
    def base_name(self) -> str:
        """The base asked for, or the target's own."""
        return self.base or TARGET_BASES.get(self.target.name, DEFAULT_BASE)


SCHEMAS: dict[str, type[Strict]] = {"fit-2d": Fit2DConfig}
