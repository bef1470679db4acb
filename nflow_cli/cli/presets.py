"""``nflow presets``: list the presets, or print one."""

import click

from nflow_cli.cli.options import Command
from nflow_cli.layout import hanging
from nflow_cli.text import printable


@click.command(cls=Command)
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets with one line each, or print the preset NAME."""
    from nflow_cli.config import presets

    if name is not None:
        lines = presets.preset_text(presets.find_preset(name)).split("\n")
        click.echo("\n".join(printable(line.rstrip("\r")) for line in lines), nl=False)
        return
    shipped = presets.shipped_presets()
    width = max(map(len, shipped))
    for preset, path in shipped.items():
        data = presets.read_preset(path)
        click.echo(hanging(f"{preset:<{width}}  {data['command']:<9}  ", data["description"]))
