"""The table of figures that a training ends with, and what `evaluate` shares of it."""

from collections.abc import Sequence
from typing import Any

from nflow_cli.caveats import Caveat, marked
from nflow_cli.cli.layout import hanging

Rows = list[tuple[str, str]]
Caveats = Sequence[Caveat]


def table(config: Any, summary: dict[str, Any], caveats: Caveats) -> str:
    """Lay out the main figures of a run, one a line, and what it cannot vouch for."""
    if "negative_elbo" in summary:
        rows = _train_vae(config, summary, caveats)
    elif "log_likelihood" in summary:
        rows = _fit_points(config, summary, caveats)
    else:
        rows = _fit_2d(config, summary, caveats)
    return laid_out([*rows, *caveat_rows(caveats)])


def laid_out(rows: Rows, least: int = 12) -> str:
    """Lay out rows in two columns, the first of at least so many letters."""
    width = max(least, *(len(name) for name, _ in rows))
    return "\n".join(hanging(f"{name:<{width}} ", value) for name, value in rows)


def caveat_rows(caveats: Caveats) -> Rows:
    """Say what the words beside the figures are short for."""
    return [(f"[{caveat.word}]", caveat.reason) for caveat in caveats]


def _fit_2d(config: Any, summary: dict[str, Any], caveats: Caveats) -> Rows:
    kl = summary["kl"]
    error = f"± {summary['kl_standard_error']:.5f} nats"
    text = "unknown (log Z is)" if kl is None else marked(f"{kl:.5f} {error}", caveats, "kl")
    free_energy, ess = f"{summary['free_energy']:.5f} nats", f"{summary['ess']:.3f}"
    return [
        ("target", summary["target"]),
        ("flow", _flow(summary)),
        ("KL(q || p)", text),
        ("free energy", marked(free_energy, caveats, "free_energy")),
        ("ESS", marked(ess, caveats, "ess")),
        ("mass of q", _mass(summary, caveats)),
        *_restarts(summary["restarts"]),
        ("training", _training(config, summary)),
    ]


def _mass(summary: dict[str, Any], caveats: Caveats) -> str:
    return marked(f"{summary['mass']:.5f} ± {summary['mass_error']:.5f}", caveats, "mass")


def _fit_points(config: Any, summary: dict[str, Any], caveats: Caveats) -> Rows:
    parts = ", ".join(f"{summary[f'n_{p}']:,} {p}" for p in ("train", "validation", "test"))
    return [
        ("data", f"{summary['data']['name']}: {parts} points"),
        ("flow", _flow(summary)),
        *held_out_rows(summary, caveats),
        ("mass of q", _mass(summary, caveats)),
        ("training", f"{_training(config, summary)}; best after {summary['best_update']:,}"),
    ]


def held_out_rows(scores: dict[str, Any], caveats: Caveats) -> Rows:
    """Lay out the log-likelihood of the test points, and that of a Gaussian."""
    names = {"log-likelihood": "log_likelihood", "of a Gaussian": "gaussian_log_likelihood"}
    rows = []
    for name, key in names.items():
        error = scores[f"{key}_standard_error"]
        text = f"{scores[key]:.5f} ± {error:.5f} nats a test point"
        rows.append((name, marked(text, caveats, key)))
    return rows


def _flow(summary: dict[str, Any]) -> str:
    return f"{summary['flow']}, K = {summary['k']}, {summary['n_parameters']} parameters"


def _training(config: Any, summary: dict[str, Any]) -> str:
    updates = _made(summary["steps"], config.train.steps, "updates")
    text = f"{updates} in {summary['train_seconds']:.1f} s"
    speed = summary["steps_per_second"]
    if speed is None:
        return f"{text}, compiling included"
    return f"{text} ({speed:,.0f} a second, after {summary['compile_seconds']:.1f} s of compiling)"


def _made(made: int, planned: int, unit: str) -> str:
    """Say how long training was, and whether it stopped early."""
    if made >= planned:
        return f"{made} {unit}"
    return f"stopped early after {made:,} of {planned:,} {unit}"


def _restarts(restarts: dict[str, Any]) -> Rows:
    """Tell the KL of each restart, if there were several."""
    if restarts["count"] == 1:
        return []
    kls = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"KL {kls}; seed {restarts['seed']} is kept")]


def flow_text(pattern: str, k: int, amortized: bool) -> str:
    """Say which flows a VAE's posterior has."""
    return f"{pattern}, K = {k}, {'amortized' if amortized else 'shared'}" if k else "none (K = 0)"


def bound_rows(scores: dict[str, Any], latent_dim: int, caveats: Caveats) -> Rows:
    """Lay out the bound and the likelihood of a VAE."""
    error, active = scores["nll_standard_error"], scores["active_units"]
    spread = "" if error is None else f" ± {error:.2f}"
    draws = f"{scores['nll_samples']} importance samples"
    likelihood = f"{scores['negative_log_likelihood']:.2f}{spread} nats, {draws}"
    return [
        ("-ELBO", marked(f"{scores['negative_elbo']:.2f} nats", caveats, "negative_elbo")),
        ("", f"reconstruction {scores['reconstruction']:.2f} + KL {scores['kl']:.2f}"),
        ("-log p(x)", marked(likelihood, caveats, "negative_log_likelihood")),
        ("active units", f"{'unknown' if active is None else active} of {latent_dim}"),
    ]


def _train_vae(config: Any, summary: dict[str, Any], caveats: Caveats) -> Rows:
    data = summary["data"]
    epochs = _made(summary["epochs"], config.train.epochs, "epochs")
    best = f"; best after {summary['best_epoch']:,}" if summary["best_epoch"] else ""
    rows = [
        (
            "data",
            f"{data['name']}, binarization: {summary['binarization']}, {data['n_test']:,} test "
            "images",
        ),
        ("flow", flow_text(summary["flow"], summary["k"], summary["amortized"])),
        *bound_rows(summary, summary["latent_dim"], caveats),
        (
            "training",
            f"{epochs} of {summary['seconds_per_epoch']:.1f} s, after "
            f"{summary['compile_seconds']:.1f} s of compiling{best}",
        ),
    ]
    for entry in summary["published"]:
        figures = {"-ELBO": entry["negative_elbo"], "-log p(x)": entry["negative_log_likelihood"]}
        given = ", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)
        rows.append(("published", f"{given} nats: {entry['source']}"))
    return rows
