"""nflow: train normalizing flows from the command line, exactly and fast."""

from typing import Any

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(run: Any) -> Any:
    """Load what a run trained: see :func:`nflow_cli.experiments.trained.load`.

    Args:
        run: A run directory, as text or a path.

    Returns:
        Of a fit-2d run a :class:`~nflow_cli.experiments.trained.TrainedDensity`:
        ``sample(n, seed=0)``, the exact ``log_prob(x)`` in nats, ``latent(x)`` and
        ``from_latent(z0)``, ``flow``. Of a train-vae run a
        :class:`~nflow_cli.experiments.trained.TrainedVAE`: ``sample(n, seed=0)``, ``model``.

    Raises:
        NflowError: In one line, if the run cannot be loaded.
    """
    from nflow_cli.backend import start_keras  # here: importing nflow_cli loads nothing heavy

    start_keras()
    from nflow_cli.experiments import trained

    return trained.load(run)
