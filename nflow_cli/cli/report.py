"""The table of figures that a training ends with, and what `evaluate` shares of it."""

from typing import Any


def table(summary: dict[str, Any]) -> str:
    """Lay out the main figures of a run, one a line."""
    if "negative_elbo" in summary:
        rows = _train_vae(summary)
    elif "log_likelihood" in summary:
        rows = _fit_points(summary)
    else:
        rows = _fit_2d(summary)
    width = max(12, *(len(name) for name, _ in rows))
    return "\n".join(f"{name:<{width}} {value}" for name, value in rows)


def _fit_2d(summary: dict[str, Any]) -> list[tuple[str, str]]:
    kl = summary["kl"]
    return [
        ("target", summary["target"]),
        ("flow", _flow(summary)),
        (
            "KL(q || p)",
            "unknown (log Z is)"
            if kl is None
            else f"{kl:.5f} ± {summary['kl_standard_error']:.5f} nats",
        ),
        ("free energy", f"{summary['free_energy']:.5f} nats"),
        ("ESS", f"{summary['ess']:.3f}"),
        ("mass of q", f"{summary['mass']:.5f}"),
        *_restarts(summary["restarts"]),
        ("training", _training(summary)),
    ]


def _fit_points(summary: dict[str, Any]) -> list[tuple[str, str]]:
    parts = ", ".join(f"{summary[f'n_{p}']:,} {p}" for p in ("train", "validation", "test"))
    return [
        ("data", f"{summary['data']['name']}: {parts} points"),
        ("flow", _flow(summary)),
        *held_out_rows(summary),
        ("mass of q", f"{summary['mass']:.5f} ± {summary['mass_error']:.5f}"),
        ("training", f"{_training(summary)}; best after {summary['best_update']:,}"),
    ]


def held_out_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Lay out the log-likelihood of the test points, and that of a Gaussian."""
    names = {"log-likelihood": "log_likelihood", "of a Gaussian": "gaussian_log_likelihood"}
    return [
        (name, f"{found[key]:.5f} ± {found[f'{key}_standard_error']:.5f} nats a test point")
        for name, key in names.items()
    ]


def _flow(summary: dict[str, Any]) -> str:
    return f"{summary['flow']}, K = {summary['k']}, {summary['n_parameters']} parameters"


def _training(summary: dict[str, Any]) -> str:
    text = f"{summary['steps']} updates in {summary['train_seconds']:.1f} s"
    speed = summary["steps_per_second"]
    if speed is None:
        return f"{text}, compiling included"
    return f"{text} ({speed:,.0f} a second, after {summary['compile_seconds']:.1f} s of compiling)"


def _restarts(restarts: dict[str, Any]) -> list[tuple[str, str]]:
    """Tell the KL of each restart, if there were several."""
    if restarts["count"] == 1:
        return []
    kls = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"KL {kls}; seed {restarts['seed']} is kept")]


def flow_text(pattern: str, k: int, amortized: bool) -> str:
    """Say which flows a VAE's posterior has."""
    return f"{pattern}, K = {k}, {'amortized' if amortized else 'shared'}" if k else "none (K = 0)"


def bound_rows(found: dict[str, Any], latent_dim: int) -> list[tuple[str, str]]:
    """Lay out the bound and the likelihood of a VAE."""
    error, active = found["nll_standard_error"], found["active_units"]
    spread = "" if error is None else f" ± {error:.2f}"
    return [
        ("-ELBO", f"{found['negative_elbo']:.2f} nats"),
        ("", f"reconstruction {found['reconstruction']:.2f} + KL {found['kl']:.2f}"),
        (
            "-log p(x)",
            f"{found['negative_log_likelihood']:.2f}{spread} nats, {found['nll_samples']} "
            "importance samples",
        ),
        ("active units", f"{'unknown' if active is None else active} of {latent_dim}"),
    ]


def _train_vae(summary: dict[str, Any]) -> list[tuple[str, str]]:
    data = summary["data"]
    rows = [
        (
            "data",
            f"{data['name']}, binarization: {summary['binarization']}, {data['n_test']:,} test "
            "images",
        ),
        ("flow", flow_text(summary["flow"], summary["k"], summary["amortized"])),
        *bound_rows(summary, summary["latent_dim"]),
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
    return rows
