"""Who imports what, and what each command has in memory: a start stays light."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from running import NFLOW
from short_runs import CELLS
from trees import matching

import nflow_cli
from nflow_cli.cli import COMMANDS

PACKAGE = Path(nflow_cli.__file__).parent
SOURCES = matching(PACKAGE, "**/*.py")

# Which files may import what: everything else goes through them.
ALLOWED = {
    "click": ["cli/"],
    "yaml": ["config/presets.py"],
    "matplotlib": [
        *("plotting/", "tables/pictures/", "sweeps/comparison_figures.py"),
        *("images/image_figures.py", "inference/weight_figures.py"),
    ],
    "PIL": ["plotting/plane.py"],
    "pyarrow": ["data/"],
    "distributed": ["sweeps/cluster.py"],
    "sklearn": ["sklearn/"],
    "threadpoolctl": ["backend/blas.py", "sklearn/judges.py"],
    "tensorflow": [
        *("backend/start.py", "backend/programs.py", "backend/random_numbers.py"),
        *("training/trainer.py", "flows/composition.py", "flows/tensorflow_fold.py"),
        *("inference/reverse_kl_trainer.py", "inference/trial.py"),  # users' code
    ],
}
# Each a module of the package, a folder of it, or one in that.
KERAS_FREE = (
    *("arguments", "arrays", "constants", "errors", "mixtures", "random_streams", "registry"),
    *("terminal/", "text"),
    *("config/", "data/", "plotting/", "sweeps/", "cli/", "training/chunks"),
    *("evaluation/warnings", "evaluation/importance"),
    *("evaluation/tallies", "evaluation/association"),
    *("experiments/__init__", "experiments/recorded_data", "experiments/loaded"),
    *("experiments/run.py", "experiments/run_report", "experiments/run_checks"),
    "experiments/summary",
    "images/images",
    *(f"images/{name}" for name in ("vae_config", "vae_kind", "vae_report", "image_figures")),
    *(f"inference/{name}" for name in ("fit_2d_config", "infer_config", "weight_figures")),
    *("inference/reverse_kl_kind", "inference/reverse_kl_report", "inference/evidence/draws"),
    *(f"inference/evidence/evidence_{name}" for name in ("config", "kind", "report")),
    *("tables/__init__", "tables/pictures/", "tables/answers/predict", "tables/scores/pit"),
    *("tables/scores/level_shares", "tables/dry_run", "tables/loaded_tables"),
    *(f"tables/table_{name}" for name in ("kind", "report", "scoring")),
    *("tables/cells_scoring", "tables/cells_loading"),
    *("runs/checkpoints", "runs/directory", "runs/files", "runs/npz"),
    "training/observers",
)


@cache
def imports(path):
    """Return the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def importers(package):
    files = [path for path in SOURCES if package in {name.split(".")[0] for name in imports(path)}]
    return {path.relative_to(PACKAGE).as_posix() for path in files}


def test_a_package_is_imported_only_where_it_belongs():
    for package, places in ALLOWED.items():
        found = importers(package)
        assert found and not [path for path in found if not path.startswith(tuple(places))]
        assert not [place for place in places if not any(path.startswith(place) for path in found)]
    names = [path.relative_to(PACKAGE).as_posix() for path in SOURCES]
    assert not [place for place in KERAS_FREE if not any(n.startswith(place) for n in names)]
    found = importers("keras")
    assert found and not [path for path in found if path.startswith(KERAS_FREE)]
    assert not [n for n in imports(PACKAGE / "registry.py") if n.startswith("nflow_cli")]


def test_no_picture_is_made_by_pyplot_which_keeps_its_figures():
    assert not [path for path in SOURCES if "matplotlib.pyplot" in imports(path)]


def test_tests_find_files_of_the_repository_by_a_pattern_that_matches():
    constant = re.compile(r"(?:\b[A-Z_]+|__file__\)(?:\.parents?\S*)?)\.r?glob\(")
    tests = matching(PACKAGE.parent / "tests", "**/test_*.py")
    assert not [path for path in tests if constant.search(path.read_text(encoding="utf-8"))]


