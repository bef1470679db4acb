"""``nflow train-vae``: train a VAE whose posterior goes through a flow stack."""

import shlex
import sys
from typing import Any

import click

from nflow_cli.cli.options import common_options


@click.command("train-vae")
@click.option("--flows", type=click.IntRange(0, 10_000), help="How many flows; 0: a plain VAE.")
@click.option("--data", metavar="NAME|PATH", help="mnist, mnist-sample, or an .npz or IDX path.")
@click.option("--no-fallback", is_flag=True, help="Fail where MNIST cannot be had.")
@click.option("--epochs", type=click.IntRange(1, 10**6), help="Passes over the training images.")
@common_options("Images per update.")
def train_vae(
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    no_fallback: bool,
    **options: Any,
) -> None:
    """Train a VAE with a flow posterior on images, by its variational bound.

    Without --preset, `mnist`: two latents and pictures of them. The last line printed is the run
    directory.
    """
    from nflow_cli import config
    from nflow_cli.cli.draw import draw
    from nflow_cli.cli.options import resolve_config, start_tensorflow, stopped_by_signals
    from nflow_cli.run_dir import CONFIG, RunDirectory

    path = config.find_preset(preset or "mnist")
    resolved = resolve_config(
        "train-vae",
        path,
        assignments,
        {
            "flow.k": options["flows"],
            "data.name": options["data"],
            "data.fallback": False if no_fallback else None,
            "train.epochs": options["epochs"],
            "train.batch_size": options["batch_size"],
            "train.learning_rate": options["learning_rate"],
            "seed": options["seed"],
        },
    )
    from nflow_cli.images import load_images

    images = load_images(resolved.data.name, fallback=resolved.data.fallback)
    check_sizes(resolved, images.n_train)
    run = RunDirectory.create(path.stem, output)
    repeatable = run.write_text(CONFIG, config.dump(resolved))  # even if TensorFlow never starts
    with stopped_by_signals(shlex.join(["nflow", "train-vae", "--preset", str(repeatable)])):
        start_tensorflow()
        from nflow_cli import fit_vae

        summary = fit_vae.run(resolved, run, sys.argv[1:], images)
        draw(run)
    click.echo(_table(summary))
    click.echo(run.path)


def check_sizes(config: Any, n_train: int) -> None:
    """Refuse a batch or a validation split that the data set is too small for."""
    from nflow_cli.errors import ConfigError

    held_out = config.train.early_stopping.images if config.train.early_stopping else 0
    if config.train.batch_size > n_train - held_out:
        raise ConfigError(
            f"train.batch_size: expected at most the {max(n_train - held_out, 0):,} training images"
            f"{' left by the validation split' if held_out else ''}. Received: "
            f"{config.train.batch_size}"
        )


def _table(summary: dict[str, Any]) -> str:
    """Lay out the main figures, one a line, with the published ones beneath."""
    kind = "amortized" if summary["amortized"] else "shared"
    flow = f"{summary['flow']}, K = {summary['k']}, {kind}" if summary["k"] else "none (K = 0)"
    data, binarization = summary["data"], summary["binarization"]
    error, active = summary["nll_standard_error"], summary["active_units"]
    rows = [
        (
            "data",
            f"{data['name']}, binarization: {binarization}, {data['n_test']:,} test images",
        ),
        ("flow", flow),
        ("-ELBO", f"{summary['negative_elbo']:.2f} nats"),
        ("", f"reconstruction {summary['reconstruction']:.2f} + KL {summary['kl']:.2f}"),
        (
            "-log p(x)",
            f"{summary['negative_log_likelihood']:.2f}"
            f"{'' if error is None else f' ± {error:.2f}'} nats, {summary['nll_samples']} "
            "importance samples",
        ),
        ("active units", f"{'unknown' if active is None else active} of {summary['latent_dim']}"),
        (
            "training",
            f"{summary['epochs']} epochs of {summary['seconds_per_epoch']:.1f} s, after "
            f"{summary['compile_seconds']:.1f} s of compiling",
        ),
    ]
    for entry in summary["published"]:
        figures = {"-ELBO": entry["negative_elbo"], "-log p(x)": entry["negative_log_likelihood"]}
        given = ", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)
        rows.append(("published", f"{given} nats: {entry['source']}"))
    return "\n".join(f"{name:<12} {value}" for name, value in rows)
