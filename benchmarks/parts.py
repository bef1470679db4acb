"""Time of `nflow evaluate` on a table of many files: here, and on Dask with a worker killed.

    python -m benchmarks.parts FOLDER [--parts 200] [--rows 50000]

The rows have six columns, of normals with a curved mean; the run is fitted to 20,000 of them. The
parts are scored by two processes of this machine, then by a Dask cluster of two worker processes
here, the first of which gets a SIGKILL when half of the parts are done. Prints a JSON line for
each: seconds, rows a second, and whether the outputs have the rows of the parts in order and the
bits of those made here.
"""

import argparse
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

NFLOW = (sys.executable, "-P", "-c", "from nflow_cli.cli import main; main()")
COLUMNS, TRAINED = [f"x{i}" for i in range(6)], 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=200)
    parser.add_argument("--rows", type=int, default=50_000)
    options = parser.parse_args()
    os.chdir(options.folder)
    Path("data").mkdir()
    for i in range(options.parts):
        write(f"data/part-{i:04}.parquet", i, options.rows)
    write("train.parquet", -1, TRAINED)
    nflow("fit", "train.parquet", "--output", "run", "--steps", "300")
    here = timed("here", "--workers", "2")
    print(json.dumps({"way": "here", **facts(here, "here")}), flush=True)
    print(json.dumps({"way": "dask", **facts(on_dask(options.parts), "dask")}), flush=True)


def write(path: str, seed: int, n: int) -> None:
    z = np.random.default_rng([7, seed + 1]).standard_normal((n, len(COLUMNS)))
    x = z.copy()
    for j in range(1, len(COLUMNS)):
        x[:, j] = 0.6 * x[:, j - 1] + 0.8 * z[:, j] + (0.3 * (x[:, 0] ** 2 - 1) if j == 3 else 0)
    parquet.write_table(pa.table(dict(zip(COLUMNS, x.T))), path)


def nflow(*words: str) -> Any:
    done = subprocess.run([*NFLOW, *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def timed(output: str, *words: str) -> float:
    start = time.perf_counter()
    nflow("evaluate", "run", "--data", "data/part-*.parquet", "-o", output, *words)
    return time.perf_counter() - start


def on_dask(count: int) -> float:
    """Score all parts by a cluster; kill a worker process in the middle."""
    module: Any = importlib.import_module("distributed")  # its classes are also coroutines

    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with (
        module.LocalCluster(n_workers=2, **options) as cluster,
        module.Client(cluster) as client,
    ):
        first, *_ = client.run(os.getpid).values()
        threading.Thread(target=kill_when_half_is_done, args=(first, count), daemon=True).start()
        return timed("dask", "--scheduler", cluster.scheduler_address)


def kill_when_half_is_done(process: int, count: int) -> None:
    while sum(1 for _ in Path("dask/.nflow").glob("part-*")) < count / 2:
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    print(f"killed worker {process}", file=sys.stderr)


def facts(seconds: float, output: str) -> dict[str, Any]:
    names = sorted(path.name for path in Path("data").iterdir())
    rows, same_rows, same_bits = 0, True, True
    for name in names:
        table = parquet.read_table(Path(output, name))
        rows += table.num_rows
        same_rows &= table.select(COLUMNS).equals(parquet.read_table(f"data/{name}"))
        same_bits &= digest(Path(output, name)) == digest(Path("here", name))
    is_whole = sorted(path.name for path in Path(output).glob("*.parquet")) == names
    return {
        "seconds": round(seconds, 1),
        "rows": rows,
        "rows_per_second": round(rows / seconds),
        "same_rows_in_order": bool(same_rows and is_whole),
        "same_bits": bool(same_bits),
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
