"""``nflow train-vae``: train a VAE whose posterior goes through a flow stack."""

from typing import Any

import click

from nflow_cli.backend import Machine
from nflow_cli.cli import completion
from nflow_cli.cli.options import THE_PRESETS, Command, common_options, pattern_option

KEYS = {  # what each option sets in a preset
    "flow": "flow.pattern",
    "flows": "flow.k",
    "prior_flow": "prior.pattern",
    "prior_k": "prior.k",
    "data": "data.name",
    "no_fallback": "data.fallback",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "seed": "seed",
}


@click.command("train-vae", cls=Command)
@pattern_option("--flow", "Flows of the posterior, cycled, such as planar,radial.")
@click.option(
    "--flows",
    type=click.IntRange(0, 10_000),
    help=f"How many flows; 0: a plain VAE. {THE_PRESETS}",
)
@pattern_option("--prior-flow", "Flows of the prior, affine-coupling with --prior-k alone.")
@click.option(
    "--prior-k",
    type=click.IntRange(0, 10_000),
    help=f"How many flows the prior has, 4 with --prior-flow alone. {THE_PRESETS}",
)
@click.option(
    "--data",
    metavar="NAME|PATH",
    help=f"mnist, mnist-sample, or an .npz or IDX path. {THE_PRESETS}",
    shell_complete=completion.names_or_files(["mnist", "mnist-sample"]),
)
@click.option("--no-fallback", is_flag=True, help="Fail where MNIST cannot be had.")
@click.option(
    "--epochs",
    type=click.IntRange(1, 10**6),
    help=f"Passes over the training images. {THE_PRESETS}",
)
@common_options("Images per update.")
@click.pass_obj
def train_vae(
    argv: list[str],
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    no_fallback: bool,
    **options: Any,
) -> None:
    """Train a VAE with a flow posterior on images, by its variational bound.

    The prior is N(0, I), or with --prior-flow that pushed through flows, trained with the rest.
    Without --preset, `mnist`: two latents and pictures of them. The last line printed is the run
    directory.
    """
    from nflow_cli import experiments
    from nflow_cli.cli.options import changes_of, resolve_config
    from nflow_cli.config import presets
    from nflow_cli.config.naming import run_name
    from nflow_cli.experiments.run import begin

    path = presets.find_preset(preset or "mnist")
    changes = changes_of({**options, "no_fallback": False if no_fallback else None}, KEYS)
    resolved = resolve_config("train-vae", path, assignments, changes)
    experiment = experiments.of(resolved)
    images = experiment.data()
    experiment.expect_fits(images)
    begin(resolved, run_name(resolved, path), output, argv, machine, images)
