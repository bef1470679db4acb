"""What a command leaves is tested here; how a picture is laid out, in ``tests/plotting``."""

import pytest
from short_runs import without_layout


@pytest.fixture(scope="module", autouse=True)
def panels_anywhere():
    with without_layout():
        yield
