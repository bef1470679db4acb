"""Layout of a network's arrays: outcomes, inputs, outputs and masks of the columns of a row.

Columns are in the order of the row everywhere but in the logits. A softmax is one operation for
columns with equally many outcomes, so logits are in *banks*: those of columns that have room in the
same power of two.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nflow_cli.data.kinds.cycles import N_HARMONICS

UNKNOWN = -1  # code of an unknown cell, which is left out of the sum


class Outcomes(NamedTuple):
    """Possible outcomes of a column's cells.

    Attributes:
        n_outcomes: L: levels, atoms, numbers, missing and new together.
        number_code: Outcome of a number, with a mixture, after atoms, whose masses are added to
            those of their intervals; ``None``: none.
        has_ends: Some intervals are one-sided.
        has_new: The last is new: no training row has it, and no network learns it.
        has_gaps: The last that is learnt is a missing cell.
    """

    n_outcomes: int
    number_code: int | None = None
    has_ends: bool = False
    has_new: bool = False
    has_gaps: bool = False

    @property
    def missing_code(self) -> int | None:
        """Outcome of a missing cell, if any."""
        return self.n_learnt - 1 if self.has_gaps else None

    @property
    def new_code(self) -> int | None:
        """Outcome that no training row has, if any."""
        return self.n_learnt if self.has_new else None

    @property
    def n_learnt(self) -> int:
        """Number of outcomes learnt by a network, the first ones."""
        return self.n_outcomes - self.has_new

    def have_numbers(self, codes: np.ndarray) -> np.ndarray:
        """Whether codes are of numbers, atoms among them."""
        last = UNKNOWN if self.number_code is None else self.number_code
        return (codes >= 0) & (codes <= last)


class Bank(NamedTuple):
    """Modelled columns with the same room for outcomes that are learnt.

    Attributes:
        size: A power of two.
        columns: Those without numbers first.
        n_plain: Number of these.
    """

    size: int
    columns: list[int]
    n_plain: int


@dataclass(frozen=True)
class Layout:
    """Layout of a network of C columns, the first G given.

    Args:
        outcomes: Of each column.
        n_given: G.
        components: M, normals per mixture.
        width: H, hidden units per layer.
        cycles: Number of cycles of each column's dates, all 0 if empty.
        frequencies: Of the sines and cosines of numbers, F, per unit.
        knots: Of the piecewise linear encodings of numbers, B + 1, in units.
    """

    outcomes: tuple[Outcomes, ...]
    n_given: int
    components: int
    width: int
    cycles: tuple[int, ...] = ()
    frequencies: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()

    @property
    def n_columns(self) -> int:
        """C."""
        return len(self.outcomes)

    @property
    def modelled(self) -> range:
        """The D modelled columns."""
        return range(self.n_given, self.n_columns)

    @cached_property
    def with_numbers(self) -> list[int]:
        """The K columns with numbers, given ones too."""
        return [i for i, column in enumerate(self.outcomes) if column.number_code is not None]

    @cached_property
    def mixed(self) -> list[int]:
        """The N modelled columns with mixtures, the last of those with numbers."""
        return [i for i in self.with_numbers if i >= self.n_given]

    @cached_property
    def has_ends(self) -> bool:
        """Whether some intervals are one-sided."""
        return any(self.outcomes[i].has_ends for i in self.mixed)

    @cached_property
    def has_gaps(self) -> bool:
        """Whether modelled cells may be missing."""
        return any(self.outcomes[i].has_gaps for i in self.modelled)

    def of_modelled(self, name: str) -> np.ndarray:
        """Attribute ``name`` of the :class:`Outcomes` of modelled columns ``(D, 1)``; -2: none."""
        codes = []
        for i in self.modelled:
            code = getattr(self.outcomes[i], name)
            codes.append(-2 if code is None else code)
        return np.array(codes)[:, None]

    # Inputs and outputs of a network.

    @cached_property
    def inputs(self) -> np.ndarray:
        """Column ``(I,)`` of each input: direct ones, then sines and cosines of K numbers, and
        their piecewise linear encodings.
        """
        numbers = np.array(self.with_numbers, int)
        waves = np.repeat(numbers, 2 * len(self.frequencies))
        ramps = np.repeat(numbers, self.n_ramps)
        return np.concatenate([self.direct_inputs, waves, ramps])

    @property
    def n_ramps(self) -> int:
        """B, inputs of a number's piecewise linear encoding."""
        return max(len(self.knots) - 1, 0)

    @cached_property
    def direct_inputs(self) -> np.ndarray:
        """Column of each input that outputs see directly, too: outcomes that are learnt, then
        numeric ones.
        """
        counts = [column.n_learnt for column in self.outcomes]
        return np.append(np.repeat(np.arange(self.n_columns), counts), self.numeric)

    def seen_inputs(self, atoms: bool, waves: bool, ramps: bool) -> np.ndarray:
        """Inputs ``(I,)`` that a network sees: 0 for outcomes that are atoms, for sines and
        cosines, or for piecewise linear encodings, unless asked for.
        """
        numbers = np.array([self.outcomes[i].number_code or 0 for i in self.direct_inputs])
        n_numbers = len(self.with_numbers)
        seen = np.repeat(
            [1.0, float(waves), float(ramps)],
            [
                len(self.direct_inputs),
                2 * len(self.frequencies) * n_numbers,
                self.n_ramps * n_numbers,
            ],
        )
        if not atoms:
            n_outcomes = len(self.input_codes)
            seen[:n_outcomes] = self.input_codes >= numbers[:n_outcomes]
        return seen

    @cached_property
    def numeric(self) -> np.ndarray:
        """Column of each numeric input: K numbers, then the harmonics of dates."""
        dated = [i for i, n in enumerate(self.cycles) for _ in range(n * N_HARMONICS)]
        return np.array([*self.with_numbers, *dated], int)

    @cached_property
    def input_codes(self) -> np.ndarray:
        """Outcome of each input that is not numeric."""
        return np.concatenate([np.arange(column.n_learnt) for column in self.outcomes])

    @cached_property
    def banks(self) -> list[Bank]:
        """The banks, by size."""
        sizes = {i: 1 << (self.outcomes[i].n_learnt - 1).bit_length() for i in self.modelled}
        banks = []
        for size in sorted(set(sizes.values())):
            columns = [i for i in self.modelled if sizes[i] == size]
            plain = [i for i in columns if self.outcomes[i].number_code is None]
            mixed = [i for i in columns if self.outcomes[i].number_code is not None]
            banks.append(Bank(size, [*plain, *mixed], len(plain)))
        return banks

    @cached_property
    def logits(self) -> np.ndarray:
        """Column ``(P,)`` of each logit, bank by bank; a single outcome has none."""
        banks = [bank for bank in self.banks if bank.size > 1]
        return np.array([i for b in banks for i in b.columns for _ in range(b.size)], int)

    def logits_of(self, j: int) -> np.ndarray:
        """Places of the logits of a modelled column, of its outcomes that are learnt."""
        return np.flatnonzero(self.logits == j)[: self.outcomes[j].n_learnt]

    @cached_property
    def degrees(self) -> np.ndarray:
        """Last column ``(H,)`` that each hidden unit sees, increasing."""
        first = max(self.n_given - 1, 0)
        count = max(self.n_columns - 1 - first, 1)
        return first + np.arange(self.width) * count // self.width

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Masks of 0 and 1, float32: a column sees only the columns before it."""
        degrees = self.degrees
        mixed = np.array(self.mixed, int)
        masks = {
            "inputs": degrees[:, None] >= self.inputs,
            "hidden": degrees[:, None] >= degrees,
            "logits": self.logits[:, None] > degrees,
            "mixtures": np.repeat(mixed, 3 * self.components)[:, None] > degrees,
            "logits_skip": self.logits[:, None] > self.direct_inputs,
            "means_skip": mixed[:, None] > self.direct_inputs,
        }
        return {name: mask.astype(np.float32) for name, mask in masks.items()}
