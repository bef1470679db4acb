import numpy as np
import pytest
from truth import call, float64, to_numpy

from nflow_cli.objectives import inverse_temperature, reverse_kl


def beta(update, anneal_updates, start):
    return float(to_numpy(inverse_temperature(update, anneal_updates, start)))


@float64()
def test_reverse_kl_is_log_q_less_log_p():
    log_q0, log_det, log_p = np.random.default_rng(0).standard_normal((3, 50))
    got = to_numpy(reverse_kl(*map(np.asarray, (log_q0, log_det, log_p))))
    np.testing.assert_allclose(got, (log_q0 - log_det) - log_p, 1e-14, 1e-14)


@float64()
def test_reverse_kl_has_the_closed_form_of_two_gaussians():
    # q is N(m, s^2), pushed from N(0, 1); p is N(0, 1): KL = (s^2 + m^2 - 1)/2 - ln s.
    m, s = 0.7, 1.6
    z0, step = np.linspace(-12, 12, 20_001, retstep=True)
    q0 = np.exp(-0.5 * z0**2) / np.sqrt(2 * np.pi)
    z = m + s * z0
    log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    gap = to_numpy(reverse_kl(np.log(q0), np.log(s), log_p))
    assert abs(np.sum(q0 * gap) * step - ((s**2 + m**2 - 1) / 2 - np.log(s))) < 1e-12


def test_without_annealing_beta_is_1_at_every_update():
    for update in (0, 1, 10**6):
        assert beta(update, 0, 0.01) == 1.0


@pytest.mark.parametrize("start", [0.01, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("anneal_updates", [1, 7, 1000, 10**6])
def test_beta_rises_linearly_from_start_to_1(start, anneal_updates):
    updates = sorted({0, 1, anneal_updates // 3, anneal_updates // 2, anneal_updates - 1})
    for update in updates:
        expected = min(1.0, start + (1 - start) * update / anneal_updates)
        assert beta(update, anneal_updates, start) == pytest.approx(expected, rel=3e-7)
    for update in (anneal_updates + 1, 2 * anneal_updates, 10**8):
        assert beta(update, anneal_updates, start) == 1.0


@pytest.mark.parametrize("start", [0.01, 0.1, 0.3, 0.7, 0.9])
def test_beta_never_leaves_start_to_1_and_never_falls(start):
    betas = [beta(update, 50, start) for update in range(60)]
    assert betas == sorted(betas)
    assert betas[0] == np.float32(start)
    assert betas[50] == betas[-1] == 1.0


def test_beta_is_the_paper_schedule_for_ten_thousand_updates():
    for update in (0, 500, 5_000, 9_900):
        paper = min(1.0, 0.01 + update / 10_000)
        assert abs(beta(update, 10_000, 0.01) - paper) <= 0.01


def test_beta_is_a_float32_of_no_shape():
    update = np.array(3, "int64")
    for anneal_updates in (0, 10):
        got = call(lambda u, n=anneal_updates: inverse_temperature(u, n, 0.1), update)
        assert got.shape == ()
        assert got.dtype == np.float32
