import zlib

import numpy as np
import pytest

from nflow_cli.data import images
from nflow_cli.data.images import BINARIZATIONS, binarize

IMAGES = np.random.default_rng(5).integers(0, 256, (6, 28, 28), dtype=np.uint8)
RAMP = np.broadcast_to(np.arange(256, dtype=np.uint8), (12_000, 256))  # 2 blocks and a part


@pytest.mark.parametrize("mode", ["stochastic", "static"])
def test_bernoulli_means(mode):
    drawn = binarize(RAMP, mode, 3, 1, "train")
    assert drawn.dtype == np.uint8 and drawn.shape == RAMP.shape and set(np.unique(drawn)) == {0, 1}
    p = np.arange(256) / 255
    error = np.sqrt(p * (1 - p) / len(RAMP))
    assert not drawn[:, 0].any() and drawn[:, 255].all()
    assert (np.abs(drawn.mean(0) - p) <= 4 * error).all()
    z = (drawn.mean(0) - p)[1:255] / error[1:255]
    assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / 254)  # the chi-square of all levels
    half = drawn[:, 64:192] - p[64:192]
    assert abs((half[:, 1:] * half[:, :-1]).mean()) < 4 * 0.25 / np.sqrt(half[:, 1:].size)


def test_bernoulli_is_exact_where_a_byte_is_drawn_again(monkeypatch):
    words = iter([np.full(2, 2**64 - 1, np.uint64), np.arange(16, dtype=np.uint64) + 255 * 7])

    class Bits:
        def random_raw(self, size):
            drawn = next(words)
            assert len(drawn) == size
            return drawn

    monkeypatch.setattr(images, "stream", lambda *_: type("", (), {"bit_generator": Bits()}))
    drawn = binarize(np.full(16, 9, np.uint8), "stochastic", 0, 0, "train")
    assert drawn.tolist() == [1] * 9 + [0] * 7


def test_streams():
    def draw(mode="stochastic", seed=1, epoch=2, part="train"):
        return binarize(IMAGES, mode, seed, epoch, part).tobytes()

    assert draw() == draw()
    assert draw("static") == draw("static", epoch=9)
    draws = [draw(), draw(epoch=3), draw(seed=2), draw(part="test"), draw(epoch=0)]
    draws += [draw("static"), draw("static", seed=2), draw("static", part="test")]
    assert len(set(draws)) == len(draws)


def test_bits_are_those_of_the_counter_alone():
    key = [7, zlib.crc32(b"binarization/test")]
    u = np.random.Philox(key=key, counter=[0, 0, 0, 3]).random_raw(2).astype("<u8").view(np.uint8)
    assert 255 not in u
    drawn = binarize(np.full(16, 128, np.uint8), "stochastic", 7, 3, "test")
    assert drawn.tolist() == [int(byte < 128) for byte in u]


def test_threshold_and_grey_levels():
    levels = np.arange(256, dtype=np.uint8)
    thresholded = binarize(levels, "threshold", 0, 0, "train")
    assert thresholded.dtype == np.uint8 and thresholded.tolist() == [0] * 128 + [1] * 128
    grey = binarize(levels, "none", 0, 0, "train")
    assert grey.dtype == np.float32
    np.testing.assert_array_equal(grey, (np.arange(256) / 255).astype(np.float32))


@pytest.mark.parametrize("mode", BINARIZATIONS)
def test_binarize_leaves_its_input_alone(mode):
    before = IMAGES.copy()
    view = IMAGES[::2, :, ::-1]  # not contiguous
    got = binarize(view, mode, 0, 0, "test")
    np.testing.assert_array_equal(IMAGES, before)
    np.testing.assert_array_equal(got, binarize(view.copy(), mode, 0, 0, "test"))


def test_binarize_refuses():
    with pytest.raises(ValueError, match=r"mode must be one of stochastic.*mode='dither'"):
        binarize(IMAGES, "dither", 0, 0, "train")
    with pytest.raises(ValueError, match=r"part must be 'train' or 'test'.*part='valid'"):
        binarize(IMAGES, "none", 0, 0, "valid")
    with pytest.raises(ValueError, match=r"uint8.*dtype=float64"):
        binarize(IMAGES / 255, "none", 0, 0, "train")
