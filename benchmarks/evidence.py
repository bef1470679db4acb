"""log Z from draws of posteriors whose truth is known: errors, verdicts and seconds.

    python -m benchmarks.evidence --posterior eight-schools banana --seeds 10
    python -m benchmarks.evidence --posterior funnel --seeds 3 --set train.steps=4000
    python -m benchmarks.evidence --summary

Each run is `nflow evidence` on four chains of 2,000 exact draws, of which each repeats the last
with probability 1/2, and a line of JSON, printed and added to ``--rows``; what stands there already
is not run again. ``--summary`` prints, of each posterior, how often log Z was called good, and then
within 2 and 3 of its standard errors, and medians.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.posteriors import POSTERIORS, chains_of

ROWS = Path(__file__).with_name("results") / "evidence.jsonl"


def run(posterior, seed, settings):
    """Run the command on fresh draws; return its figures beside the truth."""
    chains = chains_of(posterior, seed)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, x in enumerate(chains, start=1):
            files.append(f"{folder}/chain_{number}.npz")
            table = np.column_stack([x, posterior.log_p(x)])
            np.savez(files[-1], rows=table, columns=np.array([*posterior.names, "log_p"]))
        bounds = [f"--bounds={name}={ends}" for name, ends in posterior.bounds.items()]
        command = [sys.executable, "-c", "from nflow_cli.cli import main; main()", "evidence"]
        more = [part for one in settings for part in ("--set", one)]
        start = time.monotonic()
        subprocess.run(
            [*command, *files, "--log-p", "log_p", *bounds, "--output", f"{folder}/run", *more],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - start
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    keys = ("log_z", "log_z_standard_error", "pareto_k", "kl", "ess", "temperatures")
    return {
        "posterior": posterior.name,
        "seed": seed,
        "settings": list(settings),
        "truth": posterior.log_z,
        **{key: summary[key] for key in keys},
        "warnings": [warning["word"] for warning in summary["warnings"]],
        "seconds": round(seconds, 1),
    }


def summarise(rows):
    """Print a line a posterior and settings."""
    groups = {}
    for row in rows:
        groups.setdefault((row["posterior"], *row["settings"]), []).append(row)
    print(f"{'posterior':<30} runs good  ≤2se ≤3se (of good)  median se  k-hat    KL  seconds")
    for key, some in groups.items():
        good = [row for row in some if not row["warnings"]]
        off = [abs(row["log_z"] - row["truth"]) / row["log_z_standard_error"] for row in good]
        two, three = (sum(one <= sigmas for one in off) for sigmas in (2, 3))
        median = [
            float(np.median([row[name] for row in some]))
            for name in ("log_z_standard_error", "pareto_k", "kl", "seconds")
        ]
        print(
            f"{' '.join(key):<30} {len(some):4} {len(good):4} {two:5} {three:4} {'':10}"
            f"{median[0]:9.4f} {median[1]:6.2f} {median[2]:6.3f} {median[3]:8.1f}"
        )


def main():
    """Run the missing seeds, or summarise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--posterior", nargs="+", choices=list(POSTERIORS), default=[])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    lines = arguments.rows.read_text().splitlines() if arguments.rows.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["posterior"], row["seed"], *row["settings"]) for row in rows}
    for name in arguments.posterior:
        posterior = POSTERIORS[name]()
        for seed in range(arguments.seeds):
            if (name, seed, *arguments.settings) in done:
                continue
            row = run(posterior, seed, arguments.settings)
            row = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
            with arguments.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    if arguments.summary:
        summarise([json.loads(line) for line in arguments.rows.read_text().splitlines()])


if __name__ == "__main__":
    main()
