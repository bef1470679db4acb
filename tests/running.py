import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nflow_cli.runs.directory import RunDirectory

# The script that pip installed beside the interpreter: what a user types.
NFLOW = Path(sys.executable).with_name("nflow")

# A training as short as it gets.
QUICK = ["--k", "2", "--steps", "40", "--set", "train.chunk=20", "--set", "evaluate.samples=1000"]


def run_nflow(folder, *args, **env):
    return subprocess.run(
        [NFLOW, *map(str, args)],
        cwd=folder,
        env={**os.environ, **{name: str(value) for name, value in env.items()}},
        capture_output=True,
        text=True,
        timeout=120,
    )


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def typed_in_bash(line):
    """Return the arguments, as bytes, that ``nflow`` gets when a line is pasted in bash."""
    script = f"nflow() {{ printf '%s\\0' \"$@\"; }}; {line}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return done.stdout.split(b"\0")[:-1]


def succeed(invoke, *args):
    """Run a command that has nothing to tell of; return what it prints."""
    result = invoke(*args)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def read_rows(path):
    """Return the rows of a CSV file by their columns."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


PEAK = """
import resource, sys
from nflow_cli.cli import main
main(sys.argv[1:], standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(folder, *args):
    """Run ``nflow`` in a process of its own; return the memory that it took at most, in kB."""
    command = [sys.executable, "-c", PEAK, *map(str, args)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def with_rows(train):
    """Call ``train(directory)``; return what it does, and the rows that it logged."""
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory.create("test", os.path.join(folder, "run"))
        result = train(directory)
        columns = directory.read_metrics()
    return result, [dict(zip(columns, row)) for row in zip(*(c.tolist() for c in columns.values()))]


def run_where_keras_is_set_up_otherwise(folder, *args):
    """Train as a user does, where Keras is set up for another backend and precision."""
    (folder / "keras.json").write_text('{"backend": "torch", "floatx": "float64"}')
    hostile = {"KERAS_BACKEND": "jax", "KERAS_HOME": folder, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = run_nflow(folder, *args, **hostile)
    assert done.returncode == 0, done.stderr
    return done


def same_by_seed(table):
    """Return what two runs of one seed share."""
    return {k: v for k, v in table.items() if "seconds" not in k and "per_second" not in k}


def saved_weights(path):
    if (path / "weights.npz").exists():
        with np.load(path / "weights.npz", allow_pickle=False) as arrays:
            return [arrays[name] for name in sorted(arrays)]
    import keras  # here: most that is run needs none in this process

    from nflow_cli.images.vae import FlowVAE

    model = keras.saving.load_model(path / "model.keras", custom_objects={"FlowVAE": FlowVAE})
    return [keras.ops.convert_to_numpy(weight.value) for weight in model.weights]


def arrays_of(run):
    """Return the arrays that the pictures of a run are drawn from."""
    with np.load(run.path / "evaluation.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def assert_same_run(path, other):
    """Check that two runs ended with the same bits, timings aside."""
    one, two = RunDirectory(path), RunDirectory(other)
    summaries = [same_by_seed(run.read_json("summary.json")) for run in (one, two)]
    assert summaries[0] == summaries[1]
    for read in (RunDirectory.read_metrics, arrays_of):
        tables = [same_by_seed(read(run)) for run in (one, two)]
        assert tables[0].keys() == tables[1].keys()
        for name, array in tables[0].items():
            np.testing.assert_array_equal(array, tables[1][name])
    for got, expected in zip(saved_weights(path), saved_weights(other), strict=True):
        np.testing.assert_array_equal(got, expected)
