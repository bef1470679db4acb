"""What the tests of pictures ask of their layout: that all is inside, apart, or drawn at all."""

from itertools import combinations

from pictures import placed


def assert_inside(figure):
    """Check that no text is cut off at the edge of a picture."""
    (width, height), box = placed(figure).get_size_inches(), figure.get_tightbbox()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -0.01


def assert_apart(boxes, gap=0.0):
    """Check that there are gaps of so many pixels between all boxes."""
    for one, other in combinations([box.padded(gap / 2) for box in boxes], 2):
        assert not one.overlaps(other)


def drawn(figure):
    """Draw a picture small, its parts where they stand: that it can be drawn is what is asked."""
    figure.set_dpi(20)
    figure.set_layout_engine("none")
    return placed(figure)
