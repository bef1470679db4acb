"""Whether the spread that a density claims is right: of held-out rows, against draws. No Keras.

Every row ``x`` is judged among draws of ``q(. | g)`` at what is given with it, so these figures are
of conditional densities and of rows with categories as much as of any other.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.caveats import SIGMAS, Caveat, Summary, number
from nflow_cli.evaluation.conditions import place_text
from nflow_cli.evaluation.pit import SURE, band, from_uniform
from nflow_cli.evaluation.weighted import effective
from nflow_cli.text import printable

LEVELS = (0.5, 0.9, 0.99)  # of the highest-density regions that are told
BINNED = 0.9  # the level that is told by what is given
ROWS, DRAWS = 2_000, 200  # that are judged, and draws for each of them
NUMBERS = 1_000_000  # cells of draws at a time
CURVE = np.linspace(0, 1, 101)  # levels of the curves that are drawn
QUINTILES = (0.2, 0.4, 0.6, 0.8)
MOST_LEVELS, LEAST = 10, 20  # levels of a category, and rows in a bin
TOLERATED, FAR = 0.05, 0.1  # of a coverage, and of a distance, before a figure is not vouched for
FAR_IN_A_BIN = 0.08  # of a coverage
RARE = 2.28  # that a distance times √n exceeds it, as that a share is off by 4 of its errors
STILL_LEARNS = 0.9  # of the updates, where the best ones come after that part
MORE = "try more updates (--steps)"
DIGITS = 4  # of log q in nats: what differs by less is equal

LogProb = Callable[[np.ndarray], np.ndarray]
Draw = Callable[[np.ndarray, int], np.ndarray]
Interval = tuple[float, float]


class Ranks(NamedTuple):
    """Where held-out rows lie among draws: uniform on (0, 1) if they are of ``q``.

    NaN of a row whose density, or that of one of its draws, is not a number.

    Attributes:
        alphas: ``(n,)``, the share of draws that are denser than the row: the least level of a
            highest-density region that holds it.
        pits: ``(n, D)``, the share of draws below the row, in each modelled column of numbers: the
            probability integral transform of its marginal.
    """

    alphas: np.ndarray
    pits: np.ndarray


class Bin(NamedTuple):
    """How many rows with some values in a given column the regions of level 0.9 cover.

    Attributes:
        column: Where the column stands in a row.
        low: The least value in the bin, or the number of a category's level.
        high: The greatest.
        covered: The share of the rows that is covered.
        standard_error: Of that.
        chance_low: What 95 % of the sets of all bins stay above by chance.
        chance_high: What they stay below.
        n: How many rows there are.
    """

    column: float
    low: float
    high: float
    covered: float
    standard_error: float
    chance_low: float
    chance_high: float
    n: float

    @property
    def excess(self) -> float:
        """How far the coverage is off, over how far chance may take it."""
        limit = self.chance_high if self.covered > BINNED else self.chance_low
        return (self.covered - BINNED) / (limit - BINNED)


def judged_rows(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return which of n rows are judged: all, or 2,000 drawn without replacement, in order.

    The standard errors of 2,000 are 1.1, 0.7 and 0.2 points of the regions of 50, 90 and 99 %.
    """
    return np.sort(rng.choice(n, ROWS, replace=False)) if n > ROWS else np.arange(n)


