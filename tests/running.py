import os
import subprocess
import sys
from pathlib import Path

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
