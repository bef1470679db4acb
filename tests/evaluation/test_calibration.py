import json
import math
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.calibration import (
    Ranks,
    binned,
    calibration,
    chance,
    from_uniform,
    judged_rows,
    miscalibrated,
    ranks,
    verdict,
)
from nflow_cli.evaluation.normality import distance
from nflow_cli.evaluation.weighted import effective

GIVEN = Roles(["x", "y"], given_numbers=["a", "b"], given_categories={"c": ["no", "yes"]})


def stream(*keys):
    return np.random.default_rng(keys)


class Gaussian:
    """Rows about the sine of what is given, whose spread is claimed to be `scale` of 1."""

    def __init__(self, roles, scale=1.0, seed=0):
        self.roles, self.dim, self.seed = roles, roles.dim, seed
        self.scale = scale if callable(scale) else lambda x: scale

    def mean(self, x):
        return np.sin(x[:, self.dim :]).sum(axis=1, keepdims=True)

    def rows(self, n):
        rng, given = stream(self.seed, 1), self.roles.given
        x = np.concatenate([np.empty((n, self.dim)), rng.normal(size=(n, len(given)))], axis=1)
        for name, levels in self.roles.given_categories.items():
            x[:, self.roles.places([name])] = rng.integers(len(levels), size=(n, 1))
        x[:, : self.dim] = self.mean(x) + rng.normal(size=(n, self.dim))
        return x

    def draw(self, x, call):
        drawn = x.copy()
        noise = stream(self.seed, 2, call).normal(size=(len(x), self.dim))
        drawn[:, : self.dim] = self.mean(x) + self.scale(x) * noise
        return drawn

    def log_prob(self, x):
        z = (x[:, : self.dim] - self.mean(x)) / self.scale(x)
        return np.sum(-(z**2) / 2 - np.log(self.scale(x)), axis=1)

    def ranks(self, x, draws=200):
        return ranks(x, self.log_prob, self.draw, self.roles, stream(self.seed, 3), draws)


def judged(density, n=2_000, weights=None):
    rows = density.rows(n)
    return calibration(density.ranks(rows), rows, density.roles, weights)[0]["calibration"]


def exact_coverage(level, scale, dim):
    """Return which share of N(0, I) lies in the region of that level of N(0, scale^2 I)."""
    a = mpmath.mpf(dim) / 2

    def cdf(y):
        return mpmath.gammainc(a, 0, y, regularized=True)

    y = mpmath.findroot(lambda y: cdf(y) - level, (1e-9, 60), solver="bisect")
    return float(cdf(scale**2 * y))


@pytest.mark.parametrize("draws", [1, 7, 200])
def test_ranks_of_the_truth_are_uniform_however_few_draws_there_are(draws):
    density = Gaussian(GIVEN)
    found = density.ranks(density.rows(2_000), draws)
    for values in (found.alphas, *found.pits.T):
        # Beyond this in 3 of 10,000 samples.
        assert distance(values) < 2.1 / math.sqrt(2_000)


def test_the_truth_is_calibrated():
    figures = judged(Gaussian(GIVEN))
    assert figures["distance"] < figures["band"]
    assert figures["pit_distance"] < figures["pit_band"]
    for region in figures["coverage"]:
        assert region["chance_low"] <= region["covered"] <= region["chance_high"]
    assert (figures["n"], figures["n_effective"], figures["n_bins"]) == (2_000, 2_000, 12)
    assert miscalibrated({"calibration": figures}) is None
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("scale", [0.5, 1.4])
def test_a_wrong_spread_covers_what_the_chi_square_distribution_says(dim, scale):
    roles = Roles(list("xyz")[:dim], given_numbers=["a"])
    figures = judged(Gaussian(roles, scale))
    for region in figures["coverage"]:
        expected = exact_coverage(region["level"], scale, dim)
        # 0.015: of the blur by 200 draws.
        assert region["covered"] == pytest.approx(
            expected, abs=4 * region["standard_error"] + 0.015
        )
    caveat = miscalibrated({"calibration": figures})
    assert caveat is not None and caveat.word == "miscalibrated"
    assert ("overconfident" in caveat.reason) == (scale < 1)


