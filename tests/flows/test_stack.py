import numpy as np
import pytest
from catalogue import DTYPES, eps_of, evaluate, run_one, to_numpy
from nflow_cli.flows.compose import run_flows

from nflow_cli.errors import ConfigError
from nflow_cli.flows import FlowStack, PlanarFlow, RadialFlow

KINDS = {"planar": PlanarFlow, "radial": RadialFlow}
PATTERNS = [(["planar"], 3), (["radial"], 2), (["planar", "radial"], 5), (["radial", "planar"], 1)]
SHARED, AMORTISED, RESTARTS = (), (4,), (3, 1)

every_pattern = pytest.mark.parametrize(("pattern", "k"), PATTERNS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def draw(pattern, k, batch, dim, dtype):
    """Draw the parameters of each position of a pattern, for every row of ``batch`` its own."""
    rng = np.random.default_rng(0)
    drawn = []
    for position, name in enumerate(pattern[:k]):
        lead = (len(range(position, k, len(pattern))), *batch)
        kind = KINDS[name]
        shapes = {**dict.fromkeys(kind.vectors, (*lead, dim)), **dict.fromkeys(kind.scalars, lead)}
        drawn.append({n: rng.standard_normal(shape).astype(dtype) for n, shape in shapes.items()})
    return drawn


def run(pattern, parameters, k, points, inverse):
    kinds = [KINDS[name] for name in pattern]
    return [to_numpy(tensor) for tensor in run_flows(kinds, parameters, k, points, inverse)]


def one_at_a_time(pattern, parameters, k, point, inverse):
    """Apply flow after flow to one point; ``parameters`` belong to it alone."""
    log_det = 0.0
    for i in reversed(range(k)) if inverse else range(k):
        repeat, position = divmod(i, len(pattern))
        raw = {name: value[repeat][None] for name, value in parameters[position].items()}
        moved, change = run_one(KINDS[pattern[position]], raw, point[None], inverse)
        point, log_det = moved[0], log_det + change[0]
    return point, log_det


def row_of(parameters, batch, *index):
    picked = tuple(i for i, size in zip(index[-len(batch) :], batch)) if batch else ()
    at = tuple(0 if size == 1 else i for i, size in zip(picked, batch))
    return [{n: value[(slice(None), *at)] for n, value in raw.items()} for raw in parameters]


def assert_close(got, expected, dtype):
    few_ulp = 256 * eps_of(dtype)
    np.testing.assert_allclose(got, expected, few_ulp, few_ulp)


@every_pattern
@both_ways
@pytest.mark.parametrize("batch", [SHARED, AMORTISED, RESTARTS], ids=["shared", "rows", "restarts"])
def test_a_stack_equals_a_loop_over_its_flows_and_rows(pattern, k, inverse, batch):
    dim, dtype = 3, "float64"
    leading = (3, 4) if batch == RESTARTS else (4,)
    points = np.random.default_rng(1).standard_normal((*leading, dim)).astype(dtype)
    parameters = draw(pattern, k, batch, dim, dtype)
    moved, log_det = run(pattern, parameters, k, points, inverse)
    assert (moved.shape, log_det.shape) == (points.shape, leading)
    assert moved.dtype == log_det.dtype == dtype
    for index in np.ndindex(leading):
        own = row_of(parameters, batch, *index)
        point, change = one_at_a_time(pattern, own, k, points[index], inverse)
        assert_close(moved[index], point, dtype)
        assert_close(log_det[index], change, dtype)


@every_pattern
@both_ways
def test_restarts_share_one_batch_of_points(pattern, k, inverse):
    points = np.random.default_rng(1).standard_normal((4, 3))
    parameters = draw(pattern, k, RESTARTS, 3, "float64")
    moved, log_det = run(pattern, parameters, k, points, inverse)
    assert (moved.shape, log_det.shape) == ((3, 4, 3), (3, 4))
    for restart in range(3):
        own = [{n: value[:, restart, 0] for n, value in raw.items()} for raw in parameters]
        alone, change = run(pattern, own, k, points, inverse)
        assert_close(moved[restart], alone, "float64")
        assert_close(log_det[restart], change, "float64")


@every_pattern
@both_ways
def test_the_layer_runs_its_weights_in_list_order(pattern, k, inverse):
    layer = FlowStack(pattern, k, seed=1, dtype="float64")
    points = np.random.default_rng(1).standard_normal((4, 3))
    layer.build(points.shape)
    own = [{n: to_numpy(v.value) for n, v in raw.items()} for raw in layer.parameters]
    direction = "inverse_and_log_det" if inverse else "forward_and_log_det"
    moved, log_det = evaluate(layer, direction, points)
    for i in range(4):
        point, change = one_at_a_time(pattern, own, k, points[i], inverse)
        assert_close(moved[i], point, "float64")
        assert_close(log_det[i], change, "float64")


@every_dtype
@both_ways
def test_no_flows_are_the_identity_with_log_det_0(dtype, inverse):
    layer = FlowStack(["planar", "radial"], 0, dtype=dtype)
    points = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(dtype)
    direction = "inverse_and_log_det" if inverse else "forward_and_log_det"
    moved, log_det = (to_numpy(tensor) for tensor in getattr(layer, direction)(points))
    np.testing.assert_array_equal(moved, points)
    np.testing.assert_array_equal(log_det, np.zeros((2, 3), dtype))
    assert not layer.weights


@pytest.mark.parametrize("pattern", [["planar"], ["radial"], ["planar", "planar"]])
def test_the_flows_of_a_stack_start_with_different_values(pattern):
    layer = FlowStack(pattern, 8, seed=0)
    layer.build((None, 2))
    for name in ("u", "w", "b") if pattern[0] == "planar" else ("center", "beta"):
        starts = np.concatenate([to_numpy(raw[name].value) for raw in layer.parameters])
        assert len(np.unique(starts, axis=0)) == 8


def test_an_unknown_flow_names_the_nearest_one():
    with pytest.raises(ConfigError, match=r"did you mean 'planar'.*planer"):
        FlowStack(["radial", "planer"], 2)


def test_a_flow_unlike_any_other_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match=r"expected one of planar, radial"):
        FlowStack(["spline"], 2)


@pytest.mark.parametrize("pattern", [[], (), "planar", 5, None, {"planar": 1}])
def test_a_pattern_that_is_no_list_of_flows_is_refused(pattern):
    with pytest.raises(ConfigError, match=r"expected a list of one or more flows.*Received: pat"):
        FlowStack(pattern, 2)


@pytest.mark.parametrize("pattern", [["planr"], [3], [["planar"]], ["planar", None]])
def test_what_is_no_flow_is_refused_with_those_there_are(pattern):
    with pytest.raises(ConfigError, match=r"unknown flow.*expected one of planar, radial"):
        FlowStack(pattern, 3)


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


@every_pattern
def test_a_stack_restarts_as_one_of_another_seed(pattern, k):
    restarted, new = (FlowStack(pattern, k, seed=seed) for seed in (3, 7))
    for stack in (restarted, new):
        stack.build((None, 2))
    restarted.restart(7)
    assert restarted.seed == 7
    for got, expected in zip(restarted.weights, new.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(got.value), to_numpy(expected.value))


def test_a_stack_that_restarts_before_it_is_built_starts_there():
    restarted, new = FlowStack(["planar"], 2, seed=3), FlowStack(["planar"], 2, seed=7)
    restarted.restart(7)
    points = np.ones((4, 2), "float32")
    np.testing.assert_array_equal(to_numpy(restarted(points)[0]), to_numpy(new(points)[0]))
