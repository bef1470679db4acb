"""Schema of the kinds of a table's columns."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from nflow_cli.config.strict import MAX_LEVELS, Bound, Column, Interval, Level, Step, Strict

MAX_ATOMS = 64
MAX_ORDERED = 256  # levels in order: more are not summed one by one

Kind = Literal["levels", "grid", "number", "computed", "left out"]
Affix = Annotated[str, Field(max_length=20)]
ModelledKind = Literal["levels", "grid", "number"]
# Types of cells: text, truth values, whole numbers, decimals, dates, and times, of a date
# or of a day.
CellType = Literal["text", "truth", "whole", "decimal", "date", "time"]
Cycle = Literal["season", "weekday", "hour"]


# Parts of dates and times: days from 1, weekdays from 0, which is Monday, or Sunday.
DatePart = Literal[
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "weekday",
    "weekday from Sunday",
    "day of year",
]


class Lattice(Strict):
    """The values `offset + i * step`, i a whole number."""

    step: Step = Field(description="Distance between neighbouring values.")
    offset: Bound = Field(default=0.0, description="One of the values.")


class Relation(Strict):
    """A column computed from others, with coefficients a and a constant c, rounded as written.

    `linear`: c + sum a x; `product`: c prod x^a; `log`: c + sum a log x; `exp`: c exp(sum a x).
    `date`: the date or time whose parts the columns are, or c + a part of it, or of a column.
    A `map` takes each value of one column to one value: row i of `values` is the value of level or
    number i of `keys`; any other number takes that of the nearest key.
    """

    rule: Literal["linear", "product", "log", "exp", "date", "map"] = Field(
        description="The form of the function."
    )
    columns: Annotated[list[Column], Field(min_length=1, max_length=10)] = Field(
        description="Columns that it is computed from."
    )
    coefficients: list[float] = Field(default=[], description="a, by column.")
    constant: float = Field(default=0.0, description="c.")
    digits: int | None = Field(
        default=None,
        ge=1,
        le=17,
        description="Significant digits that values are rounded to; null: the column's decimals.",
    )
    is_rounded: bool = Field(
        default=False,
        description="Whether its columns were rounded, too, after it was computed of them: "
        "their errors are added.",
    )
    parts: list[DatePart] = Field(
        default=[], description="Of a date, by column; none of one column of dates or times."
    )
    part: DatePart | None = Field(
        default=None, description="Of the date, that is computed; null: the date itself."
    )
    year: int | None = Field(default=None, description="Of a date without a part for it.")
    zone: float = Field(
        default=0.0, description="Seconds from the times of a column to those of the parts."
    )
    keys: Annotated[list[str], Field(max_length=MAX_LEVELS)] = Field(
        default=[], description="Values of the other column, of a map."
    )
    values: Annotated[list[str], Field(max_length=MAX_LEVELS)] = Field(
        default=[], description="The value at each key."
    )

    @model_validator(mode="after")
    def _expect_arguments(self) -> Self:
        """Refuse a rule without its arguments."""
        if self.rule == "map":
            if len(self.columns) != 1 or not 1 <= len(self.keys) == len(self.values):
                raise ValueError("a map of one column, with as many values as keys")
        elif self.rule == "date":
            are_distinct = len(self.parts) == len(set(self.parts)) == len(self.columns)
            is_date = are_distinct and ("year" in self.parts or self.year is not None)
            if not is_date and (self.parts or len(self.columns) != 1 or self.part is None):
                raise ValueError("a part for each column and a year, or a part of one column")
        elif len(self.coefficients) != len(self.columns):
            raise ValueError("a coefficient for each column")
        return self

    @property
    def is_sum(self) -> bool:
        """Whether its constant is added."""
        return self.rule in ("linear", "log")

    @property
    def positive(self) -> list[str]:
        """The columns that must not be negative."""
        if self.rule == "log":
            return self.columns
        if self.rule != "product":
            return []
        powers = zip(self.columns, self.coefficients)
        return [name for name, power in powers if not float(power).is_integer()]

    @property
    def text(self) -> str:
        """The function as text: ``2 * a - b``, ``log(x)``, ``hour of time``, ``map of country``."""
        if self.rule == "map":
            return f"map of {self.columns[0]}"
        if self.rule == "date":
            return self._date_text
        pairs = list(zip(self.columns, self.coefficients, strict=True))
        if self.rule == "product":
            return _product(self.constant, pairs)
        if self.rule == "exp":
            power = f"exp({_sum(pairs)})"
            return power if self.constant == 1 else f"{self.constant:.6g} * {power}"
        if self.rule == "log":
            pairs = [(f"log({name})", a) for name, a in pairs]
        return _sum(pairs) + self._constant_text

    @property
    def _date_text(self) -> str:
        result = self.part
        shift = self.zone
        if result is None:
            result = "date" if set(self.parts) <= {"year", "month", "day"} else "time"
            shift = -self.zone
        zone = f"{_term(shift / 3_600)} hours" if shift else ""
        return f"{result} of {', '.join(self.columns)}{zone}{self._constant_text}"

    @property
    def _constant_text(self) -> str:
        return _term(self.constant) if self.constant else ""


def _product(constant: float, pairs: Sequence[tuple[str, float]]) -> str:
    """Product of powers as text: ``2 * a^2 / b``."""
    factors = [_power(name, a) for name, a in pairs if a > 0]
    divisors = [_power(name, -a) for name, a in pairs if a < 0]
    if constant != 1 or not factors:
        factors.insert(0, f"{constant:.6g}")
    return " / ".join([" * ".join(factors), *divisors])


def _power(name: str, power: float) -> str:
    return name if power == 1 else f"{name}^{power:.6g}"


def _sum(pairs: Sequence[tuple[str, float]]) -> str:
    text = "".join(_term(a, name) for name, a in pairs)
    return text.removeprefix(" + ") if text.startswith(" + ") else "-" + text.removeprefix(" - ")


def _term(number: float, name: str = "") -> str:
    """Term of a sum, with its sign: `` - 2 * a``."""
    size = f"{abs(number):.6g}"
    if name:
        size = name if size == "1" else f"{size} * {name}"
    return f" - {size}" if number < 0 else f" + {size}"


class Notation(Strict):
    """How a column of text writes numbers: `-1.204,50 €`."""

    prefix: Affix = Field(default="", description="Before the digits, such as `$`.")
    suffix: Affix = Field(default="", description="Behind the digits, such as ` kg`.")
    thousands: Annotated[str, Field(max_length=1)] = Field(
        default="", description="Between groups of three digits."
    )
    decimal: Literal[".", ","] = Field(default=".", description="The decimal mark.")
    decimals: int | None = Field(
        default=None, ge=0, le=17, description="Digits behind the decimal mark; null: they vary."
    )
    negative: Annotated[list[Affix], Field(min_length=2, max_length=2)] = Field(
        default=["-", ""], description="Before and behind the digits of a negative number."
    )


class ColumnKind(Strict):
    """The kind of a column, found from all rows before they are split."""

    kind: Kind = Field(
        description="`levels` have masses, a `grid` has masses of intervals, a `number` a density; "
        "`computed` is a function of other columns; `left out` is not modelled."
    )
    own: ModelledKind | None = Field(
        default=None, description="Of a computed column: its kind by itself."
    )
    why: str = Field(default="", max_length=500, description="Why a column is of its kind.")
    type: CellType = Field(default="decimal", description="Type of its cells.")
    decimals: int | None = Field(
        default=None, ge=0, le=17, description="Digits after the point; null: full precision."
    )
    single: int | None = Field(
        default=None,
        ge=0,
        le=17,
        description="Of numbers of single precision: their significant digits in text; 1: as few "
        "as tell them apart; 0: stored as such; null: double precision.",
    )
    form: str | None = Field(
        default=None,
        max_length=40,
        description="strftime format of dates or times in text, where %-d lacks a leading zero, "
        "%^b is in capitals, %#b in small letters and %f has its point; null: ISO 8601.",
    )
    notation: Notation | None = Field(
        default=None, description="How text writes the numbers; null: by digits alone."
    )
    resolution: float | None = Field(
        default=None, gt=0, description="The step of most written numbers."
    )
    levels: Annotated[list[Level], Field(min_length=1, max_length=MAX_LEVELS)] | None = Field(
        default=None, description="Of a column of levels; null: those of the training rows."
    )
    is_ordered: bool = Field(
        default=False,
        description="Whether the levels are in order: as an outcome, their places 0, 1, … are a "
        "grid.",
    )
    lattice: Lattice | None = Field(
        default=None,
        description="The places that values lie on: of a `grid`, and of numbers with an offset.",
    )
    atoms: Annotated[list[float], Field(max_length=MAX_ATOMS)] = Field(
        default=[], description="Values of numbers that repeat more often than a density explains."
    )
    repeats: bool = Field(
        default=False,
        description="Whether numbers repeat: as an outcome, they are in normal scores.",
    )
    missing: bool = Field(default=False, description="Whether some cells are empty.")
    bounds: Interval | None = Field(
        default=None, description="`[low, high]`, either may be null, where rows accumulate."
    )
    is_open: bool = Field(
        default=False,
        description="Whether values beyond the bounds have a small probability: with detected "
        "bounds they do, with set bounds they do not.",
    )
    calendar: list[Cycle] | None = Field(
        default=None,
        description="Cycles of dates or times that are inputs of a network of cells; null: those "
        "that the training rows tell.",
    )
    relation: Relation | None = Field(default=None, description="Of a computed column.")

    @model_validator(mode="after")
    def _expect_relation(self) -> Self:
        """Refuse a computed column without a relation, or with bounds."""
        if self.kind == "computed" and None in (self.own, self.relation):
            raise ValueError("own and relation, where kind is computed")
        if self.kind == "computed" and self.bounds is not None:
            raise ValueError("no bounds, where kind is computed")
        return self

    @model_validator(mode="after")
    def _expect_levels_in_order(self) -> Self:
        """Refuse ordered levels without the grid of their places."""
        if self.is_ordered:
            last = len(self.levels or ()) - 1.0
            are_places = self.lattice == Lattice(step=1.0) and self.bounds == [0.0, last]
            if self.alone.kind != "levels" or not (are_places and self.repeats):
                raise ValueError(
                    "levels that repeat, a lattice of step 1, and bounds at the first and the last "
                    "level, where is_ordered"
                )
        return self

    @property
    def has_intervals(self) -> bool:
        """Whether its cells are intervals: numbers, and levels in order."""
        return self.kind in ("grid", "number") or self.is_ordered

    @property
    def is_grid(self) -> bool:
        """Whether its values are on a lattice: a grid, or levels in order."""
        return self.kind == "grid" or self.is_ordered

    @property
    def is_continuous(self) -> bool:
        """Whether its cells have densities."""
        return self.kind == "number" and not self.repeats

    @property
    def step(self) -> float:
        """Width of a number's interval."""
        return self.lattice.step if self.lattice else self.resolution or 0.0

    @property
    def alone(self) -> "ColumnKind":
        """The kind without its relation."""
        return self.model_copy(update={"kind": self.own, "own": None}) if self.own else self


class RowNames(NamedTuple):
    """The names of a row's columns, in its order; each group is in the order of the table."""

    given: list[str]
    modelled: list[str]
    computed: list[str]


def row_names(kinds: Mapping[str, ColumnKind], given: Sequence[str]) -> RowNames:
    """Names of a row's columns."""
    names = RowNames([], [], [])
    for name, kind in kinds.items():
        if kind.kind == "left out":
            continue
        if name in given:
            names.given.append(name)
        elif kind.kind == "computed":
            names.computed.append(name)
        else:
            names.modelled.append(name)
    return names
