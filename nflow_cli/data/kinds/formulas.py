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

from nflow_cli.config.column_kinds import Relation
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.written import DIGITS, DistinctNumbers, significant
from nflow_cli.random_streams import stream

ROWS_A_COLUMN = 5  # for the search of a formula, at least
MAX_COLUMNS_TRIED = 40  # in a formula, by correlation
SAMPLE_ROWS = 250  # for the search
SAMPLES_KEPT = 8  # in memory, each of a pattern of gaps
FEW_VALUES = 3  # a column with no more is in no product, logarithm or power
MAX_DENOMINATOR = 100  # of rational coefficients
MAX_RESIDUAL = 0.1  # from a formula in the sample, in standard deviations
RIDGE = 1e-12  # of correlations
LEAST_EIGENVALUE = 1e-8  # of correlations that are inverted
LEAST_VARIANCE = 1e-12  # part of its variance that a column that is no constant has in some rows
SMALL_COEFFICIENT = 0.01  # a smaller one, in standard deviations, is 0
NATS_A_NUMBER = 10.0  # of evidence for each number of a formula
NOISE = 1e-10  # of numbers with all digits, relative to terms or typical values,
ARITHMETIC_NOISE = 1e-15  # and of a formula of others: rounding by arithmetic
EXACT_STEPS = 1e-6  # of the column: distance from a formula that is not rounded
FINE_STEPS = 30  # in a standard deviation, at least, for a formula of rounded numbers
MIN_ERRORS = 1_000  # of rounding in a standard deviation, if those of other columns count
MAX_LOG_ERROR = 0.02  # rounding error of a logarithm, in standard deviations, for the search
TIE = 0.99  # of the tolerance: the distance from a formula from which on a value is a tie
MAX_TIES = 0.6  # of the rows, at most: a constant that is half a step makes all of them ties
MIN_WIDER = 10  # distinct values that end before the last decimal, if digits are significant
BASES = (1 / math.log(10), 1 / math.log(2), math.log(10), math.log(2))  # of logarithms
Rule = Literal["linear", "product", "log", "exp"]
MAX_TERMS: dict[Rule, int] = {"linear": 10, "product": 3, "log": 2, "exp": 2}  # columns


