"""``nflow presets``: list the presets, or print one."""

import click

from nflow_cli.cli import completion
from nflow_cli.cli.options import Command
from nflow_cli.runs.json_text import json_text
from nflow_cli.terminal.layout import hanging
from nflow_cli.text import printable


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=completion.presets)
@click.option("--schema", is_flag=True, help="Print the JSON schema of presets, for editors.")
def presets(name: str | None, schema: bool) -> None:
    """List the presets with one line each, or print the preset NAME."""
    from nflow_cli.config import preset_files, presets
    from nflow_cli.config.schema import json_schema

    if schema:
        if name is not None:
            raise click.UsageError("--schema is of all presets; expected no NAME")
        click.echo(json_text(json_schema()))
        return

    if name is not None:
        lines = presets.preset_text(preset_files.find_preset(name)).split("\n")
        click.echo("\n".join(printable(line.rstrip("\r")) for line in lines), nl=False)
        return
    shipped = preset_files.shipped_presets()
    width = max(map(len, shipped))
    for preset, path in shipped.items():
        data = presets.read_preset(path)
        click.echo(hanging(f"{preset:<{width}}  {data['command']:<9}  ", data["description"]))
