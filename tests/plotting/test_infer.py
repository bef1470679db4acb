import numpy as np
import pytest
from pictures import title

from nflow_cli import plotting

SUMMARY = {
    **{"flow": "spline-coupling + full affine", "k": 8, "target": "log_density"},
    **{"columns": ["rate", "share", "x"], "restarts": {"updates": []}},
    **{"kl": None, "kl_standard_error": 0.001, "free_energy": -1.6, "log_z": None},
    **{"has_exact_samples": False, "pareto_k": 0.31, "ess": 0.98},
}


def make_evaluation(dim=3, n=300):
    rng = np.random.default_rng(0)
    tail = np.sort(-rng.exponential(1.0, 50))
    tail -= tail[-1]
    return {
        **{"rows": rng.normal(size=(n, dim)), "samples": rng.normal(size=(n, dim))},
        **{"columns_shown": np.arange(dim), "tail": tail, "smooth_tail": tail - 0.1},
    }


METRICS = {
    "update": np.array([-20, 0, 20, 40]),
    **{name: np.array([3.0, 2.0, 1.0, 0.5]) for name in ("loss", "kl")},
    "beta": np.ones(4),
}


def draw(evaluation=None, **changes):
    return plotting.infer_figures(evaluation or make_evaluation(), METRICS, SUMMARY | changes)


def test_the_figures_name_the_density_and_what_the_weights_say():
    figures = draw()
    assert list(figures) == ["corner", "weights", "training"]
    for name in ("corner", "weights"):
        text = title(figures[name])
        assert text.startswith("log_density") and "k-hat = 0.31" in text and "ESS = 98.0%" in text


def test_the_weights_are_drawn_with_how_many_lie_above():
    (ax,) = draw()["weights"].axes
    dots, line = ax.lines
    evaluation = make_evaluation()
    np.testing.assert_allclose(dots.get_xdata(), np.exp(evaluation["tail"]))
    np.testing.assert_allclose(dots.get_ydata(), np.arange(50, 0, -1) - 0.5)
    np.testing.assert_allclose(line.get_xdata(), np.exp(evaluation["smooth_tail"]))
    assert ax.get_xscale() == ax.get_yscale() == "log"


@pytest.mark.parametrize("value", [np.nan, -np.inf, -1e300])
def test_a_tail_that_is_not_finite_is_drawn(value):
    evaluation = make_evaluation(dim=1) | {"tail": np.full(5, value), "smooth_tail": np.zeros(5)}
    figures = draw(evaluation, pareto_k=None, ess=None, columns=["x"])
    assert figures["weights"].axes[0].texts[0].get_text() == "not finite"
