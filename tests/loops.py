"""A small trainer and what it is fed, for tests of the training loop."""

import numpy as np
from keras import ops

from nflow_cli.config.run_config import Train
from nflow_cli.training.chunks import Chunks
from nflow_cli.training.observers import Clock, MetricsLog, ProgressReport
from nflow_cli.training.session import Session
from nflow_cli.training.trainer import ChunkTrainer, inverse_temperature

UPDATES = 23
NOISE = np.random.default_rng(0).standard_normal((UPDATES, 16, 2)).astype("float32")


class Bend(ChunkTrainer):
    """Two weights, bent towards a half; enough to see every part of the trainer at work."""

    terms = ("loss", "kl", "beta")

    def __init__(self, anneal_updates=0):
        super().__init__()
        self.anneal_updates = anneal_updates
        self.bend = self.add_weight(shape=(2,), initializer="ones", name="bend")
        self.built = True

    def objective(self, batch, update):
        beta = inverse_temperature(update, self.anneal_updates, 0.01)
        kl = ops.mean(ops.square(ops.tanh(self.bend * batch + 1.0) - 0.5))
        return {"loss": beta * kl, "kl": kl, "beta": beta}


class Slices(Chunks):
    """One array of noise, in chunks; what lies beyond its end is not a number."""

    def __init__(self, noise, chunk):
        self.noise, self.chunk, self.first = noise, chunk, 0

    def start_at(self, update):
        self.first, rest = divmod(update, self.chunk)
        assert rest == 0

    def __len__(self):
        return -(-len(self.noise) // self.chunk) - self.first

    def __getitem__(self, index):
        index += self.first
        part = self.noise[index * self.chunk : (index + 1) * self.chunk]
        chunk = np.full((self.chunk, *part.shape[1:]), np.nan, "float32")
        chunk[: len(part)] = part
        return chunk, np.array([len(part)], np.int32)


def settings(**changes):
    return Train(**{"steps": UPDATES, "learning_rate": 0.05, **changes})


def logger(rows, clock, chunks_per_row=1):
    log = MetricsLog(clock, chunks_per_row)
    log.add_row = rows.append
    return log


def session(log, steps, observers=()):
    """Return a session of a training that is saved nowhere, so that it needs no config."""
    progress = ProgressReport(steps, log.clock, lambda logs: "")
    return Session(None, steps, None, log=log, progress=progress, observers=observers)


def fit(model, chunk, train, noise=NOISE, observers=(), chunks_per_row=1):
    """Train as a fit does; return the rows that were logged, and the clock."""
    rows, clock = [], Clock()
    model.prepare(train, train.steps)
    log = logger(rows, clock, chunks_per_row)
    more = [make(clock) for make in observers]
    with session(log, train.steps, more) as open_session:
        open_session.fit(model, Slices(noise, chunk))
    return rows, clock
