import os
import subprocess
import sys
import tempfile
from pathlib import Path

from nflow_cli.run_dir import RunDirectory

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


def with_rows(train):
    """Call ``train(directory)``; return what it does, and the rows that it logged."""
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory.create("test", os.path.join(folder, "run"))
        result = train(directory)
        columns = directory.read_metrics()
    return result, [dict(zip(columns, row)) for row in zip(*(c.tolist() for c in columns.values()))]
