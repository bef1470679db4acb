"""Train presets over seeds and print the KL divergence each reaches, in nats.

    python -m benchmarks.quality [--seeds 5] [PRESET ...]

Without names, every shipped preset of a target, and K = 1 of the two natural targets. A preset with
R restarts is trained from the seeds 0, R, 2R, ...: no two runs share a restart.
"""

import statistics
from typing import Any

import click

# What `nflow fit-2d --flow NAME --k 1` trains, beside the presets.
SINGLES = {
    "multimodal-planar, k = 1": ("multimodal-planar", {"flow.k": 1}),
}


def contenders(names: tuple[str, ...]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what to train: preset and changes, by label."""
    from nflow_cli.config import presets

    if names:
        return {name: (name, {}) for name in names}
    shipped = presets.shipped_presets()
    fits = [n for n, path in shipped.items() if "target" in presets.read_preset(path)]
    return {**SINGLES, **{name: (name, {}) for name in fits}}


def train(preset: str, changes: dict[str, Any], run: int) -> dict[str, Any]:
    """Train one preset for the ``run``-th time; return its scores."""
    from nflow_cli.config import presets
    from nflow_cli.evaluation.reverse_kl import score
    from nflow_cli.experiments.reverse_kl import training as target_fit

    data = presets.read_preset(presets.find_preset(preset))
    resolved = presets.validate(presets.override(data, changes), preset)
    seed = run * resolved.train.restarts
    resolved = resolved.model_copy(update={"seed": seed})
    model = target_fit.build(resolved, resolved.new_target())
    target_fit.train(model, resolved)
    samples = resolved.evaluate.samples
    parts = model.density, model.target, model.density.units, resolved.columns
    return score(*parts, seed, samples).scores


@click.command()
@click.argument("presets", nargs=-1)
@click.option("--seeds", default=5, show_default=True, help="How many seeds.")
def main(presets: tuple[str, ...], seeds: int) -> None:
    """Print median, best and worst KL over the seeds, and the worst ESS."""
    from nflow_cli.backend.start import start_tensorflow

    start_tensorflow()
    click.echo("| preset | median KL | best | worst | s.e. | least ESS |")
    click.echo("|---|---|---|---|---|---|")
    for label, (preset, changes) in contenders(presets).items():
        runs = [train(preset, changes, run) for run in range(seeds)]
        kls = [run["kl"] for run in runs]
        error = max(run["kl_standard_error"] for run in runs)
        click.echo(
            f"| {label} | {statistics.median(kls):.5f} | {min(kls):.5f} | {max(kls):.5f} "
            f"| {error:.5f} | {min(run['ess'] for run in runs):.3f} |"
        )


if __name__ == "__main__":
    main()
