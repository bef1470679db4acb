"""Formulas by which numeric columns follow from others, found in some rows and checked in all.

`linear`: y = c + sum a x; `product`: y = c prod x^a; `log`: y = c + sum a log x; `exp`: y = c
exp(sum a x).

A formula must hold in all rows to half a step of the column (a tie is rounded up or down), if its
standard deviation is 30 steps or more; of a coarser one exactly. If it does not, its columns may
have been rounded, too, by less than a thousandth of the standard deviation. Chance explains
neither: n rows on a formula have the probability prod p, with p the share of rows whose value the
formula would have allowed, and more nats than the formula costs, 10 for each number in it, are
asked for. By few or coarse values any formula holds.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from nflow_cli.config.kinds import Relation
from nflow_cli.data.columns import Column
from nflow_cli.data.written import DIGITS, DistinctNumbers, significant
from nflow_cli.random_streams import stream

ROWS_A_COLUMN = 5  # for the search of a formula, at least
CANDIDATES = 40  # columns at most, by correlation
SAMPLE = 250  # rows for the search
SAMPLES = 8  # that are kept, of columns with equal gaps
VARIED = 3  # distinct values of a product, a logarithm or a power, more than
DENOMINATOR = 100  # of rational coefficients
BAD = 0.1  # difference from a formula, in standard deviations
RIDGE = 1e-12  # of correlations
LEAST = 1e-8  # eigenvalue of correlations that are inverted
VARIES = 1e-12  # part of its variance that a column has in some rows
SMALL = 0.01  # a smaller coefficient, in standard deviations, is 0
NATS = 10.0  # of evidence for each chosen value
NOISE = 1e-10  # of numbers with all digits, relative to terms or typical values,
ARITHMETIC = 1e-15  # and of a formula of others: rounding by arithmetic
EXACT = 1e-6  # of a step: a formula that is not rounded
FINE = 30  # steps in a standard deviation, for a formula of rounded numbers
NARROW = 1_000  # rounding errors in a standard deviation, if those of other columns count
PRECISE = 0.02  # rounding error of a logarithm, in standard deviations, for the search
TIES = 0.6  # of the rows, at most: a constant that is half a step makes all of them ties
WIDER = 10  # distinct values that end before the last decimal, of significant digits
BASES = (1 / math.log(10), 1 / math.log(2), math.log(10), math.log(2))  # of logarithms
Rule = Literal["linear", "product", "log", "exp"]
TERMS: dict[Rule, int] = {"linear": 10, "product": 3, "log": 2, "exp": 2}  # columns at most


class FormulaSearch:
    """Search of formulas among the columns of a table.

    Attributes:
        columns: All columns.
        near: Indices of those that a formula gave, but for rounding or a few rows.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.near: set[int] = set()
        self._are_numbers = np.array([column.numbers is not None for column in columns], bool)
        self._are_varied = np.array([len(column.counts) > VARIED for column in columns], bool)
        gaps = [np.packbits(column.places < 0).tobytes() for column in columns]
        numbers = {pattern: i for i, pattern in enumerate(dict.fromkeys(gaps))}
        self._gaps = np.array([np.frombuffer(pattern, np.uint8) for pattern in numbers])
        self._of_gaps = np.array([numbers[pattern] for pattern in gaps])  # which each column has
        self._sample = lru_cache(SAMPLES)(self._sampled)

    def formula(
        self, target: int, sources: Sequence[int], are_rounded: bool = False
    ) -> Relation | None:
        """Formula of a column of numbers by others that holds in all rows, with equal missing
        cells, if there is one.

        Args:
            target: Index of the column; of one of text there is none.
            sources: Indices of others, of which some are used.
            are_rounded: These were rounded, too.
        """
        column = self.columns[target]
        gaps = int(self._of_gaps[target])
        if column.numbers is None or column.nats < 2 * NATS:
            return None
        usable = np.array(sources, int)
        usable = usable[self._are_complete(gaps)[usable]]
        if not self._leave(gaps, usable):
            return None
        sample = self._sample(gaps)
        for rule in TERMS:
            if rule != "linear" and not self._are_varied[target]:
                return None
            among = usable if rule == "linear" else usable[self._are_varied[usable]]
            terms = _terms(rule, column, sample, among)
            if terms is None or not self._leave(gaps, terms[0]):
                continue
            self.near.add(target)
            chosen = [self.columns[k] for k in terms[0].tolist()]
            relation = _holding(rule, column, chosen, terms[1], sample.rows, are_rounded)
            if relation:
                return relation
        return None

    def _are_complete(self, gaps: int) -> np.ndarray:
        """Which columns of numbers have gaps only where one with these gaps has, a mask."""
        return self._are_numbers & ~(self._gaps & ~self._gaps[gaps]).any(axis=1)[self._of_gaps]

    def _leave(self, gaps: int, columns: np.ndarray) -> bool:
        """Whether a function of columns has these gaps."""
        patterns = self._gaps[np.unique(self._of_gaps[columns])]
        if not len(patterns):
            return False
        return np.array_equal(np.bitwise_or.reduce(patterns), self._gaps[gaps])

    def _sampled(self, gaps: int) -> "_Sample":
        """Rows without these gaps, at random, of the columns that are complete there."""
        are_known = ~np.unpackbits(self._gaps[gaps])[: len(self.columns[0].places)].astype(bool)
        rows = np.flatnonzero(are_known)
        if len(rows) > SAMPLE:  # at random: of a panel, rows at equal distances may be of one year
            rows = np.sort(stream(0, "formulas").choice(rows, SAMPLE, replace=False))
        columns = np.flatnonzero(self._are_complete(gaps))
        x = np.column_stack([self.columns[k].cells[rows] for k in columns.tolist()])
        with np.errstate(divide="ignore"):
            return _Sample(rows, columns, _Matrix(x), _Matrix(np.log(np.abs(x))))


