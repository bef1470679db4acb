"""Schema of `nflow infer`: a fit to a log-density."""

import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, ValidationInfo, field_validator

from nflow_cli.config.flows import LastMap, StackFlow
from nflow_cli.config.run_config import (
    Chunk,
    FirstStage,
    LearningRate,
    ReverseKLConfig,
    Steps,
    Train,
)
from nflow_cli.config.schema_options import INTERVALS, NAMES
from nflow_cli.config.strict import (
    COMMAND,
    MAX_COLUMNS,
    MAX_PATH,
    Bound,
    Columns,
    Path,
    Strict,
    an_interval,
    by_name,
    option,
)
from nflow_cli.registry import DEFAULT_BASE, DENSITIES, INFER_BASES, make, resolve

IN_PYTHON = "<python>"  # path of a function passed in Python
DEFAULT_FUNCTION = "log_density"  # of a file
USUAL = (DEFAULT_FUNCTION, "<lambda>")  # names not shown
MOST_MODES = 64
MOST_STARTS, MOST_NUMBERS = 1_000, 10_000  # of starts, and in all of them
Extent = Annotated[list[Bound | None], Field(min_length=2, max_length=3)]
WIDE = 6  # coordinates; more have another preset

SCHOOLS = ["avg_effect", "log_stddev", *(f"effect_{n}" for n in range(1, 9))]


SIZES = {  # dimensions of a built-in density, the default first
    "funnel": (10, range(2, MAX_COLUMNS + 1)),
    "many-well": (2, range(2, 21, 2)),
    "banana": (2, range(2, 3)),
    "eight-schools": (10, range(10, 11)),
    "gmm40": (2, range(2, 3)),
}


