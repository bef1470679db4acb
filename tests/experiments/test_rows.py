import pytest

from nflow_cli.experiments.rows import length_text


@pytest.mark.parametrize(
    ("made", "planned", "text"),
    [
        (1, 1, "1 epoch"),
        (2, 2, "2 epochs"),
        (1, 2, "stopped early after 1 of 2 epochs"),
    ],
)
def test_the_length_of_a_training_is_a_number_of_its_units(made, planned, text):
    assert length_text(made, planned, "epochs") == text
