"""The schema of a fit to a table. No Keras here."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from nflow_cli.config.flow_options import pattern_name
from nflow_cli.config.flow_schema import StackFlow, expect_weights
from nflow_cli.config.strict import MAX_PATH, MAX_SEED, Strict, by_name
from nflow_cli.config.training_schema import Annealed, EarlyStopping
from nflow_cli.registry import DEFAULT_BASE, POINT_SETS

MAX_COLUMNS = 1_000
MAX_NAME = 1_000  # letters of a column's name
LARGEST_BOUND = 1e100
WIDE = 8  # columns; more have a preset of their own
FEW = 8_000  # training rows; fewer have a preset of their own

Column = Annotated[
    str,
    # Columns without names are called by their positions.
    BeforeValidator(lambda name: str(name) if type(name) is int else name),
    Field(min_length=1, max_length=MAX_NAME),
]
Columns = Annotated[list[Column], Field(max_length=MAX_COLUMNS)]
Path = Annotated[str, Field(min_length=1, max_length=MAX_PATH)]
Bound = Annotated[float, Field(ge=-LARGEST_BOUND, le=LARGEST_BOUND)]
Interval = Annotated[list[Bound | None], Field(min_length=2, max_length=2)]


def _an_interval(bounds: Any) -> Any:
    """Check that bounds hold one or two ends, in order."""
    low, high = bounds
    if low is None and high is None:
        raise ValueError("a lower bound, an upper one or both")
    if low is not None and high is not None and not low < high:
        raise ValueError("a lower bound below the upper one")
    return bounds


class TableData(Strict):
    """Which table, which of its columns, and how its rows are split.

    ``columns`` are all columns of numbers where it is null; a run names them. ``bounds`` are
    ``[low, high]``, one of which may be null, between which a column lies. Rows are held out at
    random by ``split_seed``, in groups where ``group`` names a column, or as the column ``split``
    says; ``test`` is a file of test rows. ``size`` is how many rows a built-in set has.
    """

    name: Path
    size: int | None = Field(default=None, ge=10, le=10**7)
    columns: Columns | None = Field(default=None, min_length=1)
    exclude: Columns = Field(default=[])
    bounds: dict[Column, Interval] = Field(default={})
    missing: Literal["refuse", "drop"] = "refuse"
    max_rows: int | None = Field(default=None, ge=10, le=10**7)
    test: Path | None = None
    split: Column | None = None
    group: Column | None = None
    split_seed: int = Field(default=0, ge=0, le=MAX_SEED)

    @field_validator("size")
    @classmethod
    def _is_of_a_set(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is not None and info.data.get("name") not in POINT_SETS:
            raise ValueError("null for a file: max_rows takes a part of its rows")
        return size

    @field_validator("max_rows", "split", "group")
    @classmethod
    def _is_of_a_file(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("name") in POINT_SETS:
            raise ValueError("null for a built-in set")
        return value

    @field_validator("columns", "exclude")
    @classmethod
    def _differ(cls, columns: list[str] | None) -> list[str] | None:
        if columns and len(set(columns)) < len(columns):
            raise ValueError("each column once")
        return columns

    @field_validator("bounds")
    @classmethod
    def _are_intervals(cls, bounds: dict[str, Any]) -> dict[str, Any]:
        return {name: _an_interval(ends) for name, ends in bounds.items()}

    @field_validator("split", "group")
    @classmethod
    def _one_way_to_split(cls, column: str | None, info: ValidationInfo) -> str | None:
        other = "test" if info.field_name == "split" else "split"
        if column is not None and info.data.get(other) is not None:
            raise ValueError(f"null beside {other}: one of the two says which rows are held out")
        return column

    def interval(self, column: str) -> tuple[float, float]:
        """Return the open interval that a column lies in; infinite ends where it has no bound."""
        low, high = self.bounds.get(column, (None, None))
        return -math.inf if low is None else low, math.inf if high is None else high


Tails = Literal["tukey-h", "none"]


class Units(Strict):
    """How columns are transformed before the flows: ``tails`` by Tukey's h, or not."""

    tails: Tails = "tukey-h"


