"""Small tables of the kinds of columns that textbooks and offices have, with options of a fit."""

import csv
import io
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from nflow_cli.config.schema_options import escaped

ROWS = [20, 60, 100, 160, 300]
SCALES = [1.0, 1e3, 1e12, 1e50, 1e99, 1e-3, 1e-9, 1e-150, 1e-300, 1e-310]
SHIFTS = [0.0, 0.0, 1.0, -5.0, 1e3, 1e9, 1e15, 1e16, 1e99]
WORDS = ["a", "b", "Rome, It", 'q"x', "é", "x y", "=1", "two\nlines", "-", "§ 1", "1/2", "None"]
NAMES = ["x", "y", "größe", "a, b", "kg/m²", "=1+1", 'q"x', "a=b", "10:30", "名前", "$x_{1}$", "%d"]
START = np.datetime64("1990-01-01T00:00:00")


def texts(values):
    """Return cells as Python writes them, those that are not known as empty text."""
    cells = np.array(values, object)
    return np.array(["" if cell != cell else str(cell) for cell in cells.tolist()], object)


class Cells:
    """What n cells of a column are drawn from; ``first`` and ``last``: numbers of other columns."""

    def __init__(self, rng, n):
        self.rng, self.n = rng, n
        self.first = self.last = rng.normal(size=n)
        self.others = []

    def add(self, cells):
        """Take the numbers of a column, if it has some, for the columns after it."""
        try:
            numbers = np.array([float(cell or "nan") for cell in cells])
        except ValueError:
            return
        if np.isfinite(numbers).any():
            self.others.append(numbers)
            self.first, self.last = self.others[0], numbers

    def gappy(self, values, share):
        """Return values of which a share is missing."""
        return np.where(self.rng.random(self.n) < share, "", texts(values))

    def days(self, span):
        """Return dates within a number of days."""
        later = self.rng.integers(0, span, self.n).astype("timedelta64[D]")
        return START.astype("datetime64[D]") + later

    def times(self):
        """Return times within thirty years, in seconds."""
        return START + self.rng.integers(0, 10**9, self.n).astype("timedelta64[s]")

    def any_numbers(self):
        """Return numbers of some shape, scale and digits."""
        rng, n = self.rng, self.n
        shapes = [
            rng.normal(size=n),
            rng.standard_cauchy(n),
            np.exp(rng.normal(0, 6, n)),
            rng.integers(0, rng.choice([2, 3, 20, 1_000]), n).astype(float),
            rng.beta(0.05, 0.05, n),
            np.where(rng.random(n) < 0.5, 0.0, rng.normal(size=n)),
            1 + rng.normal(size=n) * rng.choice([1e-9, 1e-13, 1e-15]),
            np.where(np.arange(n) == n // 2, rng.choice([1.0, -1e90]), 0.0),
            rng.choice(rng.normal(size=4), n),
        ]
        values = shapes[rng.integers(len(shapes))] * rng.choice(SCALES) + rng.choice(SHIFTS)
        digits = rng.choice([-1, -1, 0, 1, 3, 6])
        return values if digits < 0 else np.round(values, digits)


def of_clock(values):
    return [f"{value // 60:02}:{value % 60:02}" for value in values]


def german(days):
    return [f"{day:%d.%m.%Y}" for day in days.astype(object)]


# How each kind of column draws its cells.
COLUMNS = {
    "one level and gaps": lambda of: of.gappy(of.n * ["yes"], 0.5),
    "one number and gaps": lambda of: of.gappy(of.n * [1], 0.3),
    "constant": lambda of: of.n * [0.1],
    "constant text": lambda of: of.n * ["here"],
    "two levels": lambda of: of.rng.choice(["no", "yes"], of.n),
    "zero or one": lambda of: of.rng.integers(0, 2, of.n),
    "one of many": lambda of: np.where(np.arange(of.n) == of.n // 3, "odd", "usual"),
    "truth": lambda of: of.gappy(of.rng.choice(["True", "False"], of.n), 0.1),
    "levels": lambda of: of.rng.choice(WORDS, of.n, p=np.arange(1, 13) / 78),
    "many levels": lambda of: [f"town {i}" for i in of.rng.integers(0, of.n // 3, of.n)],
    "names": lambda of: [f"n{i}" for i in of.rng.permutation(of.n)],
    "row numbers": lambda of: np.arange(1, of.n + 1),
    "no cell": lambda of: of.n * [""],
    "nearly all gaps": lambda of: of.gappy(of.rng.normal(size=of.n), 0.95),
    "one cell": lambda of: np.where(np.arange(of.n) == of.n // 2, "7.5", ""),
    "whole": lambda of: of.rng.poisson(4, of.n),
    "large whole": lambda of: of.rng.integers(0, 2**62, of.n),
    "account numbers": lambda of: of.rng.choice(of.rng.integers(10**15, 10**16, 20), of.n),
    "ids": lambda of: 1_001 + np.arange(of.n) // 5,
    "years": lambda of: 1976 + np.arange(of.n) % 5,
    "constant within": lambda of: of.rng.normal(170, 9, of.n).round()[np.arange(of.n) // 5],
    "levels within": lambda of: of.rng.choice(["m", "f"], of.n)[np.arange(of.n) // 5],
    "normal": lambda of: of.rng.normal(size=of.n),
    "rounded": lambda of: of.gappy(of.rng.normal(20, 3, of.n).round(1), 0.1),
    "money": lambda of: of.rng.lognormal(6, 1, of.n).round(2),
    "money in text": lambda of: [f"{x:,.2f} €" for x in of.rng.lognormal(8, 1, of.n)],
    "wages": lambda of: of.rng.lognormal(3, 2, of.n).round(),
    "prices": lambda of: of.rng.choice([9.99, 19.99, 49.0], of.n),
    "zero-inflated": lambda of: np.where(of.rng.random(of.n) < 0.6, 0, of.rng.gamma(2, 3, of.n)),
    "share": lambda of: of.rng.beta(0.3, 0.3, of.n).round(3),
    "huge": lambda of: 1e12 * of.rng.normal(size=of.n),
    "tiny": lambda of: 1e-9 * of.rng.normal(size=of.n),
    "far": lambda of: 1e9 + of.rng.normal(size=of.n).round(3),
    "outlier": lambda of: np.where(np.arange(of.n) == of.n // 2, 1e12, of.rng.normal(size=of.n)),
    "code for gaps": lambda of: np.where(of.rng.random(of.n) < 0.1, -999, of.rng.poisson(9, of.n)),
    "single": lambda of: of.rng.normal(size=of.n).astype(np.float32).astype(float),
    "any numbers": lambda of: of.any_numbers(),
    "any numbers and gaps": lambda of: of.gappy(of.any_numbers(), 0.3),
    "days": lambda of: of.days(9_000),
    "few days": lambda of: of.gappy(of.days(4), 0.1),
    "german days": lambda of: german(of.days(900)),
    "consecutive days": lambda of: START.astype("datetime64[D]") + np.arange(of.n),
    "times": lambda of: of.times(),
    "times of day": lambda of: of_clock(of.rng.integers(0, 1_440, of.n)),
    "copy": lambda of: of.first,
    "rounded copy": lambda of: of.first.round(1),
    "scaled copy": lambda of: 2.5 * of.first + 3,
    "nearly a copy": lambda of: of.first * (1 + 1e-7 * of.rng.normal(size=of.n)),
    "sum": lambda of: of.first + of.last,
    "difference with gaps": lambda of: of.gappy(of.first - of.last, 0.2),
    "product": lambda of: of.first * of.last,
    "ratio": lambda of: of.first / np.where(of.last == 0, np.nan, of.last),
    "logarithm": lambda of: np.log(np.abs(of.first) + 1),
    "constant where another is large": lambda of: np.where(
        np.abs(of.first) > np.nanquantile(np.abs(of.first), 0.3),
        0.1,
        of.rng.normal(size=of.n).round(2),
    ),
    "level of another": lambda of: np.where(of.first > np.nanmean(of.first), "b", "s"),
    "missing where another is large": lambda of: np.where(
        of.first > np.nanmean(of.first), np.nan, of.rng.normal(size=of.n)
    ),
}


SMALL = ["--set", "cells.width=8", "--set", "cells.blocks=1", "--set", "cells.components=3"]
FLOWS = ["planar", "radial", "affine-coupling", "spline-coupling", "permutation"]


class Draw(NamedTuple):
    """What options are drawn from: columns of cells, one of which most are about."""

    rng: np.random.Generator
    columns: dict[str, list[str]]
    about: str

    def name(self):
        """Return the name of a column, as a list of names has it."""
        others = [*self.columns]
        name = self.about if self.rng.random() < 0.6 else others[self.rng.integers(len(others))]
        return escaped(name)

    def names(self):
        """Return one name or two."""
        return ",".join(dict.fromkeys(self.name() for _ in range(self.rng.integers(1, 3))))

    def cell(self):
        """Return a cell of the column that most options are about."""
        known = [cell for cell in self.columns[self.about] if cell]
        return known[self.rng.integers(len(known))] if known else "-999"

    def end(self, larger):
        """Return a bound of that column, of a few of its numbers or beyond them all."""
        try:
            numbers = [float(cell) for cell in self.columns[self.about] if cell]
        except ValueError:
            return ""
        if not numbers or self.rng.random() < 0.3:
            return ""
        end = max(numbers) if larger else min(numbers)
        beyond = float(self.rng.choice([0, 0, 1, abs(end)]))
        return repr(end + beyond if larger else end - beyond)


def weighted(draw):
    some = [draw.rng.integers(0, 3, 1_000), draw.rng.gamma(1, size=1_000), [1] * 1_000]
    n = len(draw.columns[draw.about])
    draw.columns["w"] = texts(some[draw.rng.integers(3)][:n]).tolist()
    return ["--weights", "w"]


def split(draw):
    n = len(draw.columns[draw.about])
    draw.columns["part"] = draw.rng.choice(
        ["train", "test", "valid"], n, p=[0.7, 0.2, 0.1]
    ).tolist()
    return ["--split", "part"]


OPTIONS = {
    "--given": lambda draw: ["--given", draw.names()],
    "--target": lambda draw: ["--target", draw.names()],
    "--group": lambda draw: ["--group", draw.name().replace("\\,", ",")],
    "--weights": weighted,
    "--split": split,
    "--test": lambda draw: ["--test", "tests.csv"],
    "--exclude": lambda draw: ["--exclude", draw.names()],
    "--columns": lambda draw: ["--columns", draw.names()],
    "--categorical": lambda draw: ["--categorical", draw.names()],
    "--discrete": lambda draw: ["--discrete", f"{draw.name()}:{draw.rng.choice([1, 0.01, 5])}"],
    "--bounds": lambda draw: [
        "--bounds",
        f"{escaped(draw.about)}={draw.end(False)}:{draw.end(True)}",
    ],
    "--na": lambda draw: ["--na", escaped(draw.cell())],
    "--na of one": lambda draw: ["--na", f"{escaped(draw.about)}={escaped(draw.cell())}"],
    "--missing": lambda draw: ["--missing", str(draw.rng.choice(["refuse", "drop", "model"]))],
    "--max-rows": lambda draw: ["--max-rows", str(draw.rng.choice([12, 50, 1_000]))],
    "--ensemble": lambda draw: ["--ensemble", "2"],
    "--flow": lambda draw: ["--flow", str(draw.rng.choice(FLOWS)), "--k", "2"],
    "--k": lambda draw: ["--k", str(draw.rng.integers(2))],
    "--epochs": lambda draw: ["--epochs", "0.5"],
}


class Case(NamedTuple):
    """A table of columns of cells, and the options of a fit to it, as they are typed."""

    kinds: list[str]
    columns: dict[str, list[str]]
    words: list[str]
    seed: int


def case_of(kinds, options, n, seed):
    """Return a case of columns of some kinds with rare names, and of some options."""
    rng = np.random.default_rng(seed)
    names = [f"{name}{i or ''}" for i in range(5) for name in rng.permutation(NAMES)]
    columns = columns_of(Cells(rng, n), names, kinds)
    draw = Draw(rng, columns, [*columns][rng.integers(len(columns))])
    words = [word for option in options for word in OPTIONS[option](draw)]
    sizes = [] if {"--flow", "--k"} & {*options} else SMALL
    length = [] if "--epochs" in options else ["--steps", "2"]
    return Case(kinds, columns, [*words, *length, *sizes, "--set", "train.chunk=1"], seed)


cases = st.builds(
    case_of,
    st.lists(st.sampled_from([*COLUMNS]), min_size=1, max_size=6),
    st.lists(st.sampled_from([*OPTIONS]), max_size=2, unique=True),
    st.sampled_from(ROWS),
    st.integers(0, 2**32 - 1),
)


def csv_of(columns):
    """Return the text of a table."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([[*columns], *zip(*columns.values())])
    return file.getvalue()


def columns_of(of, names, kinds):
    """Return columns of cells as text."""
    columns = {}
    for name, kind in zip(names, kinds):
        with np.errstate(all="ignore"):
            cells = texts(COLUMNS[kind](of)).tolist()
        columns[name] = cells
        of.add(cells)
    return columns
