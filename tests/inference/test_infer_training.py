"""A run of ``nflow infer``, from its function to its files, and what is done with it."""

import json
import math
import re
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from checks import outcomes
from drawable_runs import SUMMARIES
from keras import ops
from running import assert_same_run
from short_runs import without_layout, without_pictures, without_programs
from truth import to_numpy

import nflow_cli
from nflow_cli.config import presets
from nflow_cli.densities.target import Target
from nflow_cli.errors import ConfigError, DataError, DivergenceError, Interrupted, TargetError
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.run_checks import check_record
from nflow_cli.experiments.running import execute
from nflow_cli.inference import members, reverse_kl_report
from nflow_cli.inference import reverse_kl_training as infer_fit
from nflow_cli.inference.reverse_kl import BY_Q
from nflow_cli.inference.reverse_kl_checks import Checked
from nflow_cli.inference.reverse_kl_data import built_in, load, reopen
from nflow_cli.inference.reverse_kl_report import RULES, ReverseKLSummary, judged_rows
from nflow_cli.inference.trial import user_subject
from nflow_cli.inference.user_code import function_of
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.session import Checkpointer

MEAN, SCALE = np.array([20.0, -3.0], "f"), np.array([2.0, 0.5], "f")


def tensors(x):
    return -0.5 * ops.sum(ops.square((x - MEAN) / SCALE), axis=-1)


def arrays(x):
    off = (x - MEAN) / SCALE
    return -0.5 * (off**2).sum(axis=1), -off / SCALE


FUNCTIONS = {"tensors": tensors, "arrays": arrays}


def settings(name="tensors", density=None, **changes):
    data = {
        "command": "infer",
        "density": density or {"name": name, "path": "<python>", "dim": 2},
        "flow": {"pattern": [{"affine-coupling": {"hidden": [4]}}], "k": 2},
        "train": {"steps": 40, "chunk": 20, "batch_size": 64, "first_stage": 40},
        "evaluate": {"samples": 2_000},
    }
    for path, value in changes.items():
        data = presets.override(data, {path.replace("__", "."): value})
    return presets.validate(data, "a test")


def fit(path, name="tensors", function=None, **changes):
    config = settings(name, **changes)
    subject = user_subject(config, function_of(function or FUNCTIONS[name]))
    run = RunDirectory.create("test", str(path))
    opened = Run(run, config)
    execute(opened, subject, None, [])
    return run, opened.facts


def quick_fit(*arguments, **changes):
    with without_programs(), without_pictures():
        return fit(*arguments, **changes)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("infer")
    longer = {"train__first_stage": 500, "train__steps": 200, "train__start_width": 1.0}
    longer["train__chunk"] = 100
    with without_layout():
        return fit(folder / "run", "arrays", **longer)


def test_a_gaussian_far_away_is_reached(fitted):
    _, summary = fitted
    log_z = np.log(2 * np.pi * SCALE.prod())
    assert abs(summary["free_energy"] + log_z) < 0.05
    assert 0 < summary["kl"] < 0.01  # log Z less the ELBO, with the error of a difference
    assert summary["kl_standard_error"] < 0.5 * summary["free_energy_standard_error"]
    assert summary["estimated_log_z"] == pytest.approx(log_z, abs=0.02)
    moments = np.array(list(summary["moments"].values()))
    np.testing.assert_allclose(moments[:, 0], MEAN, atol=0.15)
    np.testing.assert_allclose(moments[:, 1], SCALE, rtol=0.1)


def test_the_surrogate_has_the_gradient_of_the_loss():
    of = {}
    for name, function in FUNCTIONS.items():
        config = settings(
            name,
            density={"name": name, "path": "<python>", "dim": 2, "bounds": {"x1": [0.0, None]}},
        )
        model = infer_fit.build(config, user_subject(config, function_of(function)).target)
        batch = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((2, 64), "f"))
        of[name] = model.differentiate(batch)
    for key in ("loss", "kl", "beta"):
        values = [to_numpy(terms[key]) for terms, _ in of.values()]
        np.testing.assert_allclose(*values, rtol=1e-4)
    for one, other in zip(of["tensors"][1], of["arrays"][1], strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), rtol=1e-3, atol=1e-4)