def ranks(
    rows: np.ndarray,
    log_prob: LogProb,
    draw: Draw,
    roles: Roles,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Ranks:
    """Draw ``draws`` times from ``q(. | g)`` for each row, and find where the row lies among them.

    Both ranks are ``(b + u (e + 1)) / (M + 1)`` of b draws before the row, e equal ones and u
    uniform on (0, 1): of a calibrated density they are uniform whatever M is, and whether or not
    values repeat. Of one that is not, M = 200 blurs the curve of coverage by ``√(L(1 - L)/M)``, at
    most 0.035: where q is a Gaussian half as wide as the rows' own, the region of 99 % is said to
    cover 81.2 % instead of 80.2 %, that of 90 % 59.0 % instead of 58.9 %. It takes n M draws and as
    many evaluations of ``q``: 400,000 of 2,000 rows.

    Args:
        rows: ``(n, C)``, as ``roles`` has the columns.
        log_prob: Returns ``log q`` in nats ``(m,)`` of rows ``(m, C)``.
        draw: Returns one draw for each of m rows, at what is given there: ``(m, C)``; also given
            the number of the call, from 0 on, which tells their streams apart.
        roles: What the columns are. Numbers of a discrete column are compared in steps.
        rng: Places a row among equal draws.
        draws: M.
    """
    size = max(1, NUMBERS // (draws * rows.shape[1]))
    steps = np.array([roles.steps.get(name, 0.0) for name in roles.numbers])
    parts = [np.empty((0, 1 + roles.dim))]
    for call, start in enumerate(range(0, len(rows), size)):
        part = rows[start : start + size]
        drawn = draw(np.repeat(part, draws, axis=0), call)
        values = [_compared(x, log_prob(x), steps) for x in (part, drawn)]
        parts.append(_placed(values[0], values[1].reshape(len(part), draws, -1), rng))
    placed = np.concatenate(parts)
    return Ranks(placed[:, 0], placed[:, 1:])


def _compared(x: np.ndarray, log_q: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return what rows are compared by: ``-log q``, and the D numbers, so that equals are equal."""
    numbers = x[:, : len(steps)]
    whole = np.round(numbers / np.where(steps > 0, steps, 1))
    return np.column_stack([-np.round(log_q, DIGITS), np.where(steps > 0, whole, numbers)])


def _placed(values: np.ndarray, drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the ranks ``(n, m)`` of values ``(n, m)`` among draws ``(n, M, m)``."""
    below = (drawn < values[:, None]).sum(axis=1)
    equal = (drawn == values[:, None]).sum(axis=1)
    placed = (below + rng.random(values.shape) * (equal + 1)) / (drawn.shape[1] + 1)
    placed[np.isnan(values).any(axis=1) | np.isnan(drawn).any(axis=(1, 2))] = np.nan
    return placed


def calibration(
    ranks: Ranks,
    rows: np.ndarray,
    roles: Roles,
    weights: np.ndarray | None = None,
    units: np.ndarray | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Judge a density by the ranks of held-out rows ``(n, C)``; ``weights`` ``(n,)`` are theirs.

    The ends of bins are rounded to ``units`` ``(C,)``, where these are not 0.

    Returns:
        Two mappings. The first, for ``summary.json``, holds ``calibration``: the ``coverage`` of
        the regions of level 0.5, 0.9 and 0.99, as :func:`coverage` has it; the ``distance`` of the
        alphas from uniform and its ``band``, and the ``level`` where they are furthest, with the
        share ``covered`` there; ``worst_column``, the ``pit_distance`` of its PIT and the
        ``pit_band`` of the largest of D; ``worst_bin`` as :class:`Bin` has it, with its column by
        name and its ``category``, None of a number, and ``n_bins``; how many rows were judged,
        ``n``, how many they count for, ``n_effective = (Σw)²/Σw²``, and how many are not known,
        ``n_lost``. What could not be judged is None.

        The second, for ``evaluation.npz``: the shares ``coverage`` ``(101,)`` and ``pit``
        ``(101, D)`` of rows whose alpha and PIT are at most 0, 0.01, …, 1; ``coverage_bins``
        ``(b, 8)``, as :class:`Bin` has them. Of single rows they hold the ends of bins alone.
    """
    w = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
    good = np.isfinite(ranks.alphas) & (w > 0)
    alpha, pits, x, w = ranks.alphas[good], ranks.pits[good], rows[good], w[good]
    bins = binned(alpha, x, w, roles)
    if units is not None:
        bins = [_rounded(one, units[int(one.column)]) for one in bins]
    arrays = {
        "coverage": _shares(alpha, w),
        "pit": np.array([_shares(pit, w) for pit in pits.T]).reshape(-1, len(CURVE)).T,
        "coverage_bins": np.array(bins).reshape(-1, len(Bin._fields)),
    }
    lost = int(np.isnan(ranks.alphas).sum())
    known = {"n": len(w), "n_effective": effective(w), "n_lost": lost, "n_bins": len(bins)}
    judged = {
        "coverage": coverage(alpha, w),
        **_furthest(alpha, w),
        **_pit(pits, w, roles.numbers),
        "worst_bin": bin_record(max(bins, key=lambda b: b.excess), roles) if bins else None,
    }
    return {"calibration": {**judged, **known}}, arrays


def coverage(alphas: np.ndarray, weights: np.ndarray) -> list[dict[str, float]]:
    """Return what share of rows the regions of level 0.5, 0.9 and 0.99 cover; without rows, [].

    For each ``level`` the share ``covered = Σ w 1[alpha <= level] / Σw``, its ``standard_error``
    ``√(Σ w² (1[alpha <= level] - covered)²) / Σw``, and what it stays between by chance,
    ``chance_low`` and ``chance_high`` (:func:`chance`).
    """
    n = effective(weights)
    records = []
    for level in LEVELS if n else ():
        covered, error = _share(alphas <= level, weights)
        low, high = chance(level, n)
        record = {"level": level, "covered": covered, "standard_error": error}
        records.append({**record, "chance_low": low, "chance_high": high})
    return records


def binned(alphas: np.ndarray, rows: np.ndarray, weights: np.ndarray, roles: Roles) -> list[Bin]:
    """Return the coverage of the 90 % regions by what is given.

    A bin is a fifth of the rows by a given number, or one of the ten most frequent levels of a
    given category; those that count for fewer than 20 rows are left out, and so is one with all
    rows.
    """
    groups = [
        (place, at)
        for place, at in _groups(rows, roles)
        if effective(weights[at]) >= LEAST and len(at) < len(rows)
    ]
    bins = []
    for place, at in groups:
        covered, error = _share(alphas[at] <= BINNED, weights[at])
        low, high = chance(BINNED, effective(weights[at]), len(groups))
        least, greatest = float(rows[at, place].min()), float(rows[at, place].max())
        bins.append(Bin(place, least, greatest, covered, error, low, high, len(at)))
    return bins


def _rounded(one: Bin, unit: float) -> Bin:
    """Return a bin with ends that are multiples of a unit, unless that is 0."""
    low, high = (float(np.round(end / unit) * unit) for end in one[1:3]) if unit else one[1:3]
    return one._replace(low=low, high=high)


def _groups(rows: np.ndarray, roles: Roles) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the numbers of the rows of each bin, and where its column stands."""
    for place in roles.places(roles.given_numbers):
        values = rows[:, place]
        ends = np.quantile(values, QUINTILES, method="inverted_cdf") if len(values) else []
        edges = np.unique(ends)
        fifth = np.searchsorted(edges, values)  # what equals an edge is below it
        yield from ((place, np.flatnonzero(fifth == i)) for i in range(len(edges) + 1))
    for place in roles.places(list(roles.given_categories)):
        levels, counts = np.unique(rows[:, place], return_counts=True)
        frequent = levels[np.argsort(-counts, kind="stable")[:MOST_LEVELS]]
        yield from ((place, np.flatnonzero(rows[:, place] == v)) for v in frequent if v >= 0)


def bin_record(worst: Bin, roles: Roles) -> dict[str, Any]:
    """Return a bin with its column by name, and the level of a category."""
    name = roles.columns[int(worst.column)]
    levels = roles.given_categories.get(name)
    category = levels[int(worst.low)] if levels else None
    return {**worst._asdict(), "column": name, "category": category}


def _furthest(alphas: np.ndarray, weights: np.ndarray) -> dict[str, float | None]:
    """Return how far alphas are from uniform, and at which level."""
    if not len(alphas):
        return dict.fromkeys(("distance", "band", "level", "covered"))
    distance, level, covered = from_uniform(alphas, weights)
    by_chance = band(round(effective(weights)))
    return {"distance": distance, "band": by_chance, "level": level, "covered": covered}


def _pit(pits: np.ndarray, weights: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return which column's PIT is furthest from uniform, and how far."""
    keys = "worst_column", "pit_distance", "pit_band"
    if not pits.size:
        return dict.fromkeys(keys)
    distances = [from_uniform(pit, weights)[0] for pit in pits.T]
    worst = int(np.argmax(distances))
    by_chance = band(round(effective(weights)), len(names))
    return dict(zip(keys, (names[worst], distances[worst], by_chance)))


def _shares(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``F_n`` at the levels of a curve: NaN without rows."""
    if not len(values):
        return np.full(len(CURVE), np.nan)
    order = np.argsort(values)
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    return sums[np.searchsorted(values[order], CURVE, side="right")] / sums[-1]


def _share(covered: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return a weighted share and its standard error."""
    share = float(weights @ covered / weights.sum())
    return share, float(np.linalg.norm(weights * (covered - share)) / weights.sum())


def chance(level: float, n: float, count: int = 1) -> Interval:
    """Return between which values all of ``count`` coverages stay in 95 % of samples of n rows.

    Each is ``Bin(n, level) / n``, exact for equal weights, by the nearest whole n otherwise, and
    they are taken as independent (Šidák): half of ``1 - 0.95^(1/count)`` lies beyond either end.
    """
    return _chance(level, max(round(n), 1), count)


@functools.lru_cache
def _chance(level: float, n: int, count: int) -> Interval:
    tail = -math.expm1(math.log(SURE) / count) / 2
    k = np.arange(n + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    choices = log_factorial[n] - log_factorial - log_factorial[::-1]
    pmf = np.exp(choices + k * math.log(level) + (n - k) * math.log1p(-level))
    low = np.searchsorted(np.cumsum(pmf), tail, side="right")
    high = n - np.searchsorted(np.cumsum(pmf[::-1]), tail, side="right")
    return float(low / n), float(high / n)


def verdict(calibration: Summary) -> str:
    """Say in a line how far the coverage is off, at which level, and what chance allows."""
    if calibration["distance"] is None:
        return "unknown: no row has a log-density"
    side = "fewer" if calibration["covered"] < calibration["level"] else "more"
    return (
        f"{calibration['distance']:.4f} of the rows {side} than claimed at most, at level "
        f"{calibration['level']:.2f}; by chance up to {calibration['band']:.4f}"
    )


def miscalibrated(summary: Summary) -> Caveat | None:
    """Tell a density whose regions hold more or fewer rows than they claim to.

    Those of level 0.9 by at least 5 points and 4 standard errors; those of any level by at least 10
    points, and so far beyond chance as 4 standard errors are; or those of level 0.9 in the worst
    bin of what is given, by at least 8 points and 4 standard errors.
    """
    judged = summary.get("calibration")
    if not isinstance(judged, Mapping):
        return None
    n, records = number(judged, "n_effective"), judged.get("coverage")
    if n is None or not n > 0 or not isinstance(records, list):
        return None
    regions = (r for r in records if isinstance(r, Mapping) and number(r, "level") == BINNED)
    error = math.sqrt(BINNED * (1 - BINNED) / n)
    narrow = _if_too_narrow(summary)
    at_binned = _off(next(regions, {}), max(TOLERATED, SIGMAS * error), narrow)
    everywhere = at_binned or _off(judged, max(FAR, RARE / math.sqrt(n)), narrow)
    return everywhere or _off_in_a_bin(judged.get("worst_bin"), narrow)


def _if_too_narrow(summary: Summary) -> str:
    """Return what to try of a density that is too narrow, by whether its training still learned."""
    made, best = number(summary, "steps"), number(summary, "best_update")
    if made is not None and best is not None and best > STILL_LEARNS * made:
        return MORE
    ensemble = "a larger --ensemble" if "member_spread" in summary else "--ensemble 4"
    return f"try more rows, {ensemble}, or fewer updates (--steps)"


def _off_in_a_bin(worst: Any, narrow: str) -> Caveat | None:
    if not isinstance(worst, Mapping):
        return None
    n, low, high = (number(worst, key) for key in ("n", "low", "high"))
    name, category = worst.get("column"), worst.get("category")
    named = isinstance(name, str) and isinstance(category, str | None)
    if n is None or low is None or high is None or not (n > 0 and named):
        return None
    error = math.sqrt(BINNED * (1 - BINNED) / n)
    where = f", where {printable(name)} is {place_text(low, high, category)},"
    return _off({**worst, "level": BINNED}, max(FAR_IN_A_BIN, SIGMAS * error), narrow, where)


def _off(fact: Summary, least: float, narrow: str, where: str = "") -> Caveat | None:
    level, covered = number(fact, "level"), number(fact, "covered")
    if level is None or covered is None or not abs(covered - level) >= least:
        return None
    too_few = f"overconfident, q is too narrow or not where they are; {narrow}"
    sense = too_few if covered < level else f"underconfident, q is too wide; {MORE}"
    text = f"regions that claim {level:.1%} of the test rows{where} hold {covered:.1%}: {sense}"
    return Caveat("miscalibrated", ("log_likelihood",), text)
