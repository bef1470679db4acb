"""Checkpoints of format 1 become those of format 2. (Whole runs of it: tests/test_golden.py.)"""

import numpy as np
import pytest

from nflow_cli.config.presets import fingerprint
from nflow_cli.runs.checkpoints import Checkpoint
from nflow_cli.runs.migration import from_1_to_2

CONFIG = {"command": "fit-2d", "seed": 3, "train": {"steps": 100, "batch_size": 8}}
SETTINGS = {"command": "fit-2d", "seed": 3, "train": {"batch_size": 8}}  # steps may change
RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((4, 3, 1, 2))  # (repeats, R, 1, D)
SCALARS = RNG.standard_normal((4, 3, 1))
COUNT = np.array(7)


def migrated(state, **arrays):
    return from_1_to_2(Checkpoint(arrays, state), CONFIG)


def test_restarts_become_the_first_axis():
    state = {"Restarts": {"alive": [0, 2, 5]}}
    arrays = migrated(state, vectors=VECTORS, scalars=SCALARS, count=COUNT).arrays
    for r in range(3):
        np.testing.assert_array_equal(arrays["vectors"][r], VECTORS[:, r, 0])
        np.testing.assert_array_equal(arrays["scalars"][r], SCALARS[:, r, 0])
    np.testing.assert_array_equal(arrays["count"], COUNT)


@pytest.mark.parametrize("restarts", [{"alive": [2]}, {}, None, 3, {"alive": 2}])
def test_weights_of_one_stack_stay_as_they_are(restarts):
    alone = VECTORS[:, 0, 0]
    assert migrated({"Restarts": restarts}, alone=alone).arrays["alone"] is alone


def test_a_config_takes_the_place_of_its_checksum():
    state = migrated({"finished": False, "settings": fingerprint(SETTINGS)}).state
    assert state == {"finished": False, "config": SETTINGS}


def test_the_checksum_of_another_config_gives_none():
    assert migrated({"settings": fingerprint({**SETTINGS, "seed": 4})}).state == {}
