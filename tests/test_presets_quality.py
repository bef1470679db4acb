import keras
import numpy as np
import pytest

from nflow_cli.config import presets
from nflow_cli.evaluation.scores import mass_of
from nflow_cli.evaluation.target import evaluate_samples
from nflow_cli.experiments.target import fit as target_fit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "tensorflow", reason="the chunk trainer compiles with TensorFlow"
    ),
]

PRESETS = {
    name: path
    for name, path in presets.shipped_presets().items()
    if "target" in presets.read_preset(path)
}


@pytest.fixture(scope="module", params=PRESETS)
def trained(request):
    settings = presets.validate(presets.read_preset(PRESETS[request.param]) | {"seed": 0}, "preset")
    model = target_fit.build(settings)
    target_fit.train(model, settings)
    return model, evaluate_samples(model.density, model.target, 0, settings.evaluate.samples)


def assert_points_come_back(q, x):
    """Expect ``|f(f^-1(x)) - x|`` of 1e-4 at most, or a few roundings of points so large."""
    errors = np.sqrt(np.sum((q.from_latent(q.latent(x)) - x) ** 2, -1))
    assert errors.max() <= max(1e-4, 16 * np.finfo("float32").eps * np.abs(x).max())


def test_the_kl_is_not_negative(trained):
    figures = trained[1].summary
    assert figures["kl"] >= -4 * figures["kl_standard_error"]


def test_the_mass_is_1(trained):
    density = trained[0].density
    mass, _ = mass_of(density, 0)
    assert abs(mass - 1) <= (5e-3 if density.base.bounded else 1e-3)


def test_samples_come_back_through_the_inverse(trained):
    model, evaluation = trained
    assert_points_come_back(model.density, evaluation.first.x[:10_000])


def test_grid_points_come_back_through_the_inverse(trained):
    model, _ = trained
    axis = np.linspace(-model.target.window, model.target.window, 200)
    points = np.stack(np.meshgrid(axis, axis), axis=-1) + model.target.center
    assert_points_come_back(model.density, points.astype("float32"))
