"""Layout of a network's arrays: columns in banks, their outcomes, mixtures and masks.

A softmax is one operation for columns with equally many outcomes, so columns stand in the smallest
*bank*, of a power of two, that holds their outcomes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

UNKNOWN = -1  # code of an unknown cell, which is left out of the sum


class Outcomes(NamedTuple):
    """Possible outcomes of a column's cells.

    Attributes:
        count: L: levels, atoms, numbers, missing and new together.
        number: Outcome of a number, with a mixture, after atoms, whose masses are added to those of
            their intervals; ``None``: none.
        has_ends: Some intervals are one-sided.
        has_new: The last is new: no training row has it, and no network learns it.
        has_gaps: The last that is learnt is a missing cell.
    """

    count: int
    number: int | None = None
    has_ends: bool = False
    has_new: bool = False
    has_gaps: bool = False

    @property
    def missing(self) -> int | None:
        """Outcome of a missing cell, if any."""
        return self.learnt - 1 if self.has_gaps else None

    @property
    def new(self) -> int | None:
        """Outcome that no training row has, if any."""
        return self.learnt if self.has_new else None

    @property
    def learnt(self) -> int:
        """Number of outcomes learnt by a network, the first ones."""
        return self.count - self.has_new

    def have_numbers(self, codes: np.ndarray) -> np.ndarray:
        """Whether codes are of numbers, atoms among them."""
        return (codes >= 0) & (codes <= (UNKNOWN if self.number is None else self.number))


@dataclass(frozen=True)
class Bank:
    """Columns with equal room for outcomes.

    Attributes:
        size: Outcomes per column, a power of two.
        columns: Their indices in a row: given before modelled, each without numbers before with.
        n_given: Given ones.
        n_plain: Modelled ones without numbers.
    """

    size: int
    columns: tuple[int, ...]
    n_given: int
    n_plain: int

    @property
    def modelled(self) -> tuple[int, ...]:
        """Modelled columns."""
        return self.columns[self.n_given :]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Modelled columns with numbers."""
        return self.modelled[self.n_plain :]


@dataclass(frozen=True)
class Layout:
    """Layout of a network of C columns, the first G given.

    Args:
        outcomes: Of each column, in row order.
        n_given: G.
        components: M, normals per mixture.
        width: H, hidden units per layer.
    """

    outcomes: tuple[Outcomes, ...]
    n_given: int
    components: int
    width: int

    @cached_property
    def banks(self) -> list[Bank]:
        """The banks, by size."""
        sizes = [1 << (o.count - 1).bit_length() for o in self.outcomes]
        banks = []
        for size in sorted(set(sizes)):
            places = [i for i, other in enumerate(sizes) if other == size]
            given = self._plain_first([i for i in places if i < self.n_given])
            modelled = self._plain_first([i for i in places if i >= self.n_given])
            plain = sum(self.outcomes[i].number is None for i in modelled)
            banks.append(Bank(size, (*given, *modelled), len(given), plain))
        return banks

    def _plain_first(self, places: Sequence[int]) -> list[int]:
        return sorted(places, key=lambda i: self.outcomes[i].number is not None)

    @property
    def n_columns(self) -> int:
        """C."""
        return len(self.outcomes)

    @cached_property
    def columns(self) -> list[int]:
        """All columns, bank by bank."""
        return [i for bank in self.banks for i in bank.columns]

    @cached_property
    def modelled(self) -> list[int]:
        """The D modelled columns, bank by bank."""
        return [i for bank in self.banks for i in bank.modelled]

    @cached_property
    def are_conditional(self) -> np.ndarray:
        """Which modelled columns ``(D,)`` have columns before them, bank by bank."""
        return np.array(self.modelled) > 0

    @cached_property
    def with_numbers(self) -> list[int]:
        """Columns with numbers, given ones too, bank by bank."""
        return [i for i in self.columns if self.outcomes[i].number is not None]

    @cached_property
    def mixed(self) -> list[int]:
        """The N modelled columns with mixtures, bank by bank."""
        return [i for bank in self.banks for i in bank.numbers]

    @cached_property
    def intervals(self) -> list[int]:
        """Index ``(N,)`` of the modelled columns with mixtures among those with numbers."""
        return [self.with_numbers.index(i) for i in self.mixed]

    @cached_property
    def has_ends(self) -> bool:
        """Whether some intervals are one-sided."""
        return any(self.outcomes[i].has_ends for i in self.mixed)

    @cached_property
    def has_gaps(self) -> bool:
        """Whether modelled cells may be missing."""
        return any(self.outcomes[i].has_gaps for i in self.modelled)

    @cached_property
    def inputs(self) -> np.ndarray:
        """Column ``(I,)`` of each input: outcomes, then numbers."""
        return np.array(
            [i for bank in self.banks for i in bank.columns for _ in range(bank.size)]
            + self.with_numbers
        )

    @cached_property
    def is_learnt(self) -> np.ndarray:
        """Which inputs ``(I,)`` occur in training rows: not new outcomes."""
        counts = [
            np.arange(bank.size) < self.outcomes[i].learnt
            for bank in self.banks
            for i in bank.columns
        ]
        return np.concatenate([*counts, np.ones(len(self.with_numbers), bool)])

    @cached_property
    def logits(self) -> np.ndarray:
        """Column ``(P,)`` of each logit; a single outcome has none."""
        banks = [bank for bank in self.banks if bank.size > 1]
        return np.array([i for b in banks for i in b.modelled for _ in range(b.size)], int)

    @cached_property
    def degrees(self) -> np.ndarray:
        """Last column ``(H,)`` that each hidden unit sees, increasing."""
        first = max(self.n_given - 1, 0)
        count = max(self.n_columns - 1 - first, 1)
        return first + np.arange(self.width) * count // self.width

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Masks of 0 and 1, float32: a column sees only the columns before it, and no new outcomes,
        whose weights would stay initial.
        """
        degrees, mixed = self.degrees, np.array(self.mixed, int)
        numbers = np.repeat(mixed, 3 * self.components)

        def mask(seen: np.ndarray) -> np.ndarray:
            return seen.astype(np.float32)

        return {
            "inputs": mask((degrees[:, None] >= self.inputs) & self.is_learnt),
            "hidden": mask(degrees[:, None] >= degrees),
            "logits": mask(self.logits[:, None] > degrees),
            "mixtures": mask(numbers[:, None] > degrees),
            "logits_skip": mask((self.logits[:, None] > self.inputs) & self.is_learnt),
            "means_skip": mask((mixed[:, None] > self.inputs) & self.is_learnt),
        }
