"""Models of NumPyro and of PyMC as they are written, against closed forms."""

import functools
import json
import math
import sys
from statistics import NormalDist

import numpy as np
import pytest
from documents import DOCUMENTS, blocks
from keras import ops
from short_runs import without_pictures, without_programs

import nflow_cli
from nflow_cli.config import presets
from nflow_cli.errors import ConfigError, TargetError
from nflow_cli.inference.models import numpyro_model, pymc_model, tail_scale
from nflow_cli.inference.trial import subject_again, user_subject
from nflow_cli.inference.user_code import function_of, load_function

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link:UserWarning")
NUMPYRO = """
import numpy as np
import numpyro
import numpyro.distributions as dist

LOW = np.array([0.0, -1.0])

def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    scale = numpyro.sample("scale", dist.HalfNormal(2))
    numpyro.deterministic("twice", 2 * slope)
    numpyro.sample("y", dist.Normal(slope * x, scale), obs=y)
def data(): return {"x": np.array([1.0, 2.0]), "y": np.array([1.5, 1.0])}
def shapes():
    numpyro.sample("u", dist.Uniform(LOW, 2.0).to_event(1))
    with numpyro.plate("rows", 2):
        numpyro.sample("m", dist.MultivariateNormal(np.zeros(1), np.eye(1)))
    numpyro.sample("t", dist.TruncatedNormal(0.0, 1.0, high=3.0))
def simplex(): numpyro.sample("p", dist.Dirichlet(np.ones(3)))
def matrix(): numpyro.sample("c", dist.LKJCholesky(2))
def discrete(): numpyro.sample("k", dist.Poisson(3))
def moving(): numpyro.sample("b", dist.Uniform(0, numpyro.sample("a", dist.HalfNormal(1))))
def param(): numpyro.sample("a", dist.Normal(numpyro.param("m", 0.0), 1))
def subsampled():
    with numpyro.plate("rows", 9, subsample_size=3):
        numpyro.sample("a", dist.Normal(0, 1))
def fails():
    a = numpyro.sample("a", dist.Normal(0, 1))
    a.no_such
def log_density(x): return -0.5 * (x**2).sum(axis=1), -x
def nothing(): return 1
def heavy():
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    numpyro.sample("local", dist.HalfCauchy(np.array([1.0, 2.0])).to_event(1))
    numpyro.sample("centred", dist.HalfCauchy(tau))
"""
PYMC = """
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
with pm.Model() as heavy:
    tau = pm.HalfCauchy("tau", 5.0)
    pm.HalfCauchy("local", np.array([1.0, 2.0]), shape=2)
    pm.HalfCauchy("centred", tau)
"""
SHORT = [
    *("--k", 2, "--flow", "affine-coupling", "--steps", 20, "--set", "train.chunk=10"),
    *("--set", "train.first_stage=20", "--set", "evaluate.samples=1000"),
]


def normal(x, mean, scale):
    return -0.5 * ((x - mean) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


def log_line(slope, scale):
    likelihood = normal(1.5, slope, scale) + normal(1.0, 2 * slope, scale)
    return normal(slope, 0, 1) + math.log(2) + normal(scale, 0, 2) + likelihood


def written(folder, library, text):
    """Return the path of a file of models, if their library is there."""
    pytest.importorskip(library, reason=f"{library} is not installed")
    path = folder / "model.py"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return written(tmp_path_factory.mktemp("numpyro"), "numpyro", NUMPYRO)


@pytest.fixture(scope="module")
def pymc_file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("pymc"), "pymc", PYMC)


def test_what_is_no_model_is_none(monkeypatch):
    for library, read in (("numpyro", numpyro_model), ("pymc", pymc_model)):
        monkeypatch.delitem(sys.modules, library, raising=False)
        assert read(lambda: 1 / 0) is None and read(None) is None


def test_a_model_is_its_joint_density_in_its_own_space(model):
    user = load_function(f"{model}:line")
    assert user.coordinates == (["slope", "scale"], {"scale": [0.0, None]})
    x = np.array([[0.3, 0.5], [-1.0, 2.0], [4.0, 0.01]])
    values, gradients = user.function(x)
    assert values.dtype == gradients.dtype == np.float64
    np.testing.assert_allclose(values, [log_line(*row) for row in x], rtol=1e-12)
    h = 1e-6
    for i in range(2):
        step = h * np.eye(2)[i]
        slopes = [(log_line(*(r + step)) - log_line(*(r - step))) / (2 * h) for r in x[:2]]
        np.testing.assert_allclose(gradients[:2, i], slopes, rtol=1e-6)


