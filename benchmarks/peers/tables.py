"""Fits of a table by other libraries, each as its own defaults and examples have it.

Each validates by a tenth of the rows, and keeps the weights of the best validation. Nothing of
nflow is imported.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

RATE, BATCH = 1e-3, 512  # of zuko, which has no training loop
BLOCK = 10_000  # rows judged at a time


LogProb = Callable[[np.ndarray], np.ndarray]  # rows (n, D) to nats (n,); -inf or NaN for none


def in_blocks(log_prob: Callable[[np.ndarray], Any]) -> LogProb:
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


def zuko(x: np.ndarray, seed: int, updates: int) -> LogProb:
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

    while updates > 0:
        for rows in torch.randperm(len(train)).split(BATCH)[:updates]:
            adam.zero_grad()
            (-flow().log_prob(train[rows]).mean()).backward()
            adam.step()
            updates -= 1
        loss = -float(in_blocks(log_prob)(validation).mean())
        if loss < best:
            best, weights = loss, {key: value.clone() for key, value in flow.state_dict().items()}
    flow.load_state_dict(weights)
    return in_blocks(lambda rows: log_prob(torch.from_numpy(inside(rows))) + log_det)


def flowjax(x: np.ndarray, seed: int, epochs: int) -> LogProb:
    """Fit ``masked_autoregressive_flow`` to standardised columns by ``fit_to_data``."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    inside, log_det = standardised(x)
    flow_key, train_key = jax.random.split(jax.random.key(seed))
    base = Normal(jnp.zeros(x.shape[1]))
    flow = masked_autoregressive_flow(flow_key, base_dist=base)
    flow, _ = fit_to_data(train_key, flow, inside(x), max_epochs=epochs, show_progress=False)
    log_prob = eqx.filter_jit(flow.log_prob)
    return in_blocks(lambda rows: log_prob(inside(rows)) + log_det)


def pzflow(x: np.ndarray, seed: int, epochs: int) -> LogProb:
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
    flow.train(train, validation, epochs=epochs, seed=seed)

    def log_prob(rows: np.ndarray) -> np.ndarray:
        log_q = np.asarray(flow.log_prob(pd.DataFrame(rows, columns=names)))
        least = np.finfo(log_q.dtype).min  # what it writes for rows outside its bounds
        return np.where(log_q == least, -np.inf, log_q)

    return in_blocks(log_prob)


PEERS: dict[str, Callable[[np.ndarray, int, int], LogProb]] = {
    "zuko": zuko,
    "flowjax": flowjax,
    "pzflow": pzflow,
}


def fit(peer: str, folder: str, seed: int, length: int) -> dict[str, float]:
    """Fit the rows of a folder, and write the log-densities of its fresh ones; return seconds."""
    start = time.perf_counter()
    rows = np.load(f"{folder}/rows.npz")
    log_prob = PEERS[peer](rows["x"], seed, length)
    seconds = time.perf_counter() - start
    np.save(f"{folder}/log_q.npy", log_prob(rows["fresh"]))
    return {"seconds": seconds}
