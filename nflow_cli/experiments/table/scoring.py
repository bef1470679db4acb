"""Tables of the user's own: the log-density of each row, read and written in a stream."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.data.categories import rows_of, texts, weights_of
from nflow_cli.data.dequantisation import are_whole
from nflow_cli.data.table_files import TableFile, arrow_table, batch_of, write_table
from nflow_cli.data.table_rows import LOG_Q
from nflow_cli.data.tables import shown
from nflow_cli.densities.pushforward import mixture
from nflow_cli.errors import DataError
from nflow_cli.evaluation.caveats import LEAST

if TYPE_CHECKING:
    from nflow_cli.experiments.trained import TrainedRows, TrainedTable

LOG_Q_SPREAD = "log_q_spread"

# Of draws: how many came before, rows, and their log-density.
Batches = Iterator[tuple[int, np.ndarray, np.ndarray]]


@dataclass
class Moments:
    """The weighted mean of values that come some at a time, and their squares about it."""

    total: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray, weights: np.ndarray) -> None:
        """Take values ``(n,)`` with weights ``(n,)`` whose sum is not 0, by Welford's updates."""
        total, before = float(weights.sum()), self.total
        mean = float(weights @ values / total)
        self.total += total
        away, share = mean - self.mean, total / self.total
        self.squares += float(weights @ (values - mean) ** 2) + away**2 * before * share
        self.mean += away * share


@dataclass
class Mean:
    """The mean of log-densities that come some at a time.

    Attributes:
        weighted: The column of weights that it is weighted by, if there is one.
        n: How many rows have a log-density, and count.
        n_missing: How many lack a value.
        outside: At how many the density is 0.
        rows: The SHA-256 of the rows so far that lack no value, as
            :func:`~nflow_cli.data.points.checksum` gives it.
    """

    weighted: str | None = None
    n: int = 0
    n_missing: int = 0
    outside: int = 0
    rows: Any = field(default_factory=hashlib.sha256)
    _by_weight: Moments = field(default_factory=Moments)
    _by_square: Moments = field(default_factory=Moments)

    def add(self, x: np.ndarray, log_q: np.ndarray, weights: np.ndarray | None) -> None:
        """Take rows ``(n, C)`` and their log-densities in nats, NaN where a row lacks a value."""
        complete = x[~np.isnan(x).any(axis=1)]
        self.rows.update(np.ascontiguousarray(complete, "<f8").data)
        is_known = ~np.isnan(log_q)
        self.n_missing += len(log_q) - int(is_known.sum())
        weights = np.ones(len(log_q)) if weights is None else weights
        counts = is_known & (weights > 0)
        inside = counts & (log_q > -math.inf)
        self.n += int(counts.sum())
        self.outside += int(counts.sum() - inside.sum())
        if inside.any():
            self._by_weight.add(log_q[inside], weights[inside])
            self._by_square.add(log_q[inside], weights[inside] ** 2)

    def scores(self) -> dict[str, Any]:
        """Return what :func:`~nflow_cli.evaluation.scores.likelihood` does, and ``n_missing``.

        With weights as :func:`~nflow_cli.evaluation.weighted.weighted_mean` has them.
        """
        inside, once, twice = self.n - self.outside, self._by_weight, self._by_square
        error = None
        n = once.total**2 / twice.total if self.weighted and inside else inside
        if n >= LEAST:
            squares = twice.squares + twice.total * (twice.mean - once.mean) ** 2
            error = math.sqrt(squares * n / (n - 1)) / once.total
        mean = once.mean if inside else None
        return {
            "log_likelihood": -math.inf if self.outside else mean,
            "log_likelihood_inside": mean,
            "log_likelihood_standard_error": error,
            "n_effective": n,
            "n": self.n,
            "outside": self.outside,
            "n_missing": self.n_missing,
        }


Block = tuple[Any, np.ndarray, np.ndarray | None]


