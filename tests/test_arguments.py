import numpy as np
import pytest

from nflow_cli.arguments import whole_number
from nflow_cli.errors import ConfigError, DataError


def test_whole_numbers_of_python_and_numpy_are_taken():
    for value in (0, 7, np.int64(7), np.uint8(7), np.array(7)):
        number = whole_number("k", value)
        assert type(number) is int and number == value


def test_anything_else_is_one_line_that_says_what_was_expected_and_what_came():
    for value in (True, np.True_, 2.5, 2.0, np.float64(2), "5", None, -1, [3], 4):
        with pytest.raises(ConfigError, match="whole number, 0 or more, at most 3") as caught:
            whole_number("k", value, most=3)
        assert f"Received: k={value!r}" in str(caught.value)
    for value in (1000 * "x", np.zeros(1000), np.zeros((3, 3))):
        with pytest.raises(DataError) as caught:
            whole_number("k", value, error=DataError)
        assert len(str(caught.value)) < 150 and "\n" not in str(caught.value)
