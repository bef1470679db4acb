"""``nflow evaluate``: judge what a run trained, by fresh samples or by data of one's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from nflow_cli.caveats import TRAINED_ON, Caveat, caveats_of, marked
from nflow_cli.cli.options import Command
from nflow_cli.cli.report import (
    Rows,
    bound_rows,
    caveat_rows,
    flow_text,
    held_out_rows,
    laid_out,
)

# How many samples each kind of run takes: a VAE's are drawn for every image.
ALLOWED = {"fit-2d": (100, 10**7), "train-vae": (1, 5_000)}


@click.command(cls=Command)
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
    from nflow_cli.run_dir import SUMMARY, RunDirectory

    run = RunDirectory.open(run_dir)
    config = run.read_config()
    on_points = config.command == "fit-2d" and config.data is not None
    if on_points and (samples, seed) != (None, None):
        raise click.UsageError("a fit to points is judged by points: no --samples and no --seed")
    _check_samples(config.command, samples)
    of_density = _points_rows if on_points else _flow_rows
    rows_of = of_density if config.command == "fit-2d" else _vae_rows
    given = _data(run, config, data)
    start_tensorflow()
    from nflow_cli.trained import load

    trained = load(run_dir)
    recorded = run.read_json(SUMMARY) if run.has(SUMMARY) else {}
    recorded.pop("mass_error", None)  # no mass is shown
    draws_seed = config.seed if seed is None else seed
    click.echo(laid_out(rows_of(trained, given, samples, draws_seed, recorded), 14))


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


def _flow_rows(
    trained: Any, points: Any, samples: int | None, seed: int, recorded: Mapping[str, Any]
) -> Rows:
    """Return the rows of the table of a fit-2d run."""
    from nflow_cli.evaluation import evaluate_samples
    from nflow_cli.scores import likelihood

    config = trained.config
    n = samples or config.evaluate.samples
    scores = evaluate_samples(trained, trained.target, seed, n).scores
    caveats = caveats_of(config, {**recorded, **scores})
    kl, error = scores["kl"], scores["kl_standard_error"]
    free_energy = f"{scores['free_energy']:.5f} ± {error:.5f} nats"
    ess = f"{scores['ess']:.4f} ± {scores['ess_standard_error']:.4f}"
    text = "unknown (log Z is)" if kl is None else f"{kl:.5f} ± {error:.5f} nats"
    rows = [
        ("target", config.target.name),
        ("flow", f"{','.join(config.flow.pattern)}, K = {config.flow.k}"),
        ("samples", f"{n:,}, seed {seed}"),
        ("KL(q || p)", text if kl is None else marked(text, caveats, "kl")),
        ("free energy", marked(free_energy, caveats, "free_energy")),
        ("ESS", marked(ess, caveats, "ess")),
        ("log Z", marked(_log_z(scores, trained), caveats, "estimated_log_z")),
        ("k-hat", f"{scores['pareto_k']:.2f}, of the tail of the weights"),
    ]
    if trained.base.bounded:
        rows.append(("", "q is 0 outside a bounded region: log Z counts what it covers, no more"))
    if points is not None:
        rows += _likelihood_rows(likelihood(trained, points), caveats)
    return rows + caveat_rows(caveats)


def _points_rows(
    trained: Any, data: Any, _: int | None, __: int, recorded: Mapping[str, Any]
) -> Rows:
    """Return the rows of the table of a fit-2d run on points."""
    from nflow_cli.point_data import PointData
    from nflow_cli.run_data import is_data_of
    from nflow_cli.run_dir import RunDirectory
    from nflow_cli.scores import held_out_figures, likelihood

    config = trained.config
    caveats = caveats_of(config, recorded)
    rows = [
        ("data", config.data.name),
        ("flow", f"{','.join(config.flow.pattern)}, K = {config.flow.k}"),
    ]
    if not isinstance(data, PointData) and is_data_of(RunDirectory(trained.path), data):
        caveats.append(TRAINED_ON)
    if isinstance(data, PointData):
        rows += held_out_rows(held_out_figures(trained, data), caveats)
    else:
        rows += _likelihood_rows(likelihood(trained, data), caveats)
    return rows + caveat_rows(caveats)


def _log_z(scores: Mapping[str, Any], trained: Any) -> str:
    estimate = f"{scores['estimated_log_z']:.5f} ± {scores['log_z_standard_error']:.5f} nats"
    true = trained.target.log_z
    bound = "a lower bound, " if trained.base.bounded else ""
    return f"{estimate} ({bound}true: {'unknown' if true is None else f'{true:.5f}'})"


def _likelihood_rows(scores: Mapping[str, Any], caveats: Sequence[Caveat]) -> Rows:
    """Return the rows about points of the user's own."""
    mean, error, outside = (
        scores[key] for key in ("log_likelihood_inside", "standard_error", "outside")
    )
    points = f"{scores['n']:,} point{'s' if scores['n'] > 1 else ''}"
    spread = "" if error is None else f" ± {error:.5f}"
    if not outside:
        text = f"{mean:.5f}{spread} nats, mean of {points}"
        return [("log-likelihood", marked(text, caveats, "log_likelihood"))]
    rows = [("log-likelihood", f"-inf: q is 0 at {outside:,} of {points}")]
    if mean is not None:
        rows.append(("", f"{mean:.5f}{spread} nats, mean of the others"))
    return rows


def _vae_rows(
    trained: Any, images: Any, samples: int | None, seed: int, recorded: Mapping[str, Any]
) -> Rows:
    """Return the rows of the table of a train-vae run."""
    from nflow_cli.images import binarize
    from nflow_cli.vae_evaluation import evaluate_vae

    config = trained.config
    mode = config.data.binarization
    pixels = binarize(images.x_test, mode, config.seed, 0, "test")
    draws = samples or config.evaluate.importance_samples
    scores, _ = evaluate_vae(trained.model, pixels, draws, seed)
    caveats = caveats_of(config, {**recorded, **scores})
    flow = ",".join(config.flow.pattern), config.flow.k, config.flow.amortized
    return [
        ("data", f"{images.name}, binarization: {mode}, {images.n_test:,} test images"),
        ("flow", flow_text(*flow)),
        ("samples", f"{draws:,} an image, seed {seed}"),
        *bound_rows(scores, config.model.latent_dim, caveats),
        *caveat_rows(caveats),
    ]
