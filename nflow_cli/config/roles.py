"""What each column of a table is to a density: modelled or given, a number or a category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Levels = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Roles:
    """The columns of a row, in the order in which arrays of rows ``(n, C)`` hold them.

    First the D modelled ``numbers``, then modelled ``categories``, then what is given: numbers, and
    categories. A category is the number of its level, -1 for a level that no training row has.

    Attributes:
        numbers: Names of the modelled columns of numbers.
        steps: Of discrete columns among them, by name: their values are whole multiples.
        categories: Modelled categories: their levels, by the column's name.
        given_numbers: Names of the columns of numbers that the density is conditional on.
        given_categories: Levels of the categories that it is conditional on, by name.
    """

    numbers: Sequence[str]
    steps: Mapping[str, float] = field(default_factory=dict)
    categories: Levels = field(default_factory=dict)
    given_numbers: Sequence[str] = ()
    given_categories: Levels = field(default_factory=dict)

    @cached_property
    def given(self) -> list[str]:
        """The names of all columns that are given."""
        return [*self.given_numbers, *self.given_categories]

    @cached_property
    def columns(self) -> list[str]:
        """The names of all C columns of a row."""
        return [*self.numbers, *self.categories, *self.given]

    @cached_property
    def levels(self) -> Levels:
        """The levels of all categories, by name."""
        return {**self.categories, **self.given_categories}

    @property
    def dim(self) -> int:
        """D, of the numbers that flows move."""
        return len(self.numbers)

    @property
    def given_width(self) -> int:
        """How many numbers tell what is given: one a number, one a level."""
        return len(self.given_numbers) + sum(map(len, self.given_categories.values()))

    @property
    def width(self) -> int:
        """H, of the context of the flows: what is given, and the levels of modelled categories."""
        return self.given_width + sum(map(len, self.categories.values()))

    @property
    def is_plain(self) -> bool:
        """Whether a row is D modelled numbers, none of them discrete, and nothing else."""
        return not (self.steps or self.width)

    def are_known(self, rows: Any) -> Any:
        """Return which rows ``(n, C)`` have levels that are known ``(n,)``, in every category."""
        return (rows[:, self.places(list(self.levels))] >= 0).all(axis=1)

    def places(self, names: Sequence[str]) -> list[int]:
        """Return where columns stand in a row."""
        return [self.columns.index(name) for name in names]