def test_each_file_of_a_walk_calls_the_next():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = re.findall(r"^(\d)\. `(\w+/\S+\.py)`: `(\w+)`$", text, re.MULTILINE)
    assert [number for number, *_ in steps].count("1") == 5
    called: set[str] = set()
    for number, file, name in steps:
        nodes = list(ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))))
        assert name in {getattr(node, "name", "") for node in nodes}, file
        assert number == "1" or name in called, f"{file}: {name} is not called by the file before"
        calls = [node.func for node in nodes if isinstance(node, ast.Call)]
        called = {getattr(func, "attr", getattr(func, "id", "")) for func in calls}


def test_the_first_file_of_a_rows_way_calls_the_others():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    ways = re.findall(r"^- to [\w ]+: (`\w+\.py` .+)$", text, re.MULTILINE)
    assert len(ways) == 3
    for way in ways:
        called: set[str] | None = None
        for file, names in re.findall(r"`(\w+\.py)` \(([^)]+)\)", way):
            nodes = list(ast.walk(ast.parse((PACKAGE / "tables/cells" / file).read_text())))
            stated = set(re.findall(r"\w+", names))
            assert stated <= {getattr(node, "name", "") for node in nodes}, file
            assert called is None or stated <= called, f"{file}: not called by the first file"
            calls = [node.func for node in nodes if isinstance(node, ast.Call)]
            called = called or {getattr(f, "attr", getattr(f, "id", "")) for f in calls}


ENGINES = {"keras", "tensorflow", "jax", "torch"}
HEAVY = ENGINES | {"matplotlib", "numpy", "pyarrow", "pydantic", "yaml", "rich"}
PROBE = """
import json, sys
from click.testing import CliRunner
import nflow_cli
seen = {"import": list(sys.modules)}
from nflow_cli.cli import main
for line in sys.argv[1:]:
    if line.startswith("import"):
        exec(line)
    else:
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == 0, (line, result.output)
    seen[line] = list(sys.modules)
print(json.dumps(seen))
"""


HELP = ["--help", "--version", *(f"{name} --help" for name in COMMANDS)]
PRESETS = ["presets", "presets multimodal-planar"]
DRY = ["fit t.csv --dry-run", "import nflow_cli.sklearn; nflow_cli.TrainedCells"]
PICTURES = ["plot run --only training --dpi 60", "compare run --output c", "plot run"]
ROWS = ["sample cells -n 10 -o d.csv", "evaluate cells", "evaluate cells --data m.csv -o s.csv"]


@pytest.fixture(scope="module")
def loaded(short_run, tmp_path_factory):
    """Return which heavy packages one process has in memory after each line, light ones first."""
    folder = tmp_path_factory.mktemp("lines")
    shutil.copytree(short_run(), folder / "run")
    shutil.copytree(short_run(**CELLS), folder / "cells")
    shutil.copy(CELLS["data"]["name"], folder / "m.csv")
    # Of linear components, of which a training decides.
    u, v = np.random.default_rng(0).uniform(size=(2, 1_000))
    rows = "".join(f"{x},{y}\n" for x, y in zip(u + 0.9 * v, 0.8 * u + v))
    (folder / "t.csv").write_text(f"x,y\n{rows}")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *HELP, *PRESETS, *DRY, *PICTURES, *ROWS],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return {line: HEAVY & set(names) for line, names in json.loads(done.stdout).items()}


def test_a_line_loads_no_more_than_it_needs(loaded):
    for line in ("import", *HELP):
        assert not loaded[line], line
    for line in PRESETS:
        assert loaded[line] <= {"pydantic", "yaml"}, line
    for line in DRY:
        assert not loaded[line] & (ENGINES | {"matplotlib"}), line
    for line in (*PICTURES, *ROWS):
        assert not loaded[line] & ENGINES, line


def test_completion_loads_nothing_heavy(monkeypatch, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    monkeypatch.setenv("_NFLOW_COMPLETE", "bash_complete")
    for words in ("nflow fit-2d --preset u", "nflow fit-2d --flow p", "nflow plot ru"):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        command = [sys.executable, "-X", "importtime", NFLOW]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "plain," in done.stdout and not loaded & HEAVY
