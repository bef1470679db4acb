"""``nflow evaluate``: score a trained run by fresh samples or by other data."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nflow_cli.backend.start import Machine, start_tensorflow
from nflow_cli.cli.options import (
    FILE,
    Command,
    Output,
    Whole,
    data_of_run,
    density_option,
    device_option,
    expect_replaceable,
    json_option,
    refuse,
    run_argument,
    seeds,
)
from nflow_cli.cli.pool_options import expect_parts, judged_parts, pool_options
from nflow_cli.evaluation.warnings import records
from nflow_cli.runs.json_text import json_text
from nflow_cli.text import printable

if TYPE_CHECKING:  # which load schemas
    from nflow_cli.experiments.run import Run
    from nflow_cli.experiments.summary import Judgement


@click.command(cls=Command)
@run_argument
@click.option(
    "--data",
    metavar="FILE|DIR|PATTERN",
    help="Points or a table, also of many files; of a VAE, images (NAME|PATH).",
    type=FILE,
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    help="Write the rows of --data with their log_q there; of many files, a folder.",
    type=FILE,
)
@click.option("--latent", is_flag=True, help="Also write their latents.")
@click.option(
    "--explain",
    is_flag=True,
    help="Also write how odd each row and cell is, with reasons of the oddest rows.",
)
@click.option(
    "--samples",
    type=Whole(1, 10**7),
    help="Samples of q; of a VAE, importance samples per image (at most 5,000).",
)
@click.option("--seed", type=seeds, help="Seed of the samples; default: the run's.")
@density_option
@device_option
@pool_options("parts of --data", "Score them")
@json_option
def evaluate(
    run_dir: str,
    data: str | None,
    output: str | None,
    latent: bool,
    explain: bool,
    samples: int | None,
    seed: int | None,
    density: str | None,
    machine: Machine,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Score a trained run by fresh samples, or by data of your own.

    Of a fit-2d run: KL, effective sample size and log Z by importance sampling, and with --data the
    mean log-likelihood of those points. Of an infer run: free energy, and log Z and moments by
    importance weights; a function of your own is named again by --density. Of an evidence run: log
    Z of its draws, and with --density also by bridge sampling. Of a fit to a table: the mean
    log-likelihood of its test rows, or of those of --data, which -o FILE writes row by row, with
    --explain also how odd each row and cell is. Of a train-vae run: the bound and the
    importance-sampled likelihood of its test images, or of those of --data. All in nats.
    --data may be a table of many files, a folder or a quoted pattern such as 'part-*.parquet', if
    -o is a folder: each is scored by itself, on all cores, into a file of its name. The same
    command goes on after an interruption.
    """
    from nflow_cli.experiments.run import Run, kind_of
    from nflow_cli.tables.many_files import are_parts

    run = Run.open(run_dir)
    config = run.config
    is_of_parts = data is not None and config.command == "fit" and are_parts(data)
    expect_parts(is_of_parts, scheduler, workers, explain=explain)
    _expect_suited(config, data, output, is_of_parts, latent, explain, samples, seed)
    run.expect_trained()
    if output and not is_of_parts:
        expect_replaceable("-o", [output], run, [data])
    paths = {"run": run_dir, "data": data}
    if output:
        paths["output"] = output
    judged_by: Any = None if is_of_parts else _judged_by(run, data, density, machine)
    if config.is_of_flows:
        start_tensorflow(machine)
    scoring: Any = kind_of(config).scoring
    if is_of_parts and data and output:
        question = {"latent": latent}
        judge = partial(scoring.judge_scores, config)
        judgement = judged_parts(run, data, output, question, judge, machine, scheduler, workers)
    elif output is None:
        judgement = scoring.evaluate(run, judged_by, samples, config.seed if seed is None else seed)
    else:
        from nflow_cli.tables.answers.explain import answer
        from nflow_cli.tables.loaded_tables import write_beside

        trained = run.trained
        if explain:
            scored = answer(trained, judged_by)
        else:
            scored = scoring.score(trained, judged_by, latent)
        write_beside(judged_by, Path(output), scored.columns)
        judgement = scored.judgement
    print_scores(judgement, paths, as_json)


def _judged_by(run: "Run", data: str | None, density: str | None, machine: Machine) -> Any:
    """Data by which a run is scored: those of ``--data`` or ``--density``, or its own."""
    if data is not None:
        return run.kind.data.read(data)
    if density is not None and run.config.command == "evidence":
        start_tensorflow(machine)  # before a density, which may be in operations of it
        from nflow_cli.inference.evidence.evidence_data import with_density

        return with_density(run, density)
    return data_of_run(run, density, machine)


def print_scores(
    judgement: "Judgement", paths: Mapping[str, str | None], as_json: bool, err: bool = False
) -> None:
    """Print scores as a table, the path of the output last, or as one JSON object; ``err``: on
    stderr.
    """
    from nflow_cli.experiments.summary import laid_out

    if as_json:
        warnings = {"warnings": records(judgement.warnings)}
        click.echo(json_text({**paths, **judgement.scores, **warnings}), err=err)
        return
    click.echo(laid_out(judgement.rows, judgement.warnings, 14), err=err)
    if "output" in paths and not err:
        click.echo(printable(paths["output"]))


def _expect_suited(
    config: Any,
    data: str | None,
    output: str | None,
    is_of_parts: bool,
    latent: bool,
    explain: bool,
    samples: int | None,
    seed: int | None,
) -> None:
    """Refuse options that do not suit each other, or the run."""
    from nflow_cli.experiments.run import kind_of

    sample_range = kind_of(config).report.SAMPLES
    members = config.train.members
    refuse(
        (
            sample_range is None and (samples, seed) != (None, None),
            "a fit to a table is scored by its rows: expected no --samples, no --seed",
        ),
        (
            explain and config.is_of_flows,
            "--explain: expected a run of `nflow fit` by cells, without --flow and --k",
        ),
        (
            explain and not output,
            "--explain: expected --data FILE and -o FILE, to write to",
        ),
        (
            explain and latent,
            "--explain: expected no --latent: a density of cells has no latents",
        ),
        (latent and not output, "--latent: expected -o FILE, to write them to"),
        (is_of_parts and not output, "--data: of many files, expected -o DIR, to write to"),
        (output and not data, "-o: expected --data FILE, whose rows are written"),
        (output and config.command != "fit", "-o: expected a run of `nflow fit`"),
        (
            latent and members > 1,
            f"--latent: expected one density. Received: an ensemble of {members}, "
            "which has no one latent",
        ),
    )
    if output and not is_of_parts:
        Output(".csv", ".parquet").convert(output, None, None)
    low, high = sample_range or (0, 0)
    if samples is not None and not low <= samples <= high:
        raise click.BadParameter(
            f"{samples} is not in the range {low}<=x<={high} of a {config.command} run",
            param_hint="'--samples'",
        )