def gradients(model, batch):
    return [to_numpy(slope) for slope in model.differentiate(batch)[1]]


def moved(config, target):
    """Return a model whose flows are not the identity, and base samples for it."""
    model, rng = infer_fit.build(config, target), np.random.default_rng(0)
    if model.path_from is not None:
        model.optimizer.iterations.assign(model.path_from)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape))
    return model, ops.convert_to_tensor(rng.standard_normal((2, 64), "f"))


@pytest.mark.parametrize(
    ("name", "flow"),
    [
        ("tensors", {"spline-coupling": {"hidden": [4]}}),
        ("arrays", "planar"),
        pytest.param("tensors", "planar", marks=pytest.mark.slow),
        pytest.param("arrays", {"spline-coupling": {"hidden": [4]}}, marks=pytest.mark.slow),
    ],
)
def test_the_path_leaves_out_the_score_and_nothing_else(name, flow):
    import tensorflow as tf

    of = {}
    for gradient in ("full", "path"):
        config = settings(name, flow__pattern=[flow], train__gradient=gradient)
        target = user_subject(config, function_of(FUNCTIONS[name])).target
        model, batch = moved(config, target)
        of[gradient] = gradients(model, batch)
    x, _ = model.density.push(ops.transpose(batch))
    with tf.GradientTape() as tape:  # d log q(x; θ)/dθ, x held
        loss = ops.mean(model.density.pull(ops.stop_gradient(x))[1])
    score = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for full, path, rest in zip(of["full"], of["path"], map(to_numpy, score), strict=True):
        np.testing.assert_allclose(path, full - rest, rtol=1e-3, atol=1e-3 * np.abs(full).max())


class Itself(Target):
    """The density that a model starts from."""

    dim, log_z = 2, None

    def __init__(self, density):
        self.density = density

    def log_prob(self, z):
        return self.density.pull(z)[1]


def test_where_q_is_p_the_path_has_no_gradient():
    def of(gradient):
        config = settings(train__gradient=gradient)
        copy, batch = moved(config, None)
        return np.concatenate(
            [g.ravel() for g in gradients(moved(config, Itself(copy.density))[0], batch)]
        )

    assert np.abs(of("path")).max() < 1e-4
    assert np.abs(of("full")).max() > 1e-2


def test_a_run_has_the_files_and_the_picture_of_every_other(fitted):
    run, summary = fitted
    names = {path.name for path in run.path.iterdir()}
    assert {"config.yaml", "run.json", "metrics.csv", "summary.json", "model.keras"} < names
    drawn = {path.stem for path in (run.path / "plots").iterdir()}
    of_the_plane = {"density", "difference", "deformation"}
    assert drawn == {"corner", "weights", "training"} | of_the_plane
    assert run.read_metrics()["update"][0] < 0  # of the first stage
    record = run.read_json("run.json")
    assert record["data"] == {"name": "arrays", "path": "<python>", "sha256": None}
    assert run.read_json("summary.json") == json.loads(json.dumps(summary))


