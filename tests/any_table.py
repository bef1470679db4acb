"""Small tables of the kinds of columns that textbooks and offices have, with options of a fit."""

import csv
import io
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from nflow_cli.config.options import escaped

ROWS = [60, 100, 160, 300]
SCALES = [1.0, 1e3, 1e12, 1e50, 1e99, 1e-3, 1e-9, 1e-150, 1e-300, 1e-310]
SHIFTS = [0.0, 0.0, 1.0, -5.0, 1e3, 1e9, 1e15, 1e16, 1e99]
WORDS = ["a", "b", "Rome, It", 'q"x', "é", "x y", "=1", "two\nlines", "-", "§ 1", "1/2", "Ö"]
NAMES = ["x", "y", "größe", "a, b", "kg/m²", "=1+1", 'q"x', "a=b", "10:30", "名前", "$x_{1}$", "%d"]
START = np.datetime64("1990-01-01T00:00:00")


def gappy(rng, values, share):
    """Return values of which a share is missing."""
    return np.where(rng.random(len(values)) < share, "", texts(values))


def texts(values):
    """Return cells as Python writes them, those that are not known as empty text."""
    cells = np.array(values, object)
    return np.array(["" if cell != cell else str(cell) for cell in cells.tolist()], object)


def days(rng, n, span):
    return START.astype("datetime64[D]") + rng.integers(0, span, n).astype("timedelta64[D]")


def moments(rng, n):
    return START + rng.integers(0, 10**9, n).astype("timedelta64[s]")


