"""A fit to points by flows, from the loss to the files of a run, and what is told of it."""

import json
import math
import shutil

import keras
import numpy as np
import pytest
from checks import finding_of
from keras import ops
from running import arrays_of, assert_same_run
from short_runs import KilledError, edit_json, fitted, killed_after, without_programs
from truth import (
    Grid,
    central_differences,
    float64,
    mixture_log_prob,
    normal_log_prob,
    push,
    to_numpy,
)

import nflow_cli
from nflow_cli.backend.programs import compiled
from nflow_cli.config import presets
from nflow_cli.data.column_maps import Scale
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.experiments import running
from nflow_cli.experiments.comparison import Outcome
from nflow_cli.experiments.run import Run, kind_of
from nflow_cli.experiments.summary import length_text
from nflow_cli.flows.stack import FlowStack
from nflow_cli.inference.models import Variable, coordinates_of
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import CONFIG, RunDirectory
from nflow_cli.tables import flows_training as table_fit
from nflow_cli.tables import table_report
from nflow_cli.tables.table_scoring import evaluate
from nflow_cli.training.trainer import learning_rate

MEAN, COVARIANCE = np.array([1e3, -2.0]), np.array([[400.0, 12.0], [12.0, 0.5]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    rng = np.random.default_rng(0)
    normal = rng.multivariate_normal(MEAN, COVARIANCE, 4_000)
    np.save(folder / "normal.npy", normal)
    return folder


def preset(name, train=None, **changes):
    short = {"steps": 20, "batch_size": 64, "chunk": 5, "learning_rate": 0.02}
    short["checkpoint_seconds"] = 0.0
    data = {
        "command": "fit",
        "data": {"name": str(name)},
        "flow": {"pattern": ["planar", "radial"], "k": 3},
        "train": short | (train or {}),
    }
    return presets.validate(data | changes, "test")


def finish(path, settings):
    """Train in ``path`` as ``nflow fit`` does; return the run and its summary."""
    run, data = RunDirectory.create("test", str(path)), data_of(settings)
    settings = kind_of(settings).data.settled_config(settings, data)
    run.write_text(CONFIG, presets.dump(settings))
    with run.recorded({"command": "fit", "data": data.record()}):
        return run, fitted(settings, run, data).facts


def data_of(settings):
    return kind_of(settings).data.load(settings)


def untrained(flow):
    """Return a fit to points whose deviations are 3 and 0.2."""
    flow.build((None, 2))
    units = ColumnUnits([[Scale(0.0, 3.0)], [Scale(0.0, 0.2)]])
    return table_fit.FitPoints(
        PushforwardDensity(StandardNormal(), flow, units), -math.log(3.0 * 0.2)
    )


def test_the_loss_is_that_of_the_papers_formulas():
    model = untrained(FlowStack(["planar", "radial"], 5, 0))
    z0 = np.random.default_rng(0).standard_normal((200, 2))
    z, log_det = push(model.density.flow, z0)
    expected = -np.mean(normal_log_prob(z0) - log_det) + math.log(3.0 * 0.2)
    loss = float(model.negative_log_likelihood(ops.convert_to_tensor(z.astype("float32"))))
    assert loss == pytest.approx(expected, abs=1e-5)
    batch = ops.convert_to_tensor(z.T.astype("float32"))  # features first, as chunks are
    assert float(model.objective(batch, 0)["loss"]) == loss


@float64()
def test_the_gradient_is_that_of_central_differences():
    import tensorflow as tf

    flow = FlowStack(["planar", "radial"], 5, 0, dtype="float64")
    model = untrained(flow)
    loss_of = compiled(model.negative_log_likelihood, xla=False)
    points = ops.convert_to_tensor(1.5 * np.random.default_rng(1).standard_normal((32, 2)))
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        loss = model.negative_log_likelihood(points)
    gradients = map(to_numpy, tape.gradient(loss, [v.value for v in variables]))
    for variable, gradient in zip(variables, gradients):
        start = to_numpy(variable.value).copy()
        found = np.empty_like(start)
        for index in np.ndindex(start.shape):

            def at(step, index=index, start=start, variable=variable):
                moved = start.copy()
                moved[index] += step
                variable.assign(moved)
                return float(loss_of(points))

            found[index] = central_differences(at, 1e-3)
        variable.assign(start)
        np.testing.assert_allclose(gradient, found, 1e-8, 1e-10, err_msg=variable.path)


def test_without_flows_q_is_the_gaussian_of_the_units(folder, tmp_path):
    settings = preset(folder / "normal.npy", flow={"pattern": ["planar"], "k": 0})
    with without_programs():
        run, summary = finish(tmp_path / "run", settings)
    data = data_of(settings)
    z, log_det = units_of(data).inside_and_log_det(data.test)
    log_q = normal_log_prob(z) + log_det
    assert summary["log_likelihood"] == pytest.approx(log_q.mean(), abs=1e-5)
    error = log_q.std(ddof=1) / math.sqrt(len(log_q))
    assert summary["log_likelihood_standard_error"] == pytest.approx(error, rel=1e-5)
    covariance = np.cov(data.train.T, bias=True)
    log_g = normal_log_prob(data.test, data.train.mean(axis=0), covariance)
    assert summary["baseline_log_likelihood"] == pytest.approx(log_g.mean(), abs=1e-9)
    assert summary["n_parameters"] == 0
    np.testing.assert_allclose(nflow_cli.load(run.path).log_prob(data.test), log_q, atol=1e-4)


@pytest.mark.slow
def test_a_gaussian_sample_is_fitted_as_well_as_by_the_gaussian(folder, tmp_path):
    train = {"steps": 1_500, "batch_size": 256, "chunk": 500}
    settings = preset(folder / "normal.npy", train, flow={"pattern": ["planar"], "k": 4})
    run, summary = finish(tmp_path / "run", settings)
    points = np.load(settings.data.name)[load_order(4_000)[:400]]
    log_p = normal_log_prob(points, MEAN, COVARIANCE)
    log_q = nflow_cli.load(run.path).log_prob(points)
    assert summary["log_likelihood"] == pytest.approx(log_q.mean(), abs=1e-9)
    gap = log_p - log_q  # its mean estimates KL(p || q)
    error = gap.std(ddof=1) / math.sqrt(len(gap))
    assert -4 * error < gap.mean() < 0.01 + 4 * error


def units_of(data):
    return ColumnUnits([data.units[name] for name in data.columns])


def load_order(n, seed=0):
    """Return the order in which points are split: first those of the test."""
    return stream(seed, "split").permutation(n)


WEIGHTS, CENTRES = [0.3, 0.7], [[-22.0, 0.0], [22.0, 0.02]]
SPREADS = [[[100.0, 0.0], [0.0, 1e-4]], [[64.0, 0.04], [0.04, 1e-4]]]


@pytest.fixture(scope="module")
def mixture(folder, tmp_path_factory):
    """Fit samples of a known density, in very different units along the two axes."""
    rng = np.random.default_rng(2)
    which = rng.random(40_000) < WEIGHTS[0]
    draws = [rng.multivariate_normal(m, c, 40_000) for m, c in zip(CENTRES, SPREADS)]
    np.save(folder / "mixture.npy", np.where(which[:, None], *draws))
    train = {"steps": 4_000, "batch_size": 256, "chunk": 500}
    settings = preset(folder / "mixture.npy", train, flow={"pattern": ["planar"], "k": 10})
    return finish(tmp_path_factory.mktemp("mixture") / "run", settings)


@pytest.mark.slow
def test_a_mixture_is_fitted_and_its_density_has_mass_1(mixture):
    run, summary = mixture
    grid = Grid((120.0, 0.12), 601)
    log_p = mixture_log_prob(grid.points, WEIGHTS, CENTRES, SPREADS)
    negative_entropy = grid.integral(np.exp(log_p) * log_p)
    log_q = nflow_cli.load(run.path).log_prob(grid.points)
    kl = grid.integral(np.exp(log_p) * (log_p - log_q))
    assert 0 <= kl < 0.01
    error = summary["log_likelihood_standard_error"]
    assert abs(summary["log_likelihood"] - (negative_entropy - kl)) < 4 * error
    assert summary["baseline_log_likelihood"] < negative_entropy - 0.2
    wide = Grid((160.0, 0.16), 601)
    q = np.exp(nflow_cli.load(run.path).log_prob(wide.points))
    assert wide.integral(q) == pytest.approx(1, abs=1e-3)
    assert summary["mass"] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_samples_and_arrays_to_plot_are_in_the_users_units(mixture):
    q = nflow_cli.load(mixture[0].path)
    samples = q.sample(100_000, seed=3)
    assert samples.dtype == np.float64
    points = np.load(q.config.data.name)
    np.testing.assert_allclose(samples.mean(0), points.mean(0), atol=0.03 * points.std(0).max())
    np.testing.assert_allclose(samples.std(0), points.std(0), rtol=0.03)
    *z, log_q = (column.to_numpy() for column in q.sample_table(500, seed=1).columns)
    np.testing.assert_allclose(log_q, q.log_prob(np.stack(z, 1)), atol=1e-3)
    arrays = arrays_of(mixture[0])
    for axis, half_width in (("axis_1", 45), ("axis_2", 0.035)):
        assert 0.8 < np.ptp(arrays[axis]) / (2 * half_width) < 2
    points = np.stack(np.meshgrid(arrays["axis_1"], arrays["axis_2"]), -1)
    np.testing.assert_allclose(arrays["log_q"], q.log_prob(points), atol=1e-9)
    coarse = np.meshgrid(arrays["deformation_axis_1"], arrays["deformation_axis_2"])
    last = arrays["log_deformation"][list(arrays["deformation_k"]).index(10)]
    np.testing.assert_allclose(last, q.log_prob(np.stack(coarse, -1)), atol=1e-4)
    cell = np.ptp(coarse[0]) * np.ptp(coarse[1]) / 119**2
    masses = np.exp(arrays["log_deformation"]).sum((1, 2)) * cell
    assert np.all(masses > 0.5) and np.all(masses < 1.01)


@pytest.fixture(scope="module")
def short(folder, tmp_path_factory):
    settings = preset("eight-gaussians", seed=5)
    return finish(tmp_path_factory.mktemp("short") / "run", settings)


def test_a_run_tells_everything_promised_of_it(short):
    run, summary = short
    promised = (
        "flow k target seed steps mass mass_error "
        "n_parameters compile_seconds train_seconds steps_per_second log_likelihood "
        "log_likelihood_standard_error baseline_log_likelihood "
        "baseline_log_likelihood_standard_error gap gap_standard_error n_train n_validation n_test "
        "data best_update"
    )
    assert set(promised.split()) <= set(summary)
    assert json.loads((run.path / "summary.json").read_text()) == summary
    assert summary["target"] is None
    assert (summary["n_train"], summary["n_test"], summary["steps"]) == (40_000, 5_000, 20)
    record = run.read_json("run.json")["data"]
    assert record["name"] == "eight-gaussians"
    assert record["sha256"] == data_of(Run(run).config).sha256


def log_prob_of_eight_gaussians(x):
    angles = np.arange(8) * np.pi / 4
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], -1)
    return mixture_log_prob(x, np.ones(8), centres, np.tile(0.04 * np.eye(2), (8, 1, 1)))


