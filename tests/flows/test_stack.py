import numpy as np
import pytest
from catalogue import DTYPES, FULL, evaluate, to_numpy
from test_fold import assert_close, one_at_a_time
from truth import normal_log_prob

from nflow_cli.errors import ConfigError
from nflow_cli.flows import FlowStack

PATTERNS = [
    pytest.param(["planar"], 3, id="planar"),
    pytest.param(["radial"], 2, id="radial"),
    pytest.param(["planar", "radial"], 5, id="planar-radial"),
    pytest.param(["radial", "planar"], 1, id="radial-planar"),
    pytest.param([FULL, "planar", "affine"], 5, id="affine-planar-affine"),
]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
both_ends = pytest.mark.parametrize("affine", ["diagonal", "full"])

MEAN = np.array([1.5, -20.0, 0.25])
CHOLESKY = np.array([[0.5, 0, 0], [3, 2, 0], [-0.01, 0.02, 0.1]])


def direction(inverse):
    return "inverse_and_log_det" if inverse else "forward_and_log_det"


def points_of(*leading):
    return np.random.default_rng(1).standard_normal((*leading, 3))


@pytest.mark.parametrize(("pattern", "k"), PATTERNS)
@both_ways
def test_the_layer_runs_its_weights_in_list_order(pattern, k, inverse):
    layer = FlowStack(pattern, k, seed=1, dtype="float64")
    points = points_of(4)
    layer.build(points.shape)
    own = [{n: to_numpy(v.value)[..., None] for n, v in raw.items()} for raw in layer.parameters]
    moved, log_det = evaluate(layer, direction(inverse), [points])
    expected, change = one_at_a_time(layer.maps, own, k, points, inverse)
    assert_close(moved, expected)
    assert_close(log_det, change)


@every_dtype
@both_ways
def test_no_flows_are_the_identity_with_log_det_0(dtype, inverse):
    layer = FlowStack(["planar", "radial"], 0, dtype=dtype)
    points = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(dtype)
    moved, log_det = (to_numpy(tensor) for tensor in getattr(layer, direction(inverse))(points))
    np.testing.assert_array_equal(moved, points)
    np.testing.assert_array_equal(log_det, np.zeros((2, 3), dtype))
    assert not layer.weights


@both_ends
@both_ways
def test_the_affine_map_at_the_end_starts_as_the_identity(affine, inverse):
    layers = [FlowStack(["planar"], 2, 3, affine=end, dtype="float64") for end in (affine, None)]
    results = [getattr(layer, direction(inverse))(points_of(2, 4)) for layer in layers]
    for got, expected in zip(*results):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


@both_ends
@pytest.mark.parametrize("k", [0, 3])
def test_adapting_the_end_moves_what_the_flows_give_by_mean_and_cholesky(affine, k):
    layer, plain = (
        FlowStack(["radial"], k, 3, affine=end, dtype="float64") for end in (affine, None)
    )
    layer.adapt(MEAN, CHOLESKY)  # also before it is built
    triangle = CHOLESKY
    if affine == "diagonal":
        triangle = np.diag(np.sqrt(np.diag(CHOLESKY @ CHOLESKY.T)))
    before, change = evaluate(plain, "forward_and_log_det", [points_of(4)])
    after, log_det = evaluate(layer, "forward_and_log_det", [points_of(4)])
    np.testing.assert_allclose(after, MEAN + before @ triangle.T, 1e-13)
    np.testing.assert_allclose(log_det, change + np.log(np.linalg.det(triangle)), 1e-13)
    back, undone = evaluate(layer, "inverse_and_log_det", [after])
    np.testing.assert_allclose(back, points_of(4), 1e-12, 1e-12)
    np.testing.assert_allclose(undone, -log_det, 1e-12)


@both_ends
@pytest.mark.parametrize("dim", [1, 3])
def test_what_the_adapted_end_draws_has_the_density_of_the_gaussian(affine, dim):
    layer = FlowStack(["planar"], 0, affine=affine, dtype="float64")
    layer.build((None, dim))
    for weight in layer.weights:  # that it had moved before does not matter
        weight.assign(to_numpy(weight.value) + 0.3)
    mean, cholesky = MEAN[:dim], CHOLESKY[:dim, :dim]
    layer.adapt(mean, cholesky)
    covariance = cholesky @ cholesky.T
    if affine == "diagonal":
        covariance = np.diag(np.diag(covariance))
    z = points_of(64)[:, :dim]
    x, log_det = evaluate(layer, "forward_and_log_det", [z])
    base = normal_log_prob(z, np.zeros(dim), np.eye(dim))
    np.testing.assert_allclose(base - log_det, normal_log_prob(x, mean, covariance), 1e-11)


def test_a_stack_without_an_affine_end_refuses_to_adapt():
    with pytest.raises(ConfigError, match=r"no affine map at its end; affine='full' gives it one"):
        FlowStack([FULL], 2).adapt(MEAN, CHOLESKY)


@pytest.mark.parametrize("affine", ["Full", "", True, 1, ["full"], {"full": True}])
def test_an_end_that_is_neither_diagonal_nor_full_is_refused(affine):
    with pytest.raises(ConfigError, match=r"expected affine=None, 'diagonal' or 'full'.*affine="):
        FlowStack(["planar"], 2, affine=affine)


@pytest.mark.parametrize("pattern", [["planar"], ["radial"], ["planar", "planar"], [FULL]])
def test_the_flows_of_a_stack_start_with_different_values(pattern):
    layer = FlowStack(pattern, 8, seed=0)
    layer.build((None, 2))
    names = {"planar": ("u", "w", "b"), "radial": ("center", "beta")}
    for name in names.get(str(pattern[0]), ("shift", "log_scale", "lower")):
        starts = np.concatenate([to_numpy(raw[name].value) for raw in layer.parameters])
        assert len(np.unique(starts, axis=0)) == 8


def test_an_unknown_flow_names_the_nearest_one():
    with pytest.raises(ConfigError, match=r"did you mean 'planar'.*planer"):
        FlowStack(["radial", "planer"], 2)


@pytest.mark.parametrize("k", [-1, 2.5, True, "3", None])
def test_a_k_that_counts_nothing_is_refused(k):
    with pytest.raises(ConfigError, match=rf"expected a whole number, 0 or more.*k={k!r}"):
        FlowStack(["planar"], k)


@pytest.mark.parametrize("seed", [-1, 2.5, True, "3"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ConfigError, match=rf"expected a whole number.*seed={seed!r}"):
        FlowStack(["planar"], 2, seed=seed)


def test_numpys_whole_numbers_are_taken_and_saved_as_pythons():
    config = FlowStack(("planar",), np.int64(3), seed=np.uint32(4)).get_config()
    assert (config["k"], config["seed"]) == (3, 4)
    assert {type(config["k"]), type(config["seed"])} == {int}


@pytest.mark.parametrize(
    ("mean", "cholesky", "expected"),
    [
        (np.zeros(1), np.eye(2), r"expected shapes \(2,\), \(2, 2\)"),
        (np.zeros(2), np.eye(3), r"expected shapes \(2,\), \(2, 2\)"),
        (np.zeros(2), -np.eye(2), "positive diagonal"),
    ],
)
def test_what_is_no_gaussian_of_its_dimension_is_refused(mean, cholesky, expected):
    stack = FlowStack(["planar"], 1, affine="full")
    stack.build((None, 2))
    with pytest.raises(ConfigError, match=expected):
        stack.adapt(mean, cholesky)
