"""Printed scores of a VAE."""

from nflow_cli.evaluation.warnings import FAIR_COIN_NATS, marked
from nflow_cli.experiments.rows import Rows, Summary, Warnings, figure, length_text


def rows_of(summary: Summary, epochs: int, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    data = summary["data"]
    made = length_text(summary["epochs"], epochs, "epochs")
    best = f"; best after {summary['best_epoch']:,}" if summary["best_epoch"] else ""
    return [
        data_row(data["name"], summary["binarization"], data["n_test"]),
        flow_row(summary["flow"], summary["k"], summary["amortized"]),
        *prior_rows(summary.get("prior")),
        *bound_rows(summary, summary["latent_dim"], warnings),
        (
            "training",
            f"{made} of {summary['seconds_per_epoch']:.1f} s, after "
            f"{summary['compile_seconds']:.1f} s of compiling{best}",
        ),
    ]


def verdict_of(summary: Summary, warnings: Warnings) -> Rows:
    """Rows of bound, likelihood and fair coins."""
    bound, _, likelihood, _ = bound_rows(summary, summary["latent_dim"], warnings)
    return [bound, likelihood, ("fair coins", f"{FAIR_COIN_NATS:.2f} nats")]


def data_row(name: str, binarization: str, count: int) -> tuple[str, str]:
    """Row of the test images."""
    return "data", f"{name}, binarization: {binarization}, {count:,} test images"


def flow_row(pattern: str, k: int, amortized: bool) -> tuple[str, str]:
    """Row of the posterior's flows."""
    text = f"{pattern}, K = {k}, {'amortized' if amortized else 'shared'}"
    return "flow", text if k else "none (K = 0)"


def prior_rows(title: str | None) -> Rows:
    """Row of the prior's flows, if any."""
    return [("prior", f"N(0, I) pushed through {title}")] if title else []


def bound_rows(scores: Summary, latent_dim: int, warnings: Warnings) -> Rows:
    """Rows of the bound and the likelihood."""
    error, active = scores["nll_standard_error"], scores["active_units"]
    spread = "" if error is None else f" ± {error:.2f}"
    draws = f"{scores['nll_samples']} importance samples"
    bound, nll = (figure(scores, f"negative_{of}", 2) for of in ("elbo", "log_likelihood"))
    likelihood = f"{nll}{spread} nats, {draws}"
    parts = (figure(scores, key, 2) for key in ("reconstruction", "kl"))
    return [
        ("-ELBO", marked(f"{bound} nats", warnings, "negative_elbo")),
        ("", "reconstruction {} + KL {}".format(*parts)),
        ("-log p(x)", marked(likelihood, warnings, "negative_log_likelihood")),
        ("active units", f"{'unknown' if active is None else active} of {latent_dim}"),
    ]
