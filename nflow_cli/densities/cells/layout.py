"""The order in which a network of cells holds columns, their outcomes and their mixtures.

A softmax over the outcomes of each column is one operation only where columns have equal numbers of
outcomes. So columns stand in *banks*: the size of a bank is a power of two, and a column is in the
smallest that holds its outcomes. No Keras here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Outcomes(NamedTuple):
    """What the cell of a column may be.

    Attributes:
        count: L, of levels, atoms, the number, the gap and the new level together.
        number: Which of them is "a number", whose value has a mixture; ``None``: none.
        summed: How many of the first outcomes are values of the mixture's own grid too, so that
            their masses are added.
        has_ends: Whether the intervals of some numbers have one end alone.
        has_new: Whether the last is what no training row is: a network learns nothing of it.
        lattices: R, on which a number may be: outcomes ``number`` to ``number + R - 1``, whose
            masses are added where a value is on several.
    """

    count: int
    number: int | None = None
    summed: int = 0
    has_ends: bool = False
    has_new: bool = False
    lattices: int = 1

    @property
    def learnt(self) -> int:
        """How many of the first outcomes a network learns the shares of."""
        return self.count - self.has_new


@dataclass(frozen=True)
class Bank:
    """Columns whose outcomes take equal room.

    Attributes:
        size: Outcomes a column, a power of two.
        columns: Their places in a row: what is given before what is modelled, and of each the
            columns without numbers before those with.
        n_given: How many are given.
        n_plain: How many of the modelled ones have no numbers.
    """

    size: int
    columns: tuple[int, ...]
    n_given: int
    n_plain: int

    @property
    def modelled(self) -> tuple[int, ...]:
        """The places of the columns that are modelled."""
        return self.columns[self.n_given :]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The places of those that are modelled and have numbers."""
        return self.modelled[self.n_plain :]


@dataclass(frozen=True)
class Layout:
    """The arrays of a network of cells of C columns, of which the first G are given.

    Args:
        outcomes: Of each column, in the order of a row.
        n_given: G.
        components: M, normals a mixture.
        width: H, hidden units a layer.
    """

    outcomes: tuple[Outcomes, ...]
    n_given: int
    components: int
    width: int

    @cached_property
    def banks(self) -> list[Bank]:
        """The banks, by their sizes."""
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
        """The places of all columns, bank by bank."""
        return [i for bank in self.banks for i in bank.columns]

    @cached_property
    def modelled(self) -> list[int]:
        """The places of the D modelled columns, bank by bank."""
        return [i for bank in self.banks for i in bank.modelled]

    @cached_property
    def are_conditional(self) -> np.ndarray:
        """Which modelled columns ``(D,)`` have columns before them, bank by bank."""
        return np.array(self.modelled) > 0

    @cached_property
    def with_numbers(self) -> list[int]:
        """The places of the columns that have numbers, given ones too, bank by bank."""
        return [i for i in self.columns if self.outcomes[i].number is not None]

    @cached_property
    def mixed(self) -> list[int]:
        """The places of the N modelled columns that have mixtures, bank by bank."""
        return [i for bank in self.banks for i in bank.numbers]

    @cached_property
    def coarse(self) -> list[int]:
        """The place ``(X,)`` in ``mixed`` of the column of each lattice but the finest ones."""
        return [m for m, i in enumerate(self.mixed) for _ in range(self.outcomes[i].lattices - 1)]

    @cached_property
    def mixtures(self) -> list[int]:
        """The place in ``mixed`` of each of the ``N + X`` intervals."""
        return [*range(len(self.mixed)), *self.coarse]

    @cached_property
    def intervals(self) -> list[int]:
        """Where the ``N + X`` intervals of the mixtures are among those of encoded cells.

        These are of the finest lattice of the columns with numbers, then of the coarse ones.
        """
        numbers = self.with_numbers
        fine = [numbers.index(i) for i in self.mixed]
        return [*fine, *range(len(numbers), len(numbers) + len(self.coarse))]

    @cached_property
    def has_ends(self) -> bool:
        """Whether some intervals have one end alone."""
        return any(self.outcomes[i].has_ends for i in self.mixed)

    @cached_property
    def inputs(self) -> np.ndarray:
        """The place ``(I,)`` of the column that each input tells of: outcomes, then numbers."""
        return np.array(
            [i for bank in self.banks for i in bank.columns for _ in range(bank.size)]
            + self.with_numbers
        )

    @cached_property
    def is_learnt(self) -> np.ndarray:
        """Which inputs ``(I,)`` training rows have: not those of what no training row is."""
        counts = [
            np.arange(bank.size) < self.outcomes[i].learnt
            for bank in self.banks
            for i in bank.columns
        ]
        return np.concatenate([*counts, np.ones(len(self.with_numbers), bool)])

    @cached_property
    def logits(self) -> np.ndarray:
        """The place ``(P,)`` of the column of each logit; a single outcome needs none."""
        banks = [bank for bank in self.banks if bank.size > 1]
        return np.array([i for b in banks for i in b.modelled for _ in range(b.size)], int)

    @cached_property
    def degrees(self) -> np.ndarray:
        """The last column ``(H,)`` that each hidden unit sees, in increasing order."""
        first = max(self.n_given - 1, 0)
        count = max(self.n_columns - 1 - first, 1)
        return first + np.arange(self.width) * count // self.width

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Which weights there are, of 0 and 1: a column sees the columns before it alone.

        Of what no training row is it sees nothing: such weights would stay as they began.
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
