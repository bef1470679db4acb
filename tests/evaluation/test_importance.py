import numpy as np
import pytest

from nflow_cli.evaluation import importance
from nflow_cli.evaluation.importance import mean, pareto_k, standard_deviation


@pytest.mark.parametrize("k", [0.2, 0.5, 0.7, 1.0])
def test_k_hat_is_the_shape_of_a_pareto_tail(k):
    # The k-th power of 1/u is Pareto with that shape, whatever its scale.
    rng = np.random.default_rng(0)
    shapes = [pareto_k(k * np.log(rng.random(100_000)) - 300) for _ in range(20)]
    error = np.std(shapes) / np.sqrt(20)
    # Its prior of ten observations of 0.5 pulls a tail of 949.
    assert abs(np.mean(shapes) - (949 * k + 5) / 959) < 4 * error + 0.01


def test_k_hat_of_bounded_and_of_equal_weights_is_low():
    assert pareto_k(-np.log(np.random.default_rng(0).random(100_000))) < -0.5
    assert pareto_k(np.zeros(1_000)) == 0
    assert np.isnan(pareto_k(np.full(1_000, np.nan)))


@pytest.mark.parametrize("block", [1_000, 4_999, 5_000, 2**20])
def test_blocks_change_nothing(block, monkeypatch):
    ratios = np.random.default_rng(0).standard_normal(5_000).astype("float32")
    w, k = np.exp(-ratios.astype(float)), pareto_k(ratios)
    monkeypatch.setattr(importance, "BLOCK", block)
    assert mean(ratios) == pytest.approx(ratios.astype(float).mean(), abs=1e-12)
    deviation = standard_deviation(ratios, lambda block: np.exp(-block), ddof=1)
    assert deviation == pytest.approx(w.std(ddof=1), rel=1e-12)
    assert pareto_k(ratios) == k
