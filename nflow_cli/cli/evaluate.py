"""``nflow evaluate``: judge what a run trained, by fresh samples or by data of one's own."""

from typing import Any

import click

# How many samples each kind of run takes: a VAE's are drawn for every image.
ALLOWED = {"fit-2d": (100, 10**7), "train-vae": (1, 5_000)}


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--data", metavar="FILE", help="Points (.csv, .npy); of a VAE, images (NAME|PATH).")
@click.option(
    "--samples",
    type=click.IntRange(1, 10**7),
    help="Samples of q; of a VAE, importance samples per image (at most 5,000).",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), help="Fixes the samples; default: the run's."
)
def evaluate(run_dir: str, data: str | None, samples: int | None, seed: int | None) -> None:
    """Judge what a run trained, by fresh samples or by data of your own.

    Of a fit-2d run: KL, effective sample size and log Z by importance sampling, and with --data the
    mean log-likelihood of those points. Of a fit-2d run on points: the mean log-likelihood of its
    test points, or of those of --data. Of a train-vae run: the bound and the importance-sampled
    likelihood of its test images, or of those of --data. All in nats.
    """
    from nflow_cli.backend import start_tensorflow
    from nflow_cli.config import load_config
    from nflow_cli.run_dir import CONFIG, RunDirectory

    run = RunDirectory.open(run_dir)
    config = load_config(run.path / CONFIG)
    on_points = config.command == "fit-2d" and config.data is not None
    if on_points and (samples, seed) != (None, None):
        raise click.UsageError("a fit to points is judged by points: no --samples and no --seed")
    _check_samples(config.command, samples)
    of_density = _points_rows if on_points else _flow_rows
    rows_of = of_density if config.command == "fit-2d" else _vae_rows
    given = _data(run, config, data)
    start_tensorflow()
    from nflow_cli.trained import load

    rows = rows_of(load(run_dir), given, samples, config.seed if seed is None else seed)
    click.echo("\n".join(f"{name:<14} {value}" for name, value in rows))


def _check_samples(command: str, samples: int | None) -> None:
    low, high = ALLOWED[command]
    if samples is not None and not low <= samples <= high:
        raise click.BadParameter(
            f"{samples} is not in the range {low}<=x<={high} of a {command} run",
            param_hint="'--samples'",
        )


def _data(run: Any, config: Any, name: str | None) -> Any:
    """Read what the run is judged by: the data given, or what it was trained on if anything."""
    from nflow_cli.run_data import data_of

    if name is None:
        return data_of(run, config)
    if config.command == "fit-2d":
        from nflow_cli.points import read_points

        return read_points(name)
    from nflow_cli.images import load_images

    return load_images(name, fallback=False)


def _flow_rows(trained: Any, points: Any, samples: int | None, seed: int) -> list[tuple[str, str]]:
    """Return the rows of the table of a fit-2d run."""
    from nflow_cli.evaluation import DOMINATED, score
    from nflow_cli.scores import likelihood, log_ratios

    config, log_z = trained.config, getattr(trained.target, "log_z", None)
    n = samples or config.evaluate.samples
    found = score(log_ratios(trained, n, seed), log_z)
    kl, error = found["kl"], found["kl_standard_error"]
    rows = [
        ("target", config.target.name),
        ("flow", f"{','.join(config.flow.pattern)}, K = {config.flow.k}"),
        ("samples", f"{n:,}, seed {seed}"),
        ("KL(q || p)", "unknown (log Z is)" if kl is None else f"{kl:.5f} ± {error:.5f} nats"),
        ("free energy", f"{found['free_energy']:.5f} ± {error:.5f} nats"),
        ("ESS", f"{found['ess']:.4f} ± {found['ess_standard_error']:.4f}"),
        ("log Z", _log_z(found, trained)),
    ]
    if found["largest_weight"] >= DOMINATED:
        rows.append(("", "a few samples outweigh all others: do not rely on ESS and log Z"))
    if trained.base.bounded:
        rows.append(("", "q is 0 outside a bounded region: log Z counts what it covers, no more"))
    if points is not None:
        rows += _likelihood_rows(likelihood(trained, points))
    return rows


def _points_rows(trained: Any, given: Any, *_: Any) -> list[tuple[str, str]]:
    """Return the rows of the table of a fit-2d run on points."""
    from nflow_cli.cli.report import held_out_rows
    from nflow_cli.point_data import PointData
    from nflow_cli.scores import held_out_figures, likelihood

    config = trained.config
    rows = [
        ("data", config.data.name),
        ("flow", f"{','.join(config.flow.pattern)}, K = {config.flow.k}"),
    ]
    if isinstance(given, PointData):
        return rows + held_out_rows(held_out_figures(trained, given))
    return rows + _likelihood_rows(likelihood(trained, given))


def _log_z(found: dict[str, Any], trained: Any) -> str:
    estimate = f"{found['estimated_log_z']:.5f} ± {found['log_z_standard_error']:.5f} nats"
    true = getattr(trained.target, "log_z", None)
    bound = "a lower bound, " if trained.base.bounded else ""
    return f"{estimate} ({bound}true: {'unknown' if true is None else f'{true:.5f}'})"


def _likelihood_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows about points of the user's own."""
    mean, error, outside = (found[k] for k in ("log_likelihood", "standard_error", "outside"))
    points = f"{found['n']:,} point{'s' if found['n'] > 1 else ''}"
    if not outside:
        spread = "" if error is None else f" ± {error:.5f}"
        return [("log-likelihood", f"{mean:.5f}{spread} nats, mean of {points}")]
    rows = [("log-likelihood", f"-inf: q is 0 at {outside:,} of {points}")]
    if mean is not None:
        spread = "" if error is None else f" ± {error:.5f}"
        rows.append(("", f"{mean:.5f}{spread} nats, mean of the others"))
    return rows


def _vae_rows(trained: Any, images: Any, samples: int | None, seed: int) -> list[tuple[str, str]]:
    """Return the rows of the table of a train-vae run."""
    from nflow_cli.cli.report import bound_rows, flow_text
    from nflow_cli.images import binarize
    from nflow_cli.vae_evaluation import evaluate_vae

    config = trained.config
    mode = config.data.binarization
    pixels = binarize(images.x_test, mode, config.seed, 0, "test")
    draws = samples or config.evaluate.importance_samples
    found, _ = evaluate_vae(trained.model, pixels, draws, seed)
    flow = ",".join(config.flow.pattern), config.flow.k, config.flow.amortized
    return [
        ("data", f"{images.name}, binarization: {mode}, {images.n_test:,} test images"),
        ("flow", flow_text(*flow)),
        ("samples", f"{draws:,} an image, seed {seed}"),
        *bound_rows(found, config.model.latent_dim),
    ]
