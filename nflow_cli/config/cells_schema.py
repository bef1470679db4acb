"""Schema of `nflow fit` with a density of cells: columns of all kinds."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.strict import COMMAND, Strict, by_name, option
from nflow_cli.config.table_schema import (
    ENSEMBLE,
    MAX_MEMBERS,
    TableData,
    TableEvaluate,
    TableTrain,
)

MAX_WIDTH, MAX_BLOCKS, MAX_COMPONENTS = 2_048, 16, 64
DECAYS = 0.1, 0.3, 1.0  # little for sharp tables, much for noisy ones


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
    """Training of a density of cells; the weights of the best validation loss are kept.

    The networks of an ensemble are weighted by the validation rows.
    """

    weight_decay: float | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        ge=0,
        le=100,
        description="Decoupled weight decay of the kernels; null: 0.1, 0.3, 1 for the "
        "members of an ensemble in turn.",
    )
    ensemble: int | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, ge=1, le=MAX_MEMBERS, **option(f"{ENSEMBLE} Null: by the table's size.")
    )

    filled: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share of a batch whose gaps are filled by draws of the density (stochastic "
        "EM); null: 0.5 if a tenth of the training rows have gaps, else 0.",
    )

    @property
    def decays(self) -> list[float]:
        """Weight decay of each network: the best depends on the table."""
        if self.weight_decay is not None:
            return [self.weight_decay] * self.members
        return [DECAYS[r % len(DECAYS)] for r in range(self.members)]


class CellsConfig(RunConfig):
    """A run of ``nflow fit`` on columns of any kind."""

    target: ClassVar[None] = None
    prior: ClassVar[None] = None
    kind: ClassVar[str] = "table"
    is_of_flows: ClassVar[bool] = False
    k: ClassVar[int] = 1

    command: Annotated[Literal["fit"], COMMAND]
    data: Annotated[TableData, BeforeValidator(by_name, json_schema_input_type=TableData | str)]
    flow: None = Field(default=None, description="Null: a density of cells.")
    cells: Cells = Cells()
    train: CellsTrain = CellsTrain()
    evaluate: TableEvaluate = TableEvaluate()

    @property
    def model_text(self) -> str:
        return self.cells.text

    @property
    def is_settled(self) -> bool:
        """Whether it is complete without its table."""
        kinds, train = self.data.kinds, self.train
        is_known = kinds is not None and all(
            kind.levels is not None for kind in kinds.values() if kind.alone.kind == "levels"
        )
        return (
            is_known
            and self.cells.is_settled
            and None not in (train.steps, train.batch_size, train.chunk, train.ensemble)
        )

    @property
    def drawn(self) -> int:
        return (self.train.batch_size or 0) * self.train.members * 3 * len(self.data.kinds or ())

    @property
    def work(self) -> float:
        cells = self.cells
        per_row = (cells.width or 128) * (1 + (cells.blocks or BLOCKS))
        return self.length * per_row * self.train.members

    def settled_like(self, written: Any) -> "CellsConfig":
        kinds = self.data.kinds or written.data.kinds or {}
        ours, theirs = self.train, written.train
        sizes = {k: getattr(written.cells, k) if v is None else v for k, v in self.cells}
        length = {
            "filled": theirs.filled if ours.filled is None else ours.filled,
            "steps": ours.steps or theirs.steps,
            "batch_size": ours.batch_size or theirs.batch_size,
            "chunk": ours.chunk or theirs.chunk,
            "ensemble": ours.ensemble or theirs.ensemble,
            "epochs": None,
        }
        update: dict[str, Any] = {
            "data": self.data.with_kinds(kinds),
            "cells": self.cells.model_copy(update=sizes),
            "train": ours.model_copy(update=length),
        }
        return self.model_copy(update=update)

    def settled(self, kinds: Mapping[str, ColumnKind], rows: int) -> "CellsConfig":
        cells, train = sizes(self.cells, self.train, rows)
        data = self.data.with_kinds(kinds)
        return self.model_copy(update={"data": data, "cells": cells, "train": train})


class Size(NamedTuple):
    """Default sizes of network and training, up to a number of training rows."""

    rows: float
    width: int
    steps: int
    batch_size: int
    chunk: int
    ensemble: int


SIZES = (  # few rows are overfitted within a hundred updates, hence the short chunks
    Size(2_000, 64, 600, 256, 20, 3),
    Size(10_000, 128, 2_000, 512, 50, 3),
    Size(50_000, 128, 4_000, 1_024, 100, 2),
    Size(math.inf, 256, 8_000, 1_024, 100, 1),
)
BLOCKS, COMPONENTS = 2, 10
SIZED = "batch_size", "chunk", "ensemble"


def sizes(cells: Cells, train: CellsTrain, rows: int) -> tuple[Cells, CellsTrain]:
    """Default sizes for a number of training rows; those set in the config are kept."""
    size = next(size for size in SIZES if rows < size.rows)
    natural = {"width": size.width, "blocks": BLOCKS, "components": COMPONENTS}
    said = cells.model_dump(exclude_none=True)
    length = {key: getattr(train, key) or getattr(size, key) for key in SIZED}
    steps = train.steps or size.steps
    if train.epochs is not None:
        steps = max(1, round(train.epochs * rows / length["batch_size"]))
    updated = {**length, "steps": steps, "epochs": None}
    return cells.model_copy(update={**natural, **said}), train.model_copy(update=updated)
