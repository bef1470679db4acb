"""Tables with a planted peculiarity: their fits have the warnings that are right, and no others."""

import numpy as np
import pytest
from short_runs import without_pictures

import nflow_cli

pytestmark = pytest.mark.slow
MEANS, DEVIATIONS = np.array([[-2, 0, 1], [2, 1, -1], [0, -3, 0]]), np.array([0.6, 0.8, 0.5])
SHORT = {"cells.width": 32, "train.ensemble": 1, "train.steps": 300}
LONG = {"train.ensemble": 1, "train.weight_decay": 0.0, "train.steps": 1_000}


def mixture(n):
    """Return three columns of n rows of a mixture of three normals."""
    rng = np.random.default_rng(0)
    x = MEANS[rng.integers(0, 3, n)] + DEVIATIONS * rng.normal(size=(n, 3))
    return dict(zip("abc", x.T))


def noise(n, seed=0):
    return np.random.default_rng([1, seed]).normal(size=n)


def parts(train, validation, test):
    counts = {"train": train, "validation": validation, "test": test}
    return {"part": np.repeat(list(counts), list(counts.values()))}


X, FEW = mixture(3_000), mixture(300)
ATOM = np.where(np.arange(3_000) % 33 == 0, 0.731, X["a"])
NEAR_COPY = {**X, "near": X["a"] + 1e-12 * noise(3_000)}
REPEATS = {name: np.r_[values, values[:15]] for name, values in mixture(1_500).items()}
# All rows but those of the test, of which two have a weight.
HEAVY = np.where(np.arange(300) < 242, 1, 1e-6)
TWO_HEAVY_ROWS = {**FEW, **parts(210, 30, 60), "w": HEAVY}
FAR = np.where(np.arange(300) == 280, 1e12, FEW["b"])  # of a test row
LEVELS = np.random.default_rng(0).choice(["x", "y", "z"], 600)
LEVELS[500:505] = "new"
NEW_LEVEL = {**mixture(600), **parts(420, 60, 120), "level": LEVELS}
INDEPENDENT = {name: noise(1_500, i) for i, name in enumerate("abcd")}
# Of 300 training rows 100 are those for validation too.
SEEN_IN_VALIDATION = {
    **{name: values[np.r_[:300, :100, 300:600]] for name, values in mixture(600).items()},
    **parts(300, 100, 300),
}


def fitted(table, folder, settings, **options):
    if "part" in table:
        settings = {**settings, "data.split": "part"}
    if "w" in table:
        options = {**options, "weights": "w"}
    with without_pictures():
        return nflow_cli.fit(table, settings=settings, output=folder, **options)


def words(q):
    return {warning["word"] for warning in q.summary["warnings"]}


PLANTED = {
    "a clean mixture": (X, {"train.steps": 400}, set()),
    "a copy": ({**X, "copy": X["a"]}, SHORT, set()),
    "a product": ({**X, "product": X["a"] * X["b"]}, SHORT, set()),
    "an atom": ({**X, "a": ATOM}, SHORT, set()),
    "one row in a hundred twice": (REPEATS, SHORT, set()),
    "weights of two rows": (TWO_HEAVY_ROWS, SHORT, {"few rows"}),
    "one cell far away": ({**FEW, **parts(240, 30, 30), "b": FAR}, SHORT, {"one row"}),
    "twelve rows": (mixture(12), {"train.steps": 200}, {"few rows"}),
    "a long training": (FEW, LONG, set()),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_table_has_its_warnings_and_no_others(name, tmp_path):
    table, settings, expected = PLANTED[name]
    assert words(fitted(table, tmp_path / "run", settings)) == expected


def test_weights_kept_by_training_rows_have_memorised_them(tmp_path):
    found = words(fitted(SEEN_IN_VALIDATION, tmp_path / "run", LONG))
    assert "memorised" in found and found <= {"memorised", "miscalibrated", "ruined"}


def test_a_near_copy_is_computed_so_its_likelihood_is_bounded(tmp_path):
    table = NEAR_COPY
    short, long = (
        fitted(table, tmp_path / f"{steps}", {**SHORT, "train.steps": steps})
        for steps in (300, 600)
    )
    assert short.summary["warnings"] == long.summary["warnings"] == []
    nats = [q.cell_log_probs(q.rows(table))[:, -1] for q in (short, long)]
    assert np.abs(nats[1] - nats[0]).max() < 0.02
    draws = short.sample(1_000, seed=1)
    np.testing.assert_allclose(draws[:, 3], draws[:, 0], atol=1e-9)


def test_noise_gains_nothing(tmp_path):
    summary = fitted(INDEPENDENT, tmp_path / "run", SHORT).summary
    assert summary["warnings"] == []
    assert abs(summary["gain"]) < 3 * summary["gain_standard_error"]


def test_a_level_of_test_rows_alone_is_counted_and_scored(tmp_path):
    q = fitted(NEW_LEVEL, tmp_path / "run", {**SHORT, "train.steps": 600})
    assert q.summary["warnings"] == []
    assert "new levels     5 test cells have a level not in the training rows" in str(q)
    assert np.isfinite(q.log_prob(NEW_LEVEL)).all() and np.isfinite(q.summary["gain"])
