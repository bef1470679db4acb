import numpy as np
import pytest
from truth import call, to_numpy

from nflow_cli.training.trainer import inverse_temperature


def beta(update, anneal_updates, start):
    return float(to_numpy(inverse_temperature(update, anneal_updates, start)))


@pytest.mark.parametrize("start", [0.01, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("anneal_updates", [1, 7, 1000, 10**6])
def test_beta_rises_linearly_from_start_to_1(start, anneal_updates):
    updates = sorted({0, 1, anneal_updates // 3, anneal_updates // 2, anneal_updates - 1})
    for update in updates:
        expected = min(1.0, start + (1 - start) * update / anneal_updates)
        assert beta(update, anneal_updates, start) == pytest.approx(expected, rel=3e-7)
        assert beta(update, 0, start) == 1.0  # without annealing
    for update in (anneal_updates + 1, 2 * anneal_updates, 10**8):
        assert beta(update, anneal_updates, start) == 1.0


@pytest.mark.parametrize("start", [0.01, 0.1, 0.3, 0.7, 0.9])
def test_beta_never_leaves_start_to_1_and_never_falls(start):
    betas = [beta(update, 50, start) for update in range(60)]
    assert betas == sorted(betas)
    assert betas[0] == np.float32(start)
    assert betas[50] == betas[-1] == 1.0


def test_beta_is_a_float32_and_the_schedule_of_the_paper():
    update = np.array(3, "int64")
    for anneal_updates in (0, 10):
        got = call(lambda u, n=anneal_updates: inverse_temperature(u, n, 0.1), update)
        assert got.shape == ()
        assert got.dtype == np.float32
    for update in (0, 500, 5_000, 9_900):
        paper = min(1.0, 0.01 + update / 10_000)
        assert abs(beta(update, 10_000, 0.01) - paper) <= 0.01
