"""The files that the pictures of a run are drawn from, of each kind of run."""

import numpy as np

from nflow_cli.runs.directory import RunDirectory, signed
from nflow_cli.tables.scores.pit import RADIUS, distribution, pit, pit_of_latents

N = 12
AXIS = np.linspace(-3, 3, N)
BELL = -(AXIS**2)[:, None] - AXIS**2 / 2
DOTS = np.linspace(-2, 2, 40).reshape(20, 2)
ROWS = np.sin(np.arange(60) ** 2).reshape(20, 3)
IMAGES = np.linspace(0, 1, 3 * 28 * 28).reshape(3, 28, 28)
STRIP = {
    **{"deformation_k": np.array([0, 2]), "log_deformation": np.stack([BELL, BELL.T])},
    **{"deformation_axis_1": AXIS, "deformation_axis_2": AXIS},
    "deformation_samples": np.stack([DOTS, -DOTS]),
}
ARRAYS = {
    "fit-2d": {
        **{"axis_1": AXIS, "axis_2": AXIS, "log_target": BELL, "log_base": BELL.T},
        **{"log_q": BELL - 0.1, "samples": DOTS, "base_samples": -DOTS},
        **{"target_samples": DOTS[:5], **STRIP},
    },
    "points": {
        **{"axis_1": AXIS, "axis_2": 9 * AXIS, "log_q": BELL - 0.1, "samples": DOTS},
        **{"test_points": -DOTS, "test_log_q": DOTS[:, 0], **STRIP},
        "pit": distribution(pit_of_latents(DOTS)),
    },
    "fit": {
        **{"rows": ROWS, "samples": -ROWS, "columns_shown": np.array([0, 1, 2])},
        **{"test_log_q": ROWS[:, 0], "pit": distribution(pit_of_latents(ROWS))},
    },
    "infer": {
        **{"rows": ROWS, "samples": -ROWS, "columns_shown": np.array([0, 1, 2])},
        **{"tail": -(AXIS[::-1] ** 2), "smooth_tail": -(AXIS[::-1] ** 2) - 0.1},
    },
    "evidence": {"tail": -(AXIS[::-1] ** 2), "smooth_tail": -(AXIS[::-1] ** 2) - 0.1},
    "train-vae": {
        **{"base_latents": DOTS, "latents": -DOTS, "latent_axes": np.array([0, 1])},
        **{"labels": np.arange(20) % 10, "originals": IMAGES, "reconstructions": IMAGES},
        **{"samples": IMAGES, "manifold": np.stack(2 * [IMAGES[:2]]), "manifold_axis": AXIS[:2]},
    },
}
IDENTITY = {
    **{"flow": "planar", "k": 2, "seed": 3, "n_parameters": 10, "compile_seconds": 1.0},
    **{"model_sha256": "0", "config_sha256": "0"},
}
UPDATES = {**IDENTITY, "steps": 20, "train_seconds": 2.0, "steps_per_second": 1000.0}
RESTARTS = {"count": 2, "best": 1, "seed": 4, "kl": [-1.0, -1.5], "updates": [5, 20]}
TABLE = {
    **UPDATES,
    **{"target": None, "given": [], "best_update": 20, "measure": "0"},
    **{"n": 20, "n_impossible": 0, "n_unknown": 0, "n_new_levels": 0},
    **{"n_train": 80, "n_validation": 20, "n_test": 20, "n_effective": 20.0},
    **{"log_likelihood": -1.5, "log_likelihood_standard_error": 0.1},
    **{"baseline_log_likelihood": -2.5, "baseline_log_likelihood_standard_error": 0.1},
    "baseline": "Gaussian",
    **{"base_log_likelihood": -3.5, "base_log_likelihood_standard_error": 0.1},
    **{"gain": 1.0, "gain_standard_error": 0.1, "gap": None, "gap_standard_error": None},
}


def reverse_kl(columns):
    """Return the summary of a fit by reverse KL of these coordinates."""
    return {
        **UPDATES,
        **{"flow": "planar + full affine", "target": "log_density", "base": "normal"},
        **{"kl": None, "kl_standard_error": 0.01, "free_energy": -1.5, "ess": 0.5},
        "free_energy_standard_error": 0.01,
        **{"pareto_k": 0.4, "estimated_log_z": 1.6, "log_z_standard_error": 0.01},
        **{"q_log_z": 1.6, "q_log_z_standard_error": 0.01, "q_pareto_k": 0.4},
        **{"log_z_difference": 0.0, "log_z_difference_standard_error": 0.01},
        **{"missed_share": 0.0, "missed_share_standard_error": 0.0, "missed_mode": None},
        **{"log_density_step": 1e-6, "rounding_error": 1e-6, "log_z": None, "log_z_source": None},
        **{
            "columns": list(columns),
            "uncovered_share": None,
            "has_exact_samples": False,
            "n_lost": 0,
        },
        "moments": {name: [0.0, 1.0] for name in columns},
        "moments_standard_error": {name: [0.1, 0.1] for name in columns},
        "moments_pareto_k": {name: [0.1, 0.1] for name in columns},
        **{"member_weights": [1.0], "member_seconds": 0.0},
        "restarts": RESTARTS,
    }


