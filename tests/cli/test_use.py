"""``nflow sample``, ``nflow evaluate`` and ``nflow check``, as text and as JSON."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from running import NFLOW, peak_memory, succeed
from short_runs import BOX, KINDS, MIXED, TABLE, VAE, edit_json, edit_weights

import nflow_cli
from nflow_cli.data.files.columns import read_points
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def runs(short_run):
    kinds = {"flow": MIXED, "box": BOX, "table": KINDS["table"], "vae": VAE}
    return {name: short_run(**changes) for name, changes in kinds.items()}


def table(text):
    """Return the rows of a table by their first column, which is blank where a row goes on."""
    rows = [(line[:14].strip(), line[14:15], line[15:]) for line in text.splitlines()]
    assert all(space == " " and value.strip() == value for _, space, value in rows)
    return {name: value for name, _, value in rows}


def test_points_are_written_as_csv_and_as_npy_alike(invoke, tmp_path, runs):
    (tmp_path / "points.csv").write_text("old")
    for name in ("points.csv", "points.npy"):
        printed = succeed(invoke, "sample", runs["flow"], "-n", 1234, "-o", name, "--seed", 7)
        assert printed == f"{name}\n"
    lines = (tmp_path / "points.csv").read_text().splitlines()
    assert lines[0] == "z1,z2,log_q" and len(lines) == 1235
    text = np.loadtxt(lines[1:], delimiter=",", dtype=np.float32)
    array = np.load(tmp_path / "points.npy", allow_pickle=False)
    assert (array.dtype, array.shape) == (np.float32, (1234, 3))
    np.testing.assert_array_equal(text, array)
    q = nflow_cli.load(runs["flow"])
    np.testing.assert_array_equal(array[:, :2], q.sample(1234, seed=7))
    np.testing.assert_allclose(array[:, 2], q.log_prob(array[:, :2]), atol=1e-4)
    np.testing.assert_array_equal(read_points("points.csv").astype("f4"), array[:, :2])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points.csv", "points.npy"]
    done = invoke("sample", runs["flow"], "-o", "points.npy")
    assert done.stderr == "10,000 draws; -n sets their number\n"
    assert len(np.load("points.npy", allow_pickle=False)) == 10_000


def test_images_are_written_with_a_picture_beside_them(invoke, tmp_path, runs):
    printed = succeed(invoke, "sample", runs["vae"], "-n", 70, "-o", "digits.npy")
    assert printed == "digits.npy\ndigits.png\n"
    images = np.load("digits.npy", allow_pickle=False)
    assert (images.dtype, images.shape) == (np.float32, (70, 28, 28))
    np.testing.assert_allclose(images, nflow_cli.load(runs["vae"]).sample(70), atol=1e-6)
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_full_disk_is_one_line(runs):
    command = [NFLOW, "check", runs["flow"]]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "No space left on device" in done.stderr


PLUS_MINUS = r"(-?[\d.]+) ± ([\d.]+)"
SHARED = {  # what each run is judged by that its summary holds too
    "flow": {"kl", "kl_standard_error", "ess", "free_energy", "log_z"},
    "table": {"log_likelihood", "log_likelihood_standard_error", "gain", "gain_standard_error"},
    "vae": {"negative_elbo", "negative_log_likelihood", "negative_log_likelihood_standard_error"},
}


def evaluated(invoke, run, *options):
    """Return the scores that are printed by their names, and as JSON."""
    printed = succeed(invoke, "evaluate", run, *options, "--json")
    assert printed.isascii()
    return table(succeed(invoke, "evaluate", run, *options)), json.loads(printed)


@pytest.mark.parametrize("kind", SHARED)
def test_evaluate_with_the_runs_seed_gives_the_summary(invoke, runs, kind):
    rows, scores = evaluated(invoke, runs[kind])
    summary = RunDirectory(runs[kind]).read_json("summary.json")
    assert SHARED[kind] <= scores.keys() & summary.keys()
    for key in SHARED[kind]:
        assert scores[key] == pytest.approx(summary[key], rel=1e-6, abs=1e-9)
    assert scores["run"] == str(runs[kind]) and scores["data"] is None
    assert [warning["word"] for warning in scores["warnings"]] == [
        warning["word"] for warning in summary["warnings"] if warning["word"] != "unresolved"
    ]
    if kind == "flow":
        names = (
            "target",
            "flow",
            "samples",
            "KL(q || p)",
            "",
            "free energy",
            "k-hat",
            "ESS",
            "log Z",
        )
        assert [*rows][:9] == [*names]
        kl = f"{with_error(summary['kl'], summary['kl_standard_error'])} nats"
        assert rows["KL(q || p)"] == kl and rows["ESS"] == f"{summary['ess']:.4f} of the draws"
        assert rows["samples"] == "4,000, seed 3"
        assert "of the mass that q covers (true: 0.00000)" in rows["log Z"]
    elif kind == "vae":
        key = "negative_log_likelihood"
        nll, error = summary[key], summary[f"{key}_standard_error"]
        assert rows["-ELBO"] == f"{summary['negative_elbo']:.2f} nats"
        assert rows["-log p(x)"] == f"{with_error(nll, error)} nats, 4 importance samples"
        assert rows["data"] == "mnist-sample, binarization: stochastic, 2,000 test images"
        assert rows["samples"] == "4 an image, seed 0"


def test_evaluate_takes_fresh_samples(invoke, runs):
    first, second = (
        table(succeed(invoke, "evaluate", runs["flow"], "--samples", 2_000, "--seed", seed))
        for seed in (1, 2)
    )
    assert first["samples"] == "2,000, seed 1"
    a, b = (re.match(PLUS_MINUS, rows["KL(q || p)"]) for rows in (first, second))
    assert a and b and a[1] != b[1]
    assert abs(float(a[1]) - float(b[1])) < 4 * np.hypot(float(a[2]), float(b[2]))


def test_evaluate_judges_points_of_ones_own(invoke, tmp_path, runs):
    points = np.random.default_rng(0).standard_normal((300, 2))
    np.savetxt(tmp_path / "mine.csv", points, delimiter=",", header="x,y", comments="")
    rows = table(succeed(invoke, "evaluate", runs["flow"], "--data", "mine.csv"))
    log_q = nflow_cli.load(runs["flow"]).log_prob(points).astype(float)
    error = log_q.std(ddof=1) / np.sqrt(300)
    expected = f"{with_error(log_q.mean(), error)} nats, mean of 300 points"
    assert rows["log-likelihood"] == expected


def test_a_bounded_q_is_0_at_points_outside_and_does_not_cover_p(invoke, tmp_path, runs):
    np.save(tmp_path / "mine.npy", np.array([[0.1, 0.2], [50.0, 0.0], [0.2, 0.3]]))
    rows, scores = evaluated(invoke, runs["box"], "--data", "mine.npy")
    assert rows["log-likelihood"] == "-inf: q is 0 at 1 of 3 points"
    assert rows[""].endswith("nats, mean of the others [ruined, few rows]")
    assert (scores["log_likelihood"], scores["outside"], scores["n"]) == (None, 1, 3)


def test_rows_that_are_written_are_those_that_are_judged(invoke, runs, tmp_path):
    words = ["evaluate", runs["table"], "--data", TABLE, "--json"]
    scores = json.loads(succeed(invoke, *words))
    again = json.loads(succeed(invoke, *words, "-o", "scored.csv"))
    log_q = np.genfromtxt(tmp_path / "scored.csv", delimiter=",", names=True)["log_q"]
    assert again["output"] == "scored.csv" and again["n"] == scores["n"] == len(log_q)
    for figures in (scores, again):
        assert figures["log_likelihood"] == pytest.approx(log_q.mean(), rel=1e-4)
        error = log_q.std(ddof=1) / np.sqrt(len(log_q))
        assert figures["log_likelihood_standard_error"] == pytest.approx(error, rel=1e-3)


@pytest.mark.slow
def test_more_importance_samples_tighten_the_bound(invoke, tmp_path, runs):
    from nflow_cli.images.images import load_images

    digits = load_images("mnist-sample").x_test[:20]
    np.savez(tmp_path / "few.npz", x_train=digits, x_test=digits)
    words = ["evaluate", runs["vae"], "--data", "few.npz", "--samples"]
    rows = table(succeed(invoke, *words, 1))
    assert rows["data"].startswith("few.npz, ") and rows["data"].endswith(" 20 test images")
    one, many = (json.loads(succeed(invoke, *words, n, "--json")) for n in (1, 5_000))
    likelihood = "negative_log_likelihood"
    assert one["negative_elbo"] == pytest.approx(one[likelihood])  # a single draw is the bound
    assert many[likelihood] < many["negative_elbo"]


def test_evaluate_refuses_data_that_are_not_the_runs(invoke, tmp_path, runs):
    copy = shutil.copytree(runs["vae"], tmp_path / "copy")
    edit_json(copy / "run.json", data={"name": "mnist-sample", "sha256": "0"})
    result = invoke("evaluate", copy)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "not the data of this run" in result.stderr
    edit_json(copy / "run.json", data="mnist")
    assert "run.json: damaged" in invoke("evaluate", copy).stderr


@pytest.mark.usefixtures("without_flow_checks")
def test_check_prints_a_line_or_a_record_for_each_check_and_exits_1_if_one_fails(
    invoke, tmp_path, runs
):
    copy = shutil.copytree(runs["flow"], tmp_path / "copy")
    edit_weights(copy, lambda weights: [w * 1.001 for w in weights])
    edit_json(copy / "summary.json", k=3)
    result, as_json = invoke("check", copy), invoke("check", copy, "--json")
    assert (result.exit_code, as_json.exit_code) == (1, 1)
    lines, checked = result.stdout.splitlines(), json.loads(as_json.stdout)
    assert len({re.match(r"\S+ +", line).end() for line in lines}) == 1  # of the names
    assert [(c["outcome"], c["check"], c["detail"]) for c in checked["checks"]] == [
        (line[:10].strip(), line[11:25].strip(), line[26:]) for line in lines
    ]
    failed = [c["check"] for c in checked["checks"] if c["outcome"] == "FAIL"]
    assert {"checksum", "record", "files"} <= set(failed)
    assert (checked["run"], checked["failed"]) == (str(copy), len(failed))
    told = f"nflow: error: {copy}: {len(failed)} of {len(lines)} checks failed\n"
    assert told == result.stderr == as_json.stderr


@pytest.mark.slow
def test_ten_million_points_take_bounded_memory(tmp_path, runs):
    """Twelve times the points of one chunk may cost little more than one."""
    peaks = [
        peak_memory(tmp_path, "sample", runs["flow"], "-n", n, "-o", "points.npy")
        for n in (100_000, 10_000_000)
    ]
    assert np.load(tmp_path / "points.npy", mmap_mode="r").shape == (10**7, 3)
    assert peaks[1] - peaks[0] < 60_000  # kB, where the points alone are 120 MB


def test_the_schema_of_presets_is_printed(invoke):
    schema = json.loads(invoke("presets", "--schema").stdout)
    kinds = [
        one["properties"]["command"]["const"]
        for one in schema["$defs"].values()
        if "command" in one.get("properties", {})
    ]
    assert {"fit", "fit-2d", "train-vae", "sweep"} <= set(kinds)
