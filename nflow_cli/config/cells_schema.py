"""The schema of a fit to a whole table, by cells. No Keras here."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.strict import COMMAND, Description, Seed, Strict, by_name
from nflow_cli.config.table_schema import TableData, TableEvaluate, TableTrain

MAX_WIDTH, MAX_BLOCKS, MAX_COMPONENTS = 2_048, 16, 64


class Cells(Strict):
    """The network of a density of cells; null: by the sizes of the table."""

    width: int | None = Field(default=None, ge=1, le=MAX_WIDTH, description="Hidden units a layer.")
    blocks: int | None = Field(
        default=None, ge=0, le=MAX_BLOCKS, description="Residual blocks of two layers."
    )
    components: int | None = Field(
        default=None, ge=1, le=MAX_COMPONENTS, description="Normals in the mixture of a number."
    )

    @property
    def is_settled(self) -> bool:
        """Whether all sizes are written out."""
        return None not in (self.width, self.blocks, self.components)

    @property
    def text(self) -> str:
        """The model as text, such as ``cells 128 × 2, 10 normals``."""
        return f"cells {self.width} × {self.blocks}, {self.components} normals"


class CellsTrain(TableTrain):
    """How a density of cells is trained. The weights of the best validation are kept."""

    steps: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="Updates; null: by epochs, or the size of the table.",
    )
    batch_size: int | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, ge=1, le=10**6, description="Rows per update; null: by the table's size."
    )
    weight_decay: float = Field(
        default=0.3, ge=0, le=100, description="Decay of the weights, apart from the gradient."
    )

    @field_validator("epochs")
    @classmethod
    def _one_length(cls, epochs: float | None, info: ValidationInfo) -> float | None:
        if epochs is not None and info.data.get("steps") is not None:
            raise ValueError("null where steps says how long")
        return epochs


class CellsConfig(Strict):
    """A whole run of ``nflow fit`` on a table of any kind of columns."""

    target: ClassVar[None] = None
    prior: ClassVar[None] = None
    subject_key: ClassVar[str] = "data"

    description: Description = ""
    command: Annotated[Literal["fit"], COMMAND]
    seed: Seed = 0
    data: Annotated[TableData, BeforeValidator(by_name, json_schema_input_type=TableData | str)]
    flow: None = Field(default=None, description="Null: a density of cells.")
    cells: Cells = Cells()
    train: CellsTrain = CellsTrain()
    evaluate: TableEvaluate = TableEvaluate()

    @property
    def subject(self) -> str:
        """The name of the table."""
        return self.data.name

    @property
    def is_settled(self) -> bool:
        """Whether the config says all that a run needs, without its table."""
        kinds, train = self.data.kinds, self.train
        is_known = kinds is not None and all(
            kind.levels is not None for kind in kinds.values() if kind.alone.kind == "levels"
        )
        return is_known and self.cells.is_settled and None not in (train.steps, train.batch_size)

    def settled(self, kinds: dict[str, ColumnKind], rows: int) -> "CellsConfig":
        """Return the config of a run on a table of these columns and so many training rows."""
        cells, train = sizes(self.cells, self.train, rows)
        data = self.data.model_copy(update={"kinds": kinds})
        return self.model_copy(update={"data": data, "cells": cells, "train": train})


def sizes(cells: Cells, train: CellsTrain, rows: int) -> tuple[Cells, CellsTrain]:
    """Return the sizes of the network and the length of the training that suit so many rows.

    What the config says stays.
    """
    width = 64 if rows < 2_000 else 128 if rows < 50_000 else 256
    natural = {"width": width, "blocks": 2, "components": 10}
    sized = cells.model_copy(
        update={name: value for name, value in natural.items() if getattr(cells, name) is None}
    )
    batch = train.batch_size or (256 if rows < 2_000 else 512 if rows < 20_000 else 1_024)
    length: dict[str, Any] = {"batch_size": batch, "epochs": None, "steps": train.steps}
    if train.epochs is not None:
        length["steps"] = max(1, round(train.epochs * rows / batch))
    elif train.steps is None:
        length["steps"] = 1_500 if rows < 2_000 else 4_000 if rows < 50_000 else 8_000
    return sized, train.model_copy(update=length)