@pytest.mark.parametrize(
    ("scale", "summary", "way"),
    [
        (0.5, {}, "try more rows, --ensemble 4, or fewer updates (--steps)"),
        (0.5, {"steps": 2000, "best_update": 500}, "fewer updates (--steps)"),
        (
            0.5,
            {"member_spread": 0.1},
            "try more rows, a larger --ensemble, or fewer updates (--steps)",
        ),
        (0.5, {"steps": 2000, "best_update": 2000}, "try more updates (--steps)"),
        (1.4, {"steps": 2000, "best_update": 500}, "try more updates (--steps)"),
    ],
)
def test_a_wrong_spread_has_a_way_on_by_the_side_and_by_whether_training_still_learned(
    scale, summary, way
):
    figures = judged(Gaussian(Roles(["x"], given_numbers=["a"]), scale))
    caveat = miscalibrated({**summary, "calibration": figures})
    assert caveat is not None and caveat.reason.endswith(way)


def test_a_marginal_that_is_shifted_is_named():
    density = Gaussian(GIVEN)
    rows = density.rows(2_000)
    rows[:, 1] += 0.5
    figures = calibration(density.ranks(rows), rows, GIVEN)[0]["calibration"]
    assert figures["worst_column"] == "y"
    # sup |Φ(z) - Φ(z - 0.5)| is at z = 0.25.
    expected = float(2 * mpmath.ncdf(0.25) - 1)
    assert figures["pit_distance"] == pytest.approx(expected, abs=2 / math.sqrt(2_000))


def test_equal_densities_are_placed_at_random():
    roles = Roles(["x"], steps={"x": 0.1}, categories={"c": ["no", "yes"]})

    def draw(x, call):
        rng = stream(5, call)
        yes = rng.random(len(x)) < 0.3
        whole = rng.integers(3, size=len(x)) + yes
        return np.column_stack([whole * 0.1, yes])

    def log_prob(x):
        # Rounding differs from call to call.
        return np.log(np.where(x[:, 1] > 0, 0.3, 0.7) / 3) + 1e-6 * len(x) / 400_000

    rows = draw(np.empty((2_000, 2)), 10**6)
    rows[:, 0] += 1e-9
    found = ranks(rows, log_prob, draw, roles, stream(6))
    assert distance(found.alphas) < 2.1 / math.sqrt(2_000)
    assert distance(found.pits[:, 0]) < 2.1 / math.sqrt(2_000)
    assert len(np.unique(found.alphas)) > 1_900


def test_rows_outside_the_density_are_in_no_region():
    roles = Roles(["x"])
    rows = np.array([[0.0], [9.0], [np.nan]])

    def log_prob(x):
        return np.where(x[:, 0] > 5, -math.inf, x[:, 0] * 0)

    found = ranks(rows, log_prob, lambda x, call: 0 * np.nan_to_num(x), roles, stream(0))
    assert found.alphas[1] > 200 / 201 and np.isnan(found.alphas[2])
    assert np.isnan(found.pits[2]).all()
    figures = calibration(found, rows, roles)[0]["calibration"]
    assert (figures["n"], figures["n_lost"]) == (2, 1)


@pytest.mark.parametrize(("column", "place"), [("a", 2), ("b", 3)])
def test_a_spread_that_is_wrong_in_one_bin_alone_names_it(column, place):
    quintile = -0.8416  # the first of N(0, 1)
    density = Gaussian(GIVEN, lambda x: np.where(x[:, place] < quintile, 0.5, 1.0)[:, None])
    worst = judged(density)["worst_bin"]
    assert worst["column"] == column and worst["category"] is None
    assert worst["high"] == pytest.approx(quintile, abs=0.15)
    expected = exact_coverage(0.9, 0.5, 2)
    assert worst["covered"] == pytest.approx(expected, abs=4 * worst["standard_error"] + 0.015)
    assert worst["covered"] < worst["chance_low"]


def test_a_spread_that_is_wrong_at_one_level_alone_names_it():
    density = Gaussian(GIVEN, lambda x: np.where(x[:, 4] == 1, 1.5, 1.0)[:, None])
    worst = judged(density)["worst_bin"]
    assert (worst["column"], worst["category"]) == ("c", "yes")
    assert worst["covered"] > worst["chance_high"]