def test_the_gap_is_the_kl_from_the_truth(short):
    run, summary = short
    grid = Grid(4.0, 401)
    log_p = log_prob_of_eight_gaussians(grid.points)
    log_q = nflow_cli.load(run.path).log_prob(grid.points)
    kl = grid.integral(np.exp(log_p) * (log_p - log_q))
    assert abs(summary["gap"] - kl) < 4 * summary["gap_standard_error"] < 0.1


def test_the_gap_is_in_the_tables_of_training_evaluate_and_compare_and_checked(
    short, invoke, tmp_path, monkeypatch
):
    run, summary = short
    gap, error = summary["gap"], summary["gap_standard_error"]
    opened = Run(run)
    row = ("gap to the truth", f"{with_error(gap, error)} nats a fresh point")
    assert row in table_report.rows_of(opened.config, opened.summary, [])
    assert row in evaluate(opened, opened.data, None, 5).rows
    table = invoke("compare", run.path).stdout
    assert "gap to the truth" in table and f" {with_error(gap, error)} " in table
    monkeypatch.setattr("nflow_cli.experiments.flow_checks.OF_FLOWS", {})
    assert f"gap {with_error(gap, error)}" in finding_of(run.path, "summary").detail
    copy = shutil.copytree(run.path, tmp_path / "copy")
    edit_json(copy / "summary.json", gap=gap + 0.01)
    assert finding_of(copy, "summary").outcome == Outcome.FAIL


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bits(short, tmp_path):
    run, _ = short
    settings = Run(run).config
    with killed_after(2), pytest.raises(KilledError):
        finish(tmp_path / "run", settings)
    other = RunDirectory(tmp_path / "run")
    assert list(other.read_metrics()["update"]) == [0, 5]
    data = data_of(settings)
    fitted(settings, other, data)
    assert_same_run(other.path, run.path)


