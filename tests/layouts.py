"""What the tests of pictures ask of their layout: that all is inside, apart, or drawn at all."""

from itertools import combinations

from pictures import placed
from short_runs import without_layout

from nflow_cli.plotting.style import drawing


def assert_inside(figure):
    """Check that no text is cut off at the edge of a picture."""
    (width, height), box = placed(figure).get_size_inches(), figure.get_tightbbox()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -0.01


def assert_apart(boxes, gap=0.0):
    """Check that no two boxes in pixels overlap, or come nearer than a gap along the first axis."""
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
        assert gap == 0 or one.x1 + gap < other.x0 or other.x1 + gap < one.x0


def drawn(figure):
    """Draw a picture small, its parts where they stand: that it can be drawn is what is asked."""
    figure.set_dpi(20)
    with without_layout():
        return placed(figure)


def small(figure_of, *args, **options):
    """Make a picture in the common style, draw it as `drawn` does and return it."""
    with drawing():
        figure = figure_of(*args, **options)
    return drawn(figure)
