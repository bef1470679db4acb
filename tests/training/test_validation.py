"""Whose weights are kept by a validation, those that training begins with among them."""

import math

import keras
import pytest
from loops import NOISE, UPDATES, Bend, Slices, session, settings
from truth import to_numpy

from nflow_cli.config.training_schema import EarlyStopping
from nflow_cli.training.trainer import Clock
from nflow_cli.training.validation import ValidationLog

pytestmark = [
    pytest.mark.skipif(
        keras.config.backend() != "tensorflow", reason="the chunk trainer compiles with TensorFlow"
    ),
    pytest.mark.usefixtures("without_xla"),
]
ENDS = [5, 10, 15, 20, 23]  # updates


def weights_of(model):
    return to_numpy(model.bend.value).tolist()


def trained(losses, state=None, **options):
    """Train with these validation losses in turn; return the model, its log, rows and weights.

    With ``state``, the log goes on from it, as from a checkpoint.
    """
    model, rows, weights, left = Bend(), [], [], iter(losses)
    model.prepare(settings(chunk=5), UPDATES)

    def validate():
        weights.append(weights_of(model))
        return next(left)

    log = ValidationLog(Clock(), validate=validate, **options)
    log.add_row = rows.append
    if state:
        log.restore(state)
    with session(log, UPDATES) as open_session:
        open_session.fit(model, Slices(NOISE, 5))
    return model, log, rows, weights


def test_what_training_begins_with_has_a_row_and_may_be_the_best():
    model, log, rows, weights = trained([1.0, 4.0, 3.0, 2.0, 5.0, 6.0], from_start=True)
    assert [row["update"] for row in rows] == [0, *ENDS]
    assert [row["validation_loss"] for row in rows] == [1.0, 4.0, 3.0, 2.0, 5.0, 6.0]
    assert list(rows[0]) == list(rows[1])  # metrics.csv has one header
    unknown = {"loss", "kl", "beta", "gradient_norm", "learning_rate", "updates_per_second"}
    assert all(math.isnan(rows[0][name]) for name in unknown)
    assert rows[0]["elapsed_seconds"] == 0.0
    assert (log.kept_at, log.rows) == (0, 6)
    assert log.best_text(str) == ", best 1.0 at 0"
    assert trained([5.0, 4.0, 3.0, 2.0, 1.0])[1].best_text(str) == ""  # the last is
    assert weights[0] == [1.0, 1.0] != weights_of(model)  # as Bend is initialised
    log.take_best(model)
    assert weights_of(model) == [1.0, 1.0]


@pytest.mark.parametrize("from_start", [True, False])
def test_later_weights_that_are_better_are_kept(from_start):
    losses = [3.0, *([9.0] * from_start), 2.0, 4.0, 5.0, 6.0]
    model, log, rows, weights = trained(losses, from_start=from_start)
    assert [row["update"] for row in rows] == [0] * from_start + ENDS
    best = losses.index(2.0)
    assert log.kept_at == rows[best]["update"] == 10
    log.take_best(model)
    assert weights_of(model) == weights[best]


def test_a_start_that_has_no_loss_is_not_the_best():
    _, log, rows, _ = trained([math.nan, math.inf, 3.0, 2.0, 4.0, 5.0], from_start=True)
    assert (rows[0]["update"], log.kept_at) == (0, 15)


def test_patience_counts_from_the_start_where_that_is_the_best():
    stopping = EarlyStopping(patience=10, min_delta=0.0)
    _, log, rows, _ = trained([1.0, 2.0, 3.0], from_start=True, stopping=stopping)
    assert ([row["update"] for row in rows], log.kept_at) == ([0, 5, 10], 0)


def test_a_training_that_goes_on_writes_no_second_row_of_its_start():
    _, log, _, _ = trained([1.0, 4.0, 3.0, 2.0, 5.0, 6.0], from_start=True)
    model, later, rows, _ = trained([9.0] * 5, state=log.state(), from_start=True)
    assert [row["update"] for row in rows] == ENDS
    assert (later.kept_at, later.rows) == (0, 11)
    later.take_best(model)
    assert weights_of(model) == [1.0, 1.0]
