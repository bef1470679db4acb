"""What the tests hold the code to: densities written out again in NumPy, and quadrature."""

from contextlib import contextmanager
from itertools import product

import keras
import numpy as np
import pytest
from keras import ops

from nflow_cli.flows.planar import Planar
from nflow_cli.flows.radial import Radial

LOG_2PI = np.log(2 * np.pi)

if keras.config.backend() == "jax":
    import jax

    # Without it JAX turns every float64 into a float32.
    jax.config.update("jax_enable_x64", True)

needs_float64 = pytest.mark.skipif(
    keras.config.backend() == "jax", reason="Keras computes sin and tanh in float32 on JAX"
)


@contextmanager
def float64():
    """Compute in float64 throughout; decorates a test."""
    before = keras.config.floatx()
    keras.config.dtype_policy()  # the first layer fixes it for good: not one in here
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def to_numpy(tensor):
    # Keras's own conversion of a torch tensor warns under NumPy 2.
    tensor = ops.convert_to_tensor(tensor)
    return np.asarray(tensor.detach() if hasattr(tensor, "detach") else tensor)


def call(function, points):
    """Run a function of a tensor on an array; return an array."""
    return to_numpy(function(ops.convert_to_tensor(points)))


def gradient(function, points):
    """Return the gradient of the sum of ``function(points)``, as an array."""
    points = ops.convert_to_tensor(points)
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(points)
            value = function(points)
        return to_numpy(tape.gradient(value, points, unconnected_gradients="zero"))
    if backend == "jax":
        import jax

        return to_numpy(jax.grad(lambda p: ops.sum(function(p)))(points))
    import torch

    points = points.requires_grad_()
    total = function(points).sum() + 0 * points.sum()
    return to_numpy(torch.autograd.grad(total, points)[0])


def central_differences(function, step=3e-4):
    """Return the derivative of ``function`` at 0, to fourth order in ``step``."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def dense_jacobian(function, points):
    """Return ``d function / d points`` ``(batch, D, D)`` by central differences."""
    batch, dim = points.shape

    def shifted(step):
        # All D shifts of all points go through the flow in one call.
        rows = points[:, None, :] + step * np.eye(dim)
        return function(rows.reshape(-1, dim)).reshape(batch, dim, dim)

    return np.swapaxes(central_differences(shifted), 1, 2)


def normal_log_prob(z, mean=(0.0, 0.0), covariance=((1.0, 0.0), (0.0, 1.0))):
    """Return the log-density of a multivariate Gaussian."""
    away = np.asarray(z) - np.asarray(mean)
    covariance = np.asarray(covariance)
    squared = np.einsum("...i,ij,...j->...", away, np.linalg.inv(covariance), away)
    return -0.5 * (squared + np.linalg.slogdet(covariance)[1] + len(covariance) * LOG_2PI)


def mixture_log_prob(z, weights, means, covariances):
    weights = np.asarray(weights) / np.sum(weights)
    parts = [np.log(w) + normal_log_prob(z, m, c) for w, m, c in zip(weights, means, covariances)]
    return np.logaddexp.reduce(parts)


class Grid:
    """A grid of equal steps, for the trapezoidal rule on what vanishes at its border."""

    def __init__(self, half_width, n):
        half_widths = np.broadcast_to(half_width, 2)
        self.axes = [np.linspace(-h, h, n) for h in half_widths]
        self.points = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1)
        self.cell = np.prod([axis[1] - axis[0] for axis in self.axes])

    def integral(self, values):
        inner = values[1:-1, 1:-1].sum() + values[[0, -1], 1:-1].sum() / 2
        sides = values[1:-1, [0, -1]].sum() / 2
        corners = values[[0, 0, -1, -1], [0, -1, 0, -1]].sum() / 4
        return (inner + sides + corners) * self.cell


def kl_divergence(log_q, log_p, grid):
    """Return ``∫ q (log q - log p)`` in nats."""
    q = np.exp(log_q)
    return grid.integral(np.where(q > 0, q * (log_q - log_p), 0.0))


def bin_masses(density, edges, inner=30):
    """Return the mass of a density in every square of a grid, by midpoints inside each."""
    width = (edges[1] - edges[0]) / inner
    middle = edges[0] + width * (np.arange(inner * (len(edges) - 1)) + 0.5)
    points = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1)
    bins = len(edges) - 1
    return density(points).reshape(bins, inner, bins, inner).sum((1, 3)) * width**2


def chi_square_excess(samples, density, half_width, bins=16):
    """Return how many standard deviations the samples' chi-square lies above its mean.

    Squares with fewer than 20 expected samples, and the outside, are taken together.
    """
    edges = np.linspace(-half_width, half_width, bins + 1)
    counts, _, _ = np.histogram2d(*samples.T, bins=[edges, edges])
    expected = len(samples) * bin_masses(density, edges)
    full = expected >= 20
    observed = np.append(counts[full], len(samples) - counts[full].sum())
    expected = np.append(expected[full], len(samples) - expected[full].sum())
    degrees = len(expected) - 1
    chi_square = np.sum((observed - expected) ** 2 / expected)
    return (chi_square - degrees) / np.sqrt(2 * degrees)


def kolmogorov_smirnov(samples, grid_axis, margin):
    """Return ``√n sup|F_n - F|``, with ``F`` the cumulated ``margin`` on ``grid_axis``."""
    steps = np.diff(grid_axis) * (margin[1:] + margin[:-1]) / 2
    cumulated = np.concatenate([[0.0], np.cumsum(steps)])
    f = np.interp(np.sort(samples), grid_axis, cumulated / cumulated[-1])
    n = len(samples)
    rank = np.arange(n)
    return np.sqrt(n) * max(np.max(f - rank / n), np.max((rank + 1) / n - f))


def all_signs(*values):
    """Return every point ``(±a, ±b)`` with ``a`` and ``b`` among ``values``."""
    signed = sorted({s * v for v in values for s in (1, -1)})
    return np.array(list(product(signed, signed)), dtype=float)


def softplus(x):
    return np.logaddexp(0.0, x)


def planar(z, u, w, b):
    """Run one planar flow as the paper writes it (arXiv 1505.05770, eqs. 10-12 and A.1)."""
    wu = w @ u
    u_hat = u + ((softplus(wu) - 1) - wu) * w / (w @ w)
    h = np.tanh(z @ w + b)
    return z + h[..., None] * u_hat, np.log(np.abs(1 + (1 - h**2) * (w @ u_hat)))


def radial(z, center, alpha, beta):
    """Run one radial flow as the paper writes it (arXiv 1505.05770, eq. 14 and A.2)."""
    alpha = softplus(alpha)
    beta_hat = softplus(beta) - alpha
    r = np.sqrt(np.sum((z - center) ** 2, -1))
    h, slope = 1 / (alpha + r), -1 / (alpha + r) ** 2
    moved = z + beta_hat * h[..., None] * (z - center)
    dim = z.shape[-1]
    return moved, (dim - 1) * np.log1p(beta_hat * h) + np.log1p(beta_hat * h + beta_hat * slope * r)


def push(stack, z):
    """Run a stack's weights through the paper's formulas: points and log-determinants."""
    z, log_det = np.asarray(z, float), 0.0
    for step in stack.composition().steps():
        weights = {
            name: np.asarray(to_numpy(value), float)[0, ..., 0]
            for name, value in step.weights.items()
        }
        z, change = {Planar: planar, Radial: radial}[type(step.map)](z, **weights)
        log_det = log_det + change
    return z, np.broadcast_to(log_det, z.shape[:-1])
