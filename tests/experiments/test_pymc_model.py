"""Models of PyMC as they are written, against closed forms."""

import math
import sys

import numpy as np
import pytest
from documents import DOCUMENTS, blocks

import nflow_cli
from nflow_cli.errors import TargetError
from nflow_cli.experiments.infer.pymc_model import pymc_model
from nflow_cli.experiments.infer.user_code import load_function

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link:UserWarning")
FILE = """
import numpy as np
import pymc as pm

with pm.Model() as shapes:
    pm.Uniform("u", np.array([0.0, -1.0]), 2.0, shape=2)
    pm.TruncatedNormal("t", 0.0, 1.0, upper=3.0)
    pm.Beta("b", 2, 3)
    pm.Deterministic("twice", 2 * pm.HalfNormal("h", 2.0))
    pm.MvNormal("m", np.zeros(2), np.eye(2), shape=(1, 2))
    pm.Potential("more", shapes["h"] * 3)
with pm.Model() as simplex: pm.Dirichlet("p", np.ones(3))
with pm.Model() as discrete: pm.Poisson("k", 3)
with pm.Model() as moving: pm.Uniform("b", 0, pm.HalfNormal("a", 1))
with pm.Model() as empty: pass
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("pymc", reason="PyMC is not installed")
    path = tmp_path_factory.mktemp("model") / "model.py"
    path.write_text(FILE)
    return path


def normal(x, mean, scale):
    return -0.5 * ((x - mean) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


def test_what_is_no_model_is_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "pymc", raising=False)
    assert pymc_model(lambda: 1 / 0) is None


def test_a_model_is_its_joint_density_in_its_own_space(model):
    user = load_function(f"{model}:shapes")
    names, bounds = user.coordinates
    assert names == ["u[0]", "u[1]", "t", "b", "h", "m[0, 0]", "m[0, 1]"]
    one_sided = {"t": [None, 3.0], "h": [0.0, None]}
    assert bounds == {"u[0]": [0.0, 2.0], "u[1]": [-1.0, 2.0], "b": [0.0, 1.0], **one_sided}
    x = np.array([[1.0, 0.0, 2.0, 0.25, 0.5, 0.5, -0.5]])
    values, gradients = user.function(x)
    below_3 = math.log(0.5 * math.erfc(-3 / math.sqrt(2)))
    expected = -math.log(2 * 3) + normal(2, 0, 1) - below_3
    expected += math.log(12 * 0.25 * 0.75**2) + math.log(2) + normal(0.5, 0, 2) + 1.5
    expected += normal(0.5, 0, 1) + normal(-0.5, 0, 1)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    slopes = [0, 0, -2, 1 / 0.25 - 2 / 0.75, -0.5 / 4 + 3, -0.5, 0.5]
    np.testing.assert_allclose(gradients, [slopes], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("simplex", "p: expected real values, or values between bounds. Received: simplex"),
        ("discrete", "k: expected real values, or values between bounds. Received: discrete"),
        ("moving", "b: expected bounds that are constant"),
        ("empty", "expected a model with a free variable"),
    ],
)
def test_what_has_no_coordinates_is_one_line(model, name, expected):
    with pytest.raises(TargetError) as caught:
        load_function(f"{model}:{name}")
    assert expected in str(caught.value) and str(caught.value).isprintable()


def test_the_model_of_the_page_is_eight_schools(tmp_path):
    pytest.importorskip("pymc", reason="PyMC is not installed")
    path = tmp_path / "schools.py"
    path.write_text(blocks("python", DOCUMENTS["docs/infer.md"])[5])
    user = load_function(f"{path}:model")
    effects, errors = np.array([[28, 8, -3, 7, -1, 1, 18, 12], [15, 10, 16, 11, 9, 11, 10, 18.0]])
    assert user.coordinates.names == ["mu", "tau", *(f"theta[{school}]" for school in "ABCDEFGH")]
    x = np.random.default_rng(0).standard_normal((5, 10))
    x[:, 1] = np.exp(x[:, 1])
    mu, tau, theta = x[:, :1], x[:, 1:2], x[:, 2:]
    scales = normal(np.log(tau), 5, 1) - np.log(tau)
    schools = normal(theta, mu, tau) + normal(effects, theta, errors)
    expected = (normal(mu, 0, 10) + scales)[:, 0] + schools.sum(axis=1)
    np.testing.assert_allclose(user.function(x)[0], expected, rtol=1e-6)


def test_a_model_is_fitted_in_python(tmp_path):
    pymc = pytest.importorskip("pymc", reason="PyMC is not installed")
    with pymc.Model() as model:
        pymc.HalfNormal("scale", 2.0)
    settings = {"train.first_stage": 20, "evaluate.samples": 1000, "train.chunk": 10}
    short = {"flow": ["affine-coupling"], "k": 2, "steps": 20, "settings": settings}
    with pytest.raises(TargetError, match="expected none: the model"):
        nflow_cli.infer(model, dim=1, **short)
    q = nflow_cli.infer(model, output=tmp_path / "run", **short)
    assert q.columns == ["scale"] and (q.sample(1000) > 0).all()
