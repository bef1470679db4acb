"""Fits of a table by other libraries, each as its own defaults and examples have it.

Each validates by a tenth of the rows, and keeps the weights of the best validation. Nothing of
nflow is imported.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

RATE, BATCH = 1e-3, 512  # of zuko, which has no training loop
BLOCK = 10_000  # rows judged at a time


class Fit(NamedTuple):
    """A trained density.

    Attributes:
        log_prob: Rows ``(n, D)`` to their log-densities ``(n,)`` in nats, float64; ``-inf`` or NaN
            where a row has none.
        seconds: Of the training, with compiling, by what they went into.
    """

    log_prob: Callable[[np.ndarray], np.ndarray]
    seconds: dict[str, float]


class Clock:
    """When training began and when each epoch ended.

    The first two epochs compile: pzflow does so for its first update, for the next ones, whose
    weights are of another type, and for a last batch that is smaller.
    """

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def tick(self) -> None:
        """Note that an epoch has ended."""
        self.times.append(time.perf_counter())

    def seconds(self) -> dict[str, float]:
        """Return the seconds until now, by the median epoch after the first two.

        What is not of such epochs is compiling, and what a library does once beside it.
        """
        total = time.perf_counter() - self.times[0]
        spans = np.diff(self.times)
        epoch = float(np.median(spans[2:] if len(spans) > 2 else spans))
        once = total - len(spans) * epoch
        return {
            "epochs": len(spans),
            "train_seconds": total,
            "seconds_per_epoch": epoch,
            "compile_seconds": once,
            "extrapolated_train_seconds_of_100_epochs": once + 100 * epoch,
        }


@contextmanager
def epochs_timed(module: Any) -> Iterator[Clock]:
    """Time the epochs of a library's own loop by the bar of progress that its module draws."""
    clock = Clock()

    class Bar(module.tqdm):
        def __init__(self, epochs: Any, **_: Any) -> None:
            super().__init__(epochs, disable=True)

        def __iter__(self) -> Iterator[Any]:
            for epoch in super().__iter__():
                yield epoch
                clock.tick()

    with mock.patch.object(module, "tqdm", Bar):
        yield clock


def in_blocks(log_prob: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a log-density over so many rows at a time that they fit in memory."""

    def judged(x: np.ndarray) -> np.ndarray:
        blocks = [x[i : i + BLOCK] for i in range(0, len(x), BLOCK)]
        return np.concatenate([np.asarray(log_prob(block), np.float64) for block in blocks])

    return judged


def standardised(x: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Return the map ``z = (x - mean) / scale`` by rows ``(n, D)``, and ``log|det dz/dx|``."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    return lambda rows: ((rows - mean) / scale).astype(np.float32), -float(np.log(scale).sum())


def split(x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on, and a tenth at random to validate by."""
    validation, train = np.split(np.random.default_rng(seed).permutation(x), [len(x) // 10])
    return train, validation


def zuko(x: np.ndarray, seed: int, updates: int) -> Fit:
    """Fit ``NSF(D)`` to standardised columns: Adam at 1e-3, 512 rows an update."""
    import torch
    import zuko

    torch.manual_seed(seed)
    inside, log_det = standardised(x)
    train, validation = (torch.from_numpy(inside(part)) for part in split(x, seed))
    flow = zuko.flows.NSF(x.shape[1])
    adam = torch.optim.Adam(flow.parameters(), RATE)
    best, weights = np.inf, flow.state_dict()

    def log_prob(z: Any) -> Any:
        with torch.no_grad():
            return flow().log_prob(z)

    clock = Clock()
    while updates > 0:
        for rows in torch.randperm(len(train)).split(BATCH)[:updates]:
            adam.zero_grad()
            (-flow().log_prob(train[rows]).mean()).backward()
            adam.step()
            updates -= 1
        loss = -float(in_blocks(log_prob)(validation).mean())
        if loss < best:
            best, weights = loss, {key: value.clone() for key, value in flow.state_dict().items()}
        clock.tick()
    seconds = clock.seconds()
    flow.load_state_dict(weights)
    return Fit(in_blocks(lambda rows: log_prob(torch.from_numpy(inside(rows))) + log_det), seconds)


def flowjax(x: np.ndarray, seed: int, epochs: int) -> Fit:
    """Fit ``masked_autoregressive_flow`` to standardised columns by ``fit_to_data``."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data, loops

    inside, log_det = standardised(x)
    flow_key, train_key = jax.random.split(jax.random.key(seed))
    base = Normal(jnp.zeros(x.shape[1]))
    flow = masked_autoregressive_flow(flow_key, base_dist=base)
    with epochs_timed(loops) as clock:
        flow, _ = fit_to_data(train_key, flow, inside(x), max_epochs=epochs)
        seconds = clock.seconds()
    log_prob = eqx.filter_jit(flow.log_prob)
    return Fit(in_blocks(lambda rows: log_prob(inside(rows)) + log_det), seconds)


def pzflow(x: np.ndarray, seed: int, epochs: int) -> Fit:
    """Fit ``Flow(columns)`` by its ``train``; it takes two columns or more.

    It scales columns by the extremes of the training rows and has no density far beyond them: one
    such row of the validation would make every epoch's loss as bad as the first one's, whose
    weights would be kept. So rows beyond these extremes do not validate.
    """
    import pandas as pd
    import pzflow.flow as pz

    names = [f"x{i + 1}" for i in range(x.shape[1])]
    train, validation = split(x, seed)
    within = (validation >= train.min(axis=0)) & (validation <= train.max(axis=0))
    parts = (train, validation[within.all(axis=1)])
    train, validation = (pd.DataFrame(part, columns=names) for part in parts)
    flow = pz.Flow(names)
    with epochs_timed(pz) as clock:
        flow.train(train, validation, epochs=epochs, seed=seed, progress_bar=True)
        seconds = clock.seconds()

    def log_prob(rows: np.ndarray) -> np.ndarray:
        log_q = np.asarray(flow.log_prob(pd.DataFrame(rows, columns=names)))
        least = np.finfo(log_q.dtype).min  # what it writes for rows outside its bounds
        return np.where(log_q == least, -np.inf, log_q)

    return Fit(in_blocks(log_prob), seconds)


PEERS: dict[str, Callable[[np.ndarray, int, int], Fit]] = {
    "zuko": zuko,
    "flowjax": flowjax,
    "pzflow": pzflow,
}


def fit(peer: str, folder: str, seed: int, length: int) -> dict[str, float]:
    """Fit the rows of a folder, and write the log-densities of its fresh ones; return seconds."""
    start = time.perf_counter()
    rows = np.load(f"{folder}/rows.npz")
    log_prob, seconds = PEERS[peer](rows["x"], seed, length)
    seconds = {"seconds": time.perf_counter() - start, **seconds}
    np.save(f"{folder}/log_q.npy", log_prob(rows["fresh"]))
    return seconds
