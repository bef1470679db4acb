"""Schema of `nflow fit-2d`: a target in the plane, named, a mixture or rings."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from nflow_cli.config.flows import StackFlow, gained_by, has_network
from nflow_cli.config.run_config import ReverseKLConfig, Train
from nflow_cli.config.schema_options import shipped_presets
from nflow_cli.config.strict import COMMAND, Strict, by_name, option
from nflow_cli.constants import MAX_GRID
from nflow_cli.registry import (
    BASES,
    DEFAULT_BASE,
    FLOWS,
    TARGET_BASES,
    TARGETS,
    WITH_PARAMETERS,
    make,
    resolve,
    subject_hint,
)

DEFAULT_K = 8  # of flows, where the name of a preset has none
# Names of targets without parameters.
TargetName: Any = Literal[tuple(name for name in TARGETS if name not in WITH_PARAMETERS)]
Positive = Annotated[float, Field(gt=0)]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Matrix = Annotated[list[Point], Field(min_length=2, max_length=2)]


def _known(name: str, names: list[str]) -> str:
    if name not in names:
        raise ValueError(f"one of {', '.join(names)}{subject_hint(name, names)}")
    return name


class NamedTarget(Strict):
    """A target by name, known or not."""

    name: Annotated[str, AfterValidator(lambda name: _known(name, list(TARGETS)))] = Field(
        description="Name of a target without parameters."
    )


def _counts_agree(target: Any) -> Any:
    counts = {key: len(value) for key, value in target if isinstance(value, list)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"lists of the same length, not of {counts}")
    return target


class MixtureTarget(Strict):
    """A mixture of Gaussians with explicit parameters."""

    _agree = model_validator(mode="after")(_counts_agree)

    name: Literal["mixture"] = Field(description="A mixture of n Gaussians.")
    weights: list[Positive] = Field(min_length=1, description="Of each; normalised to sum 1.")
    means: list[Point] = Field(description="Of each.")
    covariances: list[Matrix] | None = Field(default=None, description="Of each; null: I, or sd.")
    sd: Positive | list[Positive] | None = Field(
        default=None,
        exclude=True,  # a density has one form in a config
        description="Instead of covariances: σ of every Gaussian or of each, whose covariance is "
        "σ²I.",
    )

    @model_validator(mode="after")
    def _is_density(self) -> "MixtureTarget":
        """Its one form in a config: weights of sum 1, and covariances."""
        if self.sd is not None and self.covariances is not None:
            raise ValueError("covariances or sd, not both")
        sd = self.sd if isinstance(self.sd, list) else [self.sd or 1.0] * len(self.weights)
        covariances = self.covariances or [[[s * s, 0.0], [0.0, s * s]] for s in sd]
        for covariance in covariances:
            if not _is_positive_definite(*covariance[0], *covariance[1]):
                raise ValueError(
                    "a symmetric, positive definite covariance, without which a density has no "
                    f"normaliser, not {covariance}"
                )
        total = sum(self.weights)
        weights = self.weights if abs(total - 1) < 1e-12 else [w / total for w in self.weights]
        if not all(weights):
            raise ValueError(f"weights with positive shares of their sum, not {self.weights}")
        return self.model_copy(update={"weights": weights, "covariances": covariances, "sd": None})


def _is_positive_definite(a: float, b: float, c: float, d: float) -> bool:
    """Whether ``[[a, b], [c, d]]`` is symmetric with eigenvalues above 0, but for rounding."""
    mean, spread = a / 2 + d / 2, math.hypot(a / 2 - d / 2, c)
    is_symmetric = math.isclose(b, c, rel_tol=1e-5, abs_tol=1e-8)
    return is_symmetric and mean - spread > 1e-14 * (mean + spread)


class RingTarget(Strict):
    """A mixture of rings with explicit parameters."""

    _agree = model_validator(mode="after")(_counts_agree)

    name: Literal["ring"] = Field(description="A mixture of n rings.")
    weights: list[Positive] = Field(
        min_length=1, description="Height of each before normalisation, not its mass."
    )
    centers: list[Point] = Field(description="Of each.")
    radii: list[Annotated[float, Field(ge=0)]] = Field(description="Of each.")
    widths: list[Positive] = Field(description="Of each: σ of its profile along the radius.")

    @model_validator(mode="after")
    def _is_density(self) -> "RingTarget":
        masses = map(ring_mass, self.radii, self.widths)
        mass = sum(w * m for w, m in zip(self.weights, masses))
        if not 0 < mass < math.inf:
            raise ValueError("a finite normaliser")
        return self


def ring_mass(radius: float, width: float) -> float:
    """Mass of one ring: ``2π [σ^2 exp(-t^2/2) + r σ √(2π) Φ(t)]``, ``t = r/σ``."""
    t = radius / width
    below = 0.5 * math.erfc(-t / math.sqrt(2))
    root = math.sqrt(2 * math.pi)
    return 2 * math.pi * (width * width * math.exp(-t * t / 2) + radius * width * root * below)


TARGET_KINDS = {"named": NamedTarget, "mixture": MixtureTarget, "ring": RingTarget}


def _target_kind(target: Any) -> str:
    name = target.get("name") if isinstance(target, dict) else getattr(target, "name", None)
    return name if name in ("mixture", "ring") else "named"


Target = Annotated[
    Annotated[NamedTarget, Tag("named")]
    | Annotated[MixtureTarget, Tag("mixture")]
    | Annotated[RingTarget, Tag("ring")],
    Discriminator(_target_kind),
]


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
    unions: ClassVar[dict[str, Any]] = {"target": TARGET_KINDS}
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


def nearest_preset(target: str, pattern: list[str], k: int | None) -> Path:
    """Shipped fit-2d preset of ``target`` with or without networks as ``pattern``, and K nearest.

    The name of a preset says target, flow and K, where it is not the default, 8.
    """
    k = DEFAULT_K if k is None else k
    form = re.compile(rf"{target}-({'|'.join(FLOWS)})(?:-k(\d+))?")
    matches = filter(None, map(form.fullmatch, shipped_presets()))

    def distance(match: re.Match[str]) -> tuple[bool, float]:
        preset_k = int(match[2] or DEFAULT_K)
        differs = has_network([match[1]]) != has_network(pattern)
        return differs, abs(preset_k - k) / (preset_k + k + 1)

    return shipped_presets()[min(matches, key=distance)[0]]