def test_bins_are_fifths_and_frequent_levels_with_enough_rows():
    levels = [str(i) for i in range(14)]
    roles = Roles(["x"], given_numbers=["a", "b"], given_categories={"c": levels})
    counts = [*(30 + i for i in range(12)), 10, 5]
    category = np.repeat(np.arange(14.0), counts)
    n = len(category)
    rows = np.column_stack([np.zeros(n), np.arange(n), np.arange(n) % 2, category])
    bins = binned(np.linspace(0, 1, n), rows, np.ones(n), roles)
    of = {place: [b for b in bins if b.column == place] for place in (1, 2, 3)}
    assert [b.n for b in of[1]] == pytest.approx(5 * [n / 5], abs=1)
    assert [(b.low, b.high) for b in of[2]] == [(0, 0), (1, 1)]
    assert sorted(b.low for b in of[3]) == list(range(2, 12))


def test_unknown_levels_and_columns_of_one_value_are_no_bins():
    rows = np.column_stack([np.zeros((90, 2)), np.ones((90, 2)), np.repeat([-1.0, 0, 1], 30)])
    bins = binned(np.linspace(0, 1, 90), rows, np.ones(90), GIVEN)
    assert [(b.column, b.low) for b in bins] == [(4, 0), (4, 1)]


@pytest.mark.parametrize(("level", "n", "count"), [(0.9, 20, 1), (0.5, 101, 5), (0.99, 400, 12)])
def test_chance_leaves_no_more_than_it_says_at_either_end(level, n, count):
    tail = (1 - 0.95 ** (1 / count)) / 2
    low, high = (round(end * n) for end in chance(level, n, count))
    p = [math.comb(n, k) * level**k * (1 - level) ** (n - k) for k in range(n + 1)]
    assert sum(p[:low]) <= tail < sum(p[: low + 1])
    assert sum(p[high + 1 :]) <= tail < sum(p[high:])


def test_the_worst_of_many_bins_is_rarely_beyond_chance():
    rng, beyond = stream(0), 0
    for _ in range(300):
        rows = np.column_stack(
            [np.zeros((500, 2)), rng.random((500, 2)), rng.integers(2, size=500)]
        )
        bins = binned(rng.random(500), rows, np.ones(500), GIVEN)
        worst = max(bins, key=lambda b: b.excess)
        beyond += not worst.chance_low <= worst.covered <= worst.chance_high
    assert beyond <= 30  # of 15 at most


def test_whole_weights_are_rows_as_often():
    density = Gaussian(GIVEN, 0.8)
    rows = density.rows(400)
    found = density.ranks(rows)
    times = stream(9).integers(4, size=400)
    weighted, arrays = calibration(found, rows, GIVEN, times * 0.25)
    again = Ranks(*(np.repeat(part, times, axis=0) for part in found))
    repeated, same = calibration(again, np.repeat(rows, times, axis=0), GIVEN)
    weighted, repeated = weighted["calibration"], repeated["calibration"]
    for key in ("distance", "level", "covered", "worst_column", "pit_distance"):
        expected = repeated[key]
        assert weighted[key] == (expected if key == "worst_column" else pytest.approx(expected))
    for name in ("coverage", "pit"):
        np.testing.assert_allclose(arrays[name], same[name], atol=1e-12)
    assert weighted["n"] == np.sum(times > 0)
    assert weighted["n_effective"] == pytest.approx(times.sum() ** 2 / (times**2).sum())
    assert weighted["band"] > repeated["band"]


def test_the_standard_error_of_a_weighted_share_is_its_spread():
    rng = stream(1)
    shares, errors = [], []
    for _ in range(400):
        weights = rng.exponential(size=300)
        ranks_of = Ranks(rng.random(300), np.empty((300, 0)))
        figures = calibration(ranks_of, np.empty((300, 0)), Roles([]), weights)[0]["calibration"]
        shares.append(figures["coverage"][1]["covered"])
        errors.append(figures["coverage"][1]["standard_error"])
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.12)
    assert figures["worst_column"] is None and figures["worst_bin"] is None


def test_a_distance_of_equal_weights_is_kolmogorovs():
    values = stream(2).random(200) ** 1.2
    d, level, covered = from_uniform(values, np.full(200, 3.0))
    assert d == pytest.approx(distance(values), abs=1e-12)
    assert abs(covered - level) == pytest.approx(d)


