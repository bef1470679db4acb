"""Schemas of `nflow fit`: the table; flows on plain numbers, cells on columns of all kinds."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nflow_cli.arguments import MAX_SEED
from nflow_cli.config.column_kinds import MAX_ORDERED, ColumnKind, RowNames, row_names
from nflow_cli.config.declared_rules import EXPECTED_TEXT, MAX_DECLARED, MAX_RULES, MAX_TEXT, Rule
from nflow_cli.config.flows import (
    K,
    NetworkOptions,
    StackFlow,
    gained_by,
    has_network,
    options_of,
    pattern_name,
)
from nflow_cli.config.run_config import (
    CheckpointSeconds,
    ClipNorm,
    LearningRate,
    RunConfig,
    Schedule,
    TrainSettings,
    ValidatedStopping,
    WeightDecay,
)
from nflow_cli.config.schema_options import (
    FILE,
    FORMATS,
    INTERVALS,
    LEVELS,
    NAME,
    NAMES,
    RULE,
    STEPS,
    VALUES,
    escaped,
)
from nflow_cli.config.strict import (
    COMMAND,
    MAX_COLUMNS,
    MAX_LEVEL,
    MAX_NAME,
    Column,
    Columns,
    Interval,
    Level,
    Path,
    Step,
    Strict,
    by_name,
    intervals,
    option,
)
from nflow_cli.registry import DEFAULT_BASE, POINT_SETS

MAX_MEMBERS = 100
PATIENCE_SHARE = 0.15  # of the updates, without a better validation loss, before a training ends,
LEAST_PATIENCE = 100  # and number of them, at least
ENSEMBLE_HELP = "Train N networks or stacks side by side; the density is their mixture."

# Roles that exclude each other: each key's with those of earlier keys.
EXCLUSIVE = {
    "exclude": ("columns",),
    "bounds": ("exclude",),
    "split": ("columns", "bounds"),
    "group": ("columns", "bounds"),
    "target": ("exclude", "split", "group"),
    "given": ("columns", "exclude", "bounds", "split", "target"),
    "categorical": ("exclude", "bounds", "split", "group"),
    "discrete": ("exclude", "split", "group", "given", "categorical"),
    "ordered": ("exclude", "bounds", "split", "group", "categorical", "discrete"),
    "weights": (
        "columns",
        "exclude",
        "bounds",
        "split",
        "group",
        "target",
        "given",
        "categorical",
        "discrete",
        "ordered",
    ),
    "date": ("exclude", "split", "group", "categorical", "discrete", "ordered", "weights"),
}
MAX_FORM = 40  # letters
OrderedLevels = Annotated[list[Level], Field(min_length=2, max_length=MAX_ORDERED)]
# A time whose year and hour a format of dates and times must tell, one or both.
_EXAMPLE_TIME = datetime(2024, 5, 17, 13, 45, 30, tzinfo=UTC)
MAX_WIDTH = 2_048
MAX_BLOCKS = 16
MAX_COMPONENTS = 64
FREQUENCIES = 0.125, 0.25, 0.5, 1.0  # of the sines and cosines of numbers, per unit
KNOTS = tuple(-2 + i / 4 for i in range(17))  # of the ramps of numbers, in units


class Recipe(NamedTuple):
    """What a network of an ensemble sees, and how it is regularised.

    Attributes:
        decay: Weight decay of its kernels.
        atoms: Whether repeated values of numbers are inputs of their own.
        waves: Whether sines and cosines of numbers are inputs.
        ramps: Whether piecewise linear encodings of numbers are inputs.
        dropout: Share of the inner units of residual blocks that an update leaves out.
    """

    decay: float
    atoms: bool = True
    waves: bool = False
    ramps: bool = False
    dropout: float = 0.0


# Of the networks of an ensemble, in turn: each column has the mixture of them that suits it.
RECIPES = (
    Recipe(0.1),
    Recipe(1.0, atoms=False, ramps=True, dropout=0.1),
    Recipe(0.3, waves=True, dropout=0.1),
)
EARLY_COLUMNS = 3  # modelled: fewer are overfitted at about the same time
WIDE_COLUMNS = 8  # with more, flows overfit sooner


class Size(NamedTuple):
    """Default sizes of a model and its training, up to a number of training rows."""

    rows: float
    model: Mapping[str, int]
    train: Mapping[str, float]


def _cells_sizes(width: int, *train: float) -> tuple[Mapping[str, int], Mapping[str, float]]:
    """Sizes of the network of cells, and settings of its training, by key."""
    names = ("steps", "batch_size", "chunk", "ensemble", "early")
    return {"width": width, "blocks": 2, "components": 10}, dict(zip(names, train))


def _flows_sizes(
    k: int, hidden: int, *train: float
) -> tuple[Mapping[str, int], Mapping[str, float]]:
    """Sizes of a stack of flows, and settings of its training, by key."""
    names = ("steps", "batch_size", "learning_rate", "weight_decay", "chunk")
    return {"k": k, "hidden": hidden}, dict(zip(names, train))


# Of few rows some columns are overfitted within a hundred updates, while others are still learnt;
# very few do not tell which.
CELLS_SIZES = (
    Size(100, *_cells_sizes(64, 600, 256, 20, 3, 0)),
    Size(2_000, *_cells_sizes(64, 600, 256, 20, 3, 60)),
    Size(10_000, *_cells_sizes(128, 2_000, 512, 50, 3, 0)),
    Size(50_000, *_cells_sizes(128, 4_000, 1_024, 100, 2, 0)),
    Size(math.inf, *_cells_sizes(256, 8_000, 1_024, 100, 1, 0)),
)
FLOWS_SIZES = (
    Size(8_000, *_flows_sizes(4, 32, 2_000, 256, 0.001, 2.0, 50)),
    Size(math.inf, *_flows_sizes(8, 64, 8_000, 1_024, 0.002, 0.3, 100)),
)
# Other training settings for many columns, and for conditional densities; not for few rows.
TRAIN_OF_MANY_COLUMNS: Mapping[str, float] = {"steps": 4_000, "weight_decay": 1.0}
TRAIN_OF_GIVEN: Mapping[str, float] = {"weight_decay": 0.5}


def size_of(sizes: Sequence[Size], rows: int) -> Size:
    """Default sizes for a number of training rows."""
    return next(size for size in sizes if rows < size.rows)


def _names(value: str | Sequence[str] | Mapping[str, Any] | None) -> list[str]:
    """Names of columns of a key: of one column, of a list, or of a mapping by name."""
    return [value] if isinstance(value, str) else list(value or ())


def _text_of_number(value: Any) -> Any:
    """Text of a number of YAML; any other value as it is, to be validated."""
    return str(value) if type(value) in (int, float) else value


MissingValue = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME + MAX_LEVEL, pattern="[^=]$"),
    BeforeValidator(_text_of_number, json_schema_input_type=str | float),
]


def _checked_time_format(form: str) -> str:
    """Format ``form`` as it is, checked: of Python's strptime, or of a run, which may have flags of
    strftime (%-d) and %S%f for seconds with a fraction; ValueError unless an example time, written
    and read in it, has a year, an hour, or minutes and seconds.
    """
    plain = re.sub("%[-^#]", "%", form).replace("S%f", "S.%f")
    try:
        time = datetime.strptime(_EXAMPLE_TIME.strftime(plain), plain)
    except ValueError:
        time = None
    # Parts that a format lacks are read as of 1900-01-01, 0:00.
    has_parts = time and (time.year > 1900 or time.hour or (time.minute and time.second))
    # Without am or pm, the example's hour, 13, is read as 1.
    if not time or not has_parts or time.hour not in (0, _EXAMPLE_TIME.hour):
        raise ValueError(
            "a format of strptime with a year, an hour, or minutes and seconds, such as %d.%m.%y "
            "or %H:%M"
        )
    return form


Form = Annotated[
    str, Field(min_length=2, max_length=MAX_FORM), AfterValidator(_checked_time_format)
]


class TableData(Strict):
    """The table, the roles of its columns, and the split of its rows."""

    name: Path = Field(description="A built-in set, the path of a file, or - for standard input.")
    size: int | None = Field(default=None, ge=10, le=10**7, description="Rows of a built-in set.")
    columns: Columns | None = Field(
        default=None, min_length=1, **option("Use only these columns. Null: all.", form=NAMES)
    )
    exclude: Columns = Field(default=[], **option("Use all columns but these.", form=NAMES))
    bounds: dict[Column, Interval] = Field(
        default={},
        **option(
            "Bounds of columns; one of the two may be left out. With neither, a column has "
            "no bounds even where rows accumulate at an end. Null: no bound.",
            form=INTERVALS,
        ),
    )
    missing: Literal["refuse", "drop", "model"] = Field(
        default="refuse",
        **option(
            "Rows with missing values: refuse the table, drop them, or model the gaps (not "
            "with flows)."
        ),
    )
    na: Annotated[list[MissingValue], Field(max_length=MAX_COLUMNS)] = Field(
        default=[],
        **option(
            "Cells equal to these values, of all columns or of one, are missing.", form=VALUES
        ),
    )
    max_rows: int | None = Field(
        default=None, ge=10, le=10**7, **option("Use at most N rows, sampled at random. Null: all.")
    )
    test: Path | None = Field(
        default=None,
        **option("File of test rows; without it a tenth of the rows is held out.", form=FILE),
    )
    split: Column | None = Field(
        default=None, **option("Column with the values train, validation and test.", form=NAME)
    )
    group: Column | None = Field(
        default=None, **option("Hold out rows that are equal in this column together.", form=NAME)
    )
    split_seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Seed of the random split.")
    target: Annotated[Columns, BeforeValidator(_names, json_schema_input_type=Columns)] = Field(
        default=[],
        **option("Predict these columns: fit p(these | all other columns).", form=NAMES),
    )
    given: Columns = Field(
        default=[],
        **option("Condition on these columns: fit p(other columns | these).", form=NAMES),
    )
    categorical: Columns = Field(
        default=[],
        **option(
            "Treat these columns as categories (text, or numeric codes); not with flows.",
            form=NAMES,
        ),
    )
    discrete: dict[Column, Step] = Field(
        default={},
        max_length=MAX_COLUMNS,
        **option(
            "Treat these columns as multiples of a step, 1 unless given; not with flows.",
            form=STEPS,
        ),
    )
    ordered: dict[Column, OrderedLevels] = Field(
        default={},
        max_length=MAX_COLUMNS,
        **option("Levels of a column in their order, lowest first; not with flows.", form=LEVELS),
    )
    robust: bool = Field(
        default=False,
        **option(
            "Leave the oddest rows out of training, a tenth at most: for a table that may hold "
            "wrong rows; not with flows."
        ),
    )
    weights: Column | None = Field(
        default=None, **option("Column of non-negative sample weights.", form=NAME)
    )
    date: dict[Column, Form] = Field(
        default={},
        max_length=MAX_COLUMNS,
        **option(
            "Read these columns as dates or times in a format of strptime; not with flows.",
            form=FORMATS,
        ),
    )
    kinds: dict[Column, ColumnKind] | None = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="Kind of each column; null: detected. A run records them.",
    )

    @field_validator("size", "max_rows", "split", "group")
    @classmethod
    def _expect_rows_of_source(cls, value: Any, info: ValidationInfo) -> Any:
        """Check that a built-in set has its size alone, and a file any of the other keys."""
        is_built_in = info.data.get("name") in POINT_SETS
        if value is None or is_built_in == (info.field_name == "size"):
            return value
        if is_built_in:
            raise ValueError("null for a built-in set")
        raise ValueError("null for a file: max_rows takes a part of its rows")

    @field_validator("columns", "exclude", "target", "given", "categorical")
    @classmethod
    def _expect_each_once(cls, columns: list[str] | None) -> list[str] | None:
        if columns and len(set(columns)) < len(columns):
            raise ValueError("each column once")
        return columns

    @field_validator("bounds")
    @classmethod
    def _are_intervals(cls, bounds: dict[str, Any]) -> dict[str, Any]:
        return intervals(bounds)

    @field_validator("kinds")
    @classmethod
    def _expect_modelled_sources(
        cls, kinds: dict[str, ColumnKind] | None
    ) -> dict[str, ColumnKind] | None:
        """Check that computed columns follow from modelled or given ones alone."""
        modelled = {
            name
            for name, kind in (kinds or {}).items()
            if kind.kind not in ("computed", "left out")
        }
        relations = [kind.relation for kind in (kinds or {}).values() if kind.relation]
        for relation in relations:
            for name in relation.columns:
                if name not in modelled:
                    raise ValueError(f"a modelled column as the source of computed ones: {name!r}")
        return kinds

    @field_validator("split", "group")
    @classmethod
    def _expect_one_way_to_split(cls, column: str | None, info: ValidationInfo) -> str | None:
        """Check that beside ``split`` neither ``test`` nor ``group`` is set."""
        way = "test" if info.field_name == "split" else "split"
        if column is not None and info.data.get(way) is not None:
            raise ValueError(f"null if {way} is set: both choose the held-out rows")
        return column

    @field_validator(*EXCLUSIVE)
    @classmethod
    def _expect_one_role(cls, value: Any, info: ValidationInfo) -> Any:
        """Check that no column of a key has a role of another that excludes it."""
        names = _names(value)
        for role in EXCLUSIVE[str(info.field_name)]:
            for name in _names(info.data.get(role)):
                if name in names:
                    raise ValueError(f"no column of data.{role}, where {name!r} is")
        return value

    @field_validator("ordered")
    @classmethod
    def _expect_distinct_levels(cls, ordered: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, levels in ordered.items():
            if len(set(levels)) < len(levels):
                raise ValueError(f"each level of {name!r} once")
        return ordered

    @field_validator("bounds", "categorical", "discrete", "ordered", "date")
    @classmethod
    def _expect_used_columns(cls, value: Any, info: ValidationInfo) -> Any:
        """Check that, if the columns are chosen, those of a key are among them."""
        columns = info.data.get("columns")
        if columns is None:
            return value
        used = {*columns, *info.data.get("given", ())}
        for name in value:
            if name not in used:
                raise ValueError(f"columns of data.columns or data.given, as {name!r} is not")
        return value

    @field_validator("target", "discrete")
    @classmethod
    def _expect_roles_of_target(cls, value: Any, info: ValidationInfo) -> Any:
        """Check that beside targets no columns are chosen, and only targets, as all others are
        given, have bounds or steps.
        """
        values = {**info.data, str(info.field_name): value}
        target = values.get("target")
        if not target:
            return value
        if values.get("columns") is not None:
            raise ValueError("no data.columns beside it: a target is given all other columns")
        for key in ("bounds", "discrete"):
            for name in values.get(key, ()):
                if name not in target:
                    raise ValueError(f"data.{key} of targets alone: {name!r} is given")
        return value

    @model_validator(mode="after")
    def _expect_target_or_given(self) -> Self:
        if self.target and self.given and self.kinds is None:
            raise ValueError("no given beside target: a target is given all other columns")
        return self

    def columns_named(self) -> dict[str, list[str]]:
        """Names of columns by the keys that name them."""
        keys = ("columns", *EXCLUSIVE)
        na_names = [text.rpartition("=")[0] for text in self.na]  # "" of all columns
        return {
            **{key: _names(getattr(self, key)) for key in keys},
            "na": [name for name in na_names if name],
            "kinds": [*itertools.chain(*self.row_names)],
        }

    def na_of(self, column: str) -> list[str]:
        """Values that are missing in a column."""
        pairs = (text.rpartition("=") for text in self.na)
        return [value for name, equals, value in pairs if not equals or name == column]

    @property
    def row_names(self) -> RowNames:
        """Names of a row's columns; none before their kinds are known."""
        return row_names(self.kinds or {}, self.given)

    @property
    def given_example(self) -> str:
        """Example values of the given columns as text; "" without any."""
        values = dict.fromkeys(self.given, "0")
        for name, kind in (self.kinds or {}).items():
            if name in values and kind.levels:
                values[name] = kind.levels[0]
        return ",".join(escaped(f"{name}={value}") for name, value in values.items())

    def with_kinds(self, kinds: Mapping[str, ColumnKind]) -> "TableData":
        """Settings with kinds, and with the given columns, in a row's order: those of the settings,
        or beside targets all columns that are no target.
        """
        given = self.given
        if self.target and not given:
            never_given = ("left out", "computed")
            names = (name for name, kind in kinds.items() if kind.kind not in never_given)
            given = [name for name in names if name not in self.target]
        update = {"kinds": dict(kinds), "given": row_names(kinds, given).given}
        return self.model_copy(update=update)


