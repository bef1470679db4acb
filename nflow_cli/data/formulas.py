"""Formulas by which numeric columns follow from others, found in some rows and checked in all.

`linear`: y = c + sum a x; `product`: y = c prod x^a; `log`: y = c + sum a log x; `exp`: y = c
exp(sum a x).
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from nflow_cli.config.kinds import Relation
from nflow_cli.data.columns import Column
from nflow_cli.data.written import significant

ROWS_A_COLUMN = 5  # for the search of a formula, at least
CANDIDATES = 40  # columns at most, by correlation
SAMPLE = 250  # rows for the search
VARIED = 10  # distinct values of a product, a logarithm or a power, more than
DENOMINATOR = 100  # of rational coefficients
SMALL = 0.01  # a smaller coefficient, in standard deviations, is 0
NOISE = 1e-10  # rounding by arithmetic and 12 digits, relative to terms or typical values
HALF = 0.499  # of a step, the rounding error; ties are ambiguous
EXACT = 1e-6  # of a step: a formula that is not rounded
FINE = 30  # steps in a standard deviation, for a formula of rounded numbers
BASES = (1 / math.log(10), 1 / math.log(2), math.log(10), math.log(2))  # of logarithms
Rule = Literal["linear", "product", "log", "exp"]
TERMS: dict[Rule, int] = {"linear": 10, "product": 3, "log": 2, "exp": 2}  # columns at most


def formula_of(target: Column, sources: Sequence[Column]) -> Relation | None:
    """Formula of a column of numbers by others that holds in all rows, with equal missing cells, if
    there is one.
    """
    rows = np.flatnonzero(target.places >= 0)
    few = rows[:: max(1, -(-len(rows) // SAMPLE))]
    complete = [source for source in sources if (source.places[few] >= 0).all()]
    for rule in TERMS:
        if rule != "linear" and not len(target.counts) > VARIED:
            return None
        usable = [source for source in complete if rule == "linear" or len(source.counts) > VARIED]
        terms = _terms(rule, target.cells[few], [source.cells[few] for source in usable])
        if terms is None:
            continue
        chosen = [usable[k] for k in terms[0]]
        if not np.array_equal(target.places < 0, np.any([s.places < 0 for s in chosen], axis=0)):
            continue
        holding: list[tuple[np.ndarray, float]] = []
        for powers in _candidates(rule, terms[1]):
            if _constant(rule, target, chosen, powers, few) is not None:
                constant = _constant(rule, target, chosen, powers, rows)
                holding += [] if constant is None else [(powers, constant)]
        if holding:
            powers, constant = min(holding, key=_length)
            names = [source.name for source in chosen]
            return Relation(
                rule=rule, columns=names, coefficients=powers.tolist(), constant=constant
            )
    return None


def _length(formula: tuple[np.ndarray, float]) -> int:
    powers, constant = formula
    digits = [min(len(f"{a:.12g}"), len(f"{1 / a:.12g}")) for a in powers.tolist()]
    return sum(digits) + len(f"{constant:.12g}")


def _terms(
    rule: Rule, y: np.ndarray, columns: list[np.ndarray]
) -> tuple[list[int], np.ndarray] | None:
    if not columns:
        return None
    x = np.stack(columns, axis=1)
    with np.errstate(divide="ignore"):
        x = np.log(np.abs(x)) if rule in ("product", "log") else x
        y = np.log(np.abs(y)) if rule in ("product", "exp") else y
    finite_columns = np.isfinite(x).mean(0) > 0.5
    finite = np.isfinite(y) & np.isfinite(x[:, finite_columns]).all(1)
    x, y = x[finite], y[finite]
    room = len(y) // ROWS_A_COLUMN - 1
    if room < 1 or y.std() == 0:
        return None
    spread = np.where(finite_columns, np.where(finite_columns, x, 0).std(0), 0)
    known = np.flatnonzero(spread > 0)
    z = (x[:, known] - x[:, known].mean(0)) / spread[known]
    w = (y - y.mean()) / y.std()
    best = np.sort(np.argsort(-np.abs(z.T @ w), kind="stable")[: min(room, CANDIDATES)])
    known, z = known[best], z[:, best]
    for _ in range(2):
        if not len(known):
            return None
        fit = np.linalg.lstsq(z, w, rcond=1e-10)[0]
        if np.abs(w - z @ fit).max() > 0.1:
            return None
        keep = np.abs(fit) > SMALL
        known, z, fit = known[keep], z[:, keep], fit[keep]
    if not 0 < len(known) <= TERMS[rule]:
        return None
    return known.tolist(), fit * y.std() / spread[known]


def _candidates(rule: Rule, fit: np.ndarray) -> list[np.ndarray]:
    """Rational coefficients; for one column also round ones, or any."""
    rational = np.array([float(Fraction(a).limit_denominator(DENOMINATOR)) for a in fit.tolist()])
    found = [rational] if rational.all() else []
    if len(fit) > 1:
        return found
    if rule in ("log", "exp"):
        found += [np.array([base]) for base in BASES if abs(base / fit[0] - 1) < 1e-3]
    round_ones = [significant(fit, digits) for digits in range(2, 8)]
    round_ones += [1 / significant(1 / fit, digits) for digits in range(2, 8)]
    return [*found, *round_ones, fit]


def _constant(
    rule: Rule,
    target: Column,
    chosen: Sequence[Column],
    powers: np.ndarray,
    rows: np.ndarray,
) -> float | None:
    y, x = target.cells[rows], np.stack([source.cells[rows] for source in chosen], axis=1)
    plain, size = combined(rule, x, powers)
    step = target.distinct.steps_at(y)
    half = step * (HALF if y.std() >= FINE * step.max() else EXACT)
    if rule in ("linear", "log"):
        half = half + NOISE * np.maximum(np.maximum(size, target.distinct.typical), np.abs(y))
        low, high = _interval(y - half - plain, y + half - plain)
    elif y[plain == 0].any():
        return None
    else:
        half = half + NOISE * np.abs(y)
        with np.errstate(all="ignore"):
            ends = np.sort([(y - half) / plain, (y + half) / plain], axis=0)
        low, high = _interval(*np.where(plain == 0, [[-np.inf], [np.inf]], ends))
    if not (np.isfinite([low, high]).all() and low <= high):
        return None
    return 0.0 if rule in ("linear", "log") and low <= 0 <= high else _roundest(low, high)


def _interval(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    return float(low.max()), float(high.min())


def _roundest(low: float, high: float) -> float:
    """Number of an interval with the fewest digits, else its middle."""
    middle = np.array([(low + high) / 2])
    tries = [float(significant(middle, digits)[0]) for digits in range(1, 16)]
    return next((value for value in tries if low <= value <= high), float(middle[0]))


def combined(rule: Rule, x: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Formula without its constant, `(n,)`, and size of its terms."""
    with np.errstate(all="ignore"):
        if rule == "product":
            value = np.prod(x**powers, axis=1)
            return value, np.abs(value)
        terms = (np.log(x) if rule == "log" else x) * powers
        total, size = terms.sum(1), np.abs(terms).sum(1)
        return (np.exp(total), size) if rule == "exp" else (total, size)
