from itertools import combinations

import numpy as np
import pytest

from nflow_cli.errors import ConfigError
from nflow_cli.random_streams import shifted_lattice, stream

N = 20_000


def draw(*keys):
    return stream(*keys).standard_normal(N)


def test_the_same_keys_give_the_same_bits():
    for keys in ((0, "a"), (0, "a", 3), (2**32 - 1, "b", 2**40)):
        np.testing.assert_array_equal(draw(*keys), draw(*keys))
    np.testing.assert_array_equal(draw(4, "a"), draw(4, "a", 0))
    np.testing.assert_array_equal(draw(np.int64(3), "a"), draw(3, "a"))
    for seed in (1.5, True, "5", -1, 2**32, None):
        with pytest.raises(ConfigError, match=r"a whole number.*Received: seed="):
            stream(seed, "a")


def test_streams_of_different_keys_are_different_and_uncorrelated():
    keys = [
        *((seed, "base-noise", 0) for seed in (0, 1, 2, 2**32 - 1)),
        *((0, purpose, 0) for purpose in ("evaluation", "target-samples", "")),
        *((0, "base-noise", step) for step in (1, 2, 3, 2**32)),
        (1, "evaluation", 1),
    ]
    drawn = [draw(*key) for key in keys]
    for (_, a), (_, b) in combinations(zip(keys, drawn), 2):
        assert not np.any(a[:100] == b[:100])
        for lag in (0, 1, 2):
            r = np.corrcoef(a[lag:], b[: N - lag])[0, 1]
            assert abs(r) < 5 / np.sqrt(N)


def test_steps_never_run_into_one_another_nor_touch_numpys_global_state():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = stream(0, "a", 0).random(500_000)
    second = stream(0, "a", 1).random(1_000)
    assert not np.any(np.isin(second, first))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_shifted_lattice_is_uniform_and_its_means_exact_up_to_little(dim):
    points = shifted_lattice(stream(0, "a"), (N, dim, 7))
    assert points.shape == (N, dim, 7)
    assert points.min() >= 0 and points.max() < 1
    ranks = np.arange(N) / N
    distance = np.abs(np.sort(points, axis=0) - ranks[:, None, None]).max(axis=0)
    assert np.all(distance < 2 / np.sqrt(N))  # Kolmogorov's, below which all but 7e-4 lie
    points = shifted_lattice(stream(1, "a"), (500, dim, 256))
    means = np.mean(np.prod(np.sin(np.pi * points), axis=1), axis=-1)
    truth = (2 / np.pi) ** dim
    spread = np.sqrt(0.5**dim - truth**2)  # of one point
    assert abs(means.mean() - truth) < 5 * means.std() / np.sqrt(500) + 1e-15
    assert means.std() < spread / np.sqrt(256) / 5
