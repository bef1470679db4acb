"""The banks and the masks of a network of cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nflow_cli.tables.cells.layout import Layout, Outcomes

COUNTS = st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=9)


def layout_of(counts, n_given, width):
    outcomes = [
        Outcomes(count, count - 1) if has_number else Outcomes(count + 1, has_new=True)
        for count, has_number in counts
    ]
    return Layout(tuple(outcomes), min(n_given, len(outcomes) - 1), 2, width)


@given(counts=COUNTS, n_given=st.integers(0, 3), width=st.integers(1, 20))
def test_each_outcome_has_its_place_once(counts, n_given, width):
    layout = layout_of(counts, n_given, width)
    assert sorted(i for bank in layout.banks for i in bank.columns) == list(layout.modelled)
    for j in layout.modelled:
        places = layout.logits_of(j)
        assert len(places) == (counts[j][0] if counts[j][0] > 1 else 0)
        assert (layout.logits[places] == j).all()
    assert layout.with_numbers == [i for i, (_, is_one) in enumerate(counts) if is_one]


@given(counts=COUNTS, n_given=st.integers(0, 3), width=st.integers(1, 20))
def test_paths_lead_from_columns_before_alone_and_from_all_of_them(counts, n_given, width):
    layout = layout_of(counts, n_given, width)
    masks = layout.masks
    inner = np.linalg.matrix_power(masks["hidden"] + np.eye(width), 4) @ masks["inputs"]
    for columns, last, skip in (
        (layout.logits, masks["logits"], masks["logits_skip"]),
        (np.repeat(layout.mixed, 3 * 2), masks["mixtures"], None),
        (np.array(layout.mixed, int), masks["mixtures"][:: 3 * 2], masks["means_skip"]),
    ):
        paths = last @ inner + (0 if skip is None else skip)
        sees = columns[:, None] > layout.inputs
        assert not (paths[~sees] > 0).any()
        if skip is not None:
            np.testing.assert_array_equal(paths > 0, sees)


@pytest.mark.parametrize("n_given", [0, 2])
def test_hidden_units_are_spread_over_the_columns(n_given):
    layout = layout_of([(3, False)] * 6, n_given, 40)
    counts = np.bincount(layout.degrees, minlength=6)
    first = max(n_given - 1, 0)
    assert not counts[:first].any() and not counts[5]
    assert np.ptp(counts[first:5]) <= 1
