"""The commands that train: ``nflow fit-2d``, ``infer``, ``fit``, ``evidence`` and ``train-vae``."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nflow_cli import registry
from nflow_cli.backend.start import Machine, start_tensorflow
from nflow_cli.cli import completion
from nflow_cli.cli.options import (
    FILE,
    Command,
    changes_of,
    expect_one_length,
    key_options,
    minutes_option,
    refuse,
    run_options,
)
from nflow_cli.config.schema_options import options_of
from nflow_cli.deadline import Deadline
from nflow_cli.runs.json_text import json_text

if TYPE_CHECKING:  # which load schemas and NumPy
    from nflow_cli.config.presets import Change
    from nflow_cli.inference.user_code import UserFunction


@dataclass
class Typed:
    """Arguments of any command that trains.

    ``options`` set keys of the preset, and ``optional`` are their changes; ``assigned``: those by
    ``--set``.
    """

    command: str
    argv: list[str]
    preset: str | None
    assigned: Sequence["Change"]
    optional: Sequence["Change"]
    output: str | None
    machine: Machine
    options: Mapping[str, Any]
    deadline: Deadline | None

    def config(self, default: str | Path, arguments: Sequence["Change"] = ()) -> Any:
        """Config of the preset, or of the ``default`` one, with the changes of ``arguments``."""
        presets = _presets()
        changes = [*self.assigned, *arguments, *self.optional]
        expect_one_length(self.deadline, changes)
        self.path = presets.find_preset(self.preset or str(default))
        return presets.merged(self.command, self.path, changes)

    def execute(self, config: Any, data: Any = None) -> None:
        """Execute in a new run directory, and print its scores; ``data``: default: the config's."""
        from nflow_cli.experiments.run import kind_of
        from nflow_cli.experiments.running import show, start

        if data is None:
            data = kind_of(config).data.load(config)
            config.expect_fits(data)
        run = start(
            config,
            self.path,
            self.output,
            data,
            machine=self.machine,
            argv=self.argv,
            deadline=self.deadline,
        )
        show(run)


def _presets() -> Any:
    """The module of presets, with their schemas."""
    from nflow_cli.config import presets

    return presets


