import numpy as np
import pytest
from catalogue import gradients, to_numpy
from keras import ops

from nflow_cli.flows.memo import Memo


@pytest.mark.parametrize("batch", [1, 4], ids=["shared", "rows"])
@pytest.mark.parametrize(
    ("lead", "leading"),
    [((), ()), ((), (3,)), ((3,), (3,)), ((3, 1), (3, 2)), ((3,), (2, 3))],
    ids=str,
)
def test_dense_is_the_product_of_each_point_with_its_matrix(batch, lead, leading):
    rng = np.random.default_rng(0)
    weights, points = (
        rng.standard_normal((*lead, 5, 2, batch)),
        rng.standard_normal((*leading, 2, 4)),
    )
    got = to_numpy(Memo().dense(ops.convert_to_tensor(weights), ops.convert_to_tensor(points)))
    every = np.broadcast_to(weights, (*leading, 5, 2, 4))
    expected = np.zeros((*leading, 5, 4))
    for *at, row in np.ndindex(*leading, 4):
        expected[(*at, ..., row)] = every[(*at, ..., row)] @ points[(*at, ..., row)]
    np.testing.assert_allclose(got, expected, 1e-14, 1e-14)


def test_no_gradient_passes_through_a_root():
    def value(x):
        return ops.sum(x * Memo().root(ops.sqrt, x))

    x = np.array([1.0, 4.0, 9.0])
    np.testing.assert_array_equal(gradients(value, x)[0], np.sqrt(x))
