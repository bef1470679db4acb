import numpy as np
import pytest

from nflow_cli.config import presets
from nflow_cli.densities.bases import Base, StandardNormal, UniformBox
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import ImageChunks, NoiseChunks, PointChunks


def chunks(steps, chunk=7, batch_size=5, seeds=(0,), **options):
    return NoiseChunks(StandardNormal(), 2, seeds, steps, chunk, batch_size, **options)


@pytest.mark.parametrize(
    ("steps", "chunk", "counts"),
    [(21, 7, [7, 7, 7]), (22, 7, [7, 7, 7, 1]), (20, 7, [7, 7, 6]), (3, 7, [3]), (4, 1, [1] * 4)],
)
def test_the_counts_add_up_to_the_steps_and_every_chunk_has_one_shape(steps, chunk, counts):
    dataset = chunks(steps, chunk)
    assert len(dataset) == len(counts)
    assert [int(dataset[i][1][0]) for i in range(len(dataset))] == counts
    for i in range(len(dataset)):
        noise, count = dataset[i]
        assert (noise.shape, noise.dtype) == ((chunk, 2, 5), np.float32)
        assert (count.shape, count.dtype) == ((1,), np.int32)


def test_a_chunk_is_the_same_in_any_order_and_of_any_total():
    dataset, longer = chunks(50), chunks(1000)
    in_order = [dataset[i][0] for i in range(len(dataset))]
    for i in (5, 0, 7, 5, 3):
        np.testing.assert_array_equal(dataset[i][0], in_order[i])
        np.testing.assert_array_equal(longer[i][0], in_order[i])
    assert not np.any(in_order[0] == in_order[1])


@pytest.mark.parametrize("first", [0, 1, 3, 7, 8])
def test_starting_later_goes_on_with_the_same_chunks(first):
    whole, rest = chunks(52), chunks(52)
    rest.start_at(min(first * 7, 52))
    assert len(rest) == len(whole) - first
    for i in range(len(rest)):
        for got, expected in zip(rest[i], whole[first + i]):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("update", [1, 6, 13, 51])
def test_starting_within_a_chunk_makes_what_is_left_of_it(update):
    whole, rest = chunks(52), chunks(52)
    rest.start_at(update)
    assert sum(int(rest[i][1][0]) for i in range(len(rest))) == 52 - update
    noise, count = rest[0]
    expected = whole[update // 7][0][update % 7 :]
    np.testing.assert_array_equal(noise[: count[0]], expected[: count[0]])


def test_several_seeds_give_side_by_side_what_each_gives_alone():
    together = chunks(10, seeds=[5, 0, 8])
    for i, (noise, count) in enumerate(together):
        assert noise.shape == (7, 3, 2, 5)
        for r, seed in enumerate([5, 0, 8]):
            alone = chunks(10, seeds=[seed])[i]
            np.testing.assert_array_equal(noise[:, r], alone[0])
            np.testing.assert_array_equal(count, alone[1])
        assert not np.any(noise[:, 0] == noise[:, 1])


def test_training_and_evaluation_never_see_the_same_noise():
    noise = chunks(7)[0][0].ravel()
    fresh = StandardNormal().sample(stream(0, "evaluation"), (len(noise),))
    assert not np.any(noise == fresh)


def test_the_noise_is_that_of_the_base():
    box = NoiseChunks(UniformBox(2.0), 2, [0], 100, 100, 500)[0][0]
    normal = chunks(100, 100, 500)[0][0]
    n = normal.size
    assert np.abs(box).max() <= 2.0
    assert abs(box.var() - 4 / 3) < 5 * np.sqrt(64 / 45 / n)  # Var of z^2 is 4h^4/45
    assert abs(normal.mean()) < 5 / np.sqrt(n)
    assert abs(normal.var() - 1) < 5 * np.sqrt(2 / n)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_even_noise_is_that_of_the_base_and_means_over_an_update_are_near(seeds):
    noise = chunks(40, 40, 500, seeds, even=True)[0][0].reshape(40, len(seeds), 2, 500)
    assert noise.dtype == np.float32
    product = noise[:, :, 0] * noise[:, :, 1]
    for moment, truth, variance in ((noise, 0, 1), (noise**2, 1, 2), (product, 0, 1)):
        errors = moment.mean(axis=-1) - truth
        assert np.sqrt(np.mean(errors**2)) < 0.6 * np.sqrt(variance / 500)
    # No two updates, and no two seeds, have the same points.
    assert len(np.unique(noise[:, :, 0].ravel())) > 0.999 * noise[:, :, 0].size


class Correlated(Base):
    """``N(0, C)`` with coordinates that depend on each other."""

    covariance = np.array([[2.0, -1.2, 0.3], [-1.2, 1.0, 0.0], [0.3, 0.0, 0.5]])

    def log_prob(self, z):
        raise NotImplementedError

    def sample(self, rng, shape):
        factor = np.linalg.cholesky(self.covariance)
        return (rng.standard_normal(shape) @ factor.T).astype("float32")


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_the_noise_of_a_base_has_its_correlations(seeds):
    noise, _ = NoiseChunks(Correlated(), 3, seeds, 40, 40, 500)[0]
    n = 40 * 500
    for points in noise.reshape(40, len(seeds), 3, 500).transpose(1, 2, 0, 3):
        covariance = np.cov(points.reshape(3, n))
        c = Correlated.covariance
        # Var of a sample covariance: (c_ii c_jj + c_ij^2) / n.
        error = np.sqrt((np.outer(np.diag(c), np.diag(c)) + c**2) / n)
        assert np.all(np.abs(covariance - c) < 5 * error)


def point_chunks(steps=52, n=90, chunk=7, batch_size=5, seed=0):
    points = np.stack([np.arange(n), np.arange(n) + 1000.0], axis=-1)
    return PointChunks(points, [seed], steps, chunk, batch_size)


def test_batches_are_points_of_the_data_features_first_and_fixed_by_the_seed():
    dataset = point_chunks()
    for batch, count in dataset:
        assert (batch.shape, batch.dtype, count.dtype) == ((7, 2, 5), np.float32, np.int32)
        np.testing.assert_array_equal(batch[:, 1], batch[:, 0] + 1000)
        assert set(batch[:, 0].ravel()) <= set(range(90))
    assert sum(int(count[0]) for _, count in dataset) == 52
    one, again, other = (point_chunks(seed=seed) for seed in (0, 0, 1))
    again.start_at(14)
    np.testing.assert_array_equal(one[2][0], again[0][0])
    assert np.any(one[2][0] != other[2][0]) and np.any(one[2][0] != one[1][0])


def test_every_point_is_as_likely_in_a_batch():
    drawn = np.concatenate([batch[:, 0].ravel() for batch, _ in point_chunks(7_000, batch_size=50)])
    counts = np.bincount(drawn.astype(int), minlength=90)
    expected = len(drawn) / 90
    chi_square = np.sum((counts - expected) ** 2) / expected
    assert abs(chi_square - 89) < 4 * np.sqrt(2 * 89)


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


def test_rows_are_drawn_in_proportion_to_their_weights():
    points, weights = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
    ((drawn, _),) = PointChunks(points, [3], 100, 100, 400, weights)
    shares = np.bincount(drawn.ravel().astype(int), minlength=4) / drawn.size
    np.testing.assert_allclose(shares, weights / 8, atol=4 * 0.5 / np.sqrt(drawn.size))
    assert shares[0] == 0
