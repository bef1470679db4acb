"""Built-in sets of points in the plane, drawn from a random generator. No Keras here."""

import numpy as np


def two_moons(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw points ``(n, 2)`` about two half circles of radius 1 that reach into each other.

    The upper one is ``(cos t, sin t)``, the lower ``(1 - cos t, 1/2 - sin t)``, ``t`` uniform in
    [0, π]; the noise is N(0, 0.1^2 I).
    """
    t, lower = rng.uniform(0, np.pi, n), rng.random(n) < 0.5
    arc = np.stack([np.cos(t), np.sin(t)], axis=-1)
    return np.where(lower[:, None], [1, 0.5] - arc, arc) + 0.1 * rng.standard_normal((n, 2))


def pinwheel(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw points ``(n, 2)`` on five bent arms.

    Of one arm, ``(r, s)`` is from N((2, 0), diag(0.6^2, 0.2^2)); it is turned by
    ``0.25 e^(r/2)``, and by a fifth of the circle from arm to arm.
    """
    arm = rng.integers(5, size=n)
    r, s = 2 + 0.6 * rng.standard_normal(n), 0.2 * rng.standard_normal(n)
    angle = 2 * np.pi / 5 * arm + 0.25 * np.exp(r / 2)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * r - sin * s, sin * r + cos * s], axis=-1)


def eight_gaussians(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw points ``(n, 2)`` from eight Gaussians, N(μ, 0.2^2 I), on a circle of radius 2."""
    angle = np.pi / 4 * rng.integers(8, size=n)
    centres = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return centres + 0.2 * rng.standard_normal((n, 2))


def spirals(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw points ``(n, 2)`` about two spirals that wind one and a half times about 0.

    They are ``±(-cos t, sin t) t / 3``, ``t = 3π √u``, ``u`` uniform in [0, 1]; the noise is
    N(0, 0.1^2 I).
    """
    t, sign = 3 * np.pi * np.sqrt(rng.random(n)), rng.choice([-1.0, 1.0], n)
    arm = (sign * t / 3)[:, None] * np.stack([-np.cos(t), np.sin(t)], axis=-1)
    return arm + 0.1 * rng.standard_normal((n, 2))
