"""Whatever is in a file, it is read or refused in one line: nothing else, and soon."""

import gzip
import io
import json
import re
import time

import matplotlib
import numpy as np
import openpyxl
import pyarrow as pa
import pytest
from drawable_runs import ARRAYS, CONFIGS, SUMMARIES, metrics
from mutations import (
    BYTES,
    YAML,
    mutated,
    rezipped,
    wild_values,
    wrong_arrays,
    wrong_json,
    wrong_table,
)
from pyarrow import parquet

from nflow_cli.config import presets
from nflow_cli.data.files.columns import read_points
from nflow_cli.errors import NflowError
from nflow_cli.experiments.run import Run, kind_of
from nflow_cli.experiments.run_report import draw, write_report
from nflow_cli.runs.directory import RunDirectory

DPI = 50  # of pictures that nobody looks at
PRESETS = [path.read_bytes() for path in presets.shipped_presets().values()]
TOKENS = [token.encode("utf-8", "surrogatepass") for token in YAML]


@pytest.fixture(scope="module", params=list(ARRAYS))
def kind(request):
    """Return a kind of run that can be drawn."""
    return request.param


@pytest.fixture(scope="module")
def good(kind, tmp_path_factory):
    """Return the files of a run of a kind."""
    run = RunDirectory(tmp_path_factory.mktemp("good"))
    command = "fit-2d" if kind == "points" else kind
    with run.recorded({"command": command, "argv": [command], "seed": 0}):
        run.write_text("config.yaml", CONFIGS[kind])
        run.write_json("summary.json", SUMMARIES[kind])
        run.write_arrays("evaluation.npz", ARRAYS[kind])
        run.write_text("metrics.csv", metrics(kind))
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


