"""Names in pictures."""

from matplotlib.cbook import is_math_text

from nflow_cli.plotting.style import plain


def test_a_name_is_no_formula_and_is_shown_as_it_is():
    for name in ("5 $ 6$", r"\$", r"$a$", "$", "$$"):
        drawn = plain(name, width=3)
        assert not is_math_text(drawn) and drawn.replace(r"\$", "$").split() == name.split()
