"""Draws of a posterior with their log-density: files of Markov chains."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.data.column_maps import ColumnMap, Scale, bound_maps, records_of
from nflow_cli.data.dependence import determined
from nflow_cli.data.files.columns import Column, numbers_of, read_columns, stacked
from nflow_cli.data.files.netcdf import InferenceTable
from nflow_cli.data.files.table_files import open_table
from nflow_cli.data.files.tables import TableFile, listed, shown
from nflow_cli.data.kinds.fit_units import Bounds
from nflow_cli.data.points import checksum, no_spread
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import DataError
from nflow_cli.inference.evidence.evidence_config import MOST_FOLDS, DrawsData

CHAINS = ("chain", ".chain", "chain__", "chain_id")
NUMBERING = ("draw", ".draw", "draw__", "iteration", ".iteration", "iter", "index")
OTHERS = ("log_q", "log_prob", "lp", "lp__", "log_prior", "log_likelihood")  # no parameters
OF_UNCONSTRAINED = ("lp", "lp__")  # of PyMC, NumPyro and ArviZ; of Stan
GENERATED = re.compile(r"(^log_?lik|_?rep|_pred|_hat)([\[.].*)?$")  # by custom in Stan
LEAST_DRAWS = 200
SKEWED = 0.3  # least skewness of draws of a scale: a gamma density of shape 16 has 0.5, a normal 0


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of a posterior.

    Attributes:
        files: Names of their files.
        sha256: Of rows, log-densities and chains.
        columns: Names of the D parameters.
        rows: ``(n, D)``, in the user's units.
        log_p: Unnormalised log-density ``(n,)`` of the rows in these units, in nats.
        chains: Number of each row's chain ``(n,)``, from 0.
        units: Maps of each parameter to R, and to a mean of 0 and a standard deviation of 1.
        n_folds: Number of folds.
        is_stan: Whether CmdStan wrote them.
        space: Of the log-density in their files; None without bounds.
    """

    name: str
    files: Sequence[str]
    sha256: str
    columns: Sequence[str]
    rows: np.ndarray
    log_p: np.ndarray
    chains: np.ndarray
    units: Sequence[Sequence[ColumnMap]]
    n_folds: int
    is_stan: bool
    space: str | None
    notes: Sequence[str] = ()

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """Rows of each chain, in order; of one chain its quarters."""
        count = int(self.chains.max()) + 1
        if count == 1:
            return np.array_split(np.arange(len(self.rows)), MOST_FOLDS)
        return [np.flatnonzero(self.chains == chain) for chain in range(count)]

    @property
    def folds(self) -> np.ndarray:
        """Fold of each of :attr:`parts`: a density is fitted to the other folds."""
        count = len(self.parts)
        return np.arange(count) * self.n_folds // count

    def record(self) -> dict[str, Any]:
        """Record in ``run.json``."""
        paths = [os.path.abspath(name) for name in self.files]
        return {
            "name": self.name,
            "path": paths[0],
            "paths": paths,
            "sha256": self.sha256,
            "columns": list(self.columns),
            "units": records_of(dict(zip(self.columns, self.units))),
        }