Tails = Literal["tukey-h", "none"]


class Units(Strict):
    """Transformation of columns before the flows."""

    tails: Tails = Field(default="tukey-h", description="Heavy tails by Tukey's h, or not at all.")


class TableTrain(TrainSettings):
    """Training of a fit to a table, for a number of updates or of epochs.

    The weights of the best validation loss are kept. Null: by the size of the table.
    """

    length_key: ClassVar[str] = "steps"
    restarts: ClassVar[int] = 1

    steps: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        **option("Number of updates. Null: by epochs, or the size of the table."),
    )
    epochs: float | None = Field(
        default=None, gt=0, le=10**6, **option("Epochs over the training rows, instead of steps.")
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=10**6, **option("Rows per update. Null: by the table's size.")
    )
    learning_rate: LearningRate = 0.002
    schedule: Schedule = "cosine"
    clip_norm: ClipNorm = 20.0
    weight_decay: WeightDecay = 0.0
    early_stopping: ValidatedStopping | None = ValidatedStopping()
    ensemble: int = Field(default=1, ge=1, le=MAX_MEMBERS, **option(ENSEMBLE_HELP))
    chunk: int | None = Field(
        default=None,
        ge=1,
        le=10**6,
        description="Updates between validations; null: by the table's size.",
    )
    checkpoint_seconds: CheckpointSeconds = 30.0

    @property
    def stopping(self) -> ValidatedStopping | None:
        """Early stopping of a settled training, with its patience in updates; None without any."""
        stopping = self.early_stopping
        if stopping is None or stopping.patience:
            return stopping
        patience_of_length = round(PATIENCE_SHARE * (self.steps or 0))
        patience = max(patience_of_length, 4 * (self.chunk or 1), LEAST_PATIENCE)
        return stopping.model_copy(update={"patience": patience})

    @property
    def early_update(self) -> int | None:
        """Update of a settled training after which weights are kept beside the last ones; ``None``:
        those of the best validation loss are.
        """
        return None

    @property
    def members(self) -> int:
        """Number of ensemble members."""
        return self.ensemble or 1

    @field_validator("epochs")
    @classmethod
    def _expect_one_length(cls, epochs: float | None, info: ValidationInfo) -> float | None:
        if epochs is not None and info.data.get("steps") is not None:
            raise ValueError("null if steps is set")
        return epochs


