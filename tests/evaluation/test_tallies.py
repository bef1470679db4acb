"""Sums over rows: a mean and its standard error by definition, of all rows and of their parts."""

import itertools
import json

import numpy as np
import pytest

from nflow_cli.evaluation.tallies import Moments, Tally


def by_definition(v, w):
    mean = np.sum(w * v) / np.sum(w)
    n = np.sum(w) ** 2 / np.sum(w**2)
    return mean, np.sqrt(n / (n - 1) * np.sum(w**2 * (v - mean) ** 2)) / np.sum(w), n


@pytest.mark.parametrize("sizes", [(500,), (1, 0, 300, 199), (2,) * 250])
@pytest.mark.parametrize("are_weighted", [False, True])
def test_parts_of_any_sizes_have_the_mean_and_the_error_of_all_rows(sizes, are_weighted):
    rng = np.random.default_rng(0)
    v = rng.standard_normal(500) * 1e-6 - 1e3  # sums of squares would lose all digits
    w = rng.exponential(size=500) * (rng.random(500) < 0.9) if are_weighted else np.ones(500)
    ends = np.cumsum((0, *sizes))
    parts = [Moments.of(v[a:b], w[a:b]) for a, b in itertools.pairwise(ends)]
    found, (mean, error, n) = Moments.merged(parts), by_definition(v, w)
    assert (found.n, found.value) == (500, pytest.approx(mean, rel=1e-14))
    assert found.standard_error == pytest.approx(error, rel=1e-6)
    assert found.n_effective == pytest.approx(n, rel=1e-12)


def test_equal_weights_are_none_and_huge_ones_do_not_overflow():
    v = np.array([1.0, 2.0, 4.0])
    error = v.std(ddof=1) / np.sqrt(3)
    for weights in (None, np.ones(3), np.full(3, 1e300)):
        found = Moments.of(v, weights)
        assert (found.value, found.standard_error) == (pytest.approx(7 / 3), pytest.approx(error))
        assert found.n_effective == 3


def test_what_is_unknown_or_not_finite():
    none = Moments.of(np.empty(0))
    assert (none.value, none.standard_error, none.n_effective) == (None, None, 0)
    assert Moments.merged([]) == pytest.approx(none, nan_ok=True)
    assert Moments.of(np.ones(1)).standard_error is None
    one = Moments.of(np.array([1.0, -np.inf]))
    for found in (one, Moments.merged([one, Moments.of(np.ones(9)), none])):
        assert found.value == -np.inf and found.standard_error is None


def test_tallies_add_up_by_name_and_are_json():
    parts = [
        Tally({"a": Moments.of(np.ones(2))}, {"n": 2, "odd": 1}, {"least": 0.5}),
        Tally({"b": Moments.of(np.zeros(3))}, {"n": 3}, {"least": 0.25}),
    ]
    read = [Tally.read(json.loads(json.dumps(part._asdict()))) for part in parts]
    assert read == parts
    found = Tally.merged(read)
    assert {name: (one.n, one.value) for name, one in found.means.items()} == {
        "a": (2, 1.0),
        "b": (3, 0.0),
    }
    assert (found.counts, found.least) == ({"n": 5, "odd": 1}, {"least": 0.25})
