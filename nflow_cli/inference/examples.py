"""Example densities of ``nflow infer``, with known log Z and moments."""

import math

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.constants import LOG_2PI
from nflow_cli.densities.target import Target


class Example(Target):
    """A density with a known ``log_z``.

    Attributes:
        moments: Mean and standard deviation of some coordinates, by their index.
    """

    moments: dict[int, tuple[float, float]]

    def __init__(self, dim: int):
        self.dim = dim
        self.moments = {}


class Funnel(Example):
    """Neal's funnel: ``v ~ N(0, 3²)``, ``x_i ~ N(0, e^v)``.

    References:
        Neal, *Slice sampling*, 2003, section 8.
    """

    log_z = 0.0
    log_z_source = "exact"

    def __init__(self, dim: int = 10):
        super().__init__(dim)
        self.moments = {0: (0.0, 3.0)}

    def log_prob(self, z: Tensor) -> Tensor:
        v = z[..., 0]
        x = z[..., 1:]
        n = self.dim - 1
        squares = ops.sum(x * x, axis=-1) * ops.exp(-v)
        level = self.dim * LOG_2PI + 2 * math.log(3.0)
        return -0.5 * (v * v / 9.0 + squares + n * v + level)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        v = 3.0 * rng.standard_normal((n, 1))
        x = np.exp(v / 2) * rng.standard_normal((n, self.dim - 1))
        return np.concatenate([v, x], axis=1)


class ManyWell(Example):
    """Energy ``Σ x_1⁴ - 6x_1² - ½x_1 + ½x_2²`` over D/2 pairs, with 2^(D/2) modes.

    The left mode of a pair has 15.6 % of its mass.

    References:
        Midgley et al., *Flow annealed importance sampling bootstrap*, 2023, arXiv 2208.01893.
    """

    log_z_source = "quadrature"
    log_z_of_a_pair = 10.2934797070804

    def __init__(self, dim: int = 2):
        super().__init__(dim)
        self.log_z = self.log_z_of_a_pair * (dim // 2)

    def log_prob(self, z: Tensor) -> Tensor:
        first = z[..., 0::2]
        second = z[..., 1::2]
        squares = first * first
        energy = squares * (squares - 6.0) - 0.5 * first + 0.5 * second * second
        return -ops.sum(energy, axis=-1) - self.log_z

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples, double wells by an inverse CDF on a fine grid."""
        x = rng.standard_normal((n, self.dim))
        grid = np.linspace(-4.0, 4.0, 20001)
        pdf = np.exp(-(grid**4) + 6 * grid**2 + 0.5 * grid)
        cdf = np.cumsum(pdf) - pdf / 2
        x[:, 0::2] = np.interp(rng.random((n, self.dim // 2)), cdf / cdf[-1], grid)
        return x


class Banana(Example):
    """Bent Gaussian: ``x_1 ~ N(0, 1)``, ``x_2 ~ N(x_1², 0.3²)``."""

    log_z = 0.0
    log_z_source = "exact"
    width = 0.3

    def __init__(self, dim: int = 2):
        super().__init__(dim)
        self.moments = {0: (0.0, 1.0), 1: (1.0, math.sqrt(2 + self.width**2))}

    def log_prob(self, z: Tensor) -> Tensor:
        off = (z[..., 1] - z[..., 0] * z[..., 0]) / self.width
        return -0.5 * (z[..., 0] * z[..., 0] + off * off) - LOG_2PI - math.log(self.width)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        first, second = rng.standard_normal((2, n))
        return np.stack([first, first**2 + self.width * second], axis=-1)


class EightSchools(Example):
    """Eight schools, a hierarchical model in the centred parameterisation.

    ``avg_effect ~ N(0, 10²)``, ``log_stddev ~ N(5, 1)``,
    ``effect_j ~ N(avg_effect, e^(2 log_stddev))``, and the data ``y_j ~ N(effect_j, σ_j²)``. log Z
    and moments by quadrature over the first two, given which the effects are normal.

    References:
        Rubin, *Estimation in parallel randomized experiments*, 1981.
    """

    log_z = -36.1308159
    log_z_source = "quadrature"
    effects = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
    errors = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)

    def __init__(self, dim: int = 10):
        super().__init__(dim)
        self.moments = {0: (5.79904, 5.44723), 1: (2.45057, 0.51284)}

    def log_prob(self, z: Tensor) -> Tensor:
        average = z[..., 0]
        log_spread = z[..., 1]
        effects = z[..., 2:]
        effect_level = sum(math.log(error) for error in self.errors)
        level = -0.5 * 18 * LOG_2PI - math.log(10.0) - effect_level - self.log_z
        away = (effects - average[..., None]) * ops.exp(-log_spread)[..., None]
        off = (effects - np.array(self.effects, "float32")) / np.array(self.errors, "float32")
        squares = ops.sum(away * away + off * off, axis=-1)
        prior = average * average / 100.0 + (log_spread - 5.0) ** 2
        return level - 0.5 * (prior + squares) - 8 * log_spread


class Gmm40(Example):
    """40 equal Gaussians of standard deviation log(1 + e), with means drawn from [-40, 40]².

    References:
        Midgley et al., *Flow annealed importance sampling bootstrap*, 2023, arXiv 2208.01893.
    """

    log_z = 0.0
    log_z_source = "exact"
    width = math.log1p(math.e)
    means = np.array(
        [
            [-0.2995, 21.4577],
            [-32.9218, -29.4376],
            [-15.4062, 10.7263],
            [-0.7925, 31.7156],
            [-3.5498, 10.5845],
            [-12.0885, -7.8626],
            [-38.2139, -26.4913],
            [-16.4889, 1.4817],
            [15.8134, 24.0009],
            [-27.1176, -17.4185],
            [14.5287, 33.2155],
            [-8.2320, 29.9325],
            [-6.4473, 4.2326],
            [36.2190, -37.1068],
            [-25.1815, -10.1266],
            [-15.5920, 34.5600],
            [-25.9272, -18.4133],
            [-27.9456, -37.4624],
            [-23.3496, 34.3839],
            [17.8487, 19.3869],
            [2.1037, -20.5073],
            [6.7674, -37.3478],
            [-28.9026, -20.6212],
            [25.2375, 23.4528],
            [-17.7398, -1.4433],
            [25.5824, 39.7653],
            [15.8753, 5.4037],
            [26.8195, -23.5521],
            [7.4538, -31.0122],
            [-27.7234, -20.6633],
            [18.0989, 16.0864],
            [-23.6941, 12.0843],
            [21.9589, -5.0487],
            [1.5273, 9.2682],
            [24.8151, 38.4078],
            [-30.8249, -14.6588],
            [15.7204, 33.1420],
            [34.8083, 35.2943],
            [7.9606, -34.7833],
            [3.6797, -25.0242],
        ]
    )

    def __init__(self, dim: int = 2):
        super().__init__(dim)

    def log_prob(self, z: Tensor) -> Tensor:
        off = (z[..., None, :] - self.means.astype("float32")) / self.width
        level = -LOG_2PI - 2 * math.log(self.width) - math.log(len(self.means))
        return level + ops.logsumexp(-0.5 * ops.sum(off * off, axis=-1), axis=-1)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        components = rng.integers(len(self.means), size=n)
        return self.means[components] + self.width * rng.standard_normal((n, 2))
