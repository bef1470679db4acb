"""Fits that differ by their seed share what was compiled, and nothing else."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from nflow_cli.config import presets
from nflow_cli.experiments.target import fit as target_fit
from nflow_cli.training.programs import Programs

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the chunk trainer compiles with TensorFlow"
)

SHORT = {
    "command": "fit-2d",
    "target": "u1",
    "flow": {"k": 3},
    "evaluate": {"samples": 1000},
}
TRAIN = {"steps": 80, "chunk": 10, "batch_size": 32}
ALONE = TRAIN
SIDE_BY_SIDE = {**TRAIN, "restarts": 3}
STOPPED = {**TRAIN, "early_stopping": {"patience": 20, "min_delta": 50.0}}


def settings(train, seed):
    return presets.validate({**SHORT, "train": train, "seed": seed}, "a test")


def weights(model):
    return [keras.ops.convert_to_numpy(weight.value) for weight in model.flow.weights]


def lent(programs, train, seed):
    chosen = settings(train, seed)
    return programs.lent(chosen, lambda: target_fit.build(chosen))


def fit(programs, train, seed):
    """Fit as a worker does, with what ``programs`` hold; return the model."""
    with lent(programs, train, seed) as model:
        target_fit.train(model, settings(train, seed), programs=programs)
    return model


@pytest.mark.usefixtures("without_xla")
@pytest.mark.parametrize(
    "train",
    [
        pytest.param(ALONE, id="one"),
        pytest.param(SIDE_BY_SIDE, id="three", marks=pytest.mark.slow),
        pytest.param(STOPPED, id="stopped", marks=pytest.mark.slow),
    ],
)
def test_a_fit_after_others_makes_the_bits_of_a_model_of_its_own(train):
    programs = Programs()
    first = fit(programs, train, 1)
    second = fit(programs, train, 2)
    assert second is first  # compiled once
    found = weights(second)
    chosen = settings(train, 2)
    alone = target_fit.build(chosen)
    assert alone is not first
    target_fit.train(alone, chosen)
    for got, expected in zip(found, weights(alone), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert second.flow.seed == alone.flow.seed


def test_another_batch_size_is_another_program():
    programs = Programs()
    with lent(programs, TRAIN, 1) as first:
        pass
    with lent(programs, {**TRAIN, "batch_size": 16}, 1) as second:
        assert second is not first


def test_a_model_serves_one_run_at_a_time():
    programs = Programs()
    with lent(programs, TRAIN, 1) as first, lent(programs, TRAIN, 2) as second:
        assert second is not first
        assert (first.flow.seed, second.flow.seed) == (1, 2)


def test_a_run_that_fails_gives_its_model_back():
    programs = Programs()
    with pytest.raises(MemoryError), lent(programs, TRAIN, 1) as first:
        raise MemoryError
    with lent(programs, TRAIN, 2) as second:
        assert second is first


SOAK = """
import gc
import sys
from nflow_cli.backend import start_tensorflow
start_tensorflow()
from nflow_cli import experiments
from nflow_cli.config import presets
from nflow_cli.experiments.drawing import draw
from nflow_cli.training.programs import Programs
from nflow_cli.runs.directory import CONFIG, RunDirectory

programs = Programs()

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

for seed in range(100):
    settings = presets.validate({"command": "fit-2d", "seed": seed, "evaluate": {"samples": 2000},
        "train": {"steps": 400, "chunk": 100, "restarts": 1 + seed % 2}}, "soak")
    run = RunDirectory.create("soak", f"{sys.argv[1]}/{seed}")
    with run.recorded({"command": "fit-2d"}):
        run.write_text(CONFIG, presets.dump(settings))
        experiments.of(settings).train(run, None, programs)
        draw(run)
    gc.collect()  # figures go when Python comes round to them
    print(resident(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_a_hundred_fits_in_one_process_leave_memory_flat(tmp_path):
    command = [sys.executable, "-c", SOAK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kilobytes = [int(line) for line in done.stdout.split()]
    assert len(kilobytes) == 100
    print(f"after the tenth fit {kilobytes[9]} kB, at most {max(kilobytes[10:])} kB afterwards")
    assert max(kilobytes[10:]) <= 1.05 * kilobytes[9]
