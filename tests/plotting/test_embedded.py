import io

import numpy as np
import pytest
from PIL import Image
from reports import opened

from nflow_cli.plotting.embedded import embedded


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (120, 240, 3), np.uint8)


def test_what_fits_is_embedded_as_it_is_at_its_size_in_print(noise):
    (picture,) = embedded({"a": png(noise)}, 10**7).values()
    np.testing.assert_array_equal(np.asarray(opened(picture.uri)), noise)
    assert picture.width == 240 * 96 // 150  # drawn at 150 dots an inch


@pytest.mark.parametrize("room", [80_000, 48_000, 32_000])
def test_what_does_not_fit_is_made_smaller_and_shown_as_large(noise, room):
    pictures = embedded({"a": png(noise), "b": png(noise[::-1])}, room)
    assert list(pictures) == ["a", "b"]
    assert sum(len(picture.uri) for picture in pictures.values()) <= room
    for picture in pictures.values():
        assert picture.width == 153
        small = opened(picture.uri).convert("RGB").resize((6, 3), Image.Resampling.BOX)
        assert abs(np.asarray(small).mean() - 127.5) < 5


def test_what_fits_nowhere_is_left_out(noise):
    assert embedded({"a": png(noise)}, 1_000) == {}


def test_what_is_no_picture_of_a_size_that_can_be_drawn_is_left_out(noise):
    whole = png(noise)
    huge = whole[:16] + (10**5).to_bytes(4) + (10**5).to_bytes(4) + whole[24:]
    wrong = {"text": b"<svg>", "none": b"", "huge": huge, "cut": whole[:20]}
    assert list(embedded({**wrong, "whole": whole}, 10**7)) == ["whole"]


def test_a_damaged_picture_that_would_be_made_smaller_is_left_out(noise):
    whole = png(noise)
    damaged = whole[:1_000] + bytes(len(whole) - 1_000)
    assert list(embedded({"damaged": damaged, "whole": whole}, 80_000)) == ["whole"]