def test_compiled_chunks_make_the_updates_of_a_plain_loop_and_are_validated(short):
    import tensorflow as tf

    run, summary = short
    settings = Run(run).config
    data = data_of(settings)
    model = table_fit.build(settings, data)
    points = units_of(data).inside(data.train).astype("float32")
    optimizer, losses = keras.optimizers.Adam(learning_rate(settings.train, 20)), []
    for chunk in range(4):
        rows = stream(5, "batches", chunk).integers(len(points), size=(5, 64))
        for batch in points[rows]:
            with tf.GradientTape() as tape:
                loss = model.negative_log_likelihood(ops.convert_to_tensor(batch))
            gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
            norm = math.sqrt(sum(float(ops.sum(g * g)) for g in gradients))
            scale = min(1.0, settings.train.clip_norm / norm)
            optimizer.apply([g * scale for g in gradients], model.trainable_variables)
            losses.append(float(loss))
    metrics = run.read_metrics()
    assert not {"kl", "beta"} & set(metrics)
    expected = np.reshape(losses, (4, 5)).mean(1)
    np.testing.assert_allclose(metrics["loss"][1:], expected, rtol=1e-4)
    assert list(metrics["update"]) == [0, 5, 10, 15, 20]
    assert summary["best_update"] == 20  # so that the last weights are kept
    log_q = nflow_cli.load(run.path).log_prob(data.validation)
    assert metrics["validation_loss"][-1] == pytest.approx(-log_q.mean(), abs=1e-5)


