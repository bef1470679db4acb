"""The schema of a fit to a table. No Keras here."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from nflow_cli.config.column_schema import (
    MAX_COLUMNS,
    Column,
    Columns,
    Interval,
    LevelList,
    Path,
    Step,
    an_interval,
    too_many_levels,
)
from nflow_cli.config.flow_options import pattern_name
from nflow_cli.config.flow_schema import StackFlow, expect_one_pass, expect_weights
from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.roles import Levels, Roles
from nflow_cli.config.strict import (
    COMMAND,
    MAX_SEED,
    Description,
    Seed,
    Strict,
    by_name,
)
from nflow_cli.config.training_schema import (
    Annealed,
    BatchSize,
    CheckpointSeconds,
    Chunk,
    ClipNorm,
    EarlyStopping,
    LearningRate,
    Schedule,
    WeightDecay,
)
from nflow_cli.registry import DEFAULT_BASE, POINT_SETS

MAX_MEMBERS = 100
WIDE = 8  # columns; more have a preset of their own
FEW = 8_000  # training rows; fewer have a preset of their own

# Roles that no column has at once: those of the keys with those of earlier ones.
EXCLUSIVE = {
    "exclude": ("columns",),
    "split": ("columns",),
    "group": ("columns",),
    "given": ("columns", "exclude", "bounds", "split"),
    "categorical": ("exclude", "bounds", "split", "group"),
    "discrete": ("exclude", "split", "group", "given", "categorical"),
    "weights": (
        *("columns", "exclude", "bounds", "split", "group"),
        *("given", "categorical", "discrete"),
    ),
}


def _named(value: str | Sequence[str] | Mapping[str, Any] | None) -> list[str]:
    """Return the columns that a key names."""
    return [value] if isinstance(value, str) else list(value or ())


class TableData(Strict):
    """Which table, what its columns are, and how its rows are split."""

    name: Path = Field(description="A built-in set, the path of a file, or - for standard input.")
    size: int | None = Field(default=None, ge=10, le=10**7, description="Rows of a built-in set.")
    columns: Columns | None = Field(
        default=None,
        min_length=1,
        description="Only these; null: all, or for flows all of numbers. A run of flows says them.",
    )
    exclude: Columns = Field(default=[], description="All but these.")
    bounds: dict[Column, Interval] = Field(
        default={},
        description="`[low, high]` by column, either may be null: it lies between.",
    )
    missing: Literal["refuse", "drop", "model"] = Field(
        default="refuse",
        description="What becomes of rows that lack a value; a gap is modelled by cells alone.",
    )
    max_rows: int | None = Field(
        default=None, ge=10, le=10**7, description="So many rows of a file, at random; null: all."
    )
    test: Path | None = Field(default=None, description="A file of test rows.")
    split: Column | None = Field(
        default=None, description="A column that says train, validation or test."
    )
    group: Column | None = Field(default=None, description="Rows equal here are held out together.")
    split_seed: int = Field(
        default=0, ge=0, le=MAX_SEED, description="Which rows are held out at random."
    )
    given: Columns = Field(
        default=[], description="The density is that of the other columns given these."
    )
    categorical: dict[Column, LevelList | None] = Field(
        default={},
        max_length=MAX_COLUMNS,
        description="Columns that tell rows apart, with their levels; null: those of the training "
        "rows. A run says them.",
    )
    discrete: dict[Column, Step] = Field(
        default={}, max_length=MAX_COLUMNS, description="Columns of multiples of a step."
    )
    weights: Column | None = Field(
        default=None, description="A column that says how much each row counts."
    )
    kinds: dict[Column, ColumnKind] | None = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="What each column is to a density of cells; null: found. A run says them.",
    )

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

    @field_validator("columns", "exclude", "given")
    @classmethod
    def _differ(cls, columns: list[str] | None) -> list[str] | None:
        if columns and len(set(columns)) < len(columns):
            raise ValueError("each column once")
        return columns

    @field_validator("bounds")
    @classmethod
    def _are_intervals(cls, bounds: dict[str, Any]) -> dict[str, Any]:
        return {name: an_interval(ends) for name, ends in bounds.items()}

    @field_validator("kinds")
    @classmethod
    def _follow(cls, kinds: dict[str, ColumnKind] | None) -> dict[str, ColumnKind] | None:
        """Check that computed columns follow from columns that a row has."""
        apart = {n for n, kind in (kinds or {}).items() if kind.kind in ("computed", "left out")}
        for kind in (kinds or {}).values():
            for name in kind.relation.columns if kind.relation else ():
                if name in apart or name not in (kinds or {}):
                    raise ValueError(f"a column that others follow from to be modelled: {name!r}")
        return kinds

    @field_validator("split", "group")
    @classmethod
    def _one_way_to_split(cls, column: str | None, info: ValidationInfo) -> str | None:
        other = "test" if info.field_name == "split" else "split"
        if column is not None and info.data.get(other) is not None:
            raise ValueError(f"null beside {other}: one of the two says which rows are held out")
        return column

    @field_validator(*EXCLUSIVE)
    @classmethod
    def _have_one_role(cls, value: Any, info: ValidationInfo) -> Any:
        names = _named(value)
        for other in EXCLUSIVE[str(info.field_name)]:
            for name in _named(info.data.get(other)):
                if name in names:
                    raise ValueError(f"no column of data.{other}, where {name!r} is")
        return value

    @field_validator("categorical", "discrete")
    @classmethod
    def _are_used(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Check that columns are among those that are modelled or given, where these are said."""
        columns = info.data.get("columns")
        used = {*(columns or ()), *info.data.get("given", ())}
        for name in () if columns is None else value:
            if name not in used:
                raise ValueError(f"columns of data.columns or data.given, as {name!r} is not")
        return value

    @field_validator("categorical")
    @classmethod
    def _are_levels(cls, value: dict[str, Any]) -> dict[str, Any]:
        said = {name: levels for name, levels in value.items() if levels is not None}
        for name, levels in said.items():
            if len(set(levels)) < len(levels):
                raise ValueError(f"each level of {name!r} once")
        if problem := too_many_levels(said):
            raise ValueError(problem)
        return value

    @property
    def roles(self) -> Roles:
        """What each column of a row is, once the columns and the levels are known."""
        columns = self.columns or []
        levels = {name: tuple(levels or ()) for name, levels in self.categorical.items()}
        numbers = [name for name in columns if name not in levels]
        return Roles(
            numbers,
            {name: self.discrete[name] for name in numbers if name in self.discrete},
            {name: levels[name] for name in columns if name in levels},
            [name for name in self.given if name not in levels],
            {name: levels[name] for name in self.given if name in levels},
        )

    @property
    def is_settled(self) -> bool:
        """Whether the columns and the levels of all categories are known."""
        return self.columns is not None and None not in self.categorical.values()

    def settled(self, columns: Sequence[str], levels: Levels) -> "TableData":
        """Return the settings with the modelled columns and the levels written out."""
        categorical = {name: list(levels[name]) for name in self.categorical}
        update = {"columns": list(columns), "categorical": categorical}
        return self.model_copy(update=update)

    def interval(self, column: str) -> tuple[float, float]:
        """Return the open interval that a column lies in; infinite ends where it has no bound.

        A discrete value stands for half a step at either side of it.
        """
        low, high = self.bounds.get(column, (None, None))
        half = self.discrete.get(column, 0) / 2
        return -math.inf if low is None else low - half, math.inf if high is None else high + half