class FlowsTrain(TableTrain):
    """Training of flows on a table; the weights of the best validation loss are kept."""

    learning_rate: LearningRate | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, description="Peak learning rate of Adam. Null: by the table's size."
    )
    weight_decay: WeightDecay | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        description="Decoupled weight decay of networks' kernels; null: by the table's size.",
    )


class TableFlow(StackFlow):
    """The flow stack of a table of numbers; null: by the size of the table."""

    k: K | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, description="Number of flows. Null: by the table's size."
    )


class TableEvaluate(Strict):
    """Evaluation of a fit to a table."""

    keep_rows: bool = Field(
        default=True, description="Keep some test rows in the run, for its pictures."
    )


class TableConfig(RunConfig):
    """A run of ``nflow fit``."""

    command: Annotated[Literal["fit"], COMMAND]
    data: Annotated[TableData, BeforeValidator(by_name, json_schema_input_type=TableData | str)]

    def sized(self, names: RowNames, rows: int) -> tuple[dict[str, Any], Any]:
        """Default sizes for columns and a number of training rows: an update of the config, with
        the model under its key, in which sizes that are set stay; and settings of the training by
        key.
        """
        raise NotImplementedError

    def settled(self, kinds: Mapping[str, ColumnKind], rows: int) -> Self:
        """Config with every key that the data decide: the kinds of columns, and sizes of model and
        training by ``rows``, the number of training rows.

        Sizes in the config are kept, and epochs become steps. Not validated: the flows may have too
        many weights.
        """
        data = self.data.with_kinds(kinds)
        model_update, train_defaults = self.sized(data.row_names, rows)
        chosen = self.train.model_dump(include=set(train_defaults), exclude_none=True)
        settings = {**train_defaults, **chosen, "epochs": None}
        if self.train.epochs is not None:
            settings["steps"] = max(1, round(self.train.epochs * rows / settings["batch_size"]))
        train = self.train.model_copy(update=settings)
        update = {"data": data, "train": train, **model_update}
        return self.model_copy(update=update)


