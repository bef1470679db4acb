import numpy as np
import pytest

from nflow_cli.densities.bases import Base, StandardNormal, UniformBox
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import NoiseChunks, PointChunks


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


def test_rows_are_drawn_in_proportion_to_their_weights():
    points, weights = np.arange(4.0)[:, None], np.array([0.0, 1.0, 2.0, 5.0])
    ((drawn, _),) = PointChunks(points, [3], 100, 100, 400, weights)
    shares = np.bincount(drawn.ravel().astype(int), minlength=4) / drawn.size
    np.testing.assert_allclose(shares, weights / 8, atol=4 * 0.5 / np.sqrt(drawn.size))
    assert shares[0] == 0
