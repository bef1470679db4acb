"""The table of figures that a training ends with."""

from typing import Any


def table(summary: dict[str, Any]) -> str:
    """Lay out the main figures of a run, one a line."""
    rows = _train_vae(summary) if "negative_elbo" in summary else _fit_2d(summary)
    return "\n".join(f"{name:<12} {value}" for name, value in rows)


def _fit_2d(summary: dict[str, Any]) -> list[tuple[str, str]]:
    flow = f"{summary['flow']}, K = {summary['k']}, {summary['n_parameters']} parameters"
    kl = summary["kl"]
    return [
        ("target", summary["target"]),
        ("flow", flow),
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
        (
            "training",
            f"{summary['steps']} updates in {summary['train_seconds']:.1f} s "
            f"({summary['steps_per_second']:,.0f} a second, after {summary['compile_seconds']:.1f}"
            " s of compiling)",
        ),
    ]


def _restarts(restarts: dict[str, Any]) -> list[tuple[str, str]]:
    """Tell the KL of each restart, if there were several."""
    if restarts["count"] == 1:
        return []
    kls = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"KL {kls}; seed {restarts['seed']} is kept")]


def _train_vae(summary: dict[str, Any]) -> list[tuple[str, str]]:
    kind = "amortized" if summary["amortized"] else "shared"
    flow = f"{summary['flow']}, K = {summary['k']}, {kind}" if summary["k"] else "none (K = 0)"
    data = summary["data"]
    error, active = summary["nll_standard_error"], summary["active_units"]
    rows = [
        (
            "data",
            f"{data['name']}, binarization: {summary['binarization']}, {data['n_test']:,} test "
            "images",
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
    return rows
