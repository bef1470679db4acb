"""The kind of each column of a table, as a run's config records it. No Keras here."""

from typing import Annotated, Literal

from pydantic import Field

from nflow_cli.config.column_schema import MAX_LEVELS, Bound, Column, Interval, Level, Step
from nflow_cli.config.strict import Strict

MAX_ATOMS = 64
MAX_LATTICES = 4

Kind = Literal["levels", "grid", "number", "computed", "left out"]
MODELLED = ("levels", "grid", "number")  # kinds of the columns of a row
# How cells are written: text, truth values, whole numbers, decimals, dates, and times, be it
# of a date or of any day.
CellType = Literal["text", "truth", "whole", "decimal", "date", "time"]


class Lattice(Strict):
    """The values `offset + i * step`, i a whole number."""

    step: Step = Field(description="Between one value and the next.")
    offset: Bound = Field(default=0.0, description="One of the values.")


class Relation(Strict):
    """How a column follows from others, with coefficients a and a constant c, rounded as written.

    `linear`: c + sum a x; `product`: c prod x^a; `log`: c + sum a log x; `exp`: c exp(sum a x).
    A `map` takes each value of one column to one value: row i of `values` is the value of level or
    number i of `keys`; a number that is no key goes with the nearest.
    """

    rule: Literal["linear", "product", "log", "exp", "map"] = Field(
        description="The form of the function."
    )
    columns: Annotated[list[Column], Field(min_length=1, max_length=10)] = Field(
        description="That the column follows from."
    )
    coefficients: list[float] = Field(default=[], description="a, by column.")
    constant: float = Field(default=0.0, description="c.")
    keys: Annotated[list[str], Field(max_length=MAX_LEVELS)] = Field(
        default=[], description="Values of the other column, of a map."
    )
    values: Annotated[list[str], Field(max_length=MAX_LEVELS)] = Field(
        default=[], description="The value at each key."
    )


class ColumnKind(Strict):
    """What a column of a table is to its density, found from all rows before they are split."""

    kind: Kind = Field(
        description="`levels` have masses, a `grid` has masses of intervals, a `number` a density; "
        "`computed` follows from other columns; `left out` is not modelled."
    )
    why: str = Field(default="", max_length=500, description="Why a column is of its kind.")
    type: CellType = Field(default="decimal", description="How its cells are written.")
    decimals: int | None = Field(
        default=None, ge=0, le=17, description="Digits after the point; null: as many as it takes."
    )
    form: str | None = Field(
        default=None,
        max_length=40,
        description="Of text that is dates or times, as strftime writes it; null: ISO 8601.",
    )
    resolution: float | None = Field(
        default=None, gt=0, description="The least step of the written numbers."
    )
    levels: Annotated[list[Level], Field(min_length=1, max_length=MAX_LEVELS)] | None = Field(
        default=None, description="Of a column of levels; null: those of the training rows."
    )
    lattices: Annotated[list[Lattice], Field(max_length=MAX_LATTICES)] = Field(
        default=[], description="The grids that the values of a `grid` lie on, finest first."
    )
    atoms: Annotated[list[float], Field(max_length=MAX_ATOMS)] = Field(
        default=[], description="Values of numbers that repeat more often than a density explains."
    )
    missing: bool = Field(default=False, description="Whether some cells are empty.")
    bounds: Interval | None = Field(
        default=None, description="`[low, high]`, either may be null, where rows crowd at an end."
    )
    is_open: bool = Field(
        default=False,
        description="Whether values beyond the bounds have a small probability, as bounds that "
        "were found leave them; beyond bounds that were said they have none.",
    )
    relation: Relation | None = Field(default=None, description="Of a computed column.")
