"""How well one column of a real table is predicted from the others, beside other libraries.

    python -m benchmarks.predictions diamonds DIAMONDS.csv --splits 5 --peers PYTHON
    python -m benchmarks.predictions concrete CONCRETE.csv --splits 20 --peers PYTHON

Prints a JSON line per split: the mean negative log-likelihood in nats of the test rows, with its
standard error, of diamonds that of log10 of the price (whole dollars), of concrete that of the
strength (MPa, in 0.01); the mean pinball loss of quantiles 0.05 to 0.95; and seconds. The tables
are ggplot2's diamonds and modeldata's concrete, as CSV. The splits are scikit-learn's
`train_test_split(test_size=…, random_state=split)`; validation rows are of the rest. `--peers`
names a Python that has ngboost, quantile-forest and pandas; these have the same rows.
"""

import argparse
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

QUANTILES = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2))


class Task(NamedTuple):
    """A table with a column to predict.

    ``nll`` are nats of the scored variable by log-masses and values of the column.
    """

    target: str
    test: float
    validation: float
    first: int
    nll: Callable[[np.ndarray, np.ndarray], np.ndarray]


TASKS = {
    "diamonds": Task("price", 0.2, 0.2, 1, lambda log_p, y: -log_p - np.log(y * math.log(10))),
    "concrete": Task("compressive_strength", 0.1, 0.1, 0, lambda log_p, y: -log_p + math.log(0.01)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("table", type=Path)
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--peers", metavar="PYTHON")
    options = parser.parse_args()
    task = TASKS[options.task]
    settings = {k: json.loads(v) for k, v in (pair.split("=") for pair in options.set)}
    for split in range(task.first, task.first + options.splits):
        with tempfile.TemporaryDirectory() as folder:
            found = {"task": options.task, "split": split, **settings}
            found["nflow"] = of_nflow(task, parted(options.table, task, split), settings, folder)
            if options.peers:
                script = Path(__file__).with_name("prediction_peers.py")
                command = [options.peers, script, options.task, f"{folder}/rows.csv", task.target]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found |= json.loads(output.splitlines()[-1])
            print(json.dumps(found), flush=True)


def parted(path: Path, task: Task, split: int) -> Any:
    """Return the table with a column `part`."""
    import pandas
    from sklearn.model_selection import train_test_split

    table = pandas.read_csv(path).drop(columns="rownames", errors="ignore")
    rest, test = train_test_split(table.index, test_size=task.test, random_state=split)
    _, validation = train_test_split(rest, test_size=task.validation, random_state=split)
    table["part"] = "train"
    table.loc[validation, "part"], table.loc[test, "part"] = "validation", "test"
    return table


def of_nflow(task: Task, table: Any, settings: dict[str, Any], folder: str) -> dict[str, Any]:
    """Fit and predict with nflow; return its scores."""
    import nflow_cli

    table.to_csv(f"{folder}/rows.csv", index=False)
    given = [name for name in table if name not in (task.target, "part")]
    begin = time.perf_counter()
    q = nflow_cli.fit(
        table,
        columns=[task.target],
        given=given,
        settings={"data.split": "part", **settings},
        output=f"{folder}/run",
    )
    seconds, begin = time.perf_counter() - begin, time.perf_counter()
    test = table[table.part == "test"]
    found, y = q.predict(test, quantiles=QUANTILES), test[task.target].to_numpy(float)
    nll = task.nll(found[f"{task.target}_log_p"].to_numpy(), y)
    quantiles = np.column_stack([found[f"{task.target}_q{p:g}"] for p in QUANTILES])
    return {
        "nll": nll.mean(),
        "nll_standard_error": nll.std(ddof=1) / math.sqrt(len(nll)),
        "pinball": pinball(quantiles, y),
        "seconds": round(seconds, 1),
        "predict_seconds": round(time.perf_counter() - begin, 1),
    }


def pinball(quantiles: np.ndarray, y: np.ndarray) -> float:
    """Mean pinball loss of quantiles ``(n, k)`` of :data:`QUANTILES`."""
    off = y[:, None] - quantiles
    return float(np.maximum(np.array(QUANTILES) * off, (np.array(QUANTILES) - 1) * off).mean())


if __name__ == "__main__":
    main()
