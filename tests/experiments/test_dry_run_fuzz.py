"""Whatever bytes a table has, a fit to it is refused in one line, or its rows are sound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import BYTES, CELLS, mutated, odd_cells

from nflow_cli.config import presets
from nflow_cli.errors import NflowError
from nflow_cli.experiments.run import settled
from nflow_cli.experiments.table.dry_run import command_of, dry_run, lines_of, record_of
from nflow_cli.runs.json_text import json_text

N = 14
RNG = np.random.default_rng(0)
X = RNG.normal(size=N).round(3)
CITY = RNG.choice(["Rome", "Oslo"], N)
DAYS = [f"2020-01-{i + 1:02}" for i in range(N)]
CLOCK = [f"{i * 5 % 24:02}:{i * 7 % 60:02}" for i in range(N)]
GAPS = ["" if i % 3 else x for i, x in enumerate(X)]
COMMAS = [f"{x}".replace(".", ",") for x in X]
TOKENS = [*BYTES, *(cell.encode() for cell in CELLS), b"\xe9", b"\xed\xa0\x80", b";", b"|", b"\r\n"]


def text(columns, mark=",", end="\n", quote=""):
    rows = [list(columns), *zip(*columns.values())]
    return "".join(mark.join(f"{quote}{c}{quote}" for c in row) + end for row in rows)


GOOD = [
    text({"x": X, "k": RNG.integers(0, 5, N), "city": CITY}).encode(),
    text({"x": X, "day": DAYS, "t": CLOCK}).encode(),
    text({"at": [f"{d} {t}:05" for d, t in zip(DAYS, CLOCK)], "x": X}, quote='"').encode(),
    text({"k": range(N), "twice": [2 * i for i in range(N)], "gaps": GAPS}).encode(),
    text({"x": COMMAS, "city": CITY}, ";", "\r\n").encode(),
    text({"x": X, "city": CITY}, "\t").encode("utf-16"),
    text({"größe": X, "né": CITY}).encode("latin-1"),
    text({"huge": X * 1e99, "small": X * 1e-300, "least": 5e-324 * np.arange(N)}).encode(),
    text({"d": [f"{i + 1:02}.02.2003" for i in range(N)], "b": CITY == "Rome"}, end="\r").encode(),
    text({"x": X, "s": [f"n{i}, \n{i}" for i in range(N)]}, quote='"').encode(),
    text({"x": X}).encode(),
]


def looked_at(path):
    """Return whether a fit would begin, by a dry run; check that its rows are sound."""
    data = {"name": str(path), "missing": "model"}
    config = presets.validate({"command": "fit", "data": data, "flow": None}, "a test")
    found = dry_run(config)
    command = command_of(found, config.data, ["fit", str(path)])
    config = config if found.data is None else settled(config, found.data)
    lines_of(found, config, command)
    json_text(record_of(found, config, command))
    if found.data is None:
        assert found.faults
        return False
    names = found.data.columns
    assert {*names} <= {column.name for column in found.columns}
    for rows in (found.data.train, found.data.validation, found.data.test):
        assert rows.shape[1] == len(names) and not np.isinf(rows).any()
    for name, cells in zip(names, found.data.train.T):
        if levels := found.data.kinds[name].levels:
            known = cells[~np.isnan(cells)]
            assert np.isin(known, np.arange(-1, len(levels))).all()
    return True


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "t.csv"


def test_the_tables_that_are_damaged_are_good(path):
    for content in GOOD:
        path.write_bytes(content)
        assert looked_at(path), content


@settings(deadline=10_000)
@given(st.sampled_from(GOOD), st.integers(0, 2**32), st.booleans())
def test_damaged_text_is_refused_in_one_line_or_read(path, content, seed, are_cells):
    rng = np.random.default_rng(seed)
    damaged = odd_cells(rng, content) if are_cells else mutated(rng, content, TOKENS)
    path.write_bytes(damaged)
    try:
        looked_at(path)
    except NflowError as error:
        line = str(error)
        assert line.startswith(str(path)) and len(line.splitlines()) == 1 and len(line) < 1500