def test_the_weights_of_the_best_validation_are_kept_and_training_stops(folder, tmp_path):
    rng = np.random.default_rng(0)
    np.save(folder / "few.npy", rng.standard_normal((60, 2)))
    train = {"steps": 5_000, "chunk": 20, "schedule": "constant", "learning_rate": 0.05}
    train |= {"early_stopping": {"patience": 100, "min_delta": 0.0}}
    settings = preset(folder / "few.npy", train, flow={"pattern": ["planar"], "k": 3})
    run, summary = finish(tmp_path / "run", settings)
    metrics = run.read_metrics()
    best = int(np.argmin(metrics["validation_loss"]))
    assert summary["best_update"] == metrics["update"][best]
    stopped = summary["steps"] - 60  # three chunks of 20, the least of 50 updates to cool down
    assert stopped >= 100 and summary["steps"] == metrics["update"][-1] < 500
    data = data_of(settings)
    kept = -nflow_cli.load(run.path).log_prob(data.validation).mean()
    assert kept == pytest.approx(metrics["validation_loss"][best], abs=1e-5)
    assert metrics["validation_loss"].max() > kept + 0.01


TEN = np.random.default_rng(0).standard_normal((10, 2))
OUTLIER = np.r_[np.random.default_rng(0).standard_normal((999, 2)), [[1e6, -1e6]]]
OFFSET = 1.7e9 + np.random.default_rng(0).standard_normal((500, 2)) * [100.0, 10.0]


