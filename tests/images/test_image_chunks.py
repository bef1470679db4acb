import numpy as np
import pytest

from nflow_cli.config import presets
from nflow_cli.images.image_chunks import ImageChunks


def numbered(n):
    """Return images that tell their number in their first ten pixels; all others are half grey."""
    images = np.full((n, 784), 128, np.uint8)
    images[:, :10] = 255 * (np.arange(n)[:, None] >> np.arange(10) & 1)
    return images.reshape(n, 28, 28)


def image_chunks(n=23, batch_size=4, chunk=2, epochs=3, mode="stochastic", seed=0):
    settings = presets.validate(
        {
            "command": "train-vae",
            "seed": seed,
            "data": {"binarization": mode},
            "model": {"latent_dim": 3},
            "train": {"epochs": epochs, "batch_size": batch_size, "chunk": chunk},
        },
        "test",
    )
    return ImageChunks(numbered(n), settings)


def epoch_of(dataset, epoch):
    """Return the images of an epoch in their order: their numbers, and their grey pixels."""
    size = dataset.chunks_per_epoch
    due = []
    for index in range(epoch * size, (epoch + 1) * size):
        (pixels, _), count = dataset[index]
        due.append(pixels[: count[0]].reshape(-1, 784))
    pixels = np.concatenate(due)
    return (pixels[:, :10] > 0) @ (1 << np.arange(10)), pixels[:, 10:]


@pytest.mark.parametrize(
    ("n", "batch_size", "chunk", "counts"),
    [(23, 4, 2, [2, 2, 1]), (24, 4, 2, [2, 2, 2]), (24, 4, 100, [6]), (4, 4, 1, [1])],
)
def test_the_counts_of_an_epoch_add_up_to_its_whole_batches(n, batch_size, chunk, counts):
    for mode, dtype in (("stochastic", np.uint8), ("none", np.float32)):
        dataset = image_chunks(n, batch_size, chunk, mode=mode)
        assert len(dataset) == 3 * len(counts)
        assert dataset.steps == 3 * (n // batch_size) == 3 * sum(counts)
        for index, due in enumerate(3 * counts):
            (pixels, noise), count = dataset[index]
            assert (pixels.shape[1:], pixels.dtype) == ((batch_size, 784), dtype)
            assert (noise.shape[1:], noise.dtype) == ((batch_size, 3), np.float32)
            assert len(pixels) == len(noise) == len(dataset[0][0][0])  # one program for all
            assert (count.dtype, count.tolist()) == (np.int32, [due])
            assert not np.any(pixels[due:])


def test_every_epoch_is_another_permutation_and_leaves_out_others_at_random():
    dataset = image_chunks(n=24)
    orders = [epoch_of(dataset, epoch)[0] for epoch in range(3)]
    for i, order in enumerate(orders):
        assert sorted(order) == list(range(24))
        assert not any(np.array_equal(order, other) for other in orders[:i])
    dataset = image_chunks(n=23, epochs=20)
    orders = [epoch_of(dataset, epoch)[0] for epoch in range(20)]
    assert all(len(set(order)) == len(order) == 20 for order in orders)
    assert set(np.concatenate(orders)) == set(range(23))


def test_each_epoch_is_binarized_anew():
    dataset = image_chunks(n=24)
    (first, one), (second, other) = (epoch_of(dataset, epoch) for epoch in (0, 1))
    one, other = one[np.argsort(first)], other[np.argsort(second)]
    p, size = 128 / 255, one.size
    for drawn in (one, other):
        assert set(np.unique(drawn)) == {0, 1}
        assert abs(drawn.mean() - p) < 4 * np.sqrt(p * (1 - p) / size)
    agree = p**2 + (1 - p) ** 2
    assert abs((one == other).mean() - agree) < 4 * np.sqrt(agree * (1 - agree) / size)


@pytest.mark.parametrize("mode", ["static", "threshold", "none"])
def test_other_binarizations_stay(mode):
    dataset = image_chunks(n=24, mode=mode)
    (first, one), (second, other) = (epoch_of(dataset, epoch) for epoch in (0, 1))
    np.testing.assert_array_equal(one[np.argsort(first)], other[np.argsort(second)])
    levels = {"static": {0, 1}, "threshold": {1}, "none": {np.float32(128 / 255)}}
    assert set(np.unique(one)) == levels[mode]


def flat(item):
    (pixels, noise), count = item
    return [pixels, noise, count]


def test_a_chunk_of_images_is_the_same_in_any_order_and_of_its_own_seed():
    in_order = [flat(image_chunks()[i]) for i in range(9)]
    dataset = image_chunks()
    for index in (8, 0, 4, 3, 8, 1):
        for got, expected in zip(flat(dataset[index]), in_order[index]):
            np.testing.assert_array_equal(got, expected)
    noises = np.stack([noise for _, noise, _ in in_order])
    assert len(np.unique(noises)) == noises.size
    pixels, noise, _ = flat(image_chunks(seed=1)[0])
    assert not np.any(noise == noises[0])
    assert np.any(pixels[..., :10] != in_order[0][0][..., :10])


@pytest.mark.parametrize("first", [1, 3, 4, 9])
def test_starting_later_goes_on_with_the_same_images(first):
    whole, rest = image_chunks(), image_chunks()
    rest.start_at(sum(int(whole[i][1][0]) for i in range(first)))
    assert len(rest) == len(whole) - first
    for index in range(len(rest)):
        for got, expected in zip(flat(rest[index]), flat(whole[first + index])):
            np.testing.assert_array_equal(got, expected)


def test_the_posterior_noise_is_standard_normal():
    (_, noise), _ = image_chunks(n=1000, batch_size=100, chunk=10)[0]
    n = noise.size
    assert abs(noise.mean()) < 4 / np.sqrt(n)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / n)
