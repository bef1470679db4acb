"""Numbers on axes are plain text."""

import pytest
from matplotlib.figure import Figure

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
