"""Fits to log-densities, and log Z from draws, by other libraries as in their examples.

NumPyro has no default rate: 1e-3. Each fit gives ``log q - log p`` at fresh draws of ``q``, log p
normalised. Nothing of nflow is imported.
"""

import math
import time
from typing import Any

import numpy as np

from benchmarks.posterior_truths import ERRORS, LOG_2PI, POSTERIORS, SCHOOLS, chains_of

DRAWS, RATE = 50_000, 1e-3
SCHOOLS_LOG_Z = -36.1308159


def normal(x, mean, scale):
    """Return the log-density of ``N(mean, scale²)`` by operations of JAX."""
    import jax.numpy as jnp

    return -0.5 * ((x - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * LOG_2PI


def funnel(x):
    """Return Neal's funnel at a point ``(D,)``."""
    import jax.numpy as jnp

    return normal(x[0], 0.0, 3.0) + normal(x[1:], 0.0, jnp.exp(x[0] / 2)).sum()


def eight_schools(x):
    """Return the posterior of the eight schools at a point ``(10,)``."""
    import jax.numpy as jnp

    prior = normal(x[0], 0.0, 10.0) + normal(x[1], 5.0, 1.0)
    effects = normal(x[2:], x[0], jnp.exp(x[1])).sum()
    data = normal(x[2:], SCHOOLS, ERRORS).sum()
    return prior + effects + data - SCHOOLS_LOG_Z


DENSITIES = {"funnel": funnel, "eight-schools": eight_schools}


def numpyro(guide_of):
    """Return a fit by one of NumPyro's automatic guides, by its SVI."""

    def fit(name, dim, seed, steps, batch):
        import jax
        import numpyro
        from numpyro import distributions, infer

        log_p = DENSITIES[name]

        def model():
            space = distributions.ImproperUniform(distributions.constraints.real_vector, (), (dim,))
            numpyro.factor("log_p", log_p(numpyro.sample("x", space)))

        guide = getattr(infer.autoguide, guide_of)(model)
        loss = infer.Trace_ELBO(num_particles=batch)
        svi = infer.SVI(model, guide, numpyro.optim.Adam(RATE), loss)
        key, draws = jax.random.split(jax.random.key(seed))
        params = svi.run(key, steps, progress_bar=False).params
        q = guide.get_posterior(params)
        x, between = q.sample_with_intermediates(draws, (DRAWS,))
        return np.asarray(q.log_prob(x, between) - jax.vmap(log_p)(x), np.float64)

    return fit


def flowjax(name, dim, seed, steps, batch):
    """Fit ``masked_autoregressive_flow`` by ``ElboLoss``."""
    import jax
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_key_based_loss
    from flowjax.train.losses import ElboLoss

    log_p = DENSITIES[name]
    key, start, draws = jax.random.split(jax.random.key(seed), 3)
    q = masked_autoregressive_flow(start, base_dist=Normal(np.zeros(dim)), invert=False)
    loss = ElboLoss(log_p, num_samples=batch)
    q, _ = fit_to_key_based_loss(key, q, loss_fn=loss, steps=steps, show_progress=False)
    x, log_q = q.sample_and_log_prob(draws, (DRAWS,))
    return np.asarray(log_q - jax.vmap(log_p)(x), np.float64)


PEERS = {
    "numpyro-iaf": numpyro("AutoIAFNormal"),
    "numpyro-bnaf": numpyro("AutoBNAFNormal"),
    "flowjax": flowjax,
}


def fit(peer: str, name: str, dim: int, seed: int, steps: int, batch: int) -> dict[str, Any]:
    """Return the free energy of a fit on fresh draws, and seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    log_ratios = PEERS[peer](name, dim, seed, steps, batch)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    finite = log_ratios[np.isfinite(log_ratios)]
    return {
        "kl": float(finite.mean()),
        "kl_standard_error": float(finite.std() / math.sqrt(len(finite))),
        "not_finite": len(log_ratios) - len(finite),
        "seconds": seconds,
        "cpu_seconds": round(cpu, 1),
    }


def evidence(name: str, seed: int) -> dict[str, float]:
    """Return log Z by harmonic.

    Its rational quadratic splines, standardised, temperature 0.8, trained on half of the chains for
    20 epochs; bounded parameters as logs.
    """
    import harmonic

    posterior = POSTERIORS[name]()
    chains = chains_of(posterior, seed)
    start = time.monotonic()
    log_p = np.stack([posterior.log_p(x) for x in chains])
    for column, ends in posterior.bounds.items():
        j = posterior.names.index(column)
        low = float(ends.split(":")[0] or "nan")  # half spaces above a bound
        log_p = log_p + np.log(chains[:, :, j] - low)
        chains[:, :, j] = np.log(chains[:, :, j] - low)
    draws = harmonic.Chains(chains.shape[2])
    draws.add_chains_3d(chains, log_p)
    train, test = harmonic.utils.split_data(draws, training_proportion=0.5)
    model = harmonic.model.RQSplineModel(chains.shape[2], standardize=True, temperature=0.8)
    model.fit(train.samples, epochs=20)
    found = harmonic.Evidence(test.nchains, model)
    found.add_chains(test)
    log_z = -float(found.ln_evidence_inv)
    spread = np.exp(0.5 * float(found.ln_evidence_inv_var) - float(found.ln_evidence_inv))
    return {
        "log_z_error": log_z - posterior.log_z,
        "standard_error": float(spread),
        "seconds": round(time.monotonic() - start, 1),
    }
