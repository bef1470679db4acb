"""Measure what the page "Measured" publishes, and print its tables.

    python -m benchmarks                               # all but other libraries and data: days
    python -m benchmarks fit2d flows --peers PYTHON    # beside other libraries, of an environment
    python -m benchmarks predictions --data FOLDER     # of tables, PACKAGE__NAME.csv
    python -m benchmarks --summary                     # the tables of what is measured

Without names all benchmarks run. Each case is a line of ``benchmarks/results/NAME.jsonl``; what has
a line is not measured again, so an interrupted benchmark goes on.
"""

import importlib
from pathlib import Path

import click

from benchmarks.runner import Options

MODULES = (
    "plane",
    "tables",
    "real",
    "targets",
    "ordered",
    "anomalies",
    "office",
    "drift",
    "audit",
    "sbi",
    "posteriors",
    "flows",
    "vae",
    "system",
)
BENCHMARKS = {
    benchmark.name: benchmark
    for name in MODULES
    for benchmark in importlib.import_module(f"benchmarks.{name}").BENCHMARKS
}


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.argument("names", nargs=-1, metavar="[NAME]…", type=click.Choice(list(BENCHMARKS)))
@click.option("--fresh", is_flag=True, help="Measure again what was measured.")
@click.option("--peers", metavar="PYTHON", help="The Python that has the other libraries.")
@click.option("--data", metavar="FOLDER", type=click.Path(path_type=Path), help="Files of data.")
@click.option("--summary", is_flag=True, help="Measure nothing.")
def main(
    names: tuple[str, ...], fresh: bool, peers: str | None, data: Path | None, summary: bool
) -> None:
    for name in names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        if not summary:
            benchmark.run(Options(peers, data), fresh)
        if rows := benchmark.rows():
            click.echo(f"{name}\n\n{benchmark.table(rows)}\n")


if __name__ == "__main__":
    main()
