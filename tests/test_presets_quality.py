from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from truth import to_numpy

from nflow_cli import config, fit2d
from nflow_cli.distributions import UniformBox
from nflow_cli.evaluation import evaluate_samples
from nflow_cli.scores import mass_of
from nflow_cli.trained import TrainedFlow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "tensorflow", reason="the chunk trainer compiles with TensorFlow"
    ),
]

PRESETS = {
    name: path
    for name, path in config.shipped_presets().items()
    if "target" in config.read_preset(path)
}


@pytest.fixture(scope="module", params=PRESETS)
def trained(request):
    settings = config.validate(config.read_preset(PRESETS[request.param]) | {"seed": 0}, "preset")
    model = fit2d.build(settings)
    fit2d.train(model, settings)
    parts = (model.flow, model.base, model.target)
    return settings, parts, evaluate_samples(*parts, 0, settings.evaluate.samples)


def round_trip_error(flow, x):
    """Return the largest ``|f(f^-1(x)) - x|``."""
    x = ops.convert_to_tensor(np.asarray(x, "float32"))
    again = flow.forward_and_log_det(flow.inverse_and_log_det(x)[0])[0]
    return np.sqrt(np.sum((to_numpy(again) - to_numpy(x)) ** 2, -1)).max()


def test_the_kl_is_not_negative(trained):
    figures = trained[2][0]
    assert figures["kl"] >= -4 * figures["kl_standard_error"]


def test_the_mass_is_1(trained):
    settings, parts, _ = trained
    mass, _ = mass_of(TrainedFlow(Path(), settings, parts[0]))
    assert abs(mass - 1) <= (5e-3 if isinstance(parts[1], UniformBox) else 1e-3)


def test_samples_come_back_through_the_inverse(trained):
    _, (flow, *_), (_, _, z) = trained
    assert round_trip_error(flow, z[:10_000]) <= 1e-4


def test_grid_points_come_back_through_the_inverse(trained):
    _, (flow, _, target), _ = trained
    axis = np.linspace(-target.window, target.window, 200)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert round_trip_error(flow, points) <= 1e-4