class _Matrix:
    """Numbers of columns in some rows, and their moments."""

    def __init__(self, x: np.ndarray) -> None:
        self._lost = ~np.isfinite(x)
        known = np.where(self._lost, 0.0, x)
        # A mean that rounding has outside of its values would give a constant a variance.
        middle = np.clip(known.mean(axis=0), known.min(axis=0), known.max(axis=0))
        self.x = np.where(self._lost, 0.0, x - middle)
        self._squares = self.x**2
        self._of_all = self._moments(np.ones(len(x), bool))

    def _moments(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variances in the rows of a mask, and which columns are finite there."""
        weights = rows / rows.sum()
        variances = weights @ self._squares - (weights @ self.x) ** 2
        return variances, weights @ self._lost == 0

    def correlations(self, w: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Correlations with a standardised column, 0 outside the rows of a mask; of constants 0, as
        of columns with values that are not finite there.
        """
        variances, are_finite = self._of_all if rows.all() else self._moments(rows)
        usable = are_finite & (variances > VARIES * self._of_all[0])
        scale = np.sqrt(np.where(usable, variances, np.inf))
        return (w @ self.x) / rows.sum() / scale


class _Sample(NamedTuple):
    """Some rows of the columns that are complete there.

    Attributes:
        rows: Their indices.
        columns: Indices of the columns.
        plain: Numbers.
        logs: Logarithms.
    """

    rows: np.ndarray
    columns: np.ndarray
    plain: _Matrix
    logs: _Matrix


def _holding(
    rule: Rule,
    target: Column,
    chosen: Sequence[Column],
    fit: np.ndarray,
    few: np.ndarray,
    are_rounded: bool,
) -> Relation | None:
    """Relation with the shortest of coefficients near a fit that holds in few and in all rows."""
    rows = np.flatnonzero(target.places >= 0)
    for digits in dict.fromkeys((None, _digits(target.distinct))):
        holding = list[Relation]()
        for powers in _candidates(rule, fit):
            formula = Relation(
                rule=rule,
                columns=[source.name for source in chosen],
                coefficients=powers.tolist(),
                digits=digits,
                is_rounded=are_rounded,
            )
            if _constant(formula, target, chosen, few) is not None:
                constant = _constant(formula, target, chosen, rows, NATS * (1 + len(chosen)))
                if constant is not None:
                    holding.append(formula.model_copy(update={"constant": constant}))
        if holding:
            return min(holding, key=_length)
    return None


def _digits(numbers: DistinctNumbers) -> int | None:
    """Significant digits of numbers that some more than chance explains have fewer decimals for."""
    if numbers.decimals is None:
        return None
    values = numbers.values[numbers.values != 0]
    fits = (n for n in range(1, DIGITS) if np.array_equal(significant(values, n), values))
    digits = next(fits, None)
    if digits is None:
        return None
    are_wider = steps_of_digits(values, digits) > 2 * 10.0**-numbers.decimals
    return digits if are_wider.sum() >= WIDER else None


def _length(formula: Relation) -> int:
    digits = [min(len(f"{a:.12g}"), len(f"{1 / a:.12g}")) for a in formula.coefficients]
    return sum(digits) + len(f"{formula.constant:.12g}")


def _terms(
    rule: Rule, target: Column, sample: _Sample, among: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Columns of a formula, by index, and its coefficients, by least squares, if it fits well."""
    y = target.cells[sample.rows]
    matrix = sample.logs if rule in ("product", "log") else sample.plain
    rows = np.ones(len(y), bool)
    if rule in ("product", "exp"):
        y, rows = _precise_logs(target, y)
    room = min(int(rows.sum()) // ROWS_A_COLUMN - 1, CANDIDATES)
    # A constant has a spread by the rounding of its mean, and tiny numbers have none.
    if room < 1 or np.ptp(y[rows]) == 0 or (spread := y[rows].std()) == 0:
        return None
    w = np.where(rows, (y - y[rows].mean()) / spread, 0.0)
    places = np.searchsorted(sample.columns, among)
    size = np.abs(matrix.correlations(w, rows)[places])
    best = np.sort(np.argsort(-size, kind="stable")[:room])
    best = best[size[best] > 0]
    w = w[rows]
    z = matrix.x[np.ix_(rows, places[best])]
    scale = z.std(axis=0)
    z = (z - z.mean(axis=0)) / scale
    for _ in range(2):
        keep = np.abs(_slopes(z, w)) > SMALL
        best = best[keep]
        z = z[:, keep]
        scale = scale[keep]
    if not 0 < len(best) <= TERMS[rule]:
        return None
    fit = np.linalg.lstsq(z, w, rcond=1e-10)[0]
    if np.abs(w - z @ fit).max() > BAD:
        return None
    return among[best], fit * spread / scale


def _precise_logs(target: Column, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of a column's cells, and which of them rounding leaves precise."""
    step = target.distinct.steps_at(y)
    size = np.abs(y)
    are_precise = size > 0
    logs = np.log(np.where(are_precise, size, 1.0))
    if y.std() >= FINE * step.max():
        are_precise &= step <= PRECISE * logs[are_precise].std() * size
    return logs, are_precise


def _slopes(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Slopes of a standardised column on others; 0 where they explain little, which is the usual
    case and tested by their moments.
    """
    moments = z.T @ z / len(w)
    products = z.T @ w / len(w)
    slopes = np.linalg.solve(moments + RIDGE * np.eye(len(products)), products)
    if 1 - products @ slopes > BAD**2:
        return np.zeros(len(products))
    if np.linalg.eigvalsh(moments)[0] > LEAST:
        return slopes
    return np.linalg.lstsq(z, w, rcond=1e-10)[0]


def _candidates(rule: Rule, fit: np.ndarray) -> list[np.ndarray]:
    """Rational coefficients; for one column also round ones, or any."""
    rational = np.array([float(Fraction(a).limit_denominator(DENOMINATOR)) for a in fit.tolist()])
    candidates = [rational] if rational.all() else []
    if len(fit) > 1:
        return candidates
    if rule in ("log", "exp"):
        candidates += [np.array([base]) for base in BASES if abs(base / fit[0] - 1) < 1e-3]
    candidates += [significant(fit, digits) for digits in range(2, 8)]
    candidates += [1 / significant(1 / fit, digits) for digits in range(2, 8)]
    return [*candidates, fit]


def _constant(
    formula: Relation,
    target: Column,
    chosen: Sequence[Column],
    rows: np.ndarray,
    nats: float = 0.0,
) -> float | None:
    """Roundest constant with which a formula holds in rows, with some nats of evidence, if any."""
    y = target.cells[rows]
    x = np.stack([source.cells[rows] for source in chosen], axis=1)
    plain, size = combined(formula, x)
    step = target.distinct.steps_at(y)
    if formula.digits:
        step = np.maximum(step, steps_of_digits(y, formula.digits))
    half = step * EXACT
    if y.std() >= FINE * step.max():
        half = step * (0.5 + EXACT)
    if formula.is_rounded:
        decimals = [source.distinct.decimals for source in chosen]
        half = half + errors_of(formula, x, decimals, y).sum(axis=1)
        if y.std() < NARROW * np.median(half):
            return None
    terms = np.maximum(size, target.distinct.typical) if formula.is_sum else 0.0
    size = np.maximum(terms, np.abs(y))
    has_steps = target.distinct.decimals is not None
    relative_noise = ARITHMETIC if has_steps else NOISE
    noise = relative_noise * size
    if has_steps and (noise > step / 2).any():
        return None
    half = half + noise
    if _evidence(y, half) < nats:
        return None
    if formula.is_sum:
        ends = y - half - plain, y + half - plain
    elif y[plain == 0].any():
        return None
    else:
        with np.errstate(all="ignore"):
            ends = np.sort([(y - half) / plain, (y + half) / plain], axis=0)
        ends = np.where(plain == 0, [[-np.inf], [np.inf]], ends)
    low = float(ends[0].max())
    high = float(ends[1].min())
    if not (np.isfinite([low, high]).all() and low <= high):
        return None
    constant = 0.0 if formula.is_sum and low <= 0 <= high else _roundest(low, high)
    value = plain + constant if formula.is_sum else plain * constant
    are_ties = np.abs(y - value) > 0.99 * half
    return constant if are_ties.mean() <= TIES else None


def _evidence(y: np.ndarray, half: np.ndarray) -> float:
    """Nats by which values are improbable to be within some distance of a formula by chance."""
    ordered = np.sort(y)
    upper = np.searchsorted(ordered, y + half, "right")
    within = (upper - np.searchsorted(ordered, y - half, "left")) / len(y)
    return float(-np.log(within).sum())


def _roundest(low: float, high: float) -> float:
    """Number of an interval with the fewest digits, else its middle."""
    middle = np.array([(low + high) / 2])
    tries = [float(significant(middle, digits)[0]) for digits in range(1, 16)]
    return next((value for value in tries if low <= value <= high), float(middle[0]))


def combined(formula: Relation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Formula without its constant, `(n,)`, and size of its terms."""
    powers = np.array(formula.coefficients)
    with np.errstate(all="ignore"):
        if formula.rule == "product":
            value = np.prod(x**powers, axis=1)
            return value, np.abs(value)
        terms = powers * np.log(x) if formula.rule == "log" else powers * x
        total = terms.sum(1)
        value = np.exp(total) if formula.rule == "exp" else total
        return value, np.abs(terms).sum(1)


def errors_of(
    formula: Relation, x: np.ndarray, decimals: Sequence[int | None], value: np.ndarray
) -> np.ndarray:
    """Largest errors of a formula by the rounding of each of its columns, `(n, k)`: half a step;
    whole numbers and all digits have none.
    """
    errors = np.array([_half_step(places) for places in decimals])
    if formula.digits:
        steps = steps_of_digits(x, formula.digits)
        errors = np.where(errors > 0, np.maximum(errors, steps / 2), 0.0)
    slopes = np.abs(formula.coefficients)
    with np.errstate(all="ignore"):
        relative = slopes / np.abs(x) if formula.rule in ("product", "log") else slopes
        parts = np.where(errors > 0, errors * relative, np.zeros(x.shape))
        if formula.is_sum:
            return parts
        return np.where(value[:, None] == 0, 0.0, parts * np.abs(value)[:, None])


def _half_step(decimals: int | None) -> float:
    return 10.0**-decimals / 2 if decimals else 0.0


def steps_of_digits(values: np.ndarray, digits: int) -> np.ndarray:
    """Steps between numbers of some significant digits near values; 0 at 0."""
    with np.errstate(divide="ignore"):
        return 10.0 ** (np.floor(np.log10(np.abs(values))) + 1 - digits)
