import numpy as np
import pytest
from stacks import built, scores_of

from nflow_cli.config import presets
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.experiments.flow_checks import Flows, as_arrays
from nflow_cli.inference import reverse_kl_training as target_fit

pytestmark = pytest.mark.slow

PRESETS = {
    name: path
    for name, path in presets.shipped_presets().items()
    if "target" in presets.read_preset(path)
}


def assert_points_come_back(q, x):
    """Expect ``|f(f^-1(x)) - x|`` of 1e-4 at most in float32, far from 0 of 8 of its steps."""
    x = x.astype("float32")
    error = np.sqrt(np.sum((q.from_latent(q.latent(x)) - x) ** 2, -1)).max()
    assert error <= max(1e-4, 8 * np.spacing(np.abs(x).max()))


@pytest.mark.parametrize("name", PRESETS)
def test_the_kl_is_not_negative_the_mass_is_1_and_points_come_back(name):
    settings = presets.validate(presets.read_preset(PRESETS[name]) | {"seed": 0}, "preset")
    model = built(settings)
    target_fit.search(model, settings)
    scores = scores_of(model.density, model.target, 0, settings.evaluate.samples)
    assert scores["kl"] >= -4 * scores["kl_standard_error"]
    mass, _ = mass_of(model.density, 0)
    assert abs(mass - 1) <= (5e-3 if model.density.base.bounded else 1e-3)
    assert_points_come_back(model.density, model.density.sample(10_000))
    axis = np.linspace(-model.target.window, model.target.window, 200)
    x = (np.stack(np.meshgrid(axis, axis), axis=-1) + model.target.center).reshape(-1, 2)
    flows = Flows(as_arrays(model.flow.composition(None)), x)
    z, _ = flows.run(x, inverse=True)
    assert np.abs(flows.run(z)[0] - x).max() <= 1e-9 * (1 + np.abs(x).max())
    if "spline" not in str(model.flow.pattern):  # steep where no sample is: float32 loses digits
        assert_points_come_back(model.density, x)
