"""What a command leaves is tested here; how a picture is laid out, in ``pictures``."""

from contextlib import nullcontext

import pytest
from short_runs import without_layout


@pytest.fixture(scope="module", autouse=True)
def panels_anywhere(request):
    is_of_pictures = request.path.parent.name == "pictures"
    with nullcontext() if is_of_pictures else without_layout():
        yield