def put(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def outcome(read, *names):
    """Return whether ``read()`` worked, and check that it is soon refused in one line if not."""
    start = time.monotonic()
    try:
        read()
        return True
    except NflowError as error:
        line = str(error)
        assert any(name in line for name in names), line
        assert len(line.splitlines()) == 1 and len(line) < 1500, line
        return False
    finally:
        assert time.monotonic() - start < 10


def fuzz_presets(path, count, seed):
    """Return how many damaged presets are still valid."""
    rng, valid = np.random.default_rng(seed), 0

    def load():
        presets.dump(presets.validate(presets.read_preset(path), str(path)))

    for _ in range(count):
        path.write_bytes(mutated(rng, PRESETS[rng.integers(len(PRESETS))], TOKENS))
        valid += outcome(load, str(path))
    return valid


def damage(rng, name, content):
    """Damage one file of a run, its bytes or what they mean."""
    if rng.integers(2):
        return mutated(rng, content, BYTES)
    if name == "evaluation.npz":
        return [rezipped, wrong_arrays, wild_values][rng.integers(3)](rng, content)
    if name == "config.yaml":
        return mutated(rng, content, TOKENS)
    if name == "metrics.csv":
        return wrong_table(rng, content.decode())
    return wrong_json(rng, json.loads(content))


def fuzz_runs(folder, good, count, seed, drawn):
    """Return how many damaged runs are still read, or drawn."""
    rng, valid = np.random.default_rng(seed), 0

    def read():
        run = Run.open(folder)
        if drawn:
            draw(run, dpi=DPI)
            write_report(run)
        return run.arrays, run.curves(kind_of(run.config).report.CURVES)

    for _ in range(count):
        put(folder, good)
        name = list(good)[rng.integers(len(good))]
        (folder / name).write_bytes(damage(rng, name, good[name]))
        valid += outcome(read, str(folder))
    return valid


def test_settings_of_matplotlib_change_no_picture(tmp_path, good, kind):
    """Such as those of a matplotlibrc, in a stranger's folder or the user's own."""

    def drawn():
        return {path.name: path.read_bytes() for path in draw(Run.open(tmp_path), dpi=DPI)}

    put(tmp_path, good)
    before = drawn()
    assert len(before) == {"fit-2d": 4, "points": 4, "train-vae": 5}.get(kind, 3)
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red", "font.size": 7}):
        assert drawn() == before


DAMAGE = [
    lambda content: b"",
    lambda content: content[: content.rindex(b",", 0, len(content) // 2 + 1) + 1],  # cut short
    lambda content: bytes([content[0] ^ 128]) + content[1:],  # a flipped bit
    lambda content: b"\x89PNG\r\n\x1a\n" + bytes(64),
    None,  # missing
]
NAMES = ["run.json", "summary.json", "metrics.csv", "evaluation.npz"]


def test_plot_names_the_file_that_is_damaged(invoke, tmp_path, good, kind):
    """Each file, and each damage to it in one kind of run or another."""
    for number, name in enumerate(NAMES, list(ARRAYS).index(kind)):
        damage = DAMAGE[number % len(DAMAGE)]
        put(tmp_path, good | ({name: damage(good[name])} if damage else {}))
        if damage is None:
            (tmp_path / name).unlink()
        result = invoke("plot", tmp_path)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
        assert result.stderr.startswith(f"nflow: error: {tmp_path}") and name in result.stderr
        assert not (tmp_path / "plots").exists()


def test_damaged_presets_are_valid_or_refused_in_one_line(tmp_path):
    assert 0 < fuzz_presets(tmp_path / "mine.yaml", 100, seed=1) < 100


def test_damaged_runs_are_read_or_refused_in_one_line(tmp_path, good):
    assert 0 < fuzz_runs(tmp_path / "run", good, 50, seed=2, drawn=False) < 50


@pytest.mark.filterwarnings("ignore")  # NumPy's about numbers that no run holds
def test_damaged_runs_are_drawn_or_refused_in_one_line(tmp_path, good):
    fuzz_runs(tmp_path / "run", good, 3, seed=3, drawn=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_thousands_of_damaged_runs(tmp_path, good):
    fuzz_runs(tmp_path / "run", good, 5_000, seed=5, drawn=False)
    fuzz_runs(tmp_path / "drawn", good, 100, seed=6, drawn=True)


def table_files():
    """Return good tables of every make, by the names of their files."""
    points = np.random.default_rng(0).standard_normal((30, 2)).round(3)
    comma = "".join(f"{a},{b}\n" for a, b in points)
    quoted = '"x";"y"\n' + "".join(f'"{a}";"{b}"\r\n' for a, b in points)
    others = "größe,b,z1,z2\n" + "".join(f"é,,{a},{b}\n" for a, b in points)
    archive, array, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez_compressed(archive, rows=points, columns=["z1", "z2"])
    np.save(array, points)
    parquet.write_table(pa.table({"x": points[:, 0], "y": points[:, 1]}), packed)
    return {
        "a.csv": comma.encode(),
        "b.csv": quoted.replace(".", ",").encode(),
        "c.csv": ("x\ty\n" + comma.replace(",", "\t")).encode("utf-16"),
        "d.csv": others.encode("latin-1"),
        "e.csv.gz": gzip.compress(comma.encode()),
        "f.npy": array.getvalue(),
        "g.npz": archive.getvalue(),
        "h.parquet": packed.getvalue(),
        "i.jsonl": "".join(f'{{"x": {a}, "y": {b}}}\n' for a, b in points).encode(),
        "j.xlsx": workbook(points),
    }


def workbook(points):
    """Return a workbook of Excel of these rows, below a header."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in (("x", "y"), *points.tolist()):
        book.active.append(row)
    book.save(file)
    return file.getvalue()


PIECE = re.compile(rb'<[^<>]*>|[^\n]*\n|"[^"]*": |,')


def blown_up(rng, content, most=2**20):
    """Repeat a piece of a text or of an archive's part: a line, a cell, a tag or a key."""
    if content.startswith(b"PK"):
        return rezipped(rng, content, blown_up)
    pieces = [piece.span() for piece in PIECE.finditer(content)] or [(0, len(content))]
    start, end = pieces[rng.integers(len(pieces))]
    end = max(end, pieces[rng.integers(len(pieces))][1])
    piece, times = content[start:end], int(10 ** rng.uniform(1, 6))
    return content[:end] + piece * min(times, most // len(piece)) + content[end:]


def fuzz_tables(folder, count, seed):
    """Return how many damaged tables are still points in the plane."""
    rng, valid, good = np.random.default_rng(seed), 0, table_files()
    for name, content in good.items():
        (folder / name).write_bytes(content)
        assert read_points(folder / name).shape == (30, 2)
    tokens = [*BYTES, b"\n", b"\r", b"\t", b";", b"|", b"\xe9", b"+", b"NA", b"1,5", b"\x1b[31m"]
    for _ in range(count):
        name = list(good)[rng.integers(len(good))]
        content = blown_up(rng, good[name]) if rng.integers(3) == 0 else good[name]
        if rng.integers(3):
            content = mutated(rng, content, tokens)
        (folder / name).write_bytes(content)
        valid += outcome(lambda name=name: read_points(folder / name), str(folder))
    return valid


def test_damaged_tables_are_points_or_refused_in_one_line(tmp_path):
    assert 0 < fuzz_tables(tmp_path, 200, seed=7) < 200


@pytest.mark.slow
def test_thousands_of_damaged_tables_and_presets(tmp_path):
    fuzz_tables(tmp_path, 2_000, seed=8)
    fuzz_presets(tmp_path / "mine.yaml", 5_000, seed=4)