def blocks(
    table: TableFile, names: Sequence[str], roles: Roles, weighted: str | None
) -> Iterator[Block]:
    """Yield blocks of a table with columns of all ``names``, their rows ``(m, C)``, and weights.

    Raises:
        DataError: In one line: a column is missing, or what is in one is no number, or no weight.
    """
    table.expect(roles.columns)
    columns = [*names, *roles.columns, *([weighted] if weighted else [])]
    first = 0
    for block in table.blocks(list(dict.fromkeys(columns))):
        weights = weights_of(table, block, weighted, first) if weighted else None
        yield block, rows_of(table, block, roles, first), weights
        first += block.num_rows


def judge(trained: "TrainedTable | TrainedRows", table: TableFile) -> Mean:
    """Return the mean log-density of the rows of a table, weighted if the run's are and these."""
    mean = Mean(_weighted(trained, table))
    for _, x, weights in blocks(table, (), trained.roles, mean.weighted):
        mean.add(x, trained.log_prob(x), weights)
    return mean


def _weighted(trained: "TrainedTable | TrainedRows", table: TableFile) -> str | None:
    """Return the column of weights of a run, if a table has it."""
    name = trained.config.data.weights
    return name if name in [column.name for column in table.columns] else None


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
    mean = Mean(_weighted(trained, table))
    spread = [LOG_Q_SPREAD] if trained.members > 1 else []
    added = [LOG_Q, *spread, *(f"latent_{i + 1}" for i in range(trained.dim) if with_latents)]
    names = [column.name for column in table.columns]
    for name in set(added) & set(trained.columns):
        raise DataError(f"the run has a column {name!r}, as one is called that is written")
    others = [name for name in names if name not in added]

    def scored() -> Iterator[Any]:
        for block, x, weights in blocks(table, names, trained.roles, mean.weighted):
            of_members = trained.member_log_probs(x)
            log_q = mixture(of_members)
            mean.add(x, log_q, weights)
            latents = trained.latent(x).T if with_latents else ()
            yield batch_of([log_q, *_spread(of_members), *latents], block.select(others))

    write_table(path, [*others, *added], scored())
    return mean


def _spread(log_q: np.ndarray) -> list[np.ndarray]:
    """Return the standard deviation over members ``(R, n)`` where there are several."""
    with np.errstate(invalid="ignore"):  # of rows outside a bound
        return [log_q.std(axis=0, ddof=1)] if len(log_q) > 1 else []


def draws(trained: "TrainedTable | TrainedRows", batches: Batches) -> Iterator[Any]:
    """Yield draws, some at a time, in the columns that :func:`names_of_draws` says."""
    roles, names = trained.roles, names_of_draws(trained)[:-1]
    for _, x, log_q in batches:
        columns = zip(names, x[:, roles.places(names)].T)
        yield batch_of([*(_cells(values, name, roles) for name, values in columns), log_q])


def _cells(values: np.ndarray, name: str, roles: Roles) -> np.ndarray:
    """Return values ``(n,)`` of a column as a table has them: levels as text, integers as such."""
    if name in roles.levels:
        return texts(values, roles.levels[name])
    return (
        values.astype(np.int64) if name in roles.steps and are_whole(roles.steps[name]) else values
    )


def names_of_draws(trained: "TrainedTable | TrainedRows") -> list[str]:
    """Return the columns of draws: those modelled in the table's order, those given, ``log_q``."""
    data = trained.config.data
    return [*(data.columns or ()), *data.given, LOG_Q]


def drawn(trained: "TrainedTable | TrainedRows", batches: Batches) -> Any:
    """Return draws as a table of Arrow."""
    return arrow_table(names_of_draws(trained), draws(trained, batches))


def write_draws(trained: "TrainedTable | TrainedRows", batches: Batches, path: Path) -> None:
    """Write draws in the columns of the run, with their ``log_q`` in nats.

    Raises:
        DataError: In one line: a category, in a file of numbers.
    """
    text = [name for name in names_of_draws(trained) if name in trained.roles.levels]
    if text and path.suffix.lower() == ".npy":
        raise DataError(
            f"{path}: an .npy holds numbers, and {', '.join(map(shown, text[:10]))} "
            f"{'is text' if len(text) == 1 else 'are text'}; expected a .csv or .parquet file"
        )
    write_table(path, names_of_draws(trained), draws(trained, batches))