Tails = Literal["tukey-h", "none"]


class Units(Strict):
    """How columns are transformed before the flows."""

    tails: Tails = Field(default="tukey-h", description="Heavy tails by Tukey's h, or not at all.")


class TableTrain(Strict):
    """How a fit to a table is trained: for so many updates, or else for so many epochs.

    The weights of the best validation are kept.
    """

    length_key: ClassVar[str] = "steps"
    annealed_keys: ClassVar[None] = None
    annealed: ClassVar[Annealed] = Annealed(1.0, 0)

    steps: int | None = Field(
        default=4_000, ge=1, le=10**9, description="Updates; null: as epochs says."
    )
    epochs: float | None = Field(
        default=None,
        gt=0,
        le=10**6,
        validate_default=True,
        description="Passes over the training rows, in place of steps.",
    )
    batch_size: BatchSize = 512
    learning_rate: LearningRate = 0.002
    schedule: Schedule = "cosine"
    clip_norm: ClipNorm = 20.0
    weight_decay: WeightDecay = 0.0
    early_stopping: EarlyStopping | None = None
    ensemble: int = Field(
        default=1, ge=1, le=MAX_MEMBERS, description="Members of an equal mixture, side by side."
    )
    chunk: Chunk = 100
    checkpoint_seconds: CheckpointSeconds = 30.0

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


