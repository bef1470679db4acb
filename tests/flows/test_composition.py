import numpy as np
import pytest
from catalogue import FULL, ON_JAX, WIDTH, eps_of, to_numpy

from nflow_cli.flows import FlowStack

POINTS = np.random.default_rng(1).standard_normal((2, 4, 3))
CONTEXT = np.random.default_rng(2).standard_normal((4, WIDTH))

both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
with_and_without_context = pytest.mark.parametrize(
    "context", [None, CONTEXT], ids=["plain", "context"]
)


def stack_of(context, pattern=("radial", FULL), k=3, affine=None):
    """Return a stack whose weights are not those of its start."""
    layer = FlowStack(list(pattern), k, seed=0, affine=affine, dtype="float64")
    layer.build(POINTS.shape, *([] if context is None else [context.shape]))
    for weight in layer.weights:
        weight.assign(to_numpy(weight.value) + 0.2)
    return layer


@with_and_without_context
@pytest.mark.parametrize("affine", [None, "full"] if ON_JAX else [None, "diagonal", "full"])
@both_ways
def test_its_steps_one_by_one_are_the_run(context, affine, inverse):
    layer = stack_of(context, affine=affine)
    composition = layer.composition(context)
    steps = list(composition.steps())
    assert len(composition) == len(steps) == 3 + (affine is not None)
    points, log_det = POINTS, 0.0
    for step in reversed(steps) if inverse else steps:
        points, change = step.run(points, inverse)
        log_det = log_det + to_numpy(change)
    run = composition.run(POINTS, inverse)
    called = (layer.inverse_and_log_det if inverse else layer.forward_and_log_det)(POINTS, context)
    few_ulp = 64 * eps_of("float64")
    for got, whole, by_steps in zip(called, run, (to_numpy(points), log_det), strict=True):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(whole))
        np.testing.assert_allclose(to_numpy(whole), by_steps, few_ulp, few_ulp)


def test_its_steps_say_which_of_the_maps_they_are():
    steps = list(stack_of(None, affine="full").composition().steps())
    assert [step.name for step in steps] == [
        "flow 1 of 3 (radial)",
        "flow 2 of 3 (affine)",
        "flow 3 of 3 (radial)",
        "the last affine",
    ]
    assert [type(step.map).__name__ for step in steps] == ["Radial", "Affine", "Radial", "Affine"]


@with_and_without_context
def test_the_weights_of_a_step_are_those_of_one_repeat_with_a_batch(context):
    for step in stack_of(context, affine="full").composition(context).steps():
        is_last = step.name == "the last affine"  # whose shift alone depends on the context
        for name, shape in step.map.shapes(3).items():
            batch = 1 if context is None or (is_last and name != "shift") else 4
            assert step.weights[name].shape == (1, *shape, batch)


def test_no_maps_have_no_steps():
    composition = stack_of(None, k=0).composition()
    assert (len(composition), list(composition.steps())) == (0, [])