def test_a_fit_starts_at_a_mode_only_where_a_gaussian_is_better_off_there():
    config = settings(density={"name": "funnel", "dim": 3})
    model = infer_fit.build(config, built_in(config).target)
    peak = np.array([[-13.5, 0.0, 0.0]], "f")  # of its density, and none of its mass
    assert not model.starts(peak).any()
    config = settings()
    model = infer_fit.build(config, user_subject(config, function_of(tensors)).target)
    np.testing.assert_array_equal(model.starts(MEAN[None]), MEAN[None])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "restarts", "k"),
    [
        ("arrays", 1, 0),  # the affine map at the end alone: soon compiled
        ("tensors", 1, 2),
        ("tensors", 3, 2),
        ("arrays", 3, 2),
    ],
)
def test_a_fit_that_is_stopped_and_goes_on_ends_as_one_that_was_not(
    tmp_path, monkeypatch, name, restarts, k
):
    options = {"train__restarts": restarts, "train__checkpoint_seconds": 0.0}
    options |= {"flow__pattern": ["planar"], "flow__k": k}
    options["train__first_stage"] = 40 if k else 0  # how it goes on is tested with its module
    with without_pictures():
        whole, _ = fit(tmp_path / "whole", name, **options)
    saves = []

    def stop(self, *arguments, save=Checkpointer.save, **keywords):
        save(self, *arguments, **keywords)
        saves.append(1)
        if len(saves) == 2:
            raise Interrupted(15)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Checkpointer, "save", stop)
        fit(tmp_path / "stopped", name, **options)
    run = RunDirectory.open(str(tmp_path / "stopped"))
    assert run.read_json("run.json")["status"] == "interrupted"
    config = Run(run).config
    with without_pictures():
        subject = user_subject(config, function_of(FUNCTIONS[name]))
        execute(Run(run, config), subject, None, [])
    assert_same_run(whole.path, run.path)


def test_the_restart_that_is_kept_has_its_free_energy(tmp_path):
    of = {"flow__pattern": ["planar"], "flow__k": 0, "train__restarts": 2, "train__steps": 20}
    run, summary = quick_fit(tmp_path / "run", "arrays", **of)
    restarts = summary["restarts"]
    assert summary["log_z"] is None
    assert restarts["kl"][restarts["best"]] == summary["free_energy"]
    assert np.isfinite(restarts["kl"]).all()
    rows = dict(reverse_kl_report.rows_of(Run(run).config, ReverseKLSummary(**summary), []))
    assert "not finite" not in rows["restarts"]


