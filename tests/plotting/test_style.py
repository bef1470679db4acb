"""Numbers and names in pictures."""

from matplotlib.cbook import is_math_text

from nflow_cli.plotting.style import number_text, plain


def test_a_number_has_two_digits_at_least():
    numbers = {0.0: "0.0", 0.123: "0.12", 12.4: "12", 1.26e-7: "1.3×10⁻⁷", 4e21: "4.0×10²¹"}
    assert {value: number_text(value) for value in numbers} == numbers


def test_a_name_is_no_formula_and_is_shown_as_it_is():
    for name in ("5 $ 6$", r"\$", r"$a$", "$", "$$"):
        drawn = plain(name, width=3)
        assert not is_math_text(drawn) and drawn.replace(r"\$", "$").split() == name.split()
