from itertools import combinations

import numpy as np
import pytest

from nflow_cli.data import NoiseChunks, stream
from nflow_cli.distributions import StandardNormal, UniformBox

N = 20_000


def draw(*keys):
    return stream(*keys).standard_normal(N)


def chunks(steps, chunk=7, batch_size=5, seed=0, **options):
    return NoiseChunks(StandardNormal(), seed, steps, chunk, batch_size, **options)


@pytest.mark.parametrize("keys", [(0, "a"), (0, "a", 3), (2**32 - 1, "b", 2**40)])
def test_the_same_keys_give_the_same_bits(keys):
    np.testing.assert_array_equal(draw(*keys), draw(*keys))


def test_the_first_step_is_step_0():
    np.testing.assert_array_equal(draw(4, "a"), draw(4, "a", 0))


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


def test_steps_never_run_into_one_another():
    first = stream(0, "a", 0).random(500_000)
    second = stream(0, "a", 1).random(1_000)
    assert not np.any(np.isin(second, first))


def test_a_stream_does_not_touch_numpys_global_state():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    stream(0, "a").random(10)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("steps", "chunk", "counts"),
    [(21, 7, [7, 7, 7]), (22, 7, [7, 7, 7, 1]), (20, 7, [7, 7, 6]), (3, 7, [3]), (4, 1, [1] * 4)],
)
def test_the_counts_add_up_to_the_steps(steps, chunk, counts):
    dataset = chunks(steps, chunk)
    assert len(dataset) == len(counts)
    assert [int(dataset[i][1][0]) for i in range(len(dataset))] == counts


def test_every_chunk_has_the_same_shape_and_types():
    dataset = chunks(20)
    for i in range(len(dataset)):
        noise, count = dataset[i]
        assert (noise.shape, noise.dtype) == ((7, 5, 2), np.float32)
        assert (count.shape, count.dtype) == ((1,), np.int32)


def test_random_access_gives_the_noise_of_the_sequence():
    dataset = chunks(50)
    in_order = [dataset[i][0] for i in range(len(dataset))]
    for i in (5, 0, 7, 5, 3):
        np.testing.assert_array_equal(dataset[i][0], in_order[i])
    assert not np.any(in_order[0] == in_order[1])


def test_chunk_borders_do_not_depend_on_the_total():
    short, long = chunks(10), chunks(1000)
    for i in range(len(short)):
        np.testing.assert_array_equal(short[i][0], long[i][0])


@pytest.mark.parametrize("first", [0, 1, 3, 7])
def test_starting_later_goes_on_with_the_same_chunks(first):
    whole, rest = chunks(52), chunks(52, first=first)
    assert len(rest) == len(whole) - first
    for i in range(len(rest)):
        for got, expected in zip(rest[i], whole[first + i]):
            np.testing.assert_array_equal(got, expected)


def test_seeds_give_different_noise():
    assert not np.any(chunks(7, seed=0)[0][0] == chunks(7, seed=1)[0][0])


def test_training_and_evaluation_never_see_the_same_noise():
    noise = chunks(7)[0][0].ravel()
    fresh = StandardNormal().sample(stream(0, "evaluation"), (len(noise),))
    assert not np.any(noise == fresh)


def test_the_noise_is_that_of_the_base():
    box = NoiseChunks(UniformBox(2.0), 0, 100, 100, 500)[0][0]
    normal = chunks(100, 100, 500)[0][0]
    n = normal.size
    assert np.abs(box).max() <= 2.0
    assert abs(box.var() - 4 / 3) < 5 * np.sqrt(64 / 45 / n)  # Var of z^2 is 4h^4/45
    assert abs(normal.mean()) < 5 / np.sqrt(n)
    assert abs(normal.var() - 1) < 5 * np.sqrt(2 / n)
