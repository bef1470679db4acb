"""Schema of a 2-D target: a named density, a mixture or rings."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from nflow_cli.config.strict import Strict
from nflow_cli.registry import TARGETS, nearest


def _known(name: str, names: list[str]) -> str:
    if name not in names:
        raise ValueError(f"one of {', '.join(names)}{nearest(name, names)}")
    return name


class NamedTarget(Strict):
    """A target by name, known or not."""

    name: Annotated[str, AfterValidator(lambda name: _known(name, list(TARGETS)))] = Field(
        description="Name of a target without parameters."
    )


# Names of targets without parameters.
TargetName: Any = Literal[tuple(name for name in TARGETS if name not in ("mixture", "ring"))]
Positive = Annotated[float, Field(gt=0)]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Matrix = Annotated[list[Point], Field(min_length=2, max_length=2)]


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
        from nflow_cli.config import target_parameters  # loads NumPy

        covariances = self.covariances
        if self.sd is not None:
            if covariances is not None:
                raise ValueError("covariances or sd, not both")
            sd = self.sd if isinstance(self.sd, list) else [self.sd] * len(self.weights)
            covariances = [[[s * s, 0.0], [0.0, s * s]] for s in sd]
        arrays = target_parameters.mixture_parameters(self.weights, self.means, covariances)
        weights, covariances = target_parameters.shares(arrays[0]).tolist(), arrays[2].tolist()
        return self.model_copy(update={"weights": weights, "covariances": covariances, "sd": None})


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
        from nflow_cli.config.target_parameters import ring_parameters  # loads NumPy

        ring_parameters(self.weights, self.centers, self.radii, self.widths)
        return self


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