def test_sites_of_any_shape_have_the_bounds_of_their_support(model):
    names, bounds = load_function(f"{model}:shapes").coordinates
    assert names == ["u[0]", "u[1]", "m[0, 0]", "m[1, 0]", "t"]
    assert bounds == {"u[0]": [0.0, 2.0], "u[1]": [-1.0, 2.0], "t": [None, 3.0]}
    x = np.array([[1.0, 0.0, 0.5, -0.5, 2.0]])
    at = load_function(f"{model}:shapes").function(x)[0]
    below_3 = math.log(0.5 * math.erfc(-3 / math.sqrt(2)))
    expected = -math.log(2 * 3) + normal(0.5, 0, 1) + normal(-0.5, 0, 1) + normal(2, 0, 1) - below_3
    np.testing.assert_allclose(at, expected, rtol=1e-6)


def test_a_model_of_pymc_is_its_joint_density_in_its_own_space(pymc_file):
    user = load_function(f"{pymc_file}:shapes")
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
    ("log_p", "scale"),
    [
        (lambda x: math.log(2 / (5 * math.pi)) - np.log1p((x / 5) ** 2), 5),
        (lambda x: np.log(4 / (2 * math.pi * math.sqrt(3))) - 2 * np.log1p(x**2 / 12), 3**0.5),
        (lambda x: math.log(2) + normal(x, 0, 1), None),
        (lambda x: -x, None),
        (lambda x: np.log(x) - x, None),
        (lambda x: -np.log1p(x) - np.log(x) / 2 - math.log(math.pi), None),
        (lambda x: np.log(x) - 3 * np.log1p(x) + math.log(2), None),
        (lambda x: normal(np.log(x), 0, 1) - np.log(x), None),
        (lambda x: 0 * x, None),
    ],
    ids=["half-Cauchy", "half-t", "half-normal", "exponential", "gamma", "inf", "0", "log", "flat"],
)
def test_a_density_of_finite_height_with_a_tail_that_is_a_power_is_scaled(log_p, scale):
    """Of half-t: 2/(pi p(0)), in closed form."""
    found = float(tail_scale(log_p, np.zeros(()), math.inf))
    assert math.isnan(found) if scale is None else found == pytest.approx(scale, rel=1e-12)
    assert math.isnan(tail_scale(log_p, np.zeros(()), 3.0))


@pytest.mark.parametrize("library", ["numpyro", "pymc"])
def test_half_cauchy_sites_are_normal_to_the_flows_unless_another_site_scales_them(
    library, request
):
    file = request.getfixturevalue({"numpyro": "model", "pymc": "pymc_file"}[library])
    user = load_function(f"{file}:heavy")
    scaled = {"tau": [0.0, None, 5.0], "local[0]": [0.0, None, 1.0], "local[1]": [0.0, None, 2.0]}
    assert user.coordinates.bounds == {**scaled, "centred": [0.0, None]}
    config = presets.validate({"command": "infer", "density": user.density}, "a test")
    z = np.float32([[0.3, -2.5, 2.5, 1.0], [-4.0, 5.0, -1.0, -2.0]])
    tau, centred = 5 * np.tan(np.pi / 2 * np.vectorize(NormalDist().cdf)(z[:, 0])), np.exp(z[:, 3])
    expected = normal(z[:, :3], 0, 1).sum(axis=1) + z[:, 3]
    expected += np.log(2 / math.pi) - np.log(tau) - np.log1p((centred / tau) ** 2)
    found = user_subject(config, user).target.log_prob(ops.convert_to_tensor(z))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    logarithms = {**user.density, "bounds": {name: [0.0, None] for name in user.coordinates.bounds}}
    config = presets.validate({"command": "infer", "density": logarithms}, "a run of before")
    assert user_subject(config, user)


def refused(path, name, site):
    with pytest.raises(TargetError) as caught:
        load_function(f"{path}:{name}")
    assert site in str(caught.value) and str(caught.value).isprintable()


def test_what_has_no_coordinates_is_one_line(model):
    for name, site in [
        ("simplex", "site p: expected real values, or values between bounds. Received: Simplex()"),
        ("matrix", "site c: expected real values"),
        ("discrete", "site k: expected real values"),
        ("moving", "site b: expected bounds that are constant"),
        ("param", "site m: expected no param"),
        ("subsampled", "plate rows: expected all of its rows, no subsample"),
        ("fails", "model.py:29: AttributeError"),
    ]:
        refused(model, name, site)


def test_what_has_no_coordinates_in_pymc_is_one_line(pymc_file):
    for name, site in [
        ("simplex", "p: expected real values, or values between bounds. Received: simplex"),
        ("discrete", "k: expected real values"),
        ("moving", "b: expected bounds that are constant"),
        ("empty", "expected a model with a free variable"),
    ]:
        refused(pymc_file, name, site)