@pytest.mark.slow
@pytest.mark.parametrize("points", [OFFSET, OUTLIER, TEN])
def test_odd_points_are_fitted_and_every_figure_is_finite(folder, tmp_path, points):
    np.save(folder / "odd.npy", points)
    flow = {"pattern": ["planar"], "k": 1}
    run, summary = finish(tmp_path / "run", preset(folder / "odd.npy", flow=flow))
    assert np.isfinite([summary["log_likelihood"], summary["baseline_log_likelihood"]]).all()
    samples = nflow_cli.load(run.path).sample(1_000)
    assert np.isfinite(samples).all() and len(np.unique(samples, axis=0)) == 1_000
    from nflow_cli.experiments.run_report import draw

    assert {path.stem for path in draw(Run(run))} == {"density", "deformation", "pit", "training"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "seeds"), [("points-planar-k32", [0]), ("flows-planar", range(3))]
)
def test_a_preset_comes_close_to_the_entropy_of_eight_gaussians(preset, seeds):
    gaps = []
    for seed in seeds:  # some end where a mode is not split off
        settings = presets.validate(
            presets.override(
                presets.read_preset(presets.find_preset(preset)),
                {"data": "eight-gaussians", "seed": seed},
            ),
            preset,
        )
        data = data_of(settings)
        settings = kind_of(settings).data.settled_config(settings, data)
        model = table_fit.build(settings, data)
        table_fit.fit(model, data, settings)
        log_p = log_prob_of_eight_gaussians(data.test)
        gaps.append(log_p.mean() - model.density.log_prob(data.test).mean())
    assert min(gaps) > -0.02 and np.median(gaps) < 0.06


# What is told of a run.


@pytest.fixture
def printed(short_run):
    """Return a function that returns the table of a run with changes to its summary."""
    run = Run.open(short_run(command="fit"))

    def printed(**changes):
        summary = table_report.SCHEMA(**run.facts | changes)
        return dict(table_report.rows_of(run.config, summary, []))

    return printed


UNSURE = "(not known to be better than a Gaussian)"


def test_a_gain_within_two_of_its_errors_is_not_known_to_be_one(printed):
    for gain, is_sure in ((-0.5, False), (0.007, False), (0.0239, False), (0.0241, True)):
        text = printed(gain=gain, gain_standard_error=0.012)["gain"]
        ending = "" if is_sure else f" {UNSURE}"
        assert text == f"{gain:.3f} ± 0.012 nats, paired{ending}"


@pytest.mark.parametrize(("n", "factor"), [(2, 12.706), (5, 2.776), (7.9, 2.365), (10, 2.0)])
def test_few_rows_know_a_gain_by_students_t(printed, n, factor):
    error = 0.01
    for gain, is_sure in ((0.99 * factor * error, False), (1.02 * factor * error, True)):
        text = printed(gain=gain, gain_standard_error=error, n_effective=n)["gain"]
        assert text.endswith(UNSURE) is not is_sure
    for facts in ({"n_effective": 1.2}, {"gain": 3e-9}):  # of one row, and of rounding
        text = printed(**{"gain": 0.5, "gain_standard_error": 1e-9} | facts)["gain"]
        assert text.endswith(UNSURE)


def test_a_training_that_nothing_won_says_what_was_never_beaten(printed):
    of = {"best_update": 0, "flow": "spline-coupling + full affine"}
    assert "; best after 0: the Gaussian was never beaten" in printed(**of)["training"]
    assert "the linear regression was never beaten" in printed(**of, given=["a"])["training"]
    assert printed(best_update=50)["training"].endswith("; best after 50")


def test_the_length_of_a_training_is_a_number_of_its_units():
    assert length_text(1, 1, "epochs") == "1 epoch"
    assert length_text(2, 2, "epochs") == "2 epochs"
    assert length_text(1, 2, "epochs") == "stopped early after 1 of 2 epochs"


def test_the_versions_that_decide_the_numbers_are_recorded():
    assert set(running.versions()) >= {"python", "keras", "tensorflow", "numpy"}


def test_elements_of_variables_have_names_and_bounds_of_their_own():
    names, bounds = coordinates_of(
        [
            Variable("mu", ()),
            Variable("tau", (), low=0.0),
            Variable("u", (2,), low=[-1.0, -np.inf], high=np.float32(2)),
            Variable("L", (1, 2), high=1.0),
            Variable("theta", (2,), labels=[["Choate", 7]]),
        ]
    )
    assert names == ["mu", "tau", "u[0]", "u[1]", "L[0, 0]", "L[0, 1]", "theta[Choate]", "theta[7]"]
    assert bounds == {
        **{"tau": [0.0, None], "u[0]": [-1.0, 2.0], "u[1]": [None, 2.0]},
        **{"L[0, 0]": [None, 1.0], "L[0, 1]": [None, 1.0]},
    }
