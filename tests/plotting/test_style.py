"""Numbers on axes are plain text, and pictures fit in the page of a report."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from reports import opened

from nflow_cli.plotting.embedded import embedded
from nflow_cli.plotting.style import (
    drawing,
    number_text,
    space_by_powers,
)


@pytest.mark.parametrize(
    ("scale", "values", "texts"),
    [
        ("log", (3e-3, 2e2), ["10⁻²", "10⁻¹", "10⁰", "10¹", "10²"]),
        ("log", (2e11, 9e12), ["10¹²"]),
        ("log", (0.12, 0.44), ["0.2", "0.3", "0.4"]),
        ("log", (0.55, 4.2), ["0.6", "1", "2", "3", "4"]),
        ("log", (1.2e-6, 4e-6), ["2×10⁻⁶", "3×10⁻⁶"]),
        ("symlog", (-20.0, 300.0), ["−10¹", "−10⁰", "0", "10⁰", "10¹", "10²"]),
    ],
)
def test_powers_of_ten_are_plain_text(scale, values, texts):
    with drawing():
        ax = Figure().add_subplot()
        space_by_powers(ax.yaxis, scale, **({"linthresh": 1.0} if scale == "symlog" else {}))
        ax.set_ylim(values)
        axis = ax.yaxis
        ticks = axis.get_major_formatter().format_ticks(axis.get_majorticklocs())
        minor = axis.get_minor_formatter().format_ticks(axis.get_minorticklocs())
    shown = {*ticks, *minor} - {""}
    assert {*texts} <= shown and not any("$" in text or "{" in text for text in shown)


def test_a_number_has_two_digits_at_least():
    numbers = {0.0: "0.0", 0.123: "0.12", 12.4: "12", 1.26e-7: "1.3×10⁻⁷", 4e21: "4.0×10²¹"}
    assert {value: number_text(value) for value in numbers} == numbers


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


def test_what_does_not_fit_is_made_smaller_and_shown_as_large_or_left_out(noise):
    for room in (80_000, 48_000, 32_000):
        pictures = embedded({"a": png(noise), "b": png(noise[::-1])}, room)
        assert list(pictures) == ["a", "b"]
        assert sum(len(picture.uri) for picture in pictures.values()) <= room
        for picture in pictures.values():
            assert picture.width == 153
            small = opened(picture.uri).convert("RGB").resize((6, 3), Image.Resampling.BOX)
            assert abs(np.asarray(small).mean() - 127.5) < 5
    assert embedded({"a": png(noise)}, 1_000) == {}


def test_what_is_no_picture_of_a_size_that_can_be_drawn_is_left_out(noise):
    whole = png(noise)
    huge = whole[:16] + (10**5).to_bytes(4) + (10**5).to_bytes(4) + whole[24:]
    wrong = {"text": b"<svg>", "none": b"", "huge": huge, "cut": whole[:20]}
    assert list(embedded({**wrong, "whole": whole}, 10**7)) == ["whole"]
    damaged = whole[:1_000] + bytes(len(whole) - 1_000)  # it would be made smaller
    assert list(embedded({"damaged": damaged, "whole": whole}, 80_000)) == ["whole"]