def test_functions_beside_models_are_functions(model):
    for name in ("log_density", "nothing"):
        assert load_function(f"{model}:{name}").coordinates is None


def test_a_model_is_fitted_and_used_as_a_function_is(model, tmp_path, invoke):
    path = tmp_path / "run"
    words = ["infer", f"{model}:line", *SHORT, "--output", path]
    for option in (["--dim", 2], ["--names", "a,b"], ["--bounds", "scale=0:"]):
        done = invoke(*words, *option)
        assert done.exit_code == 1
        assert f"{option[0]}: expected none: the model line has its own" in done.stderr
    with without_programs(), without_pictures():
        done = invoke(*words)
    assert done.exit_code == 0, done.stderr
    summary = json.loads((path / "summary.json").read_text())
    assert list(summary["moments"]) == ["slope", "scale"]
    assert (nflow_cli.load(path).sample(1000)[:, 1] > 0).all()
    again = invoke("evaluate", path, "--density", f"{model}:line", "--samples", 1000)
    assert again.exit_code == 0, again.stderr
    done = invoke("infer", f"{model}:log_density", *SHORT)
    assert done.exit_code == 2 and "--dim: expected the number" in done.stderr


def test_a_model_of_other_data_is_not_that_of_a_run(model, tmp_path):
    path, sizes = tmp_path / "sized.py", tmp_path / "size"
    path.write_text(
        "import numpyro, numpyro.distributions as dist\n"
        "from pathlib import Path\n"
        f"def data(): return {{'n': int(Path({str(sizes)!r}).read_text())}}\n"
        "def model(n): numpyro.sample('a', dist.Normal(0, 1).expand((n,)).to_event(1))\n"
    )
    sizes.write_text("2")
    density = {**load_function(f"{path}:model").density}
    config = presets.validate({"command": "infer", "density": density}, "a test")
    assert subject_again(config, f"{path}:model").target.dim == 2
    sizes.write_text("3")
    with pytest.raises(ConfigError, match="expected the names and bounds of the run"):
        subject_again(config, f"{path}:model")


def test_a_partial_is_a_model_in_python(model):
    values = {}
    exec(compile(NUMPYRO, str(model), "exec"), values)
    user = function_of(functools.partial(values["line"], **values["data"]()))
    assert user.name == "line" and user.density["dim"] == 2
    np.testing.assert_allclose(user.function(np.array([[0.3, 0.5]]))[0], log_line(0.3, 0.5))
    with pytest.raises(TargetError, match="expected none: the model line has its own"):
        nflow_cli.infer(functools.partial(values["line"], **values["data"]()), dim=2)


@pytest.mark.parametrize(("library", "schools"), [("numpyro", range(8)), ("pymc", "ABCDEFGH")])
def test_the_models_of_the_page_are_eight_schools(tmp_path, library, schools):
    found = blocks("python", DOCUMENTS["docs/infer-models.md"])
    text = next(block for block in found if f"import {library}" in block)
    path = written(tmp_path, library, text)
    user = load_function(f"{path}:model")
    effects, errors = np.array([[28, 8, -3, 7, -1, 1, 18, 12], [15, 10, 16, 11, 9, 11, 10, 18.0]])
    assert user.coordinates.names == ["mu", "tau", *(f"theta[{school}]" for school in schools)]
    x = np.random.default_rng(0).standard_normal((5, 10))
    x[:, 1] = np.exp(x[:, 1])
    mu, tau, theta = x[:, :1], x[:, 1:2], x[:, 2:]
    scales = normal(np.log(tau), 5, 1) - np.log(tau)
    log_p = normal(theta, mu, tau) + normal(effects, theta, errors)
    expected = (normal(mu, 0, 10) + scales)[:, 0] + log_p.sum(axis=1)
    np.testing.assert_allclose(user.function(x)[0], expected, rtol=1e-6)


def test_a_model_of_pymc_is_fitted_in_python(tmp_path):
    pymc = pytest.importorskip("pymc", reason="PyMC is not installed")
    with pymc.Model() as model:
        pymc.HalfNormal("scale", 2.0)
    settings = {"train.first_stage": 20, "evaluate.samples": 1000, "train.chunk": 10}
    short = {"flow": ["affine-coupling"], "k": 2, "steps": 20, "settings": settings}
    with pytest.raises(TargetError, match="expected none: the model"):
        nflow_cli.infer(model, dim=1, **short)
    with without_programs(), without_pictures():
        q = nflow_cli.infer(model, output=tmp_path / "run", **short)
    assert q.columns == ["scale"] and (q.sample(1000) > 0).all()
