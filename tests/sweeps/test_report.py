"""The page of a sweep: runs that are only written, and what a stranger may have put there."""

import json
import shutil
from urllib.parse import unquote

import pytest
from PIL import Image
from reports import read_report
from written_runs import write_run, write_vae

from nflow_cli.runs.directory import RunDirectory
from nflow_cli.sweeps import report as sweep_report

SWEEP = """
description: Two K of one target
command: sweep
presets: [u1-planar-k2]
set: {train.steps: 40}
vary: {flow.k: [2, 8]}
seeds: [0, 1]
"""
HOSTILE = "<script>alert(1)</script>&lt;\x1b[2J"


def name_of(k, seed):
    return f"u1-planar,flow.k={k},seed={seed}"


@pytest.fixture
def sweep(tmp_path):
    """Return a sweep of which one run has not begun."""
    folder = tmp_path / "mine"
    base = {"log_z": 2.0, "base_free_energy": 0.5, "base_free_energy_standard_error": 0.002}
    for k, seed, kl in ((2, 0, 0.25), (2, 1, 0.75), (8, 0, 0.125)):
        scores = {**base, "kl": kl, "kl_standard_error": 0.001}
        run = write_run(folder / name_of(k, seed), scores, flow__k=k, seed=seed, train__steps=40)
        run.write_text("report.html", "a page")
    (folder / "sweep.yaml").write_text(SWEEP)
    return RunDirectory(folder)


def status(sweep, name, text, log):
    path = sweep.path / name / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": text}))
    (path.parent / "log.txt").write_text(log)


def test_it_says_what_was_varied_and_what_came_of_it(sweep, invoke):
    (sweep.path / "plots").mkdir()
    for name in ("kl", "densities", "others"):
        Image.new("RGB", (30, 20)).save(sweep.path / "plots" / f"{name}.png")
    result = invoke("report", sweep.path)
    assert (result.exit_code, result.stdout) == (0, f"{sweep.path}/report.html\n")
    page = read_report(sweep.path)
    lines = page.lines
    assert lines[lines.index("flow.k") + 1] == "2, 8"
    assert lines[lines.index("train.steps") + 1] == "40, in every run"
    assert lines[lines.index("seeds") + 1] == "0, 1"
    assert lines[lines.index("KL median") - 1] == "seeds"
    first = lines.index("best run") + 1  # u1, planar, 2, of two seeds
    assert lines[first : first + 6] == ["u1", "planar", "2", "2", "0.50000", "0.25000 – 0.75000"]
    assert name_of(2, 0) in lines[first : lines.index("Runs with scores")]
    assert set(page.pictures) == {"kl", "densities"}
    verdict = lines[lines.index("Runs with scores") :]
    assert verdict[verdict.index(name_of(2, 0)) :][1:3] == [
        *("0.25000 ± 0.00100 nats", "2.50000 ± 0.00200 nats")  # the base: its free energy + log Z
    ]
    assert f"nflow sweep {sweep.path}/sweep.yaml --output {sweep.path}" in page.text


def test_its_links_lead_to_the_pages_of_its_runs(sweep):
    sweep_report.write_sweep_report(sweep)
    links = {unquote(link) for link in read_report(sweep.path).links}
    assert links == {f"./{name_of(k, seed)}/report.html" for k, seed in ((2, 0), (2, 1), (8, 0))}
    assert all((sweep.path / link).is_file() for link in links)


def test_runs_that_diverged_were_stopped_are_damaged_or_have_not_begun_are_said(sweep):
    status(sweep, name_of(2, 1), "diverged", "training\nnflow: error: training diverged: KL 1e40\n")
    (sweep.path / name_of(8, 0) / "summary.json").write_text("{")
    sweep_report.write_sweep_report(sweep)
    page = read_report(sweep.path)
    assert "nflow sweep, 4 runs: 1 completed, 1 diverged, 1 damaged, 1 not begun" in page.lines
    start = page.lines.index("Runs without scores")
    table = page.lines[start : page.lines.index("Pictures")]
    after = {name: table[table.index(name) + 1 :][:2] for name in table if name.startswith("u1-")}
    assert after[name_of(2, 1)] == ["diverged", "training diverged: KL 1e40"]
    assert (
        after[name_of(8, 0)][0] == "damaged" and "summary.json: damaged" in after[name_of(8, 0)][1]
    )
    assert table[table.index(name_of(8, 1)) + 1] == "not begun"