class FormulaSearch:
    """Search of formulas among the columns of a table.

    Attributes:
        columns: All columns.
        nearly_computed: Indices of those that a formula gave, but for rounding or a few rows.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.nearly_computed: set[int] = set()
        self._are_numbers = np.array([column.numbers is not None for column in columns], bool)
        self._are_varied = np.array(
            [len(column.value_counts) > FEW_VALUES for column in columns], bool
        )
        # Masks of missing rows, as bits: distinct ones (P, n / 8), and the index of each column's.
        gaps = [np.packbits(column.value_indices < 0).tobytes() for column in columns]
        indices = {pattern: i for i, pattern in enumerate(dict.fromkeys(gaps))}
        self._gap_patterns = np.array([np.frombuffer(pattern, np.uint8) for pattern in indices])
        self._pattern_of_column = np.array([indices[pattern] for pattern in gaps])
        self._sample = lru_cache(SAMPLES_KEPT)(self._drawn_sample)

    def formula(
        self, target: int, sources: Sequence[int], are_rounded: bool = False
    ) -> Relation | None:
        """Formula of a column of numbers by others that holds in all rows, with equal missing
        cells, if there is one.

        Args:
            target: Index of the column; of one of text there is none.
            sources: Indices of others, of which some are used.
            are_rounded: The sources were rounded, as the column is.
        """
        column = self.columns[target]
        pattern = int(self._pattern_of_column[target])  # index of the rows with a gap
        if column.numbers is None or column.total_entropy < 2 * NATS_A_NUMBER:
            return None  # text, or too few different numbers to tell a formula from chance
        usable = np.array(sources, int)
        usable = usable[self._have_no_other_gaps(pattern)[usable]]
        if not self._leave_the_gaps(pattern, usable):
            return None
        sample = self._sample(pattern)
        for rule in MAX_TERMS:
            if rule != "linear" and not self._are_varied[target]:
                return None  # after the first rule, linear: for the others it has too few values
            among = usable if rule == "linear" else usable[self._are_varied[usable]]
            terms = _fitted_terms(rule, column, sample, among)
            if terms is None or not self._leave_the_gaps(pattern, terms[0]):
                continue
            self.nearly_computed.add(target)  # fits a sample, if not all rows
            places, fit = terms
            chosen = [self.columns[k] for k in places.tolist()]
            relation = _relation_that_holds(rule, column, chosen, fit, sample.rows, are_rounded)
            if relation:
                return relation
        return None

    def _have_no_other_gaps(self, pattern: int) -> np.ndarray:
        """Mask ``(C,)`` of the columns of numbers without gaps outside a pattern of gaps, which is
        given by its index.
        """
        have_other_gaps = (self._gap_patterns & ~self._gap_patterns[pattern]).any(axis=1)
        return self._are_numbers & ~have_other_gaps[self._pattern_of_column]

    def _leave_the_gaps(self, pattern: int, columns: np.ndarray) -> bool:
        """Whether a function of columns, by index, has the gaps of a pattern: a value is missing
        where one of the columns is.
        """
        patterns = self._gap_patterns[np.unique(self._pattern_of_column[columns])]
        if not len(patterns):
            return False
        return np.array_equal(np.bitwise_or.reduce(patterns), self._gap_patterns[pattern])

    def _drawn_sample(self, pattern: int) -> "_Sample":
        """Random rows outside a pattern of gaps, in the columns that have no other gaps."""
        n = len(self.columns[0].value_indices)
        are_known = ~np.unpackbits(self._gap_patterns[pattern], count=n).astype(bool)
        rows = np.flatnonzero(are_known)
        if len(rows) > SAMPLE_ROWS:
            # At random: of a panel, rows at equal distances may be of one year.
            rows = np.sort(stream(0, "formulas").choice(rows, SAMPLE_ROWS, replace=False))
        columns = np.flatnonzero(self._have_no_other_gaps(pattern))
        x = np.column_stack([self.columns[k].cells[rows] for k in columns.tolist()])
        with np.errstate(divide="ignore"):
            return _Sample(rows, columns, _Matrix(x), _Matrix(np.log(np.abs(x))))


class _Matrix:
    """Numbers ``(n, C)`` of columns in some rows, less their means, and their moments.

    Values that are not finite are 0.
    """

    def __init__(self, x: np.ndarray) -> None:
        self._are_infinite = ~np.isfinite(x)
        known = np.where(self._are_infinite, 0.0, x)
        # A mean that rounding has outside of its values would give a constant a variance.
        middle = np.clip(known.mean(axis=0), known.min(axis=0), known.max(axis=0))
        self.x = np.where(self._are_infinite, 0.0, x - middle)
        self._squares = self.x**2
        self._moments_of_all = self._moments(np.ones(len(x), bool))

    def _moments(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variances ``(C,)`` in the rows of a mask ``(n,)``, and whether each column is finite in
        all of them.
        """
        weights = rows / rows.sum()
        variances = weights @ self._squares - (weights @ self.x) ** 2
        return variances, weights @ self._are_infinite == 0

    def correlations(self, w: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Correlations ``(C,)``, in the rows of a mask ``(n,)``, with a standardised column ``w``
        ``(n,)`` that is 0 in others; 0 of constants, and of columns that are not finite there.
        """
        variances, are_finite = self._moments_of_all if rows.all() else self._moments(rows)
        usable = are_finite & (variances > LEAST_VARIANCE * self._moments_of_all[0])
        scale = np.sqrt(np.where(usable, variances, np.inf))
        return (w @ self.x) / rows.sum() / scale


class _Sample(NamedTuple):
    """Sample of rows, of the columns that have no gaps there.

    Attributes:
        rows: Their indices in the table.
        columns: Indices of the columns.
        plain: Numbers of the columns in the rows.
        logs: Logarithms of their sizes.
    """

    rows: np.ndarray
    columns: np.ndarray
    plain: _Matrix
    logs: _Matrix


def _relation_that_holds(
    rule: Rule,
    target: Column,
    chosen: Sequence[Column],
    fit: np.ndarray,
    few: np.ndarray,
    are_rounded: bool,
) -> Relation | None:
    """Relation of a column with others that holds in all rows, of coefficients near those of a
    ``fit`` ``(k,)``; of several the one with the fewest characters, if any.

    ``few``: rows, by index, in which each is tried first; ``are_rounded``: the others were rounded.
    """
    rows = np.flatnonzero(target.value_indices >= 0)
    for digits in dict.fromkeys((None, _significant_digits(target.distinct_numbers))):
        holding = list[Relation]()
        for coefficients in _rounded_coefficients(rule, fit):
            formula = Relation(
                rule=rule,
                columns=[source.name for source in chosen],
                coefficients=coefficients.tolist(),
                digits=digits,
                is_rounded=are_rounded,
            )
            if _constant_that_holds(formula, target, chosen, few) is not None:
                constant = _constant_that_holds(
                    formula, target, chosen, rows, NATS_A_NUMBER * (1 + len(chosen))
                )
                if constant is not None:
                    holding.append(formula.model_copy(update={"constant": constant}))
        if holding:
            return min(holding, key=_n_characters)
    return None


def _significant_digits(numbers: DistinctNumbers) -> int | None:
    """Least number of significant digits that all values need, if more values than by chance have
    fewer decimals for that than the column; None if they are rounded to decimals.
    """
    if numbers.decimals is None:
        return None
    values = numbers.values[numbers.values != 0]
    enough = (n for n in range(1, DIGITS) if np.array_equal(significant(values, n), values))
    digits = next(enough, None)
    if digits is None:
        return None
    are_wider = steps_of_digits(values, digits) > 2 * 10.0**-numbers.decimals
    return digits if are_wider.sum() >= MIN_WIDER else None


def _n_characters(formula: Relation) -> int:
    """Characters of a formula's numbers as written, each coefficient or its reciprocal."""
    lengths = [min(len(f"{a:.12g}"), len(f"{1 / a:.12g}")) for a in formula.coefficients]
    return sum(lengths) + len(f"{formula.constant:.12g}")


def _fitted_terms(
    rule: Rule, target: Column, sample: _Sample, among: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Columns of a formula of a rule ``(k,)``, by index, and their coefficients ``(k,)``, by least
    squares in a sample of rows; None if it fits badly.

    ``among``: indices of the columns that may be in it. The best correlated are standardised, and
    those with small coefficients left out, twice.
    """
    y = target.cells[sample.rows]
    matrix = sample.logs if rule in ("product", "log") else sample.plain
    rows = np.ones(len(y), bool)
    if rule in ("product", "exp"):
        y, rows = _precise_logs(target, y)
    room = min(int(rows.sum()) // ROWS_A_COLUMN - 1, MAX_COLUMNS_TRIED)
    # A constant has a spread by the rounding of its mean, and tiny numbers have none.
    if room < 1 or np.ptp(y[rows]) == 0 or (spread := y[rows].std()) == 0:
        return None
    w = np.where(rows, (y - y[rows].mean()) / spread, 0.0)  # the column, standardised
    places = np.searchsorted(sample.columns, among)
    correlations = np.abs(matrix.correlations(w, rows)[places])
    best = np.sort(np.argsort(-correlations, kind="stable")[:room])
    best = best[correlations[best] > 0]
    w = w[rows]
    z = matrix.x[np.ix_(rows, places[best])]
    scale = z.std(axis=0)
    z = (z - z.mean(axis=0)) / scale
    for _ in range(2):
        keep = np.abs(_slopes(z, w)) > SMALL_COEFFICIENT
        best = best[keep]
        z = z[:, keep]
        scale = scale[keep]
    if not 0 < len(best) <= MAX_TERMS[rule]:
        return None
    fit = np.linalg.lstsq(z, w, rcond=1e-10)[0]
    if np.abs(w - z @ fit).max() > MAX_RESIDUAL:
        return None
    return among[best], fit * spread / scale


def _precise_logs(target: Column, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms ``(n,)`` of the sizes of a column's cells ``y`` ``(n,)``, and a mask of those that
    rounding leaves precise; 0 has none.
    """
    step = target.distinct_numbers.steps_at(y)
    size = np.abs(y)
    are_precise = size > 0
    logs = np.log(np.where(are_precise, size, 1.0))
    if y.std() >= FINE_STEPS * step.max():
        are_precise &= step <= MAX_LOG_ERROR * logs[are_precise].std() * size
    return logs, are_precise


def _slopes(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Slopes ``(k,)`` of a regression of a column ``w`` ``(n,)`` on others ``z`` ``(n, k)``, all
    standardised; all 0 if these explain little, as in most cases, which their moments tell.
    """
    moments = z.T @ z / len(w)
    products = z.T @ w / len(w)
    slopes = np.linalg.solve(moments + RIDGE * np.eye(len(products)), products)
    if 1 - products @ slopes > MAX_RESIDUAL**2:
        return np.zeros(len(products))
    if np.linalg.eigvalsh(moments)[0] > LEAST_EIGENVALUE:
        return slopes
    return np.linalg.lstsq(z, w, rcond=1e-10)[0]


def _rounded_coefficients(rule: Rule, fit: np.ndarray) -> list[np.ndarray]:
    """Coefficients ``(k,)`` to try near those of a fit ``(k,)``: rational ones; for one column also
    those of logarithms to usual bases, numbers and reciprocals of few digits, and the fit itself.
    """
    rational = np.array(
        [float(Fraction(a).limit_denominator(MAX_DENOMINATOR)) for a in fit.tolist()]
    )
    candidates = [rational] if rational.all() else []
    if len(fit) > 1:
        return candidates
    if rule in ("log", "exp"):
        candidates += [np.array([base]) for base in BASES if abs(base / fit[0] - 1) < 1e-3]
    candidates += [significant(fit, digits) for digits in range(2, 8)]
    candidates += [1 / significant(1 / fit, digits) for digits in range(2, 8)]
    return [*candidates, fit]


def _constant_that_holds(
    formula: Relation,
    target: Column,
    chosen: Sequence[Column],
    rows: np.ndarray,
    nats: float = 0.0,
) -> float | None:
    """Constant of the fewest digits with which a formula of a column by others holds in rows, by
    index; None if none does, or the evidence for it is less than ``nats``.
    """
    y = target.cells[rows]
    x = np.stack([source.cells[rows] for source in chosen], axis=1)
    without_constant, term_sizes = combined(formula, x)
    step = target.distinct_numbers.steps_at(y)
    if formula.digits:
        step = np.maximum(step, steps_of_digits(y, formula.digits))
    tolerance = step * EXACT_STEPS  # distance (n,) to which the formula must hold
    if y.std() >= FINE_STEPS * step.max():
        tolerance = step * (0.5 + EXACT_STEPS)
    if formula.is_rounded:
        decimals = [source.distinct_numbers.decimals for source in chosen]
        tolerance = tolerance + errors_of(formula, x, decimals, y).sum(axis=1)
        if y.std() < MIN_ERRORS * np.median(tolerance):
            return None
    terms = np.maximum(term_sizes, target.distinct_numbers.typical) if formula.is_sum else 0.0
    size = np.maximum(terms, np.abs(y))
    has_steps = target.distinct_numbers.decimals is not None
    relative_noise = ARITHMETIC_NOISE if has_steps else NOISE
    noise = relative_noise * size
    if has_steps and (noise > step / 2).any():
        return None
    tolerance = tolerance + noise
    if _nats_of_evidence(y, tolerance) < nats:
        return None
    # Ends (2, n) of the interval of constants with which the formula holds in each row.
    if formula.is_sum:
        ends = y - tolerance - without_constant, y + tolerance - without_constant
    elif y[without_constant == 0].any():
        return None
    else:
        with np.errstate(all="ignore"):
            ends = np.sort(
                [(y - tolerance) / without_constant, (y + tolerance) / without_constant], axis=0
            )
        ends = np.where(without_constant == 0, [[-np.inf], [np.inf]], ends)
    low = float(ends[0].max())
    high = float(ends[1].min())
    if not (np.isfinite([low, high]).all() and low <= high):
        return None
    constant = 0.0 if formula.is_sum and low <= 0 <= high else _roundest(low, high)
    value = without_constant + constant if formula.is_sum else without_constant * constant
    are_ties = np.abs(y - value) > TIE * tolerance
    return constant if are_ties.mean() <= MAX_TIES else None


def _nats_of_evidence(y: np.ndarray, tolerance: np.ndarray) -> float:
    """Evidence for a formula that holds, in nats: minus the log-probability that values drawn from
    all of ``y`` ``(n,)`` are within the distances ``tolerance`` ``(n,)`` of each of them.
    """
    ordered = np.sort(y)
    upper = np.searchsorted(ordered, y + tolerance, "right")
    within = (upper - np.searchsorted(ordered, y - tolerance, "left")) / len(y)
    return float(-np.log(within).sum())


def _roundest(low: float, high: float) -> float:
    """Number of the fewest digits in an interval: its middle, rounded to them."""
    middle = np.array([(low + high) / 2])
    rounded = [float(significant(middle, digits)[0]) for digits in range(1, 16)]
    return next((value for value in rounded if low <= value <= high), float(middle[0]))


def combined(formula: Relation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of a formula without its constant, `(n,)`, of its columns `(n, k)`, and the sums of
    the sizes of its terms `(n,)`.
    """
    coefficients = np.array(formula.coefficients)
    with np.errstate(all="ignore"):
        if formula.rule == "product":
            value = np.prod(x**coefficients, axis=1)
            return value, np.abs(value)
        terms = coefficients * np.log(x) if formula.rule == "log" else coefficients * x
        total = terms.sum(1)
        value = np.exp(total) if formula.rule == "exp" else total
        return value, np.abs(terms).sum(1)


def errors_of(
    formula: Relation, x: np.ndarray, decimals: Sequence[int | None], value: np.ndarray
) -> np.ndarray:
    """Largest errors `(n, k)` of a formula's ``value`` `(n,)` as its columns ``x`` `(n, k)` are
    rounded to ``decimals``, each by half a step; whole numbers, and all digits (None), have none.
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
    """Largest error of a number that is rounded to some decimals; 0 of whole numbers."""
    return 10.0**-decimals / 2 if decimals else 0.0


def steps_of_digits(values: np.ndarray, digits: int) -> np.ndarray:
    """Steps `(…)` between numbers of some significant digits, near each of values `(…)`; 0 at 0."""
    with np.errstate(divide="ignore"):
        return 10.0 ** (np.floor(np.log10(np.abs(values))) + 1 - digits)
