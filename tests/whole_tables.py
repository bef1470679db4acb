"""Whole tables with columns of every kind, as rows and as draws of a density that is a bit off."""

import numpy as np
import pyarrow as pa

from nflow_cli.config.column_kinds import ColumnKind, Lattice

LONG = "a level whose name is much longer than there is room for"
KINDS = {
    "species": ColumnKind(kind="levels", levels=["Adelie", "Gentoo", LONG], type="text"),
    "city": ColumnKind(kind="levels", levels=[f"city {i}" for i in range(40)], type="text"),
    "answer": ColumnKind(kind="levels", levels=["no", "yes"], type="truth", missing=True),
    "rain": ColumnKind(kind="number", atoms=[0.0], repeats=True),
    "income": ColumnKind(kind="number", missing=True),
    "age": ColumnKind(kind="grid", repeats=True, lattice=Lattice(step=1), atoms=[10.0, 20.0, 30.0]),
    "half": ColumnKind(kind="grid", repeats=True, lattice=Lattice(step=0.5, offset=0.25)),
    "day": ColumnKind(kind="grid", repeats=True, type="date", lattice=Lattice(step=1)),
    "time": ColumnKind(kind="number", type="time"),
}


def cells(n, seed=0):
    """Return cells (n, 9) of the columns `KINDS`."""
    rng = np.random.default_rng(seed)
    species = rng.integers(0, 3, n)
    city = np.where(rng.random(n) < 0.05, -1, np.minimum(rng.geometric(0.15, n), 40) - 1)
    answer = np.where(rng.random(n) < 0.1, np.nan, rng.random(n) < 0.2 + 0.3 * species)
    rain = np.where(rng.random(n) < 0.6, 0, rng.gamma(1.2, 5, n))
    income = np.where(rng.random(n) < 0.2, np.nan, np.exp(rng.normal(9 + species, 1, n)))
    age = np.where(rng.random(n) < 0.3, rng.integers(1, 4, n) * 10, rng.integers(0, 50, n))
    half = rng.binomial(8, 0.5, n) / 2 + 0.25
    day, time = rng.integers(15_000, 19_000, n), 1.5e9 + 1e6 * rng.random(n)
    return np.column_stack([species, city, answer, rain, income, age, half, day, time])


def column(name, n=500, seed=0):
    """Return a column's kinds and cells, each of a table of that column."""
    return {name: KINDS[name]}, cells(n, seed)[:, [list(KINDS).index(name)]]


class Frame:
    """A DataFrame of some make: all that is known of it is how Arrow takes its columns."""

    def __init__(self, columns):
        self.columns = columns

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table(self.columns).__arrow_c_stream__(requested_schema)
