"""Array shapes of the pictures of a fit to a table."""

from nflow_cli.runs.array_shapes import STRIP, Shapes

PLANE: Shapes = {
    **{"axis_1": "x", "axis_2": "y", "log_q": "yx", "samples": ("s", 2)},
    **{"test_points": ("t", 2), **STRIP},
}
LINE: Shapes = {"axis_1": "x", "log_q": "x"}


def shapes_of(dim: int, is_conditional: bool) -> Shapes:
    """Array shapes of pictures of rows with D = ``dim`` columns."""
    rows: Shapes = {"rows": ("t", dim), "samples": ("s", dim)}
    return {**rows, "columns_shown": "c", **(LINE if dim == 1 and not is_conditional else {})}
