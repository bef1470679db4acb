"""Tables with a planted peculiarity: their fits have the warnings that are right, and no others."""

import numpy as np
import pytest
from short_runs import without_pictures

import nflow_cli

pytestmark = pytest.mark.slow
MEANS, DEVIATIONS = np.array([[-2, 0, 1], [2, 1, -1], [0, -3, 0]]), np.array([0.6, 0.8, 0.5])
SHORT = {"cells.width": 32, "train.ensemble": 1, "train.steps": 300}
LONG = {"train.ensemble": 1, "train.weight_decay": 0.0, "train.steps": 1_000}


def mixture(n, seed):
    """Return three columns of n rows of a mixture of three normals."""
    rng = np.random.default_rng(seed)
    x = MEANS[rng.integers(0, 3, n)] + DEVIATIONS * rng.normal(size=(n, 3))
    return dict(zip("abc", x.T))


def parts(train, validation, test):
    counts = {"train": train, "validation": validation, "test": test}
    return {"part": np.repeat(list(counts), list(counts.values()))}


def noise(n, seed):
    return np.random.default_rng([1, seed]).normal(size=n)


def with_copy(seed):
    columns = mixture(3_000, seed)
    return {**columns, "copy": columns["a"]}


def with_product(seed):
    columns = mixture(3_000, seed)
    return {**columns, "product": columns["a"] * columns["b"]}


def with_near_copy(seed):
    columns = mixture(3_000, seed)
    return {**columns, "near": columns["a"] + 1e-12 * noise(3_000, seed)}


def with_atom(seed):
    columns = mixture(3_000, seed)
    return {**columns, "a": np.where(np.arange(3_000) % 33 == 0, 0.731, columns["a"])}


def with_repeats(seed):
    return {name: np.r_[values, values[:15]] for name, values in mixture(1_500, seed).items()}


def two_heavy_rows(seed):
    weights = np.where(np.arange(300) < 240, 1, 1e-6)
    weights[[240, 241]] = 1
    return {**mixture(300, seed), **parts(210, 30, 60), "w": weights}


def new_level(seed):
    levels = np.random.default_rng(seed).choice(["x", "y", "z"], 600)
    levels[500:505] = "new"
    return {**mixture(600, seed), **parts(420, 60, 120), "level": levels}


def independent(seed):
    return {name: noise(1_500, [i, seed]) for i, name in enumerate("abcd")}


def seen_in_validation(seed):
    """Return 300 training rows, some of which are those for validation too."""
    columns = mixture(600, seed)
    rows = np.r_[:300, :100, 300:600]
    return {**{name: values[rows] for name, values in columns.items()}, **parts(300, 100, 300)}


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
    "a clean mixture": (lambda seed: mixture(3_000, seed), {"train.steps": 400}, set()),
    "a copy": (with_copy, SHORT, set()),
    "a product": (with_product, SHORT, set()),
    "an atom": (with_atom, SHORT, set()),
    "one row in a hundred twice": (with_repeats, SHORT, set()),
    "weights of two rows": (two_heavy_rows, SHORT, {"few rows"}),
    "twelve rows": (lambda seed: mixture(12, seed), {"train.steps": 200}, {"few rows"}),
    "a long training": (lambda seed: mixture(300, seed), LONG, set()),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_table_has_its_warnings_and_no_others(name, tmp_path):
    make, settings, expected = PLANTED[name]
    assert words(fitted(make(0), tmp_path / "run", settings)) == expected


def test_weights_kept_by_training_rows_have_memorised_them(tmp_path):
    found = words(fitted(seen_in_validation(0), tmp_path / "run", LONG))
    assert "memorised" in found and found <= {"memorised", "miscalibrated", "ruined"}


def test_a_near_copy_is_computed_so_its_likelihood_is_bounded(tmp_path):
    table = with_near_copy(0)
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
    summary = fitted(independent(0), tmp_path / "run", SHORT).summary
    assert summary["warnings"] == []
    assert abs(summary["gain"]) < 3 * summary["gain_standard_error"]


def test_a_level_of_test_rows_alone_is_counted_and_scored(tmp_path):
    q = fitted(new_level(0), tmp_path / "run", SHORT)
    assert q.summary["warnings"] == []
    assert "new levels     5 test cells have a level not in the training rows" in str(q)
    assert np.isfinite(q.log_prob(new_level(0))).all() and np.isfinite(q.summary["gain"])
