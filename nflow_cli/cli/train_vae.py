"""``nflow train-vae``: train a VAE whose posterior is a flow stack."""

from typing import Any

import click

from nflow_cli.backend.start import Machine
from nflow_cli.cli.options import (
    Command,
    changes_of,
    expect_one_length,
    key_options,
    minutes_option,
    run_options,
)


@click.command("train-vae", cls=Command, params=key_options("train-vae"))
@run_options
@minutes_option
@click.pass_obj
def train_vae(
    argv: list[str],
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    due: float | None,
    **options: Any,
) -> None:
    """Train a VAE with a flow posterior on images, by its variational bound.

    The prior is N(0, I), or with --prior-flow or --prior-k a flow stack trained with the rest (by
    default 4 flows of affine-coupling).
    Without --preset, `mnist`: two latents and pictures of them. The last line printed is the run
    directory.
    """
    from nflow_cli.config import overrides, preset_files, presets
    from nflow_cli.experiments.images.data import expect_fits, load
    from nflow_cli.experiments.running import show, start

    path = preset_files.find_preset(preset or "mnist")
    changes = [*map(presets.parse_assignment, assignments), *changes_of("train-vae", options)]
    expect_one_length(due, changes)
    resolved = overrides.merged("train-vae", path, changes)
    images = load(resolved)
    expect_fits(resolved, images)
    show(start(resolved, path, output, images, machine=machine, argv=argv, due=due))