class FitConfig(TableConfig):
    """A run of ``nflow fit`` with a stack of flows, on columns of plain numbers."""

    base_name: ClassVar[str] = DEFAULT_BASE

    units: Units = Units()
    flow: TableFlow = TableFlow(pattern=["spline-coupling"])
    cells: None = Field(default=None, exclude=True, description="Null: a stack of flows.")
    train: FlowsTrain = FlowsTrain()
    evaluate: TableEvaluate = TableEvaluate()

    @field_validator("cells", mode="before")
    @classmethod
    def _expect_no_cells(cls, cells: object) -> object:
        if cells is not None:
            raise ValueError("none beside flows: the default density of cells keeps rules")
        return cells

    @field_validator("data")
    @classmethod
    def _expect_plain_numbers(cls, data: TableData) -> TableData:
        """Check that no setting asks of flows what only a density of cells models."""
        if data.missing == "model":
            raise ValueError("missing: refuse or drop beside flows; cells model a gap")
        if data.robust:
            raise ValueError("no robust beside flows: the default density of cells may be")
        for key in ("categorical", "discrete", "ordered", "date"):
            names = _names(getattr(data, key))
            if names:
                raise ValueError(
                    f"no {key} beside flows, which take plain numbers: the default density of "
                    "cells models such columns, so leave out --flow and --k, or --exclude "
                    f"{','.join(names)}"
                )
        for name, kind in (data.kinds or {}).items():
            if kind.kind not in ("number", "left out"):
                raise ValueError(f"kinds number and left out alone beside flows, as of {name!r}")
        return data

    @classmethod
    def dims(cls, data: Mapping[str, Any]) -> tuple[int, int]:
        table = data.get("data")
        names = table.row_names if table else RowNames([], [], [])
        return len(names.modelled), len(names.given)

    @property
    def is_settled(self) -> bool:
        """Whether it is complete without its table."""
        sizes = (self.flow.k, *(getattr(self.train, key) for key in FLOWS_SIZES[0].train))
        return self.data.kinds is not None and None not in sizes

    @property
    def given(self) -> list[str]:
        """Columns conditioned on, in a row's order."""
        return self.data.row_names.given

    @property
    def columns(self) -> list[str]:
        """The D modelled columns, in a row's order."""
        return self.data.row_names.modelled

    @property
    def dim(self) -> int:
        return len(self.columns)

    @property
    def is_of_two(self) -> bool:
        """Whether two columns are modelled and none is given: ``∫ q`` can be summed."""
        return self.dim == 2 and not self.given

    @property
    def is_in_the_plane(self) -> bool:
        """Whether the pictures are 2-D maps: of two columns, and no ensemble."""
        return self.is_of_two and self.train.members == 1

    @property
    def drawn(self) -> int:
        return self.rows * (len(self.given) + self.dim)

    @property
    def threads(self) -> int | None:
        return gained_by(self.flow, self.dim, self.rows) if self.is_settled else None

    def sized(self, names: RowNames, rows: int) -> tuple[dict[str, Any], Any]:
        size = size_of(FLOWS_SIZES, rows)
        train = dict(size.train)
        if size.rows == math.inf:  # of few rows no other settings are better
            if len(names.modelled) > WIDE_COLUMNS:
                train |= TRAIN_OF_MANY_COLUMNS
            elif names.given:
                train |= TRAIN_OF_GIVEN
        if not has_network(self.flow.pattern):
            train["weight_decay"] = 0.0
        k = size.model["k"] if self.flow.k is None else self.flow.k
        pattern = with_hidden(self.flow.pattern, size.model["hidden"])
        return {"flow": self.flow.model_copy(update={"k": k, "pattern": pattern})}, train


