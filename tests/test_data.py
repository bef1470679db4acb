import numpy as np
import pytest

from nflow_cli.data import NoiseChunks
from nflow_cli.distributions import StandardNormal, UniformBox
from nflow_cli.streams import stream


def chunks(steps, chunk=7, batch_size=5, seeds=(0,), **options):
    return NoiseChunks(StandardNormal(), seeds, steps, chunk, batch_size, **options)


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
        assert (noise.shape, noise.dtype) == ((7, 2, 5), np.float32)
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
    assert not np.any(chunks(7, seeds=[0])[0][0] == chunks(7, seeds=[1])[0][0])


def test_several_seeds_give_side_by_side_what_each_gives_alone():
    together = chunks(10, seeds=[5, 0, 8])
    for i, (noise, count) in enumerate(together):
        assert noise.shape == (7, 2, 3, 5)
        for r, seed in enumerate([5, 0, 8]):
            alone = chunks(10, seeds=[seed])[i]
            np.testing.assert_array_equal(noise[:, :, r], alone[0])
            np.testing.assert_array_equal(count, alone[1])


def test_training_and_evaluation_never_see_the_same_noise():
    noise = chunks(7)[0][0].ravel()
    fresh = StandardNormal().sample(stream(0, "evaluation"), (len(noise),))
    assert not np.any(noise == fresh)


def test_the_noise_is_that_of_the_base():
    box = NoiseChunks(UniformBox(2.0), [0], 100, 100, 500)[0][0]
    normal = chunks(100, 100, 500)[0][0]
    n = normal.size
    assert np.abs(box).max() <= 2.0
    assert abs(box.var() - 4 / 3) < 5 * np.sqrt(64 / 45 / n)  # Var of z^2 is 4h^4/45
    assert abs(normal.mean()) < 5 / np.sqrt(n)
    assert abs(normal.var() - 1) < 5 * np.sqrt(2 / n)
