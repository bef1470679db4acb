"""A mixture of flows for the modes that one flow misses, against mixtures of known weights."""

import math
from unittest.mock import patch

import numpy as np
import pytest
from running import assert_same_run
from short_runs import without_layout, without_pictures

import nflow_cli
from nflow_cli import experiments
from nflow_cli.config import presets
from nflow_cli.errors import DataError, DivergenceError
from nflow_cli.experiments.check import check_run
from nflow_cli.experiments.infer import members
from nflow_cli.experiments.infer.subject import user_subject
from nflow_cli.experiments.infer.user_code import function_of
from nflow_cli.experiments.run import train
from nflow_cli.runs.directory import RunDirectory

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


def config(**train_keys):
    return presets.validate(
        {
            "command": "infer",
            "density": {"name": "two_modes", "path": "<python>", "dim": 2},
            "flow": {"pattern": [{"affine-coupling": {"hidden": [4]}}], "k": 2},
            "train": {
                **{"steps": 60, "chunk": 20, "batch_size": 64, "first_stage": 300},
                **{"start_width": 1.0, "learning_rate": 1e-3, **train_keys},
            },
            "evaluate": {"samples": 20_000},
        },
        "a test",
    )


def fit(path, function=two_modes, **train_keys):
    run = RunDirectory.create("test", str(path))
    return run, resumed(run, config(**train_keys), function)


def resumed(run, settings, function=two_modes):
    subject = user_subject(settings, function_of(function))
    return train(experiments.of(settings), run, [], None, subject).summary


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    with without_layout():
        return fit(tmp_path_factory.mktemp("members") / "run")


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
    rows = dict(experiments.of(run.read_config()).rows(summary, []))
    assert rows["mixture"].startswith("2 flows, weights 0.")


def test_a_loaded_mixture_has_the_density_of_its_target(mixture):
    q = nflow_cli.load(mixture[0].path)
    x = q.sample(4_000, seed=1)
    share = (x[:, 0] > 0).mean()
    assert abs(share - 0.7) < 4 * math.sqrt(0.21 / len(x)) + 0.02
    log_p, _ = two_modes(x.astype(float))
    assert np.mean(np.abs(q.log_prob(x) - (log_p - LOG_Z))) < 0.3
    with pytest.raises(DataError, match="a mixture of 2"):
        q.latent(x)


def test_a_mixture_is_checked(mixture):
    found = {finding.name: finding.outcome for finding in check_run(str(mixture[0].path))}
    assert found["arrays"] == "OK" and "FAIL" not in found.values()


@pytest.mark.slow
def test_of_one_flow_the_loss_of_a_mode_is_a_warning(tmp_path):
    with without_pictures():
        _, summary = fit(tmp_path / "run", modes=1)
    assert summary["member_weights"] == [1.0] and summary["member_seconds"] == 0
    assert [warning["word"] for warning in summary["warnings"]] == ["missed mass"]


@pytest.mark.slow
def test_killed_among_its_members_a_run_resumes_to_the_same_bits(mixture, tmp_path):
    with without_pictures(), patch.object(members, "_mixture", side_effect=KeyboardInterrupt):
        run = RunDirectory.create("test", str(tmp_path / "run"))
        with pytest.raises(KeyboardInterrupt):
            resumed(run, config())
    resumed(run, run.read_config())
    assert_same_run(mixture[0].path, run.path)


@pytest.mark.slow
def test_without_a_member_that_trains_the_first_flow_is_kept(tmp_path):
    with without_pictures(), patch.object(members, "_trained", side_effect=DivergenceError("no")):
        _, summary = fit(tmp_path / "run")
    assert summary["member_weights"] == [1.0]
    assert [warning["word"] for warning in summary["warnings"]] == ["missed mass"]
