"""``nflow presets``: list the presets, or print one."""

import click

from nflow_cli.cli.layout import hanging


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets with one line each, or print the preset NAME."""
    from nflow_cli import config

    if name is not None:
        click.echo(config.preset_text(config.find_preset(name)), nl=False)
        return
    shipped = config.shipped_presets()
    width = max(map(len, shipped))
    for preset, path in shipped.items():
        data = config.read_preset(path)
        click.echo(hanging(f"{preset:<{width}}  {data['command']:<9}  ", data["description"]))