class Cells(Strict):
    """The network of a density of cells; null: by the size of the table."""

    width: int | None = Field(
        default=None, ge=1, le=MAX_WIDTH, description="Hidden units per layer."
    )
    blocks: int | None = Field(
        default=None, ge=0, le=MAX_BLOCKS, description="Residual blocks of two layers."
    )
    components: int | None = Field(
        default=None,
        ge=1,
        le=MAX_COMPONENTS,
        description="Normals in the mixture of a numeric column.",
    )

    unmixed: bool | None = Field(
        default=None,
        description="Whether columns of plain numbers are mapped to linear components first; null: "
        "if they depend linearly, and independent components are likelier on validation rows.",
    )
    declared: list[Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]] = Field(
        default=[],
        max_length=MAX_DECLARED,
        **option(
            f"Rule between two columns that every row drawn keeps: {EXPECTED_TEXT}.",
            "--rule",
            form=RULE,
        ),
    )
    find_rules: bool = Field(
        default=True,
        **option("Find rules between two columns that hold in all training rows.", "--rules"),
    )
    rules: Annotated[list[Rule], Field(max_length=MAX_RULES)] | None = Field(
        default=None,
        description="Rules between two columns that every row drawn keeps; null: those declared, "
        "and those found, of columns that are not mapped. A run records them.",
    )

    @field_validator("declared")
    @classmethod
    def _expect_columns_themselves(cls, declared: list[str], info: ValidationInfo) -> list[str]:
        """Check that no columns with declared rules are mapped to components."""
        if declared and info.data.get("unmixed"):
            raise ValueError("none beside unmixed: rules are of columns, not of components")
        return declared

    @property
    def is_settled(self) -> bool:
        """Whether all sizes are set."""
        return None not in (self.width, self.blocks, self.components)

    @property
    def text(self) -> str:
        """The model as text: ``cells 128 × 2, 10 normals``."""
        unmixed = ", linear components" if self.unmixed else ""
        return f"cells {self.width} × {self.blocks}, {self.components} normals{unmixed}"


