"""log Z by `harmonic` from the same draws as `benchmarks.evidence`, in an environment of its own.

    python -m venv peer && peer/bin/pip install harmonic
    peer/bin/python -m benchmarks.evidence_peer --posterior banana half-space --seeds 3

Its rational quadratic splines, standardised, temperature 0.8, trained on half of the chains for 20
epochs, as its examples are; bounded parameters as logs. Lines of JSON: the error of log Z, its
stated standard error, and seconds.
"""

import argparse
import json
import time

import harmonic  # pyright: ignore[reportMissingImports]
import numpy as np

from benchmarks.posteriors import POSTERIORS, chains_of

EPOCHS = 20


def measure(posterior, seed):
    """Return the estimate beside the truth."""
    chains = chains_of(posterior, seed)
    start = time.monotonic()
    log_p = np.stack([posterior.log_p(x) for x in chains])
    for name, ends in posterior.bounds.items():
        j = posterior.names.index(name)
        low = float(ends.split(":")[0] or "nan")  # half spaces above a bound
        log_p = log_p + np.log(chains[:, :, j] - low)
        chains[:, :, j] = np.log(chains[:, :, j] - low)
    draws = harmonic.Chains(chains.shape[2])
    draws.add_chains_3d(chains, log_p)
    train, test = harmonic.utils.split_data(draws, training_proportion=0.5)
    model = harmonic.model.RQSplineModel(chains.shape[2], standardize=True, temperature=0.8)
    model.fit(train.samples, epochs=EPOCHS)
    found = harmonic.Evidence(test.nchains, model)
    found.add_chains(test)
    log_z = -float(found.ln_evidence_inv)
    spread = np.exp(0.5 * float(found.ln_evidence_inv_var) - float(found.ln_evidence_inv))
    return {
        "log_z_error": log_z - posterior.log_z,
        "standard_error": float(spread),
        "seconds": round(time.monotonic() - start, 1),
    }


def main():
    """Print a line for each posterior and seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--posterior", nargs="+", choices=list(POSTERIORS), required=True)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    for name in arguments.posterior:
        posterior = POSTERIORS[name]()
        for seed in range(arguments.seeds):
            row = {"posterior": name, "seed": seed, **measure(posterior, seed)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