class Density(Strict):
    """The log-density to fit: a built-in name, or a function in a file.

    A preset records the function but never runs it: only the command line does.
    """

    name: str = Field(
        min_length=1,
        max_length=MAX_PATH,
        description="Name of a built-in density, or of the function.",
    )
    path: Path | None = Field(
        default=None, validate_default=True, description="Path of the file with the function."
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of that file."
    )
    dim: int | None = Field(
        default=None,
        ge=1,
        le=MAX_COLUMNS,
        validate_default=True,
        **option("Number D of coordinates. Null: the default of a built-in density."),
    )
    names: Columns | None = Field(
        default=None,
        min_length=1,
        validate_default=True,
        **option("Names of the D coordinates. Null: x1, x2, …", form=NAMES),
    )
    bounds: dict[str, Extent] = Field(
        default={},
        **option(
            "Bounds of coordinates; one of the two may be left out. Null: no bound. LOW::SCALE: of "
            "about that scale, with a density that is finite at LOW, as a half-Cauchy has.",
            form=INTERVALS,
        ),
    )

    @field_validator("path")
    @classmethod
    def _is_known(cls, path: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if path is None and name not in DENSITIES:
            raise ValueError(f"one for a density that is none of {', '.join(DENSITIES)}")
        return path

    @field_validator("dim")
    @classmethod
    def _suits(cls, dim: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("path") is not None:
            if dim is None:
                raise ValueError("how many coordinates the density has: --dim D")
            return dim
        name = info.data.get("name", "")
        if name not in SIZES:
            return None
        default, sizes = SIZES[name]
        if dim is not None and dim not in sizes:
            expected = str(default)
            if len(sizes) > 1:
                even = " and even" if sizes.step == 2 else ""
                expected = f"{sizes[0]} to {sizes[-1]}{even}"
            raise ValueError(f"{expected} of {name}, not {dim}")
        return dim or default

    @field_validator("names")
    @classmethod
    def _one_each(cls, names: list[str] | None, info: ValidationInfo) -> list[str] | None:
        dim = info.data.get("dim")
        if dim is None:
            return names
        if names is None:
            is_schools = info.data.get("path") is None and info.data.get("name") == "eight-schools"
            return list(SCHOOLS) if is_schools else [f"x{i + 1}" for i in range(dim)]
        if len(set(names)) != dim or len(names) != dim:
            raise ValueError(f"{dim} different names, one a coordinate, not {len(names)}")
        return names

    @field_validator("bounds")
    @classmethod
    def _are_intervals(cls, bounds: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if bounds and info.data.get("path") is None:
            raise ValueError("none of a built-in density")
        names = info.data.get("names") or []
        for name in bounds:
            if names and name not in names:
                raise ValueError(f"some of the coordinates {', '.join(names)}, not {name!r}")
        for low, high, *scale in bounds.values():
            an_interval((low, high))
            if scale and not (low is not None and high is None and (scale[0] or 0.0) > 0):
                raise ValueError("a scale above 0 with a lower bound alone, such as [0, null, 5]")
        return bounds

    @property
    def is_built_in(self) -> bool:
        """Whether it is built in: no user code is run."""
        return self.path is None

    @property
    def columns(self) -> list[str]:
        """Names of the coordinates."""
        return list(self.names or ())


class InferBase(Strict):
    """The base: ``N(0, I)``, or independent Student's t with ``df`` degrees of freedom."""

    name: Literal["standard-normal", "student-t"] = Field(
        default=DEFAULT_BASE,
        **option("Base distribution of the flows; student-t has heavy tails.", "--base"),
    )
    df: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        validate_default=True,
        description="Degrees of freedom of student-t; null: 5.",
    )

    @field_validator("df")
    @classmethod
    def _of_student(cls, df: float | None, info: ValidationInfo) -> float | None:
        if info.data.get("name") == "student-t":
            return 5.0 if df is None else df
        if df is not None:
            raise ValueError("null but for student-t")
        return None


class InferFlow(StackFlow):
    """The flows, with an affine map at the data's end unless it is null."""

    affine: LastMap = Field(
        default="full", description="One affine map at the data's end, outside k."
    )


class InferTrain(Train):
    """Training of a fit to a log-density: the affine map alone first, then all flows."""

    steps: Steps = 6_000
    learning_rate: LearningRate = 0.002
    chunk: Chunk = 100
    first_stage: FirstStage = 1_000
    start_width: float = Field(
        default=3.0,
        ge=1,
        le=100,
        description="Width of the flows' start, relative to the Gaussian of the first stage.",
    )
    modes: int = Field(
        default=MOST_MODES,
        ge=1,
        le=MOST_MODES,
        description="Most members of a mixture, with one more for each mode missed; 1: no mixture.",
    )
    starts: list[list[FiniteFloat]] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_STARTS,
        description="Points (n, D) at which the search for modes starts too, `--start FILE`.",
    )
    compile: bool = Field(
        default=True,
        **option("Compile the log-density with XLA; turn off if an operation is unsupported."),
    )


class InferEvaluate(Strict):
    """Evaluation of a fit to a log-density, by fresh samples."""

    grid: ClassVar[None] = None  # no densities over the plane

    samples: int = Field(
        default=200_000,
        ge=1_000,
        le=10**7,
        description="Number of fresh samples for the scores, of at most 10⁸ numbers; of a mixture "
        "divided by its flows.",
    )


def usual_dim(name: Any) -> int:
    """Default D of a built-in density, 1 for any other name."""
    return SIZES[name][0] if name in SIZES else 1


def natural_preset(dim: int) -> str:
    """Default preset for a D."""
    return "infer-wide" if dim > WIDE else "infer"


def _expect_points(points: list[list[float]], density: Density) -> None:
    """Check that points have D coordinates, each within its bounds."""
    if len(points) * (density.dim or 0) > MOST_NUMBERS:
        raise ValueError(f"{MOST_NUMBERS:,} numbers at most, not {len(points)} × {density.dim}")
    for point in points:
        if len(point) != density.dim:
            raise ValueError(f"points of {density.dim} coordinates, not {len(point)}")
        for name, value in zip(density.columns, point):
            low, high = density.bounds.get(name, (None, None))
            if (low is not None and value <= low) or (high is not None and value >= high):
                raise ValueError(f"points within the bounds, not {name} = {value:g}")


class InferConfig(ReverseKLConfig):
    """A run of ``nflow infer``."""

    subject_key: ClassVar[str] = "density"

    command: Annotated[Literal["infer"], COMMAND]
    density: Annotated[Density, BeforeValidator(by_name, json_schema_input_type=Density | str)]
    base: Annotated[InferBase, BeforeValidator(by_name, json_schema_input_type=InferBase | str)] = (
        InferBase()
    )
    flow: InferFlow = InferFlow(pattern=["affine-coupling", "spline-coupling"])
    train: InferTrain = Field(default=InferTrain(), validate_default=True)
    evaluate: InferEvaluate = InferEvaluate()

    @classmethod
    def dims(cls, data: Mapping[str, Any]) -> tuple[int, int]:
        density = data.get("density")
        dim = density.dim if density else 0
        return dim, 0

    @field_validator("train")
    @classmethod
    def _suits_density_and_base(cls, train: InferTrain, info: ValidationInfo) -> InferTrain:
        density = info.data.get("density")
        if train.starts and density:
            _expect_points(train.starts, density)
        base = info.data.get("base")
        if train.draws != "independent" and base and base.name != DEFAULT_BASE:
            raise ValueError(f"draws independent of {base.name}, not {train.draws}")
        return train

    @property
    def dim(self) -> int:
        return self.density.dim or 0

    @property
    def is_built_in(self) -> bool:
        """Whether no user code is run."""
        return self.density.is_built_in

    @property
    def columns(self) -> list[str]:
        """Names of the coordinates."""
        return self.density.columns

    @property
    def bounds(self) -> dict[str, Extent]:
        """Bounds of coordinates by name."""
        return self.density.bounds

    @property
    def recorded_density(self) -> dict[str, Any]:
        """Entry of ``run.json``."""
        return self.density.model_dump(include={"name", "path", "sha256"})

    @property
    def known_moments(self) -> Mapping[int, tuple[float, float]]:
        """Mean and standard deviation of coordinates of a built-in density, by position."""
        return self.new_target().moments if self.is_built_in else {}

    def new_base(self) -> Any:
        """Base distribution."""
        return make(INFER_BASES, self.base)

    def new_target(self) -> Any:
        """Built-in density to fit."""
        return resolve(DENSITIES[self.density.name])(dim=self.dim)

    @property
    def resume_arguments(self) -> list[str]:
        if self.density.is_built_in:
            return []
        path = "FILE.py" if self.density.path == IN_PYTHON else self.density.path
        return ["--density", f"{path}:{self.density.name}"]

    @property
    def subject(self) -> str:
        """Name of the density; of a function, of its file, with its own if unusual."""
        density = self.density
        if density.path is None:
            return density.name
        parts = []
        if density.path != IN_PYTHON:
            parts.append(pathlib.Path(density.path).stem)
        if density.name not in USUAL:
            parts.append(density.name)
        return "-".join(parts) or "log-density"

    @property
    def base_name(self) -> str:
        """Base as text."""
        df = self.base.df
        return self.base.name if df is None else f"{self.base.name} ({df:g} degrees of freedom)"
