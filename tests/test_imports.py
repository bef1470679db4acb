import ast
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from running import NFLOW

import nflow_cli

PACKAGE = Path(nflow_cli.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Which files may import what: everything else goes through them.
ALLOWED = {
    "click": ["cli/"],
    "yaml": ["config/presets.py"],
    "matplotlib": ["plotting/"],
    "PIL": ["plotting/animation.py", "plotting/embedded.py"],
    "pyarrow": ["data/"],
    "distributed": ["sweeps/cluster.py"],
    "sklearn": ["sklearn/"],
    "tensorflow": [
        *("backend/start.py", "backend/programs.py"),  # its devices, threads and compiler
        *("training/trainer.py", "flows/fold.py", "flows/tensorflow_fold.py"),
        *("experiments/infer/array_fit.py", "experiments/infer/trial.py"),  # a user's function
    ],
}
# Each a module of the package, a folder of it, or one in that.
KERAS_FREE = (
    *("arguments", "arrays", "constants", "errors", "garbage", "layout", "mixtures", "output"),
    *(
        "random_streams",
        "registry",
        "signals",
        "text",
        "config/",
        "data/",
        "plotting/",
        "sweeps/",
        "cli/",
    ),
    "training/chunks",
    *("evaluation/warnings", "evaluation/grids", "evaluation/importance", "evaluation/mass"),
    "evaluation/normality",
    *("evaluation/weights_verdict", "evaluation/weighted", "evaluation/pit"),
    *("evaluation/likelihood", "evaluation/association"),
    "evaluation/truth",
    *("experiments/__init__", "experiments/data", "experiments/drawing", "experiments/rows"),
    *("experiments/experiment", "experiments/page", "experiments/picture_data"),
    *("experiments/report", "experiments/run", "experiments/moving", "experiments/infer/rows"),
    *("experiments/infer/warnings", "experiments/table/dry_run", "experiments/table/scoring"),
    *("experiments/table/judging", "experiments/table/loaded"),
    *("runs/array_shapes", "runs/checkpoints", "runs/directory", "runs/files", "runs/npz"),
    *("runs/samples_file", "training/saved_state"),
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


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_is_imported_only_where_it_belongs(package):
    found = importers(package)
    assert found
    assert not {path for path in found if not path.startswith(tuple(ALLOWED[package]))}


def test_settings_and_pictures_need_no_keras():
    found = importers("keras")
    assert found
    assert not [path for path in found if path.startswith(KERAS_FREE)]


def test_the_registry_imports_nothing_of_the_package():
    assert not [n for n in imports(PACKAGE / "registry.py") if n.startswith("nflow_cli")]


HEAVY = {
    *("keras", "tensorflow", "jax", "torch", "matplotlib", "numpy", "pyarrow"),
    *("pydantic", "yaml", "rich"),
}
PROBE = """
import json, sys
from click.testing import CliRunner
import nflow_cli
seen = {"import": list(sys.modules)}
from nflow_cli.cli import main
for line in sys.argv[1:]:
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, (line, result.output)
    seen[line] = list(sys.modules)
print(json.dumps(seen))
"""


def loaded_by(*lines, cwd=None):
    """Return which heavy packages are in memory after each command line, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *lines],
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {line: HEAVY & set(names) for line, names in json.loads(done.stdout).items()}


def test_help_loads_nothing_heavy():
    from nflow_cli.cli import main

    lines = ["--help", "--version", *(f"{name} --help" for name in main.commands)]
    assert loaded_by(*lines) == {line: set() for line in ("import", *lines)}


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


def test_listing_the_presets_loads_no_keras_and_no_matplotlib():
    loaded = loaded_by("presets", "presets multimodal-planar")
    assert loaded["presets multimodal-planar"] <= {"pydantic", "yaml"}


def test_a_dry_run_loads_no_keras_and_no_matplotlib(tmp_path):
    rows = "".join(f"{i % 17 + 0.1 * i},{(i * i) % 29 + 0.01 * i}\n" for i in range(50))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}")
    loaded = loaded_by("fit t.csv --dry-run", cwd=tmp_path)["fit t.csv --dry-run"]
    assert not loaded & {"keras", "tensorflow", "jax", "torch", "matplotlib"}


def test_pictures_are_drawn_without_keras(short_run, tmp_path):
    run = shutil.copytree(short_run(), tmp_path / "run")
    lines = [f"plot {run} --only training --dpi 60", f"compare {run} --output {tmp_path}/c"]
    loaded = loaded_by(*lines, f"plot {run}")
    assert not set.union(*loaded.values()) & {"keras", "tensorflow", "jax", "torch"}


def test_a_density_of_cells_is_drawn_from_and_judged_without_keras(short_run, tmp_path):
    from short_runs import CELLS

    run = shutil.copytree(short_run(**CELLS), tmp_path / "run")
    table = CELLS["data"]["name"]
    lines = [f"sample {run} -n 10 -o {tmp_path}/d.csv", f"evaluate {run}"]
    lines.append(f"evaluate {run} --data {table} -o {tmp_path}/s.csv")
    loaded = loaded_by(*lines)
    assert not set.union(*loaded.values()) & {"keras", "tensorflow", "jax", "torch"}
