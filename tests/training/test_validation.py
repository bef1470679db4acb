"""Whose weights are kept by a validation, those that training begins with among them.

Each member of an ensemble keeps those of its own best.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from loops import NOISE, Bend, Slices, session, settings
from truth import to_numpy

from nflow_cli.config.run_config import EarlyStopping, ValidatedStopping
from nflow_cli.training.observers import Clock, StateError
from nflow_cli.training.stopping import ValidationLog

ENDS = [5, 10, 15, 20, 23]  # updates


def weights_of(model):
    return to_numpy(model.bend.value).tolist()


def trained(losses, state=None, noise=NOISE, **options):
    """Train with these validation losses in turn; return the model, its log, rows and weights.

    With ``state``, the log goes on from it, as from a checkpoint.
    """
    model, rows, weights, left = Bend(), [], [], iter(losses)
    stopping = {"early_stopping": options.get("stopping")}
    model.prepare(settings(chunk=5).model_copy(update=stopping), len(noise))

    def validate():
        weights.append(weights_of(model))
        return next(left)

    log = ValidationLog(Clock(), validate=validate, **options)
    log.add_row = rows.append
    if state:
        log.restore(state)
    with session(log, len(noise)) as open_session:
        open_session.fit(model, Slices(noise, 5))
    return model, log, rows, weights


def test_what_training_begins_with_has_a_row_and_may_be_the_best():
    model, log, rows, weights = trained([1.0, 4.0, 3.0, 2.0, 5.0, 6.0], validates_start=True)
    assert [row["update"] for row in rows] == [0, *ENDS]
    assert [row["validation_loss"] for row in rows] == [1.0, 4.0, 3.0, 2.0, 5.0, 6.0]
    assert list(rows[0]) == list(rows[1])  # metrics.csv has one header
    unknown = {"loss", "kl", "beta", "gradient_norm", "learning_rate", "updates_per_second"}
    assert all(math.isnan(rows[0][name]) for name in unknown)
    assert rows[0]["elapsed_seconds"] == 0.0
    assert (log.last_best_update, log.rows) == (0, 6)
    assert log.best_text(str) == ", best 1.0 at 0"
    assert trained([5.0, 4.0, 3.0, 2.0, 1.0])[1].best_text(str) == ""  # the last is
    assert weights[0] == [1.0, 1.0] != weights_of(model)  # as Bend is initialised
    log.take_best(model)
    assert weights_of(model) == [1.0, 1.0]


@pytest.mark.parametrize("validates_start", [True, False])
def test_later_weights_that_are_better_are_kept(validates_start):
    losses = [3.0, *([9.0] * validates_start), 2.0, 4.0, 5.0, 6.0]
    model, log, rows, weights = trained(losses, validates_start=validates_start)
    assert [row["update"] for row in rows] == [0] * validates_start + ENDS
    best = losses.index(2.0)
    assert log.last_best_update == rows[best]["update"] == 10
    log.take_best(model)
    assert weights_of(model) == weights[best]


def test_a_start_without_a_loss_is_not_the_best_and_patience_counts_from_one_that_is():
    _, log, rows, _ = trained([math.nan, math.inf, 3.0, 2.0, 4.0, 5.0], validates_start=True)
    assert (rows[0]["update"], log.last_best_update) == (0, 15)
    stopping = EarlyStopping(patience=10, min_delta=0.0)
    _, log, rows, _ = trained([1.0, 2.0, 3.0], validates_start=True, stopping=stopping)
    assert ([row["update"] for row in rows], log.last_best_update) == ([0, 5, 10], 0)


def test_a_training_that_goes_on_writes_no_second_row_of_its_start():
    _, log, _, _ = trained([1.0, 4.0, 3.0, 2.0, 5.0, 6.0], validates_start=True)
    model, later, rows, _ = trained([9.0] * 5, state=log.state(), validates_start=True)
    assert [row["update"] for row in rows] == ENDS
    assert (later.last_best_update, later.rows) == (0, 11)
    later.take_best(model)
    assert weights_of(model) == [1.0, 1.0]


def adam(weights, moments, noise, first, rate_at):
    """Updates ``first``, … of Adam on the loss of ``Bend``, by hand."""
    (m, v), w = moments, weights
    for t, batch in enumerate(noise.astype(float), first):
        bent = np.tanh(w * batch + 1)
        gradient = np.mean((bent - 0.5) * (1 - bent**2) * batch, axis=0)  # 2/2: of two columns
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        mean, square = m / (1 - 0.9 ** (t + 1)), v / (1 - 0.999 ** (t + 1))
        w = w - rate_at(t) * mean / (np.sqrt(square) + 1e-7)
    return w, (m, v)


def test_a_stop_goes_back_to_the_best_weights_and_anneals_from_there():
    noise = np.random.default_rng(1).standard_normal((200, 16, 2)).astype("float32")
    losses = [3.0, 1.0, *[2.0] * 100]
    stopping = ValidatedStopping(patience=10)
    model, log, rows, weights = trained(losses, noise=noise, stopping=stopping)
    # Best at 10, no better at 20: 0.15 of them are 3 updates, so there are 50 more.
    assert (log.stopped_at, rows[-1]["update"], log.last_best_update) == (20, 70, 10)

    def cosine(t):
        return 0.05 * np.cos(np.pi / 2 * t / 200) ** 2

    best, (m, v) = adam(np.ones(2), (0.0, 0.0), noise[:10], 0, cosine)
    np.testing.assert_allclose(weights[1], best, rtol=1e-4)
    # Moments of 10 updates, as if they were of 20.
    moments = m * (1 - 0.9**20) / (1 - 0.9**10), v * (1 - 0.999**20) / (1 - 0.999**10)
    end, _ = adam(best, moments, noise[20:70], 20, lambda t: cosine(20) * cosine(4 * t - 80) / 0.05)
    np.testing.assert_allclose(weights_of(model), end, atol=2e-5)
    assert np.abs(end - best).max() > 0.3
    log.take_best(model)
    assert weights_of(model) == weights[1]  # the annealed ones are no better


def test_annealed_weights_are_kept_where_they_are_better():
    noise = np.random.default_rng(1).standard_normal((200, 16, 2)).astype("float32")
    losses = [3.0, 1.0, 2.0, 2.0, *[0.9] * 100]
    model, log, _, weights = trained(losses, noise=noise, stopping=ValidatedStopping(patience=10))
    log.take_best(model)
    assert log.last_best_update == 25 and weights_of(model) == weights[4]


def test_a_fall_within_its_standard_error_restarts_half_of_the_patience():
    rng = np.random.default_rng(0)
    row = rng.standard_normal(50)
    noise = rng.standard_normal(50)
    noise -= noise.mean()
    error = noise.std() / np.sqrt(50)  # of the paired difference, whatever the rows
    for fall, waits in ((1.1 * error, 40), (0.9 * error, 30)):
        losses = [row[None], *[row[None] + 9] * 3, (row + noise - fall)[None], *[row[None]] * 50]
        stopping = ValidatedStopping(patience=40)
        _, log, _, _ = trained(losses, noise=np.repeat(NOISE, 5, 0), stopping=stopping)
        assert log.stopped_at == 25 + waits


LOSSES = [[3.0, 5.0], [2.0, 6.0], [2.5, 4.0], [math.nan, 4.5], [2.2, 4.2], [2.3, 3.9]]


class Model:
    """Weights that say of which update they are, a number for each member."""

    cooled = None

    def __init__(self):
        self.update, self.stop_training = 0, False

    def get_weights(self):
        return [np.full((2, 3), float(self.update)), np.array([10.0, 20.0]) + self.update]

    def set_weights(self, weights):
        self.weights = weights


def log_of(patience=None):
    clock = SimpleNamespace(updates=[0], seconds=[0.0], chunk_updates=1)
    stopping = patience and SimpleNamespace(patience=patience, min_delta=0.0)
    log = ValidationLog(
        clock, validate=lambda: np.array(LOSSES[log.model.update]), stopping=stopping
    )
    log.model = Model()
    return log


def validated(log, first=0, last=6):
    row = {}
    for update in range(first, last):
        log.model.update = update
        log.clock.updates.append(update)
        row = log.validated()
        log.compare()
        if log.model.stop_training:
            break
    return row


def test_each_member_has_the_weights_of_its_own_best():
    log = log_of()
    row = validated(log)
    model = Model()
    log.take_best(model)
    kernels, biases = model.weights
    np.testing.assert_array_equal(kernels, [[1.0] * 3, [5.0] * 3])
    np.testing.assert_array_equal(biases, [11.0, 25.0])
    assert (log.best_updates, log.last_best_update) == ([1, 5], 5)
    assert (row["validation_loss_1"], row["validation_loss_2"]) == (2.3, 3.9)
    assert math.isclose(row["validation_loss"], 3.1)
    assert log.best_text("{:.2f}".format) == ", best of each member 2.95, the last at 5"


def test_training_ends_where_no_member_has_improved_for_so_long():
    log = log_of(patience=2)
    validated(log)
    assert log.model.stop_training
    assert log.update == 4  # the first was best at 1, the second at 2


def test_it_goes_on_from_what_a_checkpoint_keeps_of_its_members():
    whole, first, second = log_of(), log_of(), log_of()
    validated(whole)
    validated(first, last=3)
    state = first.state()
    for weight in state["best_weights"]:
        weight.flags.writeable = False  # as arrays of a checkpoint are
    second.restore(state)
    validated(second, first=3)
    for log in (whole, second):
        log.take_best(log.model)
    for one, other in zip(whole.model.weights, second.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.best_updates == second.best_updates
    log = log_of()
    validated(log, last=2)
    state = log.state() | {"marks": [1.0]}
    with pytest.raises(StateError, match="expected one of each member"):
        log_of().restore(state)