def load_draws(settings: DrawsData) -> Draws:
    """Read the draws of all files; a ``DataError`` if they are no draws of free parameters."""
    tables = [open_table(name) for name in settings.files]
    first = tables[0]
    first.expect([settings.log_p, *settings.bounds])
    chain = _chain_column(first, settings)
    space = _space(first, settings)
    beside = [settings.log_p, chain] if chain else [settings.log_p]
    columns, block = _parameters(first, settings, beside)
    others = (numbers_of(table, [*columns, *beside]) for table in tables[1:])
    rows, log_p, chains = _chains_of([block, *others], len(columns))
    _expect_different_chains(first, rows, chains)
    least = max(LEAST_DRAWS, 10 * len(columns))
    if len(rows) < least:
        raise DataError(f"{first.name}: expected {least:,} draws or more, received {len(rows):,}")
    bounds = [Bounds(*settings.bounds.get(name, ())) for name in columns]
    _expect_spread(first, columns, rows, bounds)
    maps = [bound_maps(*ends) for ends in bounds]
    inside, log_det = ColumnUnits(maps).inside_and_log_det(rows)
    _expect_free(first, columns, rows, inside)
    units = [
        [*of_bounds, Scale(float(z.mean()), float(z.std()))] for of_bounds, z in zip(maps, inside.T)
    ]
    if space == "unconstrained":
        log_p = log_p + log_det
    n_chains = int(chains.max()) + 1
    n_folds = min(n_chains, MOST_FOLDS) if n_chains > 1 else MOST_FOLDS
    return Draws(
        name=first.name,
        files=settings.files,
        sha256=checksum(np.column_stack([rows, log_p, chains])),
        columns=columns,
        rows=rows,
        log_p=log_p,
        chains=chains,
        units=units,
        n_folds=settings.folds or n_folds,
        is_stan=settings.log_p == "lp__" and any(c.name == "accept_stat__" for c in first.columns),
        space=space,
        notes=[
            *(f"{t.name}: {note}" for t in tables for note in (*t.notes, *t.doubts.values())),
            *_notes(settings, columns, rows),
        ],
    )


