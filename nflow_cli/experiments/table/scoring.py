"""Tables of the user's own: the log-density of each row, read and written in a stream."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.data.categories import rows_of, texts
from nflow_cli.data.table_files import TableFile, arrow_table, batch_of, write_table
from nflow_cli.data.table_rows import LOG_Q
from nflow_cli.densities.pushforward import mixture
from nflow_cli.errors import DataError

if TYPE_CHECKING:
    from nflow_cli.experiments.trained import TrainedRows, TrainedTable

LOG_Q_SPREAD = "log_q_spread"

# Of draws: how many came before, rows, and their log-density.
Batches = Iterator[tuple[int, np.ndarray, np.ndarray]]


@dataclass
class Mean:
    """The mean of log-densities that come some at a time, by Welford's updates.

    Attributes:
        n: How many rows have one.
        n_missing: How many lack a value.
        outside: At how many the density is 0.
        rows: The SHA-256 of the rows so far that lack no value, as
            :func:`~nflow_cli.data.points.checksum` gives it.
    """

    n: int = 0
    n_missing: int = 0
    outside: int = 0
    _mean: float = 0.0
    _squares: float = 0.0
    rows: Any = field(default_factory=hashlib.sha256)

    def add(self, log_q: np.ndarray) -> None:
        """Take log-densities ``(n,)`` in nats, NaN where a row lacks a value."""
        known = log_q[~np.isnan(log_q)]
        inside = known[known > -math.inf]
        self.n_missing += len(log_q) - len(known)
        self.outside += len(known) - len(inside)
        count = len(inside)
        self.n += len(known)
        before = self.n - self.outside - count
        if not count:
            return
        mean = float(inside.mean())
        away = mean - self._mean
        self._squares += float(((inside - mean) ** 2).sum()) + away**2 * before * count / (
            before + count
        )
        self._mean += away * count / (before + count)

    def scores(self) -> dict[str, Any]:
        """Return what :func:`~nflow_cli.evaluation.scores.likelihood` does."""
        inside = self.n - self.outside
        error = math.sqrt(self._squares / (inside - 1) / inside) if inside > 1 else None
        mean = self._mean if inside else None
        return {
            "log_likelihood": -math.inf if self.outside else mean,
            "log_likelihood_inside": mean,
            "standard_error": error,
            "n": self.n,
            "outside": self.outside,
        }


def blocks(
    table: TableFile, names: Sequence[str], roles: Roles
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield blocks of a table with columns of all ``names``, and their rows ``(m, C)``."""
    table.expect(roles.columns)
    first = 0
    for block in table.blocks(list(dict.fromkeys([*names, *roles.columns]))):
        yield block, rows_of(table, block, roles, first)
        first += block.num_rows


def judge(trained: "TrainedTable | TrainedRows", table: TableFile) -> Mean:
    """Return the mean log-density of the rows of a table."""
    mean = Mean()
    for _, x in blocks(table, (), trained.roles):
        complete = x[~np.isnan(x).any(axis=1)]
        mean.rows.update(np.ascontiguousarray(complete, "<f8").data)
        mean.add(trained.log_prob(x))
    return mean


def write_scored(
    trained: "TrainedTable | TrainedRows", table: TableFile, path: Path, with_latents: bool
) -> Mean:
    """Write the rows of a table, in order, with their ``log_q`` in nats; return its mean.

    A row that lacks a value has none. Of a mixture its members' standard deviation is beside it, as
    ``log_q_spread``. ``with_latents``: and ``latent_1`` … ``latent_D``. Columns
    of these names that the table had before are replaced.

    Raises:
        DataError: In one line: a column of the run is called as one that is added.
    """
    mean = Mean()
    spread = [LOG_Q_SPREAD] if trained.members > 1 else []
    added = [LOG_Q, *spread, *(f"latent_{i + 1}" for i in range(trained.dim) if with_latents)]
    names = [column.name for column in table.columns]
    for name in set(added) & set(trained.columns):
        raise DataError(f"the run has a column {name!r}, as one is called that is written")
    others = [name for name in names if name not in added]

    def scored() -> Iterator[Any]:
        for block, x in blocks(table, names, trained.roles):
            of_members = trained.member_log_probs(x)
            log_q = mixture(of_members)
            mean.add(log_q)
            latents = trained.latent(x).T if with_latents else ()
            yield batch_of([log_q, *_spread(of_members), *latents], block.select(others))

    write_table(path, [*others, *added], scored())
    return mean


def _spread(log_q: np.ndarray) -> list[np.ndarray]:
    """Return the standard deviation over members ``(R, n)`` where there are several."""
    with np.errstate(invalid="ignore"):  # of rows outside a bound
        return [log_q.std(axis=0, ddof=1)] if len(log_q) > 1 else []


def draws(trained: "TrainedTable | TrainedRows", batches: Batches) -> Iterator[Any]:
    """Yield draws, some at a time: the columns of the run, levels as text, and ``log_q``."""
    for _, x, log_q in batches:
        columns = [
            texts(x[:, i], trained.roles.levels[name]) if name in trained.roles.levels else x[:, i]
            for i, name in enumerate(trained.roles.columns)
        ]
        yield batch_of([*columns, log_q])


def names_of_draws(trained: "TrainedTable | TrainedRows") -> list[str]:
    """Return the names of the columns of draws."""
    return [*trained.columns, LOG_Q]


def drawn(trained: "TrainedTable | TrainedRows", batches: Batches) -> Any:
    """Return draws as a table of Arrow."""
    return arrow_table(names_of_draws(trained), draws(trained, batches))


def write_draws(trained: "TrainedTable | TrainedRows", batches: Batches, path: Path) -> None:
    """Write draws in the columns of the run, with their ``log_q`` in nats."""
    write_table(path, names_of_draws(trained), draws(trained, batches))
