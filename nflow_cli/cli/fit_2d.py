"""``nflow fit-2d``: fit a flow stack to a 2-D density."""

from typing import Any

import click

from nflow_cli import registry
from nflow_cli.backend.start import Machine
from nflow_cli.cli.options import Command, changes_of, key_options, run_options


@click.command("fit-2d", cls=Command, params=key_options("fit-2d"))
@run_options
@click.pass_obj
def fit_2d(
    argv: list[str],
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    **options: Any,
) -> None:
    """Fit a flow stack to a 2-D density by reverse KL.

    Without --preset, --flow, --target and --k choose the nearest preset of that target (by default
    K = 8). Without --target the first flow chooses it too: gaussian-from-uniform for radial, else
    multimodal. The last line printed is the run directory. Points are fitted by `nflow fit`.
    """
    from nflow_cli.config import overrides, preset_files, presets
    from nflow_cli.experiments.reverse_kl.data import load
    from nflow_cli.experiments.running import show, start

    pattern = options["flow"] or ["planar"]
    target = options["target"] or registry.NATURAL_TARGETS.get(pattern[0], "multimodal")
    if preset is None:
        path = preset_files.nearest_preset(target, pattern, options["k"])
    else:
        path = preset_files.find_preset(preset)
    changes = [*map(presets.parse_assignment, assignments), *changes_of("fit-2d", options)]
    config = overrides.merged("fit-2d", path, changes)
    show(start(config, path, output, load(config), machine=machine, argv=argv))
