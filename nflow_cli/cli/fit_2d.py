"""``nflow fit-2d``: fit a flow stack to a 2-D density."""

import re
from collections.abc import Sequence
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.backend.start import Machine
from nflow_cli.cli.fit import fit
from nflow_cli.cli.options import Command, changes_of, key_options, run_options
from nflow_cli.terminal.layout import tell
from nflow_cli.text import command_line

SAYING_FLOWS = ("--flow", "--preset", "flow.pattern")


class Fit2D(Command):
    """``nflow fit-2d``, whose ``--data`` is deprecated: it is ``nflow fit``."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments, with ``--data`` by ``nflow fit``."""
        words = of_points(args)
        if words is None:
            return super().make_context(info_name, args, parent, **extra)
        now = command_line(["nflow", "fit", *words])
        tell(f"`nflow fit-2d --data` is deprecated, and leaves in 0.2.0; this runs `{now}`")
        return fit.make_context("fit", words, parent, **extra)


def of_points(args: Sequence[str]) -> list[str] | None:
    """Arguments of ``nflow fit`` in place of ``--data NAME``, else ``None``."""
    words = [word for arg in args for word in re.split("(?<=^--data)=", arg, maxsplit=1)]
    if "--data" not in words[:-1]:
        return None
    place = words.index("--data")
    words = [words[place + 1], *words[:place], *words[place + 2 :]]
    are_flows_said = any(word.partition("=")[0] in SAYING_FLOWS for word in words)
    return words if are_flows_said else [*words, "--flow", "planar"]


@click.command("fit-2d", cls=Fit2D, params=key_options("fit-2d"))
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
    from nflow_cli.experiments.run import begin

    pattern = options["flow"] or ["planar"]
    target = options["target"] or registry.NATURAL_TARGETS.get(pattern[0], "multimodal")
    if preset is None:
        path = preset_files.nearest_preset(target, pattern, options["k"])
    else:
        path = preset_files.find_preset(preset)
    changes = [*map(presets.parse_assignment, assignments), *changes_of("fit-2d", options)]
    begin(overrides.merged("fit-2d", path, changes), path, output, argv, machine)