def natural_preset(
    pattern: Sequence[Any] | None,
    rows: int | None = None,
    dim: int = 1,
    is_conditional: bool = False,
) -> str:
    """Return the preset for such flows, so many training rows and columns, where none is named.

    ``None``: no flows are asked for.
    """
    if pattern is None:
        return "cells"
    names = {pattern_name(item) for item in pattern}
    if names and names <= {"planar", "radial", "sylvester"}:
        return "table-planar"
    if rows is not None and rows < FEW:
        return "table-small"
    if dim > WIDE:
        return "table-wide"
    return "table-conditional" if is_conditional else "table"


class TableEvaluate(Strict):
    """How a fit to a table is judged."""

    keep_rows: bool = Field(
        default=True, description="Whether the run keeps some test rows for its pictures."
    )


class FitConfig(Strict):
    """A whole run of ``nflow fit``."""

    target: ClassVar[None] = None
    prior: ClassVar[None] = None
    base_name: ClassVar[str] = DEFAULT_BASE
    subject_key: ClassVar[str] = "data"

    description: Description = ""
    command: Annotated[Literal["fit"], COMMAND]
    seed: Seed = 0
    data: Annotated[TableData, BeforeValidator(by_name, json_schema_input_type=TableData | str)]
    units: Units = Units()
    flow: StackFlow = StackFlow(pattern=["spline-coupling"])
    train: TableTrain = TableTrain()
    evaluate: TableEvaluate = TableEvaluate()

    @field_validator("data")
    @classmethod
    def _suits_flows(cls, data: TableData) -> TableData:
        if data.missing == "model":
            raise ValueError("missing: refuse or drop beside flows; cells model a gap")
        if data.columns is not None and all(name in data.categorical for name in data.columns):
            raise ValueError("columns: one of numbers beside the categories, for flows")
        return data

    @field_validator("flow")
    @classmethod
    def _can_be_trained(cls, flow: StackFlow, info: ValidationInfo) -> StackFlow:
        expect_one_pass(flow, "inverse", "rows are fitted")
        data = info.data.get("data")
        if data is None or not data.is_settled:
            return flow
        return expect_weights(flow, flow.weights(data.roles.dim, data.roles.width))

    @property
    def subject(self) -> str:
        """The name of the table."""
        return self.data.name

    @property
    def roles(self) -> Roles:
        """What each column of a row is, once that is settled."""
        return self.data.roles

    @property
    def is_settled(self) -> bool:
        """Whether the config says all that a run needs, without its table."""
        return self.data.is_settled and self.train.steps is not None

    @property
    def is_plain(self) -> bool:
        """Whether all columns are modelled numbers, none discrete, and all rows count alike."""
        data = self.data
        return not (data.given or data.categorical or data.discrete or data.weights)

    @property
    def dim(self) -> int:
        """D, of the columns of numbers that are modelled, once they are known."""
        return self.roles.dim

    def settled_like(self, written: "FitConfig") -> "FitConfig":
        """Return the config with what depends on the table as another one has it."""
        ours, theirs = self.data, written.data.categorical
        levels = {name: known or theirs.get(name) for name, known in ours.categorical.items()}
        columns = {"columns": ours.columns or written.data.columns, "categorical": levels}
        steps = {"steps": self.train.steps or written.train.steps, "epochs": None}
        data, train = ours.model_copy(update=columns), self.train.model_copy(update=steps)
        return self.model_copy(update={"data": data, "train": train})

    def settled(self, columns: Sequence[str], levels: Levels, rows: int) -> "FitConfig":
        """Return the config of a run on a table.

        It is to be validated: the model may have too many weights.

        Args:
            columns: The names of those that are modelled, numbers and categories.
            levels: Of all categories, by name.
            rows: How many are trained on.
        """
        steps = {"steps": self.train.updates(rows), "epochs": None}
        update = {"data": self.data.settled(columns, levels)}
        return self.model_copy(update=update | {"train": self.train.model_copy(update=steps)})