class CellsTrain(TableTrain):
    """Training of a density of cells: of networks side by side, of which each column has a mixture
    by the validation rows.
    """

    weight_decay: float | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        ge=0,
        le=100,
        description="Decoupled weight decay of the kernels; null: 0.1, 0.3, 1 for the "
        "members of an ensemble in turn.",
    )
    ensemble: int | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, ge=1, le=MAX_MEMBERS, **option(f"{ENSEMBLE_HELP} Null: by the table's size.")
    )
    early: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        description="Update after which the weights of each network are kept, beside its last ones "
        "and without early stopping; 0: those of its best validation loss alone. Null: by the "
        "table's size.",
    )
    filled: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share of a batch whose gaps are filled by draws of the density (stochastic "
        "EM); null: 0.5 if a tenth of the training rows have gaps, else 0.",
    )

    @property
    def early_update(self) -> int | None:
        if not self.early:
            return None
        chunk = self.chunk or 1
        return min(-(-self.early // chunk) * chunk, self.steps or 1)

    @property
    def stopping(self) -> ValidatedStopping | None:
        return None if self.early else super().stopping

    @property
    def n_networks(self) -> int:
        """Number of networks of the mixture."""
        return self.members * (2 if self.early else 1)

    @property
    def recipes(self) -> list[Recipe]:
        """Recipe of each network: the best depends on the table, and on the column."""
        recipes = [RECIPES[r % len(RECIPES)] for r in range(self.members)]
        if self.weight_decay is not None:
            return [recipe._replace(decay=self.weight_decay) for recipe in recipes]
        return recipes

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Frequencies of the sines and cosines that a network sees, per unit; none if none does."""
        return FREQUENCIES if any(recipe.waves for recipe in self.recipes) else ()

    @property
    def knots(self) -> tuple[float, ...]:
        """Knots of the piecewise linear encodings that a network sees; none if none does."""
        return KNOTS if any(recipe.ramps for recipe in self.recipes) else ()


class CellsConfig(TableConfig):
    """A run of ``nflow fit`` on columns of any kind."""

    is_of_flows: ClassVar[bool] = False
    k: ClassVar[int] = 1

    flow: None = Field(default=None, description="Null: a density of cells.")
    cells: Cells = Cells()
    train: CellsTrain = CellsTrain()
    evaluate: TableEvaluate = TableEvaluate()

    @model_validator(mode="after")
    def _expect_columns_of_rules(self) -> Self:
        """Check that rules are of two modelled or given columns."""
        if self.data.kinds is None:
            return self
        names = self.data.row_names
        for rule in self.cells.rules or ():
            first, second = rule.columns
            if first == second or not {first, second} <= {*names.given, *names.modelled}:
                raise ValueError(f"rules of two modelled or given columns, unlike {rule.text}")
        return self

    @property
    def kind(self) -> str:
        return "cells"

    @property
    def model_text(self) -> str:
        return self.cells.text

    @property
    def is_settled(self) -> bool:
        """Whether it is complete without its table."""
        kinds = self.data.kinds
        is_known = kinds is not None and all(
            kind.levels is not None for kind in kinds.values() if kind.alone.kind == "levels"
        )
        sizes = (getattr(self.train, key) for key in CELLS_SIZES[0].train)
        return is_known and self.cells.is_settled and None not in sizes

    @property
    def drawn(self) -> int:
        return self.rows * 3 * len(self.data.kinds or ())

    @property
    def work(self) -> float:
        cells = self.cells
        per_row = (cells.width or 128) * (1 + (cells.blocks or 2))
        return self.length * per_row * self.train.members

    def sized(self, names: RowNames, rows: int) -> tuple[dict[str, Any], Any]:
        size = size_of(CELLS_SIZES, rows)
        train = dict(size.train)
        if len(names.modelled) < EARLY_COLUMNS:
            train["early"] = 0
        chosen = self.cells.model_dump(exclude_none=True, include=set(size.model))
        return {"cells": self.cells.model_copy(update={**size.model, **chosen})}, train


def natural_preset(pattern: Sequence[Any] | None, changes: Sequence[Any]) -> str:
    """Name of the default preset: ``cells``, or one of flows if a change sets keys of flows; of
    planar, radial and Sylvester flows alone, by their ``pattern``, another one.
    """
    keys = {change.path.partition(".")[0] for change in changes if change.value is not None}
    if keys.isdisjoint({"flow", "units"}):
        return "cells"
    names = {pattern_name(item) for item in pattern or ()}
    return "flows-planar" if names and names <= {"planar", "radial", "sylvester"} else "flows"


def changes_of_length_to_null(changes: Sequence[Any]) -> list[Any]:
    """Changes that set a preset's epochs to null if others set its steps, and the reverse."""
    counterparts = {"train.steps": "train.epochs", "train.epochs": "train.steps"}
    return [
        change._replace(path=counterparts[change.path], value=None)
        for change in changes
        if change.path in counterparts
    ]


def with_hidden(pattern: Sequence[Any], width: int) -> list[Any]:
    """Pattern with two hidden layers of a width in its networks, unless set."""
    return [_flow_with_hidden(item, width) for item in pattern]


def _flow_with_hidden(item: Any, width: int) -> Any:
    """Item of a pattern, a flow's name or its options by name, with two hidden layers of a width if
    it has a network and these are not set.
    """
    options = options_of(item)
    if not isinstance(options, NetworkOptions) or options.hidden is not None:
        return item
    name = pattern_name(item)
    settings = {} if isinstance(item, str) else item[name]
    return {name: {**settings, "hidden": [width, width]}}