def test_values_that_float32_rounds_have_a_note_before_training():
    def offset(x):
        return tensors(x) - 3e7

    def offset_arrays(x):
        values, gradient = arrays(x)
        return values - 3e7, gradient

    noted = [
        user_subject(settings(name), function_of(function)).notes
        for name, function in (("tensors", offset), ("arrays", offset_arrays), *FUNCTIONS.items())
    ]
    assert [len(notes) for notes in noted] == [1, 0, 0, 0]
    assert "steps of 2 nats" in noted[0][0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_density_that_is_no_number_later_on_stops_the_training(tmp_path, name):
    def late(x):
        if name == "tensors":
            return ops.where(x[:, 0] < 5, x[:, 0], np.nan)
        values = np.where(x[:, 0] < 5, x[:, 0], np.nan)
        return values, np.stack([np.ones(len(x)), np.zeros(len(x))], axis=1)

    with pytest.raises(DivergenceError, match=r"target at x1=\S+, x2=\S+ is nan;") as refused:
        of = {"train__first_stage": 0, "train__learning_rate": 1.0, "flow__k": 0}
        quick_fit(tmp_path / "run", name, late, **of)
    assert "; give its support by --bounds, or map R^D to it; try a smaller train.learn" in str(
        refused.value
    )


@pytest.mark.parametrize("end", [pytest.param(np.inf, marks=pytest.mark.slow), -np.inf])
def test_a_density_that_ends_is_said_to_need_bounds_and_nothing_else(tmp_path, end):
    def ends(x):
        values, gradients = arrays(x)
        return np.where(x[:, 0] > 1, end, values), gradients

    with pytest.raises(DivergenceError) as told:
        quick_fit(tmp_path / "run", "arrays", ends, flow__k=0)
    found = re.fullmatch(
        r"training diverged by update \d+ of the first stage: loss .*; the log-density of the "
        rf"target at x1=(\S+), x2=\S+ is {end}; give its support by --bounds, or map R\^D to it",
        str(told.value),
    )
    assert float(found[1]) > 1  # where it ends


def test_an_exception_in_the_middle_of_training_is_one_line(tmp_path):
    def late(x):
        if len(x) == 64:
            raise OSError("the database is gone")
        return arrays(x)

    place = rf"{re.escape(Path(__file__).name)}:\d+: OSError: the database is gone"
    with pytest.raises(TargetError, match=place):
        quick_fit(tmp_path / "run", "arrays", late)


@pytest.mark.slow
def test_a_loaded_run_is_in_the_units_of_its_bounds(tmp_path):
    density = {
        **{"name": "arrays", "path": "<python>", "dim": 2, "names": ["rate", "share"]},
        "bounds": {"rate": [0.0, None], "share": [0.0, 1.0]},
    }

    def gamma_beta(x):  # rate ~ Gamma(3, 1), share ~ Beta(2, 3)
        values = 2 * np.log(x[:, 0]) - x[:, 0] + np.log(x[:, 1]) + 2 * np.log1p(-x[:, 1])
        slopes = [2 / x[:, 0] - 1, 1 / x[:, 1] - 2 / (1 - x[:, 1])]
        return values, np.stack(slopes, axis=1)

    longer = {"train__first_stage": 600, "train__steps": 300, "evaluate__samples": 20_000}
    run, summary = fit(tmp_path / "run", "arrays", gamma_beta, density=density, **longer)
    # log Γ(3) and log B(2, 3)
    assert summary["estimated_log_z"] == pytest.approx(np.log(2) - np.log(12), abs=0.02)
    assert summary["moments"]["rate"] == pytest.approx([3, np.sqrt(3)], rel=0.1)
    assert summary["moments"]["share"] == pytest.approx([0.4, 0.2], rel=0.1)
    q = nflow_cli.load(run.path)
    x = q.sample(500, seed=1)
    assert q.columns == ["rate", "share"]
    assert (x > 0).all() and (x[:, 1] < 1).all()
    np.testing.assert_allclose(q.from_latent(q.latent(x)), x, rtol=1e-3)
    assert q.log_prob([[-1.0, 0.5], [1.0, 1.5]]).tolist() == [-np.inf, -np.inf]


PLANAR = {"flow": ["planar"], "k": 2, "steps": 20}
PLANAR["settings"] = {"train.first_stage": 20, "train.chunk": 20, "evaluate.samples": 1_000}


@pytest.fixture(scope="module")
def banana(tmp_path_factory):
    """Return a density that was fitted from Python to a built-in one."""
    folder = tmp_path_factory.mktemp("banana")
    with without_programs(), without_pictures():
        return nflow_cli.infer("banana", seed=3, output=folder / "run", **PLANAR)


def test_a_run_of_a_built_in_density_is_checked_in_full(banana):
    found = outcomes(banana.path)
    assert found.pop("files") == "unchanged"
    assert set(found.values()) == {"OK"}
    summary = RunDirectory(banana.path).read_json("summary.json")
    assert (summary["target"], summary["log_z"], summary["seed"]) == ("banana", 0.0, 3)


def test_a_run_of_a_function_is_checked_without_it_and_no_code_of_a_run_is_run(fitted):
    found = outcomes(fitted[0].path)
    assert found["summary"] == "unknown" and found["arrays"] == "OK"
    assert "FAIL" not in found.values()
    run = Run(fitted[0])
    with pytest.raises(ConfigError, match="name it"):
        load(run.config)
    with pytest.raises(ConfigError, match="name it"):
        reopen(run)


def test_edited_scores_and_other_columns_fail_the_check(banana):
    run = Checked.open(banana.path)
    scores = ["estimated_log_z", "q_log_z", "ess"]
    facts = run.facts
    facts["moments"]["x1"][0] += 1
    run.summary = run.summary.with_scores(facts | {key: facts[key] + 0.1 for key in scores})
    outcome, told = run.checks["summary"](run)[:2]
    assert outcome == "FAIL" and all(f"{key}: " in told for key in (*scores, "moments"))
    assert check_record(run)[0] != "FAIL"
    run.summary = run.summary.with_scores({"columns": ["x2", "x1"]})
    assert check_record(run)[0] == "FAIL"


def test_a_function_is_fitted_from_python(tmp_path):
    with without_programs(), without_pictures():
        simplest = {**PLANAR, "k": 0}
        q = nflow_cli.infer(arrays, dim=2, names=["a", "b"], output=tmp_path / "run", **simplest)
    assert q.columns == ["a", "b"] and q.sample(5).shape == (5, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_score_is_left_out_in_the_second_half_alone(name):
    config = settings(name, train__gradient="path", flow__k=0)
    model, batch = moved(config, user_subject(config, function_of(FUNCTIONS[name])).target)
    update, chunk = model.chunk_program(), (batch[None], np.array([1], "int32"))
    half = config.train.steps // 2
    for made, is_late in ((half - 1, False), (half, True)):
        model.optimizer.iterations.assign(made)
        with patch.object(model, "path_from", None):
            slopes = np.concatenate([slope.ravel() for slope in gradients(model, batch)])
        norm = float(update(chunk)["gradient_norm"])
        assert (norm != pytest.approx(np.linalg.norm(slopes), rel=1e-4)) == is_late


# A mixture of flows for the modes that one flow misses.

# p = e^2 (0.7 N(a, A) + 0.3 N(-a, B)), as arrays
MEANS = np.array([[6.0, 6.0], [-6.0, -6.0]])
COVARIANCES = np.array([[[1.0, 0.8], [0.8, 1.0]], [[1.0, -0.5], [-0.5, 0.5]]])
WEIGHTS, LOG_Z = np.array([0.7, 0.3]), 2.0


def two_modes(x):
    off, precisions = x[:, None] - MEANS, np.linalg.inv(COVARIANCES)
    slopes = -np.einsum("rij,nrj->nri", precisions, off)
    logs = 0.5 * np.sum(slopes * off, axis=-1) + np.log(WEIGHTS)
    logs -= math.log(2 * math.pi) + 0.5 * np.linalg.slogdet(COVARIANCES)[1]
    values = np.logaddexp.reduce(logs, axis=1)
    shares = np.exp(logs - values[:, None])
    return values + LOG_Z, np.sum(shares[..., None] * slopes, axis=1)


OF_TWO = {"train__steps": 60, "train__first_stage": 300, "train__start_width": 1.0}
OF_TWO |= {"train__learning_rate": 1e-3, "evaluate__samples": 20_000}


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    with without_layout():
        return fit(tmp_path_factory.mktemp("members") / "run", "arrays", two_modes, **OF_TWO)


def test_a_missed_mode_gets_a_flow_and_the_weight_of_its_mass(mixture):
    run, summary = mixture
    error = max(summary["log_z_standard_error"], 1e-3)
    assert abs(summary["estimated_log_z"] - LOG_Z) < 3 * error
    assert summary["free_energy"] + LOG_Z < 0.05
    np.testing.assert_allclose(sorted(summary["member_weights"]), [0.3, 0.7], atol=0.02)
    assert summary["missed_share"] < 1e-3 and summary["warnings"] == []
    mean, variance = WEIGHTS @ MEANS, COVARIANCES[:, 0, 0] + MEANS[:, 0] ** 2
    spread = math.sqrt(WEIGHTS @ variance - mean[0] ** 2)
    assert summary["moments"]["x1"] == pytest.approx([mean[0], spread], abs=0.1)
    rows = dict(reverse_kl_report.rows_of(Run(run).config, ReverseKLSummary(**summary), []))
    assert rows["mixture"].startswith("2 flows, weights 0.")


def test_a_loaded_mixture_has_the_density_of_its_target_and_is_checked(mixture):
    checked = outcomes(mixture[0].path)
    assert checked["arrays"] == "OK" and "FAIL" not in checked.values()
    q = nflow_cli.load(mixture[0].path)
    x = q.sample(4_000, seed=1)
    share = (x[:, 0] > 0).mean()
    assert abs(share - 0.7) < 4 * math.sqrt(0.21 / len(x)) + 0.02
    log_p, _ = two_modes(x.astype(float))
    assert np.mean(np.abs(q.log_prob(x) - (log_p - LOG_Z))) < 0.3
    with pytest.raises(DataError, match="a mixture of 2"):
        q.latent(x)


@pytest.mark.slow
def test_killed_among_its_members_a_run_resumes_to_the_same_bits(mixture, tmp_path):
    killed = patch.object(members, "_mixture", side_effect=KeyboardInterrupt)
    with without_pictures(), killed, pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", "arrays", two_modes, **OF_TWO)
    run = RunDirectory(tmp_path / "run")
    subject = user_subject(Run(run).config, function_of(two_modes))
    execute(Run(run), subject, None, [])
    assert_same_run(mixture[0].path, run.path)


@pytest.mark.slow
def test_where_the_first_flow_is_kept_alone_the_loss_of_a_mode_is_a_warning(tmp_path):
    """Where there is to be one, and where no other trains."""
    diverged = patch.object(members, "_trained", side_effect=DivergenceError("no"))
    for modes, context in ((1, nullcontext()), (None, diverged)):
        changes = OF_TWO | ({"train__modes": modes} if modes else {})
        with without_pictures(), context:
            _, summary = fit(tmp_path / f"run-{modes}", "arrays", two_modes, **changes)
        assert summary["member_weights"] == [1.0]
        assert modes is None or summary["member_seconds"] == 0
        assert "missed mass" in [warning["word"] for warning in summary["warnings"]]


# Warnings about the scores, by the figures of a summary.

GOOD = SUMMARIES["infer"] | {
    **{"free_energy": 100.3, "estimated_log_z": -100.0, "log_z_standard_error": 0.002},
    **{"q_log_z": -100.01, "q_log_z_standard_error": 0.004, "q_pareto_k": 0.6},
    **{"log_z_difference": 0.01, "log_z_difference_standard_error": 0.004},
    "moments": {"a": [1000.0, 2.0], "b": [0.0012345, 0.5]},
    "moments_standard_error": {"a": [0.021, 0.013], "b": [0.00031, 0.0002]},
    "restarts": {"count": 1, "best": 0, "seed": 3, "kl": [100.3], "updates": [9]},
}
THREE = {"count": 3, "best": 0, "seed": 3, "kl": [0.37, 0.57, math.nan], "updates": 3 * [9]}
MODE = {"missed_share": 0.3, "missed_share_standard_error": 0.004, "missed_mode": {"a": -4.0}}


@pytest.mark.parametrize(
    ("changes", "word", "said"),
    [
        ({}, None, ""),
        ({"pareto_k": 0.6}, "rough weights", "moments"),
        ({"pareto_k": 0.8}, "poor weights", "standard errors are unreliable"),
        (MODE, "missed mass", "miss at least 30% ± 0.4% of p, most of it near a=-4"),
        (MODE | {"missed_share": 0.012}, None, ""),  # within two errors of what counts
        ({"missed_share": None, "log_z_difference": 1.0}, "missed mass", "1 nats larger"),
        ({"free_energy": 180.8}, "far from p", "80.8 nats"),
        ({"kl": 80.8, "log_z": 0.0}, "far from p", "80.8 nats"),
        ({"log_density_step": 2.0, "rounding_error": 0.58}, "rounding", "before summing"),
        ({"rounding_error": 0.2}, "rounding", "a at 1000 ± 2 has steps of 6.1e-05"),
        ({"n_lost": 3}, "not finite", "3 draws"),
        ({"restarts": THREE}, "restarts differ", "up to 0.2 nats"),
    ],
)
def test_figures_that_say_less_than_they_seem_to_have_a_warning(changes, word, said):
    found = warnings_of(GOOD | changes)
    assert [warning.word for warning in found] == ([word] if word else [])
    assert all(said in warning.reason for warning in found)


def warnings_of(scores):
    return [warning for rule in RULES if (warning := rule(ReverseKLSummary(**scores)))]


def rows_of(warnings=(), **changes):
    return judged_rows(ReverseKLSummary(**GOOD | changes), warnings, {})


def printed(**changes):
    return dict(rows_of(warnings_of(GOOD | changes), **changes))


def test_the_rows_of_the_weights_and_of_the_moments():
    """A good k-hat is no more than that, and [rough weights] stands at log Z alone."""
    rows = printed(pareto_k=-0.001)
    assert rows["k-hat"] == "0.00, good: the weights have finite variance"
    assert rows["log Z"] == "-100.0000 ± 0.0020 nats of the mass that q covers"
    assert rows["a"] == "1,000.000 ± 0.021, sd 2.000 ± 0.013"
    assert rows["b"] == "0.00123 ± 0.00031, sd 0.50000 ± 0.00020"
    assert "see [missed mass]" in printed(**MODE)["k-hat"]
    rough = printed(pareto_k=0.6)
    assert [name for name, text in rough.items() if "[rough weights]" in text] == ["log Z"]


def test_what_has_no_error_has_two_digits_of_its_spread_and_says_why():
    """A moment by its own k-hat; all by that of the weights, where it is poor."""
    ks = {"a": [0.31, 0.93], "b": [0.2, 0.3]}
    own = {"a": [0.021, None], "b": [0.00031, 0.0002]}
    rows = printed(moments_pareto_k=ks, moments_standard_error=own)
    assert rows["a"] == "1,000.000 ± 0.021, sd 2.0 (no error: k-hat 0.93)"
    assert rows["b"] == "0.00123 ± 0.00031, sd 0.50000 ± 0.00020"
    errors = ("kl", "log_z", "moments")
    poor = {f"{name}_standard_error": None for name in errors} | {"kl": 0.51234, "pareto_k": 0.81}
    rows = printed(moments_pareto_k=ks, **poor)
    no_error = "(no error: k-hat 0.81)"
    assert rows["a"] == f"1,000.0 {no_error}, sd 2.0 {no_error}"
    assert rows["KL(q || p)"] == f"0.512 {no_error} nats"
    assert rows["log Z"].startswith(f"-100.000 {no_error} nats of the mass that q covers [")


def test_what_was_not_looked_at_far_away_is_said():
    unknown = dict.fromkeys([*BY_Q, "missed_share"])
    rows = rows_of(**unknown)
    said = " ".join(text for name, text in rows if not name)
    assert "by draws of q alone: log p fails" in said
    assert "missed mass unknown: log p fails" in said


def test_log_z_by_q_alone_stands_beside_it_and_a_difference_is_said():
    said = "-100.0100 ± 0.0040 nats by draws of q alone (k-hat 0.60, rough)"
    for away, more in ((0.01, ""), (0.015, ", 3.8 errors of the difference away")):
        rows = rows_of(log_z_difference=away)
        assert ("log Z", "-100.0000 ± 0.0020 nats of the mass that q covers") in rows
        assert ("", said + more) in rows


JUMP = {"log_z_difference": 1.0}


@pytest.mark.parametrize("changes", [MODE, JUMP, JUMP | {"pareto_k": 0.6}])
def test_figures_of_a_fit_that_misses_mass_are_in_doubt(changes):
    (warning,) = [w for w in warnings_of(GOOD | changes) if w.word == "missed mass"]
    assert "kl" in warning.figures and "more updates" in warning.reason
    assert ("moments" in warning.figures) == (changes != JUMP)  # by good weights they are right
