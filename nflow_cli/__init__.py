"""nflow: train normalizing flows from the command line, exactly and fast."""

from typing import Any

from nflow_cli.constants import __version__

__all__ = ["__version__", "fit", "infer", "load"]


def fit(table: Any, **options: Any) -> Any:
    """Fit a density to a table: see :func:`nflow_cli.experiments.table.python.fit`.

    Args:
        table: A DataFrame of any make, a mapping of names to arrays, an array ``(n, D)``, or the
            path of a file.
        options: ``columns``, ``exclude``, ``bounds``, ``given``, ``categorical``, ``discrete``,
            ``weights``, ``missing``, ``flow``, ``k``, ``steps``, ``ensemble``, ``seed``,
            ``output``, ``preset``, and other keys of a preset as ``settings``.

    Returns:
        The density, as :func:`load` returns it.

    Raises:
        NflowError: In one line, if the table or an option is wrong.
    """
    from nflow_cli.backend import start_tensorflow

    start_tensorflow(machine=None)
    from nflow_cli.experiments.table import python

    return python.fit(table, **options)


def infer(log_density: Any, **options: Any) -> Any:
    """Fit flows to a log-density: see :func:`nflow_cli.experiments.infer.python.infer`.

    Args:
        log_density: A function of points ``(n, D)`` that returns ``log p`` ``(n,)`` in nats in
            operations of Keras or TensorFlow, or a pair of arrays: that and its gradient
            ``(n, D)``; or the name of a built-in density.
        options: ``dim``, ``names``, ``bounds``, ``base``, ``flow``, ``k``, ``steps``,
            ``anneal``, ``restarts``, ``seed``, ``output``, ``preset``, and other keys of a preset
            as ``settings``.

    Returns:
        The density, as :func:`load` returns it.

    Raises:
        NflowError: In one line, if the function or an option is wrong.
    """
    from nflow_cli.backend import start_tensorflow

    start_tensorflow(machine=None)
    from nflow_cli.experiments.infer import python

    return python.infer(log_density, **options)


def load(run: Any) -> Any:
    """Load the trained density or VAE of a run.

    Args:
        run: A run directory, as text or a path.

    Returns:
        Of a fit-2d run a :class:`~nflow_cli.experiments.trained.TrainedDensity`:
        ``sample(n, seed=0)``, the exact ``log_prob(x)`` in nats, ``latent(x)`` and
        ``from_latent(z0)``, ``flow``; of an infer run a
        :class:`~nflow_cli.experiments.trained.TrainedInference`, which has the same and
        ``columns``. Of a run of ``nflow fit`` a
        :class:`~nflow_cli.experiments.cells.loaded.TrainedCells`, whose ``sample`` and ``log_prob``
        take DataFrames too, with ``columns`` and ``sample_table(n, seed=0)``, or of flows a
        :class:`~nflow_cli.experiments.trained.TrainedTable`, which has the same. Of a train-vae
        run a :class:`~nflow_cli.experiments.trained.TrainedVAE`: ``sample(n, seed=0)``, ``model``.
        Each has ``summary``, its figures, ``caveats``, its warnings, and ``path``, the run
        directory; ``repr`` is the table that the command prints.

    Raises:
        NflowError: In one line, if the run cannot be loaded.
    """
    from nflow_cli import experiments  # here: importing nflow_cli loads nothing heavy

    return experiments.load(run)