class TableTrain(Strict):
    """How a fit to a table is trained: for so many updates, or else for so many epochs.

    The weights of the best validation are kept.
    """

    length_key: ClassVar[str] = "steps"
    annealed_keys: ClassVar[None] = None
    annealed: ClassVar[Annealed] = Annealed(1.0, 0)

    steps: int | None = Field(default=4_000, ge=1, le=10**9)
    epochs: float | None = Field(default=None, gt=0, le=10**6, validate_default=True)
    batch_size: int = Field(default=512, ge=1, le=10**6)
    learning_rate: float = Field(default=0.002, gt=0, le=1e6)
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: float | None = Field(default=20.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1e3)  # of kernels, times the learning rate
    early_stopping: EarlyStopping | None = None
    chunk: int = Field(default=100, ge=1, le=100_000)
    checkpoint_seconds: float = Field(default=30.0, ge=0)

    @field_validator("epochs")
    @classmethod
    def _one_length(cls, epochs: float | None, info: ValidationInfo) -> float | None:
        if (epochs is None) == (info.data.get("steps") is None):
            raise ValueError("epochs where steps is null, and null where it is not")
        return epochs

    def updates(self, rows: int) -> int:
        """Return how many updates the training of so many rows makes."""
        if self.epochs is None:
            return self.steps or 0
        return max(1, round(self.epochs * rows / self.batch_size))


def natural_preset(pattern: Sequence[Any], rows: int | None = None, dim: int = 1) -> str:
    """Return the preset for such flows, so many training rows and columns, where none is named."""
    names = {pattern_name(item) for item in pattern}
    if names and names <= {"planar", "radial"}:
        return "table-planar"
    if rows is not None and rows < FEW:
        return "table-small"
    return "table-wide" if dim > WIDE else "table"


class TableEvaluate(Strict):
    """How a fit to a table is judged: whether the run keeps some rows for its pictures."""

    keep_rows: bool = True


class FitConfig(Strict):
    """A whole run of ``nflow fit``."""

    target: ClassVar[None] = None
    base_name: ClassVar[str] = DEFAULT_BASE
    subject_key: ClassVar[str] = "data"

    description: str = ""
    command: Literal["fit"]
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    data: Annotated[TableData, BeforeValidator(by_name)]
    units: Units = Units()
    flow: StackFlow = StackFlow(pattern=["spline-coupling"])
    train: TableTrain = TableTrain()
    evaluate: TableEvaluate = TableEvaluate()

    @field_validator("flow")
    @classmethod
    def _is_of_a_size(cls, flow: StackFlow, info: ValidationInfo) -> StackFlow:
        columns = info.data["data"].columns if "data" in info.data else None
        return expect_weights(flow, flow.weights(len(columns))) if columns else flow

    @property
    def subject(self) -> str:
        """The name of the table."""
        return self.data.name

    @property
    def is_settled(self) -> bool:
        """Whether the config says all that a run needs, without its table."""
        return self.data.columns is not None and self.train.steps is not None

    @property
    def dim(self) -> int:
        """D, once the columns are known."""
        return len(self.data.columns or ())

    def settled_like(self, written: "FitConfig") -> "FitConfig":
        """Return the config with what depends on the table as another one has it."""
        columns = {"columns": self.data.columns or written.data.columns}
        steps = {"steps": self.train.steps or written.train.steps, "epochs": None}
        data, train = self.data.model_copy(update=columns), self.train.model_copy(update=steps)
        return self.model_copy(update={"data": data, "train": train})

    def settled(self, columns: list[str], rows: int) -> "FitConfig":
        """Return the config of a run on a table of these columns, and so many training rows.

        It is to be validated: the model may have too many weights.
        """
        data = self.data.model_copy(update={"columns": columns})
        steps = {"steps": self.train.updates(rows), "epochs": None}
        train = self.train.model_copy(update=steps)
        return self.model_copy(update={"data": data, "train": train})