SUMMARIES = {
    "fit-2d": {
        **reverse_kl(["z1", "z2"]),
        **{"flow": "planar", "target": "multimodal", "kl": 0.25, "free_energy": 0.25},
        **{"base_free_energy": 0.5, "base_free_energy_standard_error": 0.01},
        **{"log_z": 0.0, "log_z_source": "closed form", "mass": 1.0, "mass_error": 1e-4},
        **{"has_exact_samples": True, "uncovered_share": 0.0},
    },
    "points": {
        **TABLE,
        **{"data": {"name": "two-moons", "sha256": "0"}, "columns": ["x1", "x2"]},
        "pit": pit(pit_of_latents(DOTS), ["x1", "x2", RADIUS]).model_dump(),
    },
    "fit": {
        **TABLE,
        **{"data": {"name": "mine.csv", "sha256": "0"}, "columns": ["a", "b", "c"]},
        "pit": pit(pit_of_latents(ROWS), ["a", "b", "c", RADIUS]).model_dump(),
    },
    "infer": reverse_kl("abc"),
    "evidence": {
        **UPDATES,
        **{"target": None, "data": {"name": "a.csv", "sha256": "0"}, "columns": ["a", "b"]},
        **{"best_update": 20, "log_z": 1.5, "log_z_standard_error": 0.1, "within_error": 0.1},
        **{"between_error": 0.05, "pareto_k": 0.2, "ess": 900.0, "temperatures": [0.9, 0.8]},
        **{"log_z_by_chain": [1.4, 1.6], "kl": 0.1, "n_draws": 1_000, "n_chains": 2},
        **{"rhat": 1.002, "rhat_column": "b", "effective_draws": 800.0, "log_p_step": 0.0},
        **{"is_stan": True, "moments": {"a": [0.0, 1.0], "b": [0.0, 1.0]}},
        "moments_standard_error": {"a": 0.1, "b": 0.1},
        **{"kl_by_likelihood": 0.05, "kl_by_likelihood_standard_error": 0.02},
    },
    "train-vae": {
        **IDENTITY,
        **{"latent_dim": 2, "amortized": True, "binarization": "static", "prior": None},
        **{"data": {"name": "mnist", "sha256": "0", "n_train": 60, "n_test": 30}},
        **{"negative_elbo": 100.0, "kl": 20.0, "reconstruction": 80.0, "nll_samples": 100},
        **{"negative_log_likelihood": 95.0, "negative_log_likelihood_standard_error": 0.1},
        **{"active_units": 2, "epochs": 20, "best_epoch": None, "seconds_per_epoch": 2.5},
    },
}
HEADERS = {
    "fit-2d": "update,loss,kl,beta",
    "points": "update,loss,validation_loss",
    "fit": "update,loss,validation_loss",
    "infer": "update,loss,kl,beta",
    "evidence": "update,loss,validation_loss",
    "train-vae": "epoch,negative_elbo,reconstruction,kl,beta",
}
CONFIGS = {
    "fit-2d": "command: fit-2d\nflow: {k: 2}\n",
    "points": (
        "command: fit\nflow: {k: 2}\n"
        "data: {name: two-moons, kinds: {x1: {kind: number}, x2: {kind: number}}}\n"
        "train: {steps: 4000}\n"
    ),
    "fit": (
        "command: fit\nflow: {k: 2}\ntrain: {steps: 4000}\ndata:\n  name: mine.csv\n"
        "  kinds: {a: {kind: number}, b: {kind: number}, c: {kind: number}}\n"
    ),
    "infer": (
        "command: infer\nflow: {pattern: [planar], k: 2}\n"
        "density: {name: log_density, path: model.py, dim: 3, names: [a, b, c]}\n"
    ),
    "evidence": (
        "command: evidence\ndata: {name: a.csv, columns: [a, b], folds: 2}\n"
        "flow: {pattern: [affine-autoregressive], k: 2}\n"
    ),
    "train-vae": "command: train-vae\nflow: {k: 2}\n",
}


def metrics(kind):
    columns = HEADERS[kind].count(",")
    rows = [",".join(map(str, [i, *(i / (j + 20) for j in range(columns))])) for i in range(1, 21)]
    return "\r\n".join([HEADERS[kind], *rows, ""])


def written_run(path, kind, config=None, summary=None):
    """Write the files of a run of that kind, without pictures."""
    run = RunDirectory.create("any", str(path))
    run.write_text("config.yaml", config or CONFIGS[kind])
    run.write_json("summary.json", {**SUMMARIES[kind], **(summary or {})})
    run.write_arrays("evaluation.npz", ARRAYS[kind])
    run.write_text("metrics.csv", metrics(kind))
    run.write_json("run.json", signed({"status": "completed", "seed": 3}))
    return run


def written_unfinished(path, kind):
    """Write what a training of that kind leaves that was interrupted after its 20th row."""
    run = written_run(path, kind)
    for name in ("summary.json", "evaluation.npz"):
        (run.path / name).unlink()
    run.write_json("run.json", {**run.read_json("run.json"), "status": "interrupted"})
    return run
