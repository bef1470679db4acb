"""Members of an ensemble: each keeps the weights of its own best validation."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from nflow_cli.training.saved_state import StateError
from nflow_cli.training.validation import ValidationLog

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
    clock = SimpleNamespace(updates=[0], seconds=[0.0], made=1)
    stopping = patience and SimpleNamespace(patience=patience, min_delta=0.0)
    log = ValidationLog(
        clock, validate=lambda: np.array(LOSSES[log.model.update]), stopping=stopping
    )
    log.set_model(Model())
    return log


def run(log, first=0, last=6):
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
    row = run(log)
    model = Model()
    log.take_best(model)
    kernels, biases = model.weights
    np.testing.assert_array_equal(kernels, [[1.0] * 3, [5.0] * 3])
    np.testing.assert_array_equal(biases, [11.0, 25.0])
    assert (log.kept_of_each, log.kept_at) == ([1, 5], 5)
    assert (row["validation_loss_1"], row["validation_loss_2"]) == (2.3, 3.9)
    assert math.isclose(row["validation_loss"], 3.1)


def test_training_ends_where_no_member_has_improved_for_so_long():
    log = log_of(patience=2)
    run(log)
    assert log.model.stop_training
    assert log.reached == 4  # the first was best at 1, the second at 2


def test_it_goes_on_from_what_a_checkpoint_keeps():
    whole, first, second = log_of(), log_of(), log_of()
    run(whole)
    run(first, last=3)
    state = first.state()
    for weight in state["best_weights"]:
        weight.flags.writeable = False  # as arrays of a checkpoint are
    second.restore(state)
    run(second, first=3)
    for log in (whole, second):
        log.take_best(log.model)
    for one, other in zip(whole.model.weights, second.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.kept_of_each == second.kept_of_each


def test_a_checkpoint_of_other_members_is_refused():
    log = log_of()
    run(log, last=2)
    state = log.state() | {"marks": [1.0]}
    with pytest.raises(StateError, match="expected one of each member"):
        log_of().restore(state)