def any_numbers(rng, n):
    """Return n numbers of some shape, scale and digits."""
    shapes = [
        rng.normal(size=n),
        rng.standard_cauchy(n),
        np.exp(rng.normal(0, 30, n)),
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


def german(values):
    return [f"{day:%d.%m.%Y}" for day in values.astype(object)]


# How each kind draws n cells, beside ``others``: the numbers of the columns before it.
COLUMNS = {
    "one level and gaps": lambda rng, n, others: gappy(rng, n * ["yes"], 0.5),
    "one number and gaps": lambda rng, n, others: gappy(rng, n * [1], 0.3),
    "constant": lambda rng, n, others: n * [0.1],
    "constant text": lambda rng, n, others: n * ["here"],
    "two levels": lambda rng, n, others: rng.choice(["no", "yes"], n),
    "zero or one": lambda rng, n, others: rng.integers(0, 2, n),
    "one of many": lambda rng, n, others: np.where(np.arange(n) == n // 3, "odd", "usual"),
    "truth": lambda rng, n, others: gappy(rng, rng.choice(["True", "False"], n), 0.1),
    "levels": lambda rng, n, others: rng.choice(WORDS, n, p=np.arange(1, 13) / 78),
    "many levels": lambda rng, n, others: [f"town {i}" for i in rng.integers(0, n // 3, n)],
    "names": lambda rng, n, others: [f"n{i}" for i in rng.permutation(n)],
    "row numbers": lambda rng, n, others: np.arange(1, n + 1),
    "no cell": lambda rng, n, others: n * [""],
    "nearly all gaps": lambda rng, n, others: gappy(rng, rng.normal(size=n), 0.95),
    "one cell": lambda rng, n, others: np.where(np.arange(n) == n // 2, "7.5", ""),
    "whole": lambda rng, n, others: rng.poisson(4, n),
    "large whole": lambda rng, n, others: rng.integers(0, 2**62, n),
    "account numbers": lambda rng, n, others: rng.choice(rng.integers(10**15, 10**16, 20), n),
    "ids": lambda rng, n, others: 1_001 + np.arange(n) // 5,
    "years": lambda rng, n, others: 1976 + np.arange(n) % 5,
    "constant within": lambda rng, n, others: rng.normal(170, 9, n).round()[np.arange(n) // 5],
    "levels within": lambda rng, n, others: rng.choice(["m", "f"], n)[np.arange(n) // 5],
    "normal": lambda rng, n, others: rng.normal(size=n),
    "rounded": lambda rng, n, others: gappy(rng, rng.normal(20, 3, n).round(1), 0.1),
    "money": lambda rng, n, others: rng.lognormal(6, 1, n).round(2),
    "money in text": lambda rng, n, others: [f"{x:,.2f} €" for x in rng.lognormal(8, 1, n)],
    "prices": lambda rng, n, others: rng.choice([9.99, 19.99, 49.0], n),
    "zero-inflated": lambda rng, n, others: np.where(rng.random(n) < 0.6, 0, rng.gamma(2, 3, n)),
    "share": lambda rng, n, others: rng.beta(0.3, 0.3, n).round(3),
    "huge": lambda rng, n, others: 1e12 * rng.normal(size=n),
    "tiny": lambda rng, n, others: 1e-9 * rng.normal(size=n),
    "far": lambda rng, n, others: 1e9 + rng.normal(size=n).round(3),
    "outlier": lambda rng, n, others: np.where(np.arange(n) == n // 2, 1e12, rng.normal(size=n)),
    "code for gaps": lambda rng, n, others: np.where(rng.random(n) < 0.1, -999, rng.poisson(9, n)),
    "single": lambda rng, n, others: rng.normal(size=n).astype(np.float32).astype(float),
    "any numbers": lambda rng, n, others: any_numbers(rng, n),
    "any numbers and gaps": lambda rng, n, others: gappy(rng, any_numbers(rng, n), 0.3),
    "days": lambda rng, n, others: days(rng, n, 9_000),
    "few days": lambda rng, n, others: gappy(rng, days(rng, n, 4), 0.1),
    "german days": lambda rng, n, others: german(days(rng, n, 900)),
    "consecutive days": lambda rng, n, others: START.astype("datetime64[D]") + np.arange(n),
    "times": lambda rng, n, others: moments(rng, n),
    "times of day": lambda rng, n, others: of_clock(rng.integers(0, 1_440, n)),
    "copy": lambda rng, n, others: others[0],
    "rounded copy": lambda rng, n, others: others[0].round(1),
    "scaled copy": lambda rng, n, others: 2.5 * others[0] + 3,
    "nearly a copy": lambda rng, n, others: others[0] * (1 + 1e-7 * rng.normal(size=n)),
    "sum": lambda rng, n, others: others[0] + others[-1],
    "difference with gaps": lambda rng, n, others: gappy(rng, others[0] - others[-1], 0.2),
    "product": lambda rng, n, others: others[0] * others[-1],
    "ratio": lambda rng, n, others: others[0] / np.where(others[-1] == 0, np.nan, others[-1]),
    "logarithm": lambda rng, n, others: np.log(np.abs(others[0]) + 1),
    "constant where another is large": lambda rng, n, others: np.where(
        np.abs(others[0]) > np.nanmedian(np.abs(others[0])), 2, rng.normal(size=n).round(2)
    ),
    "level of another": lambda rng, n, others: np.where(others[0] > np.nanmean(others[0]), "b", "s"),
    "missing where another is large": lambda rng, n, others: np.where(
        others[0] > np.nanmean(others[0]), np.nan, rng.normal(size=n)
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
    draw.columns["part"] = draw.rng.choice(["train", "test", "valid"], n, p=[0.7, 0.2, 0.1]).tolist()
    return ["--split", "part"]


OPTIONS = {
    "--given": lambda draw: ["--given", draw.names()],
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
    names = [f"{name}{i}" for i in range(5) for name in rng.permutation(NAMES)]
    columns = columns_of(rng, n, names, kinds)
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


def columns_of(rng, n, names, kinds):
    """Return columns of cells as text."""
    columns, numbers = {}, []
    for name, kind in zip(names, kinds):
        with np.errstate(all="ignore"):
            values = COLUMNS[kind](rng, n, numbers or [rng.normal(size=n)])
            numbers += as_numbers(values)
        columns[name] = texts(values).tolist()
    return columns


def as_numbers(values):
    """Return a list of the numbers of a column, or an empty one if its cells are others."""
    try:
        numbers = np.array([float(cell or "nan") for cell in texts(values)])
    except ValueError:
        return []
    return [numbers] if np.isfinite(numbers).any() else []
