"""Run contenders in turn, each in a process of its own: ratios come from one run on one machine."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable

import click


def in_process(module: str, name: str, k: int, *options: str) -> dict[str, float] | None:
    """Run one contender in a fresh process; ``None`` where it is not installed."""
    command = [sys.executable, "-m", module, "--one", name, "--k", str(k), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise click.ClickException(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def in_turn(
    module: str, names: Iterable[str], repeats: int, k: int, *options: str
) -> dict[str, dict[str, float]]:
    """Run every contender ``repeats`` times, one after the other; return the medians of each."""
    names = list(names)
    rounds = [
        {name: in_process(module, name, k, *options) for name in names} for _ in range(repeats)
    ]
    return {
        name: {key: statistics.median(r[key] for r in found) for key in found[0]}
        for name in names
        if (found := [r for r in (round_[name] for round_ in rounds) if r])
    }