def _chains_of(blocks: Sequence[np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws ``(n, D)``, log-densities and numbers of chains ``(n,)`` of the files' numbers."""
    chains = []
    count = 0
    for block in blocks:
        ids = block[:, dim + 1 :].sum(axis=1)  # one column, or none
        known, numbers = np.unique(ids, return_inverse=True)
        chains.append(count + numbers)
        count += len(known)
    joined = np.concatenate(blocks)
    return joined[:, :dim], joined[:, dim], np.concatenate(chains)


def _expect_different_chains(table: TableFile, rows: np.ndarray, chains: np.ndarray) -> None:
    """Refuse a chain given twice: its draws would be judged by a density fitted to them."""
    ends = np.cumsum(np.bincount(chains))[:-1]
    draws = np.split(rows[np.argsort(chains, kind="stable")], ends)
    known: dict[str, int] = {}
    for chain, of_chain in enumerate(draws):
        first = known.setdefault(checksum(of_chain), chain)
        if first != chain:
            raise DataError(
                f"{table.name}: expected chains of their own, received the draws of chain "
                f"{first + 1} again as chain {chain + 1}"
            )


def _space(table: TableFile, settings: DrawsData) -> str | None:
    """Space of the log-density, where bounds make a difference; a ``DataError`` if not known."""
    if not settings.bounded:
        return None
    if settings.space or settings.log_p != "lp" or isinstance(table, InferenceTable):
        return settings.space or usual_space(settings.log_p)
    bounded, free = _both_coordinates(settings)
    raise DataError(
        f"{table.name}: --space: expected constrained, if lp is the log-density of {bounded}, or "
        f"unconstrained, if it is that of {free}, as of Stan, PyMC and NumPyro; received neither"
    )


def _both_coordinates(settings: DrawsData) -> tuple[str, str]:
    """Bounded parameters, and free ones in place of these, as text."""
    bounded = settings.bounded
    return listed(list(bounded)), listed(list(bounded.values()))


def space_in_words(settings: DrawsData, space: str | None) -> str | None:
    """What a log-density is taken for, and what to say if it is not; None without bounds."""
    if space is None:
        return None
    bounded, free = _both_coordinates(settings)
    if space == "constrained":
        text = f"{space}: {settings.log_p} is taken for the log-density of {bounded}"
        return f"{text}; if it is that of {free}, --space unconstrained"
    text = f"{space}: {settings.log_p} is taken for the log-density of {free}"
    return f"{text}; if it is that of {bounded}, --space constrained"


def usual_space(log_p: str) -> str:
    """Space of a log-density by its name."""
    return "unconstrained" if log_p in OF_UNCONSTRAINED else "constrained"


def _chain_column(table: TableFile, settings: DrawsData) -> str | None:
    if settings.chain is not None:
        table.expect([settings.chain])
        return settings.chain
    return next((name for name in CHAINS if name in {c.name for c in table.columns}), None)


def _parameters(
    table: TableFile, settings: DrawsData, beside: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Names of the parameters, and numbers of these and of the columns ``beside`` them."""
    if settings.columns is not None:
        return list(settings.columns), numbers_of(table, [*settings.columns, *beside])
    no_parameters = {*beside, *CHAINS, *NUMBERING, *OTHERS}
    names = [
        column.name
        for column in table.columns
        if column.name not in no_parameters and not column.name.endswith("__")
    ]
    read = read_columns(table, names=[*names, *beside])[0]
    read = [column for column in read if column.name in beside or _has_numbers(column)]
    names = [column.name for column in read if column.name not in beside]
    generated = [name for name in names if GENERATED.search(name)]
    if generated:
        raise DataError(
            f"{table.name}: expected free parameters alone, received generated quantities by their "
            f"names: {listed(generated)}; name the parameters by --columns"
        )
    if not names:
        raise DataError(f"{table.name}: expected numeric columns of parameters; received none")
    return names, stacked(table, read)


def _has_numbers(column: Column) -> bool:
    """Numbers alone, or with text later on: that is refused."""
    if column.numbers is None or column.cell_type != "number":
        return column.first_text_cell is not None and column.first_text_cell[0] > 0
    return not np.isnan(column.numbers).all()


def _expect_spread(
    table: TableFile, columns: Sequence[str], rows: np.ndarray, bounds: Sequence[Bounds]
) -> None:
    """Refuse constant columns, and draws on a bound or beyond."""
    ends = [of_column.ends for of_column in bounds]
    for name, values, (low, high) in zip(columns, rows.T, ends):
        reason = no_spread(values)
        if reason:
            raise DataError(
                f"{table.name}: column {shown(name)} {reason}: no free parameter; leave it out by "
                "--columns"
            )
        beyond = int(((values <= low) | (values >= high)).sum())
        if beyond:
            raise DataError(
                f"{table.name}: column {shown(name)}: expected draws within its bounds; "
                f"received {beyond:,} on a bound or beyond"
            )


def _expect_free(
    table: TableFile, columns: Sequence[str], rows: np.ndarray, inside: np.ndarray
) -> None:
    """Refuse columns that determine each other: the density of such draws is singular."""
    together = determined(inside)
    if not together.any() and (rows != inside).any():
        together = determined(rows)
    if not together.any():
        return
    names = [name for name, is_dependent in zip(columns, together) if is_dependent]
    raise DataError(
        f"{table.name}: expected free parameters, received columns that determine each other: "
        f"{listed(names)}; name the free ones by --columns. Of simplexes and of correlation or "
        "covariance matrices, write unconstrained draws"
    )


def _may_end_at_0(values: np.ndarray) -> bool:
    """Whether draws ``(n,)`` are as those of a scale: positive, near 0, and skewed to the right, as
    the draws of a coefficient that is clearly positive are not.
    """
    deviations = (values - values.mean()) / values.std()
    is_near_0 = 0 < values.min() < values.std()
    return bool(is_near_0 and np.mean(deviations**3) > SKEWED)


def _notes(settings: DrawsData, columns: Sequence[str], rows: np.ndarray) -> Iterator[str]:
    if (settings.space or usual_space(settings.log_p)) == "constrained":
        return
    one_sided = [
        name
        for name, values in zip(columns, rows.T)
        if name not in settings.bounds and _may_end_at_0(values)
    ]
    if one_sided:
        example = ",".join(f"{name}=0:" for name in one_sided[:3])
        yield (
            f"all draws of {listed(one_sided)} are positive: if {settings.log_p} is the "
            "log-density of their logarithms, as of bounded parameters of Stan, --bounds "
            f"{example}; else --bounds {one_sided[0]}=:"
        )
