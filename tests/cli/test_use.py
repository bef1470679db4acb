"""``nflow sample``, ``nflow evaluate`` and ``nflow check`` as a user types them."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from running import NFLOW, peak_memory
from short_runs import BOX, MIXED, VAE, edit_json, edit_weights

import nflow_cli
from nflow_cli.data.point_files import read_points
from nflow_cli.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def runs(short_run):
    return {"flow": short_run(**MIXED), "box": short_run(**BOX), "vae": short_run(**VAE)}


def succeed(invoke, *args):
    result = invoke(*args)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout


def table(text):
    """Return the rows of a table by their first column, which is blank where a row goes on."""
    rows = [(line[:14].strip(), line[15:]) for line in text.splitlines()]
    assert all(
        line[14] == " " and value.strip() == value
        for line, (_, value) in zip(text.splitlines(), rows)
    )
    return dict(rows)


def test_points_are_written_as_csv_and_as_npy_alike(invoke, tmp_path, runs):
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


def test_images_are_written_with_a_picture_beside_them(invoke, tmp_path, runs):
    printed = succeed(invoke, "sample", runs["vae"], "-n", 70, "-o", "digits.npy")
    assert printed == "digits.npy\ndigits.png\n"
    images = np.load("digits.npy", allow_pickle=False)
    assert (images.dtype, images.shape) == (np.float32, (70, 28, 28))
    np.testing.assert_allclose(images, nflow_cli.load(runs["vae"]).sample(70), atol=1e-6)
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_there_is_replaced(invoke, tmp_path, runs):
    (tmp_path / "p.csv").write_text("old")
    succeed(invoke, "sample", runs["flow"], "-n", 1, "--output", "p.csv")
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        ("-n 10 -o points.txt", 2, "ends in .csv, .npy, .parquet or .nc"),
        ("-n 10 -o folder.csv", 2, "is a folder"),
        ("-n 10 -o nowhere/p.csv", 1, "nowhere/p.csv: No such file or directory"),
    ],
)
def test_a_bad_output_is_one_line_and_leaves_nothing(
    invoke, tmp_path, runs, options, code, expected
):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    result = invoke("sample", runs["flow"], *options.split())
    assert (result.exit_code, result.stdout) == (code, "")
    assert expected in result.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


def test_images_are_not_written_as_csv(invoke, tmp_path, runs):
    result = invoke("sample", runs["vae"], "-o", "digits.csv")
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "written as .npy" in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_full_disk_is_one_line(runs):
    command = [NFLOW, "check", runs["flow"]]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("command", ["sample", "evaluate", "check"])
def test_a_run_that_cannot_be_used_is_one_line(invoke, tmp_path, runs, command):
    more = ["-o", "p.csv"] if command == "sample" else []
    result = invoke(command, "nowhere", *more)
    assert (result.exit_code, result.stderr.splitlines()) == (
        1,
        ["nflow: error: nowhere: no such run directory"],
    )
    copy = shutil.copytree(runs["flow"], tmp_path / "copy")
    (copy / "model.keras").unlink()
    result = invoke(command, copy, *more)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "model.keras: missing" in result.stdout + result.stderr


PLUS_MINUS = r"(-?[\d.]+) ± ([\d.]+)"


def test_evaluate_with_the_runs_seed_gives_the_summary(invoke, runs):
    rows = table(succeed(invoke, "evaluate", runs["flow"]))
    names = ("target", "flow", "samples", "KL(q || p)", "", "free energy", "ESS", "log Z")
    assert [*rows][:8] == [*names] and rows[""].startswith("by the plain mean: ")
    summary = RunDirectory(runs["flow"]).read_json("summary.json")
    assert rows["KL(q || p)"] == f"{summary['kl']:.5f} ± {summary['kl_standard_error']:.5f} nats"
    assert rows["ESS"].startswith(f"{summary['ess']:.4f} ± ")
    assert rows["samples"] == "4,000, seed 3"
    assert re.fullmatch(rf"{PLUS_MINUS} nats \(true: 0.00000\)", rows["log Z"])


def test_evaluate_takes_fresh_samples(invoke, runs):
    first, second = (
        table(succeed(invoke, "evaluate", runs["flow"], "--samples", 20_000, "--seed", seed))
        for seed in (1, 2)
    )
    assert first["samples"] == "20,000, seed 1"
    a, b = (re.match(PLUS_MINUS, rows["KL(q || p)"]) for rows in (first, second))
    assert a and b and a[1] != b[1]
    assert abs(float(a[1]) - float(b[1])) < 4 * np.hypot(float(a[2]), float(b[2]))


def test_evaluate_says_that_a_bounded_q_does_not_cover_p(invoke, runs):
    printed = succeed(invoke, "evaluate", runs["box"])
    assert "a lower bound, true: 0.00000" in printed
    assert "q is 0 outside a bounded region" in printed


def test_evaluate_judges_points_of_ones_own(invoke, tmp_path, runs):
    points = np.random.default_rng(0).standard_normal((300, 2))
    np.savetxt(tmp_path / "mine.csv", points, delimiter=",", header="x,y", comments="")
    rows = table(succeed(invoke, "evaluate", runs["flow"], "--data", "mine.csv"))
    log_q = nflow_cli.load(runs["flow"]).log_prob(points).astype(float)
    error = log_q.std(ddof=1) / np.sqrt(300)
    expected = f"{log_q.mean():.5f} ± {error:.5f} nats, mean of 300 points"
    assert rows["log-likelihood"] == expected
    np.save(tmp_path / "mine.npy", np.array([[0.1, 0.2], [50.0, 0.0], [0.2, 0.3]]))
    rows = table(succeed(invoke, "evaluate", runs["box"], "--data", "mine.npy"))
    assert rows["log-likelihood"] == "-inf: q is 0 at 1 of 3 points"
    assert rows[""].endswith("nats, mean of the others [ruined, few rows]")


def test_evaluate_judges_a_vae_as_its_training_did(invoke, runs):
    rows = table(succeed(invoke, "evaluate", runs["vae"]))
    summary = RunDirectory(runs["vae"]).read_json("summary.json")
    nll, error = summary["negative_log_likelihood"], summary["nll_standard_error"]
    assert rows["-ELBO"] == f"{summary['negative_elbo']:.2f} nats"
    assert rows["-log p(x)"] == f"{nll:.2f} ± {error:.2f} nats, 4 importance samples"
    assert rows["data"] == "mnist-sample, binarization: stochastic, 2,000 test images"
    assert rows["samples"] == "4 an image, seed 0"


@pytest.mark.slow
def test_more_importance_samples_tighten_the_bound(invoke, tmp_path, runs):
    from nflow_cli.data.images import load_images

    digits = load_images("mnist-sample").x_test[:20]
    np.savez(tmp_path / "few.npz", x_train=digits, x_test=digits)
    found = {}
    for draws in (1, 5_000):
        rows = table(
            succeed(invoke, "evaluate", runs["vae"], "--data", "few.npz", "--samples", draws)
        )
        assert rows["data"].startswith("few.npz, ") and rows["data"].endswith(" 20 test images")
        found[draws] = {k: float(rows[k].split()[0]) for k in ("-ELBO", "-log p(x)")}
    assert found[1]["-ELBO"] == found[1]["-log p(x)"]  # a single draw is the bound
    assert found[5_000]["-log p(x)"] < found[5_000]["-ELBO"]


@pytest.mark.parametrize(
    ("run", "options", "code", "expected"),
    [
        ("flow", "--samples 99", 2, "99 is not in the range 100<=x<=10000000 of a fit-2d run"),
        ("vae", "--samples 5001", 2, "5001 is not in the range 1<=x<=5000 of a train-vae run"),
        ("flow", "--data bad.csv", 1, "bad.csv: line 2, column 'y': expected a number"),
        ("vae", "--data nowhere", 1, "no such data set"),
    ],
)
def test_bad_input_to_evaluate_is_one_line(invoke, tmp_path, runs, run, options, code, expected):
    (tmp_path / "bad.csv").write_text("x,y\n1,two\n")
    result = invoke("evaluate", runs[run], *options.split())
    assert (result.exit_code, result.stdout) == (code, "")
    assert expected in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_evaluate_refuses_data_that_are_not_the_runs(invoke, tmp_path, runs):
    copy = shutil.copytree(runs["vae"], tmp_path / "copy")
    edit_json(copy / "run.json", data={"name": "mnist-sample", "sha256": "0"})
    result = invoke("evaluate", copy)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "not the data of this run" in result.stderr
    edit_json(copy / "run.json", data="mnist")
    assert "run.json: damaged" in invoke("evaluate", copy).stderr


def test_check_prints_a_line_for_each_check_and_exits_1_if_one_fails(invoke, tmp_path, runs):
    lines = succeed(invoke, "check", runs["flow"]).splitlines()
    assert len(lines) == 15
    assert [line for line in lines if not line.startswith("OK  ")] == [
        line for line in lines if line.startswith("unchanged  files ")
    ]
    assert len({re.match(r"\S+ +", line).end() for line in lines}) == 1  # of the names
    copy = shutil.copytree(runs["flow"], tmp_path / "copy")
    edit_weights(copy, lambda weights: [w * 1.001 for w in weights])
    result = invoke("check", copy)
    assert result.exit_code == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL ")]
    assert "checksum" in failed[0]
    assert result.stderr == f"nflow: error: {copy}: {len(failed)} of 15 checks failed\n"


@pytest.mark.slow
def test_ten_million_points_take_bounded_memory(tmp_path, runs):
    """Twelve times the points of one chunk may cost little more than one."""
    peaks = [
        peak_memory(tmp_path, "sample", runs["flow"], "-n", n, "-o", "points.npy")
        for n in (100_000, 10_000_000)
    ]
    assert np.load(tmp_path / "points.npy", mmap_mode="r").shape == (10**7, 3)
    assert peaks[1] - peaks[0] < 60_000  # kB, where the points alone are 120 MB