def training(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Decorator: a command that trains, with the options of preset keys and of runs.

    Its arguments are the options of all such commands, :class:`Typed`, and its own parameters.
    """

    def as_command(function: Callable[..., None]) -> click.Command:
        @click.command(name, cls=Command, params=key_options(name))
        @click.pass_obj
        @run_options
        @functools.wraps(function)
        def command(
            argv: list[str],
            preset: str | None,
            assignments: tuple[str, ...],
            output: str | None,
            machine: Machine,
            deadline: Deadline | None = None,
            **values: Any,
        ) -> None:
            options = {key: values.pop(key) for key in options_of(name)}
            assigned = [_presets().parse_assignment(assignment) for assignment in assignments]
            optional = changes_of(name, options)
            typed = Typed(
                name, argv, preset, assigned, optional, output, machine, options, deadline
            )
            function(typed, **values)

        return command

    return as_command


@training("fit-2d")
def fit_2d(typed: Typed) -> None:
    """Fit a flow stack to a 2-D density by reverse KL.

    Without --preset, --flow, --target and --k choose the nearest preset of that target (by default
    K = 8). Without --target the first flow chooses it too: gaussian-from-uniform for radial, else
    multimodal. The last line printed is the run directory. Points are fitted by `nflow fit`.
    """
    from nflow_cli.inference.fit_2d_config import nearest_preset

    pattern = typed.options["flow"] or ["planar"]
    target = typed.options["target"] or registry.NATURAL_TARGETS.get(pattern[0], "multimodal")
    typed.execute(typed.config(nearest_preset(target, pattern, typed.options["k"])))


@training("infer")
@click.argument(
    "density",
    metavar="[FILE.py:FUNCTION|NAME]",
    required=False,
    shell_complete=completion.names_or_files(list(registry.DENSITIES)),
)
@click.option(
    "--start",
    metavar="FILE",
    help="Table of points, with the coordinates as columns, at which the search for modes starts "
    "too.",
    type=FILE,
)
@minutes_option
def infer(typed: Typed, density: str | None, start: str | None) -> None:
    """Fit flows to a log-density by reverse KL, and judge draws by their importance weights.

    FILE.py:FUNCTION takes points (n, D) and returns log p (n,), up to a constant: in operations of
    Keras or TensorFlow, or with its gradient (n, D) as arrays of NumPy. It may be a model of PyMC
    or NumPyro, which has coordinates and bounds itself; a function `data` of the file returns the
    data of a NumPyro model. The file is executed; FILE.py alone uses its function log_density.
    NAME is a built-in density: funnel, many-well, banana, eight-schools or gmm40. Without --preset,
    `infer`, or `infer-wide` for many coordinates. The last line printed is the run directory.
    """
    from nflow_cli.data.files.columns import numbers_of
    from nflow_cli.data.files.table_files import open_table
    from nflow_cli.inference.infer_config import natural_preset, usual_dim

    if not density and not typed.preset:
        raise click.UsageError("expected FILE.py:FUNCTION, a NAME, or --preset with one")
    user, changes = _density(density, typed)
    dim = typed.options["dim"]
    if not dim and changes:
        dim = changes[0].value.get("dim")
    preset = natural_preset(dim or usual_dim(density))
    config = typed.config(preset, changes)
    if start is not None:
        points = numbers_of(open_table(start), config.density.columns).tolist()
        changes.append(_presets().Change("--start", "train.starts", points))
        config = typed.config(preset, changes)
    if user is None:
        typed.execute(config)
    else:
        from nflow_cli.inference.trial import user_subject

        typed.execute(config, user_subject(config, user))


def _density(density: str | None, typed: Typed) -> "tuple[UserFunction | None, list[Change]]":
    """Density of a file, if it is one, and the changes of the preset that name it."""
    if density is None:
        return None, []
    if density in registry.DENSITIES:
        return None, [_presets().Change("NAME", "density", {"name": density})]
    if ".py" not in density:
        known = list(registry.DENSITIES)
        hint = registry.subject_hint(density, known)
        raise click.BadParameter(
            f"{density!r} is not a density{hint}; known: {', '.join(known)}, or FILE.py:FUNCTION",
            param_hint="DENSITY",
        )
    from nflow_cli.inference.user_code import load_function

    start_tensorflow(typed.machine)  # before a file that imports it
    user = load_function(density)
    user.expect_free(typed.options)
    if user.coordinates is None and typed.options["dim"] is None:
        raise click.UsageError("--dim: expected the number of coordinates")
    return user, [_presets().Change("FILE", "density", user.density)]


@training("fit")
@click.argument(
    "table",
    metavar="[TABLE]",
    required=False,
    shell_complete=completion.names_or_files(list(registry.POINT_SETS)),
)
@minutes_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the kind of each column and all errors; train nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a dry run as one JSON object.")
def fit(typed: Typed, table: str | None, dry_run: bool, as_json: bool) -> None:
    """Fit a density to the columns of a table by maximum likelihood.

    TABLE is a .csv, .tsv, .jsonl, .xlsx, .parquet, .npy, .npz or .nc file, - for standard input, or
    a built-in set of points. It is fitted whole, by the preset `cells`: numbers, text, dates and
    gaps. With --flow or --k a stack of flows is fitted instead to a table of plain numbers: without
    --preset by `flows`, or `flows-planar` for planar, radial and sylvester flows. The last line
    printed is the run directory.
    """
    from nflow_cli.config.table import changes_of_length_to_null, natural_preset

    options = typed.options
    refuse(
        (options["steps"] and options["epochs"], "--steps and --epochs: expected one of the two"),
        (not (table or typed.preset), "expected TABLE, or --preset with one"),
        (as_json and not dry_run, "--json: expected --dry-run with it"),
    )
    preset = natural_preset(options["flow"], [*typed.assigned, *typed.optional])
    changes = [*changes_of_length_to_null(typed.optional), *_table(table, typed.assigned)]
    config = typed.config(preset, changes)
    if dry_run:
        _dry_run(config, typed.argv, as_json)
    else:
        typed.execute(config)


def _table(table: str | None, assigned: Sequence["Change"]) -> list["Change"]:
    """Changes of the preset that name a table: a file has no size to draw."""
    if table is None:
        return []
    changes = [_presets().Change("TABLE", "data.name", table)]
    is_sized = any(change.path == "data.size" for change in assigned)
    if table not in registry.POINT_SETS and not is_sized:
        changes.append(_presets().Change("TABLE", "data.size", None))
    return changes


def _dry_run(config: Any, argv: list[str], as_json: bool) -> None:
    from nflow_cli.experiments.running import settled_config
    from nflow_cli.tables.dry_run import command_of, dry_run, lines_of, record_of

    outcome = dry_run(config)
    command = command_of(outcome, config.data, argv)
    if outcome.data is not None:
        config = settled_config(config, outcome.data)
    if as_json:
        click.echo(json_text(record_of(outcome, config, command)))
    else:
        click.echo("\n".join(lines_of(outcome, config, command)))
    if outcome.faults:
        raise SystemExit(1)


@training("evidence")
@click.argument("draws", metavar="[DRAWS]...", nargs=-1, type=FILE)
def evidence(typed: Typed, draws: tuple[str, ...]) -> None:
    """Estimate log Z, the evidence, from draws of a posterior and their log-density.

    DRAWS are the files of one or more chains: CSV, also as CmdStan writes it, Parquet, ArviZ's .nc,
    .npy or .npz. Four densities are fitted, each to the chains that it does not judge; log Z is the
    learned harmonic mean over the others. No code of the model is needed. The last line printed is
    the run directory.
    """
    if not draws and not typed.preset:
        raise click.UsageError("expected DRAWS, or --preset with some")
    changes = []
    if draws:
        changes.append(_presets().Change("DRAWS", "data.name", draws[0]))
        changes.append(_presets().Change("DRAWS", "data.others", list(draws[1:])))
    typed.execute(typed.config("evidence", changes))


@training("train-vae")
@minutes_option
def train_vae(typed: Typed) -> None:
    """Train a VAE with a flow posterior on images, by its variational bound.

    The prior is N(0, I), or with --prior-flow or --prior-k a flow stack trained with the rest (by
    default 4 flows of affine-coupling).
    Without --preset, `mnist`: two latents and pictures of them. The last line printed is the run
    directory.
    """
    typed.execute(typed.config("mnist"))