def test_the_curves_are_shares_of_rows_up_to_each_level():
    found = Ranks(np.array([0.005, 0.5, 0.995]), np.array([[0.2], [0.2], [0.9]]))
    _, arrays = calibration(found, np.zeros((3, 1)), Roles(["x"]), np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(
        arrays["coverage"][[0, 1, 49, 50, 99, 100]], [0, 1, 1, 3, 3, 4] * np.array(0.25)
    )
    np.testing.assert_allclose(arrays["pit"][[19, 21, 89, 91], 0], [0, 0.75, 0.75, 1])
    assert arrays["coverage_bins"].shape == (0, 8)


def test_without_rows_nothing_is_judged():
    figures, arrays = calibration(Ranks(np.empty(0), np.empty((0, 2))), np.empty((0, 5)), GIVEN)
    judged = figures["calibration"]
    assert judged["coverage"] == [] and (judged["n"], judged["n_bins"]) == (0, 0)
    nothing = ("distance", "band", "worst_column", "pit_distance", "worst_bin")
    assert all(judged[key] is None for key in nothing)
    assert verdict(judged) == "unknown: no row has a log-density"
    assert arrays["pit"].shape == (101, 2) and np.isnan(arrays["coverage"]).all()
    assert miscalibrated(figures) is None


def test_rows_that_are_judged_are_drawn_from_all():
    np.testing.assert_array_equal(judged_rows(2_000, stream(0)), np.arange(2_000))
    some = judged_rows(50_000, stream(0))
    assert len(np.unique(some)) == 2_000 and np.all(np.diff(some) > 0)
    assert some.mean() == pytest.approx(25_000, abs=4 * 50_000 / math.sqrt(12 * 2_000))


def summary_of(covered, n=2_000.0, level=0.5, at_level=0.5):
    regions = [{"level": 0.5, "covered": 0.5}, {"level": 0.9, "covered": covered}]
    facts = {"coverage": regions, "n_effective": n, "level": level, "covered": at_level}
    return {"calibration": facts}


@pytest.mark.parametrize(
    ("summary", "word"),
    [
        (summary_of(0.86), ""),
        (summary_of(0.84), "over"),
        (summary_of(0.96), "under"),
        (summary_of(0.84, n=300.0), ""),  # 3.5 standard errors
        (summary_of(0.84, n=600.0), "over"),
        (summary_of(0.9, at_level=0.59), ""),
        (summary_of(0.9, at_level=0.61), "under"),
        (summary_of(0.9, at_level=0.61, n=400.0), ""),  # 2.2/√n
        (summary_of(None), ""),
        (summary_of(0.84, n=None), ""),
        (summary_of(0.84, n="many"), ""),
        ({"calibration": {**summary_of(0.8)["calibration"], "coverage": [3]}}, ""),
        ({"calibration": None}, ""),
        ({}, ""),
    ],
)
def test_coverage_that_is_far_off_is_told_with_its_direction(summary, word):
    caveat = miscalibrated(summary) or SimpleNamespace(reason="", figures=())
    assert (f"{word}confident" in caveat.reason) == bool(word)
    assert ("log_likelihood" in caveat.figures) == bool(word)


@pytest.mark.parametrize(
    ("covered", "n", "word"),
    [(0.79, 400, "over"), (1.0, 400, "under"), (0.83, 400, ""), (0.81, 100, "")],
)
def test_coverage_that_is_far_off_where_a_column_has_certain_values_is_told(covered, n, word):
    summary = summary_of(0.9)
    ends = {"column": "a", "low": 1.0, "high": 2.5, "category": None}
    summary["calibration"]["worst_bin"] = {**ends, "covered": covered, "n": n}
    caveat = miscalibrated(summary)
    assert (caveat is not None) == bool(word)
    if caveat is not None:
        assert f"{word}confident" in caveat.reason
        assert "where a is 1.00..2.50" in caveat.reason or "where a is 1..2.5" in caveat.reason


def test_what_rows_count_for_does_not_depend_on_their_scale():
    assert effective(np.array([1e-300, 3e-300])) == pytest.approx(16 / 10)
