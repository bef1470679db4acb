"""Layout of a network's arrays: outcomes, inputs, outputs and masks of the columns of a row.

Columns are in the order of the row everywhere but in the logits. A softmax is one operation for
columns with equally many outcomes, so logits are in *banks*: those of columns that have room in the
same power of two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

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


class Bank(NamedTuple):
    """Modelled columns with the same room for outcomes that are learnt: a power of two."""

    size: int
    columns: list[int]


@dataclass(frozen=True)
class Layout:
    """Layout of a network of C columns, the first G given.

    Args:
        outcomes: Of each column.
        n_given: G.
        components: M, normals per mixture.
        width: H, hidden units per layer.
    """

    outcomes: tuple[Outcomes, ...]
    n_given: int
    components: int
    width: int

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
        return [i for i, one in enumerate(self.outcomes) if one.number is not None]

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
        """``number``, ``missing`` or ``learnt`` of the modelled columns ``(D, 1)``; -2: none."""
        each = [getattr(self.outcomes[i], name) for i in self.modelled]
        return np.array([-2 if one is None else one for one in each])[:, None]

    # Inputs and outputs of a network.

    @cached_property
    def inputs(self) -> np.ndarray:
        """Column ``(I,)`` of each input: outcomes that are learnt, then numbers."""
        counts = [one.learnt for one in self.outcomes]
        return np.append(np.repeat(np.arange(self.n_columns), counts), self.with_numbers).astype(
            int
        )

    @cached_property
    def input_codes(self) -> np.ndarray:
        """Outcome of each input but numbers."""
        return np.concatenate([np.arange(one.learnt) for one in self.outcomes])

    @cached_property
    def banks(self) -> list[Bank]:
        """The banks, by size."""
        sizes = {i: 1 << (self.outcomes[i].learnt - 1).bit_length() for i in self.modelled}
        return [
            Bank(size, [i for i in self.modelled if sizes[i] == size])
            for size in sorted(set(sizes.values()))
        ]

    @cached_property
    def logits(self) -> np.ndarray:
        """Column ``(P,)`` of each logit, bank by bank."""
        return np.array([i for b in self.banks for i in b.columns for _ in range(b.size)], int)

    @cached_property
    def logit_codes(self) -> np.ndarray:
        """Outcome ``(P, 1)`` of each logit; -3: none, where a bank has more room."""
        codes = [np.arange(b.size) for b in self.banks for _ in b.columns]
        counts = self.of_modelled("learnt")[self.logits - self.n_given, 0]
        found = np.concatenate([*codes, np.zeros(0, int)])
        return np.where(found < counts, found, -3)[:, None]

    def logits_of(self, j: int) -> slice:
        """Places of the logits of a modelled column, of its outcomes that are learnt."""
        start = int(np.argmax(self.logits == j))
        return slice(start, start + self.outcomes[j].learnt)

    def by_column(self, reduce: Callable[[Any], Any], of_logits: Any, xp: Any) -> Any:
        """Reduce the outcomes ``(…, c, size, n)`` of columns to ``(…, D, n)``, of ``(…, P, n)``."""
        found = xp.concatenate([reduce(part) for part in self.in_banks(of_logits, xp)], axis=-2)
        places = np.argsort([i for bank in self.banks for i in bank.columns])
        return xp.take(found, places, axis=-2)

    def in_banks(self, of_logits: Any, xp: Any) -> list[Any]:
        """What logits ``(…, P, n)`` have, ``(…, c, size, n)`` of each bank."""
        *before, _, n = of_logits.shape
        parts, start = [], 0
        for size, columns in self.banks:
            end = start + size * len(columns)
            shape = *before, len(columns), size, n
            parts.append(xp.reshape(of_logits[..., start:end, :], shape))
            start = end
        return parts

    @cached_property
    def degrees(self) -> np.ndarray:
        """Last column ``(H,)`` that each hidden unit sees, increasing."""
        first = max(self.n_given - 1, 0)
        count = max(self.n_columns - 1 - first, 1)
        return first + np.arange(self.width) * count // self.width

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Masks of 0 and 1, float32: a column sees only the columns before it."""
        degrees, mixed = self.degrees, np.array(self.mixed, int)
        masks = {
            "inputs": degrees[:, None] >= self.inputs,
            "hidden": degrees[:, None] >= degrees,
            "logits": self.logits[:, None] > degrees,
            "mixtures": np.repeat(mixed, 3 * self.components)[:, None] > degrees,
            "logits_skip": self.logits[:, None] > self.inputs,
            "means_skip": mixed[:, None] > self.inputs,
        }
        return {name: mask.astype(np.float32) for name, mask in masks.items()}
