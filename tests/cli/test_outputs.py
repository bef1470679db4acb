"""No output of a command replaces an input, what a run was made from, or a file of a run."""

import json
import os
import shutil
from pathlib import Path

import pytest
from short_runs import CELLS, VAE, edit_json

NEW = "--data", "new.csv"
PREDICT = "predict", "run", *NEW, "--target", "price"
WRITERS = {
    "predict": (*PREDICT, "-o"),
    "plot": (*PREDICT, "-o", "fresh.csv", "--plot"),
    "evaluate": ("evaluate", "run", *NEW, "-o"),
    "explain": ("evaluate", "run", *NEW, "--explain", "-o"),
    "latent": ("evaluate", "flows", *NEW, "--latent", "-o"),
    "impute": ("impute", "run", *NEW, "-o"),
    "sample": ("sample", "run", "-n", "5", "--given", "new.csv", "-o"),
}
KEPT = {
    "own.csv": "the data of the run",
    "new.csv": "the input",
    "run/metrics.csv": "of the run",
    "other/metrics.csv": "of the run",
    "other/plots/kept.csv": "of the run",
}


def copied(run, to):
    """Copy a run; its table is own.csv here, so that none of the tests' own is ever replaced."""
    shutil.copytree(run, to)
    data = json.loads(Path(to, "run.json").read_text())["data"]
    if "path" in data:
        edit_json(Path(to, "run.json"), data={**data, "path": os.path.abspath("own.csv")})


@pytest.fixture
def here(invoke, short_run):
    """Two runs of cells, one of flows, their table, and new rows, in the folder of the test."""
    for name in ("own.csv", "new.csv"):
        shutil.copy(CELLS["data"]["name"], name)
    for name in ("run", "other"):
        copied(short_run(**CELLS), name)
    copied(short_run(command="fit"), "flows")
    plots = Path("other", "plots")
    plots.mkdir(exist_ok=True)
    (plots / "kept.csv").write_text("1")
    return invoke


def contents():
    return {p: (p.is_symlink(), p.read_bytes()) for p in Path().rglob("*") if p.is_file()}


def refused(invoke, words, output, what):
    before = contents()
    result = invoke(*words, output)
    assert (result.exit_code, contents()) == (2, before)
    line = result.stderr.splitlines()[-1]
    assert f"Received: {output}, " in line and what in line and "may be replaced" in line


@pytest.mark.parametrize("writer", WRITERS)
def test_an_output_replaces_nothing_that_would_be_lost(here, writer):
    words, ending = WRITERS[writer], ".svg" if writer == "plot" else ".csv"
    for i, (kept, what) in enumerate(KEPT.items()):
        links = [f"symbolic-{i}{ending}"]
        Path(links[0]).symlink_to(kept)
        if kept.startswith(("own", "new", words[1])):  # a second name in another run is free
            links.append(f"hard-{i}{ending}")
            os.link(kept, links[1])
        for output in [*links, *([] if writer == "plot" else [kept])]:
            refused(here, words, output, what)


def test_a_file_beside_an_output_replaces_none_of_a_run(here, short_run):
    copied(short_run(**VAE), "vae")
    shutil.copy("other/plots/kept.csv", "vae/kept.png")
    before = contents()
    result = here("sample", "vae", "-o", "vae/kept.npy")
    assert (result.exit_code, contents()) == (2, before)
    assert "-o: expected a path that may be replaced" in result.stderr


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("words", [("predict", "--target", "price"), ("evaluate",)])
def test_parts_replace_nothing_that_would_be_lost(here, words):
    Path("parts").mkdir()
    shutil.copy("new.csv", "parts/a.csv")
    command, *rest = words
    words = [command, "run", "--data", "parts", *rest, "-o"]
    for folder in ("run", "other/plots"):
        refused(here, words, folder, "of the run")
    assert here(*words, "out").exit_code == 0
    for kept, what in {**KEPT, "parts/a.csv": "the input"}.items():
        if kept == "new.csv":  # none of its inputs
            continue
        Path("out/a.csv").unlink()
        Path("out/a.csv").symlink_to(Path(kept).resolve())
        before = contents()
        result = here(*words, "out")
        assert (result.exit_code, contents()) == (2, before) and what in result.stderr


def test_pictures_of_a_comparison_replace_none_of_a_run(here):
    Path("link").symlink_to("other/plots")
    for folder in ("other", "other/plots", "link"):
        refused(here, ["compare", "run", "other", "--output"], folder, "of the run")


def test_a_new_file_beside_a_run_and_an_old_one_of_no_run_are_written(here):
    Path("old.csv").write_text("old")
    for output in ("old.csv", "new-draws.csv", "run/draws.csv"):
        assert here("sample", "run", "-n", "5", "-o", output).exit_code == 0
        assert len(Path(output).read_text().splitlines()) == 6
