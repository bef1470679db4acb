"""Defensive importance sampling: weights of draws of ``q`` and of a wide neighbour.

Weights ``p/q_α``, ``q_α = a q + (1 - a) wide`` with the shares of both in the draws, are bounded
where ``p/q`` is not. The mean of ``q/q_α`` is 1: as a control variate it makes the estimates no
worse than by ``q`` alone where ``q`` is good.

References:
    Owen & Zhou, *Safe and effective importance sampling*, 2000.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.evaluation.importance import largest_of, smoothed, tail_of, unseen

LARGE = 2.0  # weight, relative to the mean


class Draws(NamedTuple):
    """Log-densities ``(n,)`` in nats at draws of ``q`` and of ``wide``.

    Attributes:
        log_q: ``log q``.
        log_mix: ``log q_α``.
        log_p: ``log p``, up to a constant.
        strata: The flow of ``q`` that each is of, or less than 0 for a part of ``wide``.
    """

    log_q: np.ndarray
    log_mix: np.ndarray
    log_p: np.ndarray
    strata: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """Which are draws of ``q``."""
        return self.strata >= 0

    @property
    def alone(self) -> "Draws":
        """Draws of ``q`` without ``wide``."""
        arrays = (self.log_q, self.log_q, self.log_p, self.strata)
        return Draws(*(array[self.own] for array in arrays))


class Weights:
    """Importance weights of draws, with the control variate.

    Sums with :attr:`shares` are ratios of two estimates with the control variate: ``Σ s f`` is the
    mean of ``f`` under ``p``.

    Attributes:
        log_z: Estimate of ``log ∫p``, in nats.
        largest: Logarithm of the largest weight ``p/q_α``, relative to ``∫p``.
        tail: Their largest, smoothed too.
        k: k-hat; at most 0 if none is :data:`LARGE`, so that a heavy tail is not that of Σ w².
        plain: Weights, divided by their estimated sum ``(n,)``.
        shares: The same with the control variate, of sum 1.
        control: The control variate less its means in the strata ``(n,)``; ``square``, its norm.
        strata: Of each draw, from 0; ``counts``, their sizes.
    """

    def __init__(self, draws: Draws):
        log_weights = log_ratio(draws.log_p, draws.log_mix)
        self.tail, (w, highest) = smoothed(log_weights), scaled(log_weights)
        excess = np.expm1(log_ratio(draws.log_q, draws.log_mix))
        sources = np.unique(draws.strata, return_inverse=True, return_counts=True)
        _, self.strata, self.counts = sources
        self.control = self.within(excess)
        self.square = float(self.control @ self.control) or math.inf
        known = w * np.maximum(1 - excess.sum() / self.square * self.control, 0.0)
        self.plain, self.shares = w / known.sum(), known / known.sum()
        self.log_z = math.log(known.mean()) + highest
        self.largest = float(log_weights.max()) - self.log_z
        self.k = self.tail.k if self.largest > math.log(LARGE) else min(self.tail.k, 0.0)

    def within(self, terms: np.ndarray) -> np.ndarray:
        """Terms ``(n,)`` of a sum less their means in the strata: its error is their norm."""
        return terms - (np.bincount(self.strata, terms) / self.counts)[self.strata]

    def terms(self, values: Any = 1.0) -> np.ndarray:
        """Terms ``(n,)`` of the mean of values ``(n,)`` of mean 0 under ``p``, whose error is their
        norm; by default those of :attr:`log_z`.
        """
        within = self.within(self.plain * values)
        return within - (within @ self.control) / self.square * self.control

    def error(self, values: np.ndarray) -> tuple[float, float]:
        """Standard error of that mean, with what a rough tail may lack, and k-hat of its terms."""
        sizes, terms = np.abs(self.plain * values), self.terms(values)
        log_sizes = largest_of(np.log(sizes))
        tail = tail_of(log_sizes)
        lacks = float(sizes.max()) * unseen(tail, log_sizes)
        return math.hypot(math.sqrt(terms @ terms), lacks), tail.k

    @property
    def unseen(self) -> float:
        """Part of :attr:`log_z` that a rough tail may lack, in nats."""
        return self.tail.unseen * float(self.plain.max())


def log_ratio(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """``log p/q`` ``(n,)``, ``-inf`` where one is no number."""
    return np.where(np.isfinite(log_p) & np.isfinite(log_q), log_p - log_q, -math.inf)


def scaled(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights ``(n,)`` relative to the largest, and its logarithm; equal ones if all are 0."""
    highest = float(log_weights.max())
    if not math.isfinite(highest):  # p is finite nowhere
        return np.full(len(log_weights), 1.0), -math.inf
    return np.exp(log_weights - highest), highest
