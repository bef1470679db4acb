"""Runs side by side. Those here are only written, not trained: nothing of them is drawn twice."""

import itertools
import json
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
from drawable_runs import SUMMARIES
from written_runs import write_fit, write_run, write_vae

from nflow_cli.config import presets
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.sweeps import compared_runs
from nflow_cli.sweeps.compared_runs import differences
from nflow_cli.sweeps.pictures import pictures_of


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a sweep over K, two flows and three seeds."""
    folder = tmp_path / "mine"
    for k, pattern, seed in itertools.product((2, 8), (["planar"], ["radial"]), (0, 1, 2)):
        kl = [0.3, 0.1, 0.8][seed] / k + 0.01 * (pattern == ["radial"])
        name = f"u1,flow.k={k},flow.pattern={pattern[0]},seed={seed}"
        write_run(folder / name, {"kl": kl}, flow__k=k, flow__pattern=pattern, seed=seed)
    (folder / "sweep.yaml").write_text("command: sweep\npresets: [u1-planar-k2]\n")
    return folder


GROUPS = [("u1", flow, k) for flow in ("planar", "radial") for k in (2, 8)]


def groups_of(*paths):
    return compared_runs.group(compared_runs.gather(map(str, paths))[0])


def test_runs_that_differ_by_the_seed_alone_are_one_group(folder):
    groups = groups_of(folder)
    assert [group.identity for group in groups] == GROUPS
    for group in groups:
        assert len(group.results) == 3 and not group.settings
        values = [result.summary.kl for result in group.results]
        assert group.spread("kl") == (statistics.median(values), min(values), max(values))
        assert group.best.config.seed == 1
    run = next(folder.glob("u1*"))  # counted once, however often it is named
    assert sum(len(g.results) for g in groups_of(folder, run, folder / "." / run.name)) == 12


def test_what_else_differs_tells_groups_apart_and_numbers_are_in_order(tmp_path):
    for n, rate in enumerate((0.1, 0.003, 10.0, 0.02)):
        write_run(tmp_path / str(n), train__learning_rate=rate, train__steps=1000)
    write_run(tmp_path / "other", flow__k=2)
    write_run(tmp_path / "radial", flow__pattern=["radial"])
    groups = groups_of(*(tmp_path / name for name in ("0", "1", "2", "3", "other", "radial")))
    default = presets.validate({"command": "fit-2d", "target": "u1"}, "a test").train
    rates = [str(default.learning_rate), "0.003", "0.02", "0.1", "10.0", str(default.learning_rate)]
    assert [g.settings["train.learning_rate"] for g in groups] == rates


def test_a_setting_that_goes_with_k_or_cannot_act_splits_no_line(tmp_path):
    for k, rate, halving in ((2, 0.01, True), (8, 0.1, False), (32, 0.01, True)):
        changes = {"flow__k": k, "train__learning_rate": rate, "train__halving": halving}
        write_run(tmp_path / str(k), train__restarts=1, **changes)
    groups = groups_of(*sorted(tmp_path.iterdir()))
    assert {key for group in groups for key in group.settings} == {"train.learning_rate"}
    (dots,), labels = pictures_of([groups])["kl"].axes[0].get_legend_handles_labels()
    assert (labels, list(dots.get_xdata())) == (["planar"], [2, 8, 32])
    write_run(tmp_path / "other", train__restarts=1, train__learning_rate=0.5)  # and K = 8
    axes = pictures_of([groups_of(*sorted(tmp_path.iterdir()))])["kl"].axes[0]
    _, labels = axes.get_legend_handles_labels()
    assert {*labels} == {f"planar, learning_rate = {rate}" for rate in (0.01, 0.1, 0.5)}


def test_targets_of_one_name_are_told_apart(tmp_path):
    for n, mean in enumerate((0.0, 3.0)):
        target = {"name": "mixture", "weights": [1.0], "means": [[mean, 0.0]]}
        for k in (2, 8):
            write_run(tmp_path / f"{n}-{k}", target=target, flow__k=k)
    write_run(tmp_path / "other")
    groups = groups_of(*sorted(tmp_path.iterdir()))
    assert [g.identity for g in groups] == [
        *(("mixture 1", "planar", 2), ("mixture 1", "planar", 8)),
        *(("mixture 2", "planar", 2), ("mixture 2", "planar", 8)),
        ("u1", "planar", 8),
    ]
    assert not any(g.settings for g in groups)
    assert [float(g.best.config.target.means[0][0]) for g in groups[:-1]] == [0, 0, 3, 3]


def test_a_mixture_in_two_spellings_is_one_target_and_its_flows_tell_of_affine_maps(tmp_path):
    mixture = {"name": "mixture", "means": [[0.0, 0.0], [3.0, 0.0]]}
    for n, weights in enumerate(([1.0, 1.0], [0.5, 0.5])):
        target = {**mixture, "weights": weights, "sd": 1.0}
        write_run(tmp_path / f"{n}", target=target, flow__affine=[None, "full"][n])
    one, other = groups_of(tmp_path / "0", tmp_path / "1")
    assert one.identity == ("mixture", "planar", 8)
    assert other.identity == ("mixture", "planar + full affine", 8)
    assert not one.settings and not other.settings


def test_a_seed_counts_once_and_those_that_share_restarts_are_told_of(tmp_path, invoke):
    for name, seed in (("a", 0), ("b", 0), ("c", 3)):
        write_run(tmp_path / name, seed=seed, train__restarts=4)
    names = [tmp_path / name for name in ("a", "b", "c")]
    result = invoke("compare", *names, "--json")
    (group,) = json.loads(result.stdout)["groups"]
    assert group["seeds"] == [0, 3]
    assert result.stderr.splitlines()[0] == (
        "seeds less than 4 apart share some of the 4 restarts of a run, so the spread over them "
        "is too small; --seeds FIRST:END:4 are apart"
    )
    assert "apart" not in invoke("compare", *names[:2]).stderr


def test_what_only_describes_saves_or_judges_a_fit_makes_no_other_experiment(tmp_path, invoke):
    for k in (2, 8):
        for seed, samples in enumerate((1000, 200_000)):
            write_run(tmp_path / f"{k}-{seed}", flow__k=k, seed=seed, evaluate__samples=samples)
    write_run(tmp_path / "8-2", flow__k=8, seed=2, evaluate__grid=1000, description="one")
    write_run(tmp_path / "8-3", flow__k=8, seed=3, train__checkpoint_seconds=1.0)
    runs = sorted(tmp_path.iterdir())
    assert [len(g.results) for g in groups_of(*runs)] == [2, 4]
    assert "evaluate" not in invoke("compare", *runs).stdout


def test_settings_that_differ_with_k_or_with_the_flow_are_in_the_table(tmp_path, invoke):
    for pattern, k, steps in (("planar", 2, 1000), ("planar", 8, 9000), ("radial", 2, 1000)):
        run = tmp_path / f"{pattern}-{k}"
        write_run(run, flow__pattern=[pattern], flow__k=k, train__steps=steps)
    write_run(tmp_path / "radial-8", flow__pattern=["radial"], flow__k=8, train__steps=1000)
    write_run(tmp_path / "u2", target="u2", train__steps=77)  # no other run is fitted to that
    runs = sorted(tmp_path.iterdir())
    header, *rows = invoke("compare", *runs).stdout.splitlines()
    assert header.split()[-4:] == ["train.steps", "updates/s", "best", "run"]
    assert [[*row.split()[:3], row.split()[-3]] for row in rows] == [
        *(["u1", "planar", "2", "1000"], ["u1", "planar", "8", "9000"]),
        *(["u1", "radial", "2", "1000"], ["u1", "radial", "8", "1000"]),
        ["u2", "planar", "8", "77"],
    ]


def test_a_run_of_a_sweep_that_has_not_ended_is_left_out_and_counted(folder, invoke):
    run = RunDirectory(folder / "u1,flow.k=2,flow.pattern=planar,seed=1")
    run.write_json("run.json", {**run.read_json("run.json"), "status": "interrupted"})
    results, unfinished = compared_runs.gather([str(folder)])
    assert (len(results), unfinished) == (11, {"interrupted": 1})
    result = invoke("compare", folder)
    assert result.exit_code == 0
    assert "unfinished runs left out: 1 interrupted" in result.stderr
    result = invoke("compare", run.path)  # it may have been extended: its summary is an old one
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert f"{run.path}: no run has finished" in result.stderr
    others = [path for path in folder.glob("u1*") if path != run.path]
    result = invoke("compare", run.path, *others)
    assert result.exit_code == 0
    assert "unfinished runs left out: 1 interrupted" in result.stderr


DATA = {**SUMMARIES["train-vae"]["data"], "name": "x/mnist.npz"}
PRIORS = {
    "N(0, I)": None,
    "affine-coupling + full affine, K = 2": {"k": 2},
    "planar, K = 2": {"pattern": ["planar"], "k": 2},
}
APART = {  # what tells VAEs apart in one column: its name, the value of each, summaries, configs
    "data.sha256": [(sha, {"data": {**DATA, "sha256": sha}}, {}) for sha in "12"],
    "prior": [(text, {}, {"prior": prior}) for text, prior in PRIORS.items()],
    "evaluate.importance_samples": [
        (str(n), {}, {"evaluate.importance_samples": n}) for n in (10, 200)
    ],
}


@pytest.mark.parametrize("key", APART)
def test_vaes_of_other_data_priors_or_draws_are_other_experiments(tmp_path, key):
    for i, (_, summary, changes) in enumerate(APART[key]):
        write_vae(tmp_path / str(i), summary, **changes)
    groups = groups_of(*sorted(tmp_path.iterdir()))
    assert [group.settings for group in groups] == [{key: text} for text, *_ in APART[key]]
    if key == "data.sha256":
        assert groups[0].identity == ("mnist.npz (stochastic)", "planar", 8)


@pytest.mark.parametrize(
    ("key", "texts", "shown"),
    [
        ("measure", ["b0", "a1", "", "b0"], ["A", "B", "", "A"]),
        ("data.sha256", [str(i) for i in range(27)], [str(i) for i in range(27)]),
        ("data.columns", ['["year", "age"]', "null", "[]"], ["year, age", "null", ""]),
        ("flow.hidden", ["[64, 64]", "[32]"], ["64, 64", "32"]),
        (
            "data.exclude",
            [json.dumps([*"abcdefghijk"]), '["a"]'],
            ["a, b, c, d, e, f, g, h, … (11)", "a"],
        ),
        ("data.na", [json.dumps([*"abcdefghij", c]) for c in "xy"], None),
        ("description", ["[no list", "[1]"], ["[no list", "1"]),
    ],
)
def test_checksums_are_letters_and_lists_short_where_that_tells_them_apart(key, texts, shown):
    results = [SimpleNamespace(settings=lambda text=text: {key: text}) for text in texts]
    groups = [compared_runs.Group(None, [result], {key: ""}) for result in results]
    assert compared_runs.setting_columns(groups) == [(key, shown or texts)]


def test_a_single_seed_among_others_has_no_range(invoke, folder, tmp_path):
    write_run(tmp_path / "single", {"kl": 0.5}, flow__k=32, flow__pattern=["planar"])
    header, *rows = invoke("compare", *folder.glob("u1*"), tmp_path / "single").stdout.splitlines()
    at = slice(header.index("KL min – max"), header.index("k-hat median"))
    assert [row[at].strip() for row in rows if " 32 " in row] == [""]
    assert all(" – " in row[at] for row in rows if " 32 " not in row)


def test_the_figures_over_seeds_are_printed_and_given_as_json(invoke, folder):
    runs = [*folder.glob("u1*")]
    header, *rows = invoke("compare", *runs).stdout.splitlines()
    assert header.split("  ")[0] == "target"
    assert "KL median" in header and "KL min – max" in header
    assert len(rows) == 4
    best = "u1,flow.k=2,flow.pattern=planar,seed=1"
    assert " ".join(rows[0].split()) == (
        f"u1 planar 2 3 0.15000 0.05000 – 0.40000 0.40 0.40 – 0.40 0.900 0.900 – 0.900 1,000 {best}"
    )
    groups = json.loads(invoke("compare", *runs, "--json").stdout)["groups"]
    assert [(g["target"], g["flow"], g["k"]) for g in groups] == GROUPS
    first = groups[0]
    assert first["scores"]["kl"] == {"median": 0.15, "min": 0.05, "max": 0.4}
    assert first["seeds"] == [0, 1, 2] and first["settings"] == {}
    assert first["runs"][0].endswith(best)


def test_pictures_go_to_the_plots_of_the_sweep_or_where_asked(invoke, folder, tmp_path):
    result = invoke("compare", folder)
    assert {path.name for path in (folder / "plots").iterdir()} == {"kl.png", "densities.png"}
    assert [line.split("/")[-1] for line in result.stderr.splitlines()] == [
        *("kl.png", "densities.png")
    ]
    result = invoke("compare", *sorted(folder.glob("u1*")), "--output", tmp_path / "a" / "b")
    assert result.exit_code == 0, result.stderr
    assert {p.name for p in (tmp_path / "a" / "b").iterdir()} == {"kl.png", "densities.png"}
    result = invoke("compare", *sorted(folder.glob("u1*")))
    assert result.stderr == "no pictures drawn; --output DIR draws them there\n"


def test_a_home_that_cannot_be_written_is_nothing_to_tell_of(nflow, tmp_path):
    write_run(tmp_path / "run")
    done = nflow("compare", "run", "--output", "p", MPLCONFIGDIR="/proc/nowhere")
    assert (done.returncode, done.stderr) == (0, "p/kl.png\np/densities.png\n")


def test_a_target_without_log_z_is_compared_by_its_free_energy(invoke, tmp_path):
    for n, energy in enumerate((-1.0, -3.0, -2.0)):
        write_run(tmp_path / str(n), {"kl": None, "log_z": None, "free_energy": energy}, seed=n)
    runs = [tmp_path / str(n) for n in range(3)]
    header, row = invoke("compare", *runs, "--output", tmp_path / "p").stdout.splitlines()
    assert "free energy median" in header and "KL" not in header
    assert "-2.00000 -3.00000 – -1.00000" in " ".join(row.split()) and row.endswith(" 1")
    assert {p.name for p in (tmp_path / "p").iterdir()} == {"free_energy.png", "densities.png"}
    results = [result for group in groups_of(*runs) for result in group.results]
    assert compared_runs.course_name(results) == "free energy (nats)"


def test_vaes_and_fits_have_tables_of_their_own(invoke, tmp_path):
    write_run(tmp_path / "fit")
    for k in (0, 10):
        write_vae(tmp_path / f"vae-{k}", {"negative_elbo": 90.0 + k}, **{"flow.k": k})
    runs = [tmp_path / name for name in ("fit", "vae-0", "vae-10")]
    result = invoke("compare", *runs, "--output", tmp_path / "p")
    assert result.exit_code == 0, result.stderr
    fits, vaes = result.stdout.split("\n\n")
    assert len(fits.splitlines()) == 2 and "KL  " in fits
    assert "−ELBO  " in vaes and "−log p(x)  " in vaes and len(vaes.splitlines()) == 3
    assert "min" not in result.stdout  # one seed each
    assert {p.stem for p in (tmp_path / "p").iterdir()} == {
        *("kl", "densities", "negative_elbo", "negative_log_likelihood")
    }


DAMAGE = [
    ("run.json", "{"),
    ("run.json", "{}"),
    ("config.yaml", "command: sweep\npresets: [x]\n"),
    ("config.yaml", "{"),
    ("summary.json", "[]"),
    ("summary.json", "{}"),
    ("summary.json", '{"kl": "low"}'),
    ("summary.json", '{"kl": true}'),
    ("summary.json", '{"kl": 1e308}'),
    ("summary.json", '{"kl": 1.0, "ess": [1]}'),
    ("evaluation.npz", "PK"),
    ("config.yaml", None),
    ("summary.json", None),
    ("evaluation.npz", None),
]


def test_a_damaged_run_is_one_line_that_names_the_file(invoke, tmp_path):
    for i, (name, content) in enumerate(DAMAGE):
        path = write_run(tmp_path / f"{i}-{name}").path / name
        path.unlink()
        if content is not None:
            path.write_text(content)
        result = invoke("compare", path.parent, "--output", "pictures")
        assert result.exit_code == 1
        lines = result.stderr.splitlines()
        assert len(lines) == 1 or name == "evaluation.npz"  # read when the table is printed already
        assert str(path) in lines[-1]


def test_what_is_no_run_is_one_line(invoke, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.yaml").touch()
    for line in (
        "gone: no such run directory",
        "empty: not a run directory",
        "file: no such run directory",
        "sweep: no run of this sweep has begun",
    ):
        result = invoke("compare", line.split(":")[0])
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
        assert result.stderr.startswith(f"nflow: error: {line}")


def test_figures_with_warnings_carry_their_words(invoke, tmp_path):
    write_run(tmp_path / "a", {"base_free_energy": -3.0, "free_energy": -1.0})
    write_run(tmp_path / "b", {"kl": 0.25}, flow__k=2)
    result = invoke("compare", "a", "b", "--output", "pictures")
    assert result.exit_code == 0 and result.stdout.count("0.500 ± 0.010 [ruined]") == 1
    assert result.stdout.count("[") == 1
    assert "[ruined] such as a: worse than the base without a flow" in result.stderr
    groups = json.loads(invoke("compare", "a", "b", "--json").stdout)["groups"]
    assert [group["warnings"] for group in groups] == [
        {},
        {"kl": "ruined", "free_energy": "ruined"},
    ]


def test_courses_of_the_trainings_are_drawn_in_the_format_that_is_asked_for(invoke, tmp_path):
    for seed in (0, 1):
        run = write_run(tmp_path / f"r{seed}", seed=seed)
        rows = "".join(f"{500 * i},1,{1 / i},1\r\n" for i in range(1, 9))
        run.write_text("metrics.csv", f"update,loss,kl,beta\r\n{rows}")
    options = ["--output", "pictures", "--pictures", "svg", "--dpi", 50]
    result = invoke("compare", "r0", "r1", *options)
    assert result.exit_code == 0, result.stderr
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"kl.svg", "training.svg", "densities.svg"}
    text = (tmp_path / "pictures" / "training.svg").read_text().replace("\xa0", " ")
    assert "training curves, a line for each run" in text
    assert "KL (nats)" in text and "free energy" not in text
    (tmp_path / "r1" / "metrics.csv").write_text("update,loss\r\n1,2\r\n")
    result = invoke("compare", "r0", "r1", *options)
    assert result.exit_code == 1
    assert "r1/metrics.csv: damaged: expected a column kl" in result.stderr


# Fits to one table, compared row by row of its test.
RNG = np.random.default_rng(0)
N = 400
GOOD = -27 + 10 * RNG.standard_normal(N)  # the error of its mean is 0.5
WORSE = GOOD - 0.15 + 0.5 * RNG.standard_normal(N)


def differences_of(*paths):
    return differences(compared_runs.group(compared_runs.gather(map(str, paths))[0]))


def test_the_difference_is_the_mean_over_rows_with_the_error_of_paired_rows(tmp_path, invoke):
    write_fit(tmp_path / "a", GOOD, flow__k=1)
    write_fit(tmp_path / "b", WORSE, data__bounds={"a": [0, None]}, flow__k=9)
    best, worse = differences_of(tmp_path / "a", tmp_path / "b")
    assert best is None
    assert worse.value == pytest.approx(WORSE.mean() - GOOD.mean())
    assert worse.standard_error == pytest.approx(np.std(WORSE - GOOD, ddof=1) / np.sqrt(N))
    result = invoke("compare", tmp_path / "a", tmp_path / "b")
    header, *rows = result.stdout.splitlines()
    names = "data flow K seeds log-likelihood baseline gain to the best, paired data.bounds.a"
    names += " updates/s best run"
    assert " ".join(header.split()) == names
    assert with_error(GOOD.mean(), np.std(GOOD, ddof=1) / np.sqrt(N)) in rows[0]
    assert with_error(worse.value, worse.standard_error) in rows[1]
    printed = json.loads(invoke("compare", tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert [g.get("difference_to_the_best") for g in printed["groups"]] == [None, worse._asdict()]


def test_one_row_that_has_nearly_all_weight_gives_no_difference(tmp_path):
    weights = np.where(np.arange(N) == 7, 1e6, 1e-3)
    for k, log_q in ((1, GOOD), (2, WORSE)):
        write_fit(tmp_path / f"{k}", log_q, weights, data__weights="w", flow__k=k)
    assert differences_of(tmp_path / "1", tmp_path / "2") == [None, None]


@pytest.mark.parametrize("counted", [N, 100])
def test_rows_of_one_weight_count_alike_and_those_of_none_not_at_all(tmp_path, counted):
    weights = np.where(np.arange(N) < counted, 2.5, 0.0)
    for k, log_q in ((1, GOOD), (2, WORSE)):
        write_fit(tmp_path / f"{k}", log_q, weights, data__weights="w", flow__k=k)
    _, worse = differences_of(tmp_path / "1", tmp_path / "2")
    d = (WORSE - GOOD)[:counted]
    assert worse.value == pytest.approx(d.mean())
    assert worse.standard_error == pytest.approx(np.std(d, ddof=1) / np.sqrt(counted))


@pytest.mark.parametrize(
    "other",
    [
        {"sha256": "1"},
        {"data__split_seed": 1},
        {"data__columns": ["a", "c"]},
        {"data__given": ["b"], "data__columns": ["a"]},
        {"log_q": WORSE[:-1]},
        {"log_q": np.where(np.arange(N) == 3, -np.inf, WORSE)},
    ],
)
def test_fits_to_other_rows_or_columns_have_no_difference(tmp_path, other):
    write_fit(tmp_path / "a", GOOD)
    write_fit(tmp_path / "b", **{"log_q": WORSE, "flow__k": 9, **other})
    assert differences_of(tmp_path / "a", tmp_path / "b") == [None, None]


def test_a_run_that_kept_no_rows_is_compared_without(tmp_path, invoke):
    write_fit(tmp_path / "a", GOOD)
    write_fit(tmp_path / "b", WORSE, flow__k=9, evaluate__keep_rows=False)
    result = invoke("compare", tmp_path / "a", tmp_path / "b")
    assert (result.exit_code, "paired" in result.stdout) == (0, False)