def test_a_sweep_that_has_only_begun_has_a_page(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    sweep_report.write_sweep_report(RunDirectory(tmp_path))
    lines = read_report(tmp_path).lines
    assert "nflow sweep, 4 runs: 4 not begun" in lines and "None yet: no run has finished." in lines


def test_runs_whose_preset_is_gone_are_listed_as_they_are_there(sweep):
    text = SWEEP.replace("u1-planar-k2", "/nowhere/mine.yaml")
    (sweep.path / "sweep.yaml").write_text(text)
    sweep_report.write_sweep_report(sweep)
    page = read_report(sweep.path)
    assert "nflow sweep, 3 runs: 3 completed" in page.lines
    assert any(line.startswith("Runs that have not begun are not listed: ") for line in page.lines)


def test_experiments_of_two_kinds_have_a_table_each(sweep):
    write_vae(sweep.path / "vae")
    sweep_report.write_sweep_report(sweep)
    lines = read_report(sweep.path).lines
    assert lines.count("best run") == 2 and "100.00" in lines


def test_all_texts_are_shown_and_do_nothing(sweep, tmp_path):
    named = tmp_path / '<b onload="x">&:x'
    shutil.copytree(sweep.path, named)
    mixed = {"name": "mixture", "weights": [1.0], "means": [[0.0, 0.0]]}
    hostile = write_run(named / "<i>'\"&", target=mixed, description=HOSTILE)
    hostile.write_text("report.html", "")
    status(RunDirectory(named), name_of(2, 0), HOSTILE, "")
    status(RunDirectory(named), name_of(2, 1), "diverged", f"nflow: error: {HOSTILE}")
    text = SWEEP.replace("Two K of one target", "</p><a href='//x'>")
    (named / "sweep.yaml").write_text(text)
    sweep_report.write_sweep_report(RunDirectory(named))
    page = read_report(named)
    shown = HOSTILE.replace("\x1b", r"\x1b")
    for text in ('<b onload="x">&:x', "</p><a href='//x'>", "<i>'\"&", shown):
        assert text in page.text
    assert "./%3Ci%3E%27%22%26/report.html" in page.links


def test_a_page_of_many_runs_is_below_two_megabytes(tmp_path):
    folder = tmp_path / "many"
    write_run(folder / name_of(2, 0), flow__k=2)
    record = (folder / name_of(2, 0) / "run.json").read_text()
    for seed in range(1, 271):
        other = folder / name_of(2, seed)
        other.mkdir()
        (other / "run.json").write_text(record.replace("completed", "diverged"))
        (other / "log.txt").write_text("<" * 5_000)  # shown as four letters each
    (folder / "sweep.yaml").write_text("command: sweep\npresets: [u1-planar-k2]\n")
    sweep_report.write_sweep_report(RunDirectory(folder))
    # 271 have no scores: those, and the preset's own, which has not begun.
    assert "171 more are left out here; `nflow compare` tells of all." in read_report(folder).lines


def test_a_link_in_place_of_a_run_is_not_followed(sweep):
    run = sweep.path / name_of(2, 0)
    shutil.move(run, sweep.path.parent / "elsewhere")
    run.symlink_to(sweep.path.parent / "elsewhere")
    sweep_report.write_sweep_report(sweep)
    lines = read_report(sweep.path).lines
    assert lines[lines.index(name_of(2, 0)) + 1] == "damaged"


def test_what_is_no_sweep_is_one_line(invoke, tmp_path):
    (tmp_path / "sweep.yaml").write_text("command: sweep\n")
    result = invoke("report", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert f"{tmp_path}/sweep.yaml: presets" in result.stderr
