"""nflow: train normalizing flows from the command line, exactly and fast."""

from typing import TYPE_CHECKING, Any

from nflow_cli.config.schema_options import with_keywords
from nflow_cli.constants import __version__
from nflow_cli.registry import LOADED, resolve

if TYPE_CHECKING:
    from nflow_cli.images.vae_loading import TrainedVAE
    from nflow_cli.inference.reverse_kl_loading import TrainedDensity
    from nflow_cli.tables.cells_loading import TrainedCells
    from nflow_cli.tables.flows_loading import TrainedTable

__all__ = [
    "TrainedCells",
    "TrainedDensity",
    "TrainedTable",
    "TrainedVAE",
    "__version__",
    "fit",
    "infer",
    "load",
]


def __getattr__(name: str) -> Any:
    """Class of a loaded run, imported when asked for."""
    if name not in LOADED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "TrainedCells":  # which needs no Keras
        from nflow_cli.backend.start import start_keras

        start_keras()
    return resolve(LOADED[name])


@with_keywords
def fit(
    table: Any,
    *,
    preset: Any = None,
    settings: Any = None,
    output: Any = None,
    minutes: Any = None,
    **options: Any,
) -> Any:
    """Fit a density to the columns of a table, as ``nflow fit`` does.

    With ``flow`` or ``k`` it is one of flows; else of cells, which takes columns of all kinds.
    Columns are a list, bounds a mapping of names to ``(low, high)`` with None for no bound,
    ``discrete`` a list or a mapping of names to steps.

    Args:
        table: A DataFrame of any library, a mapping of names to arrays ``(n,)``, an array
            ``(n, D)`` whose columns are called "1", "2" and so on, the path of a file, or a
            built-in set.
        preset: Name or path of a preset for all other settings; default: ``cells``, or ``flows``
            or ``flows-planar``.
        settings: Other keys of a preset, dotted, and their values.
        output: A new or empty folder for the run; default: one below ``outputs``.
        minutes: Of the whole call, instead of ``steps`` or ``epochs``.
        **options: By name; None keeps the preset's value.

    Returns:
        A :class:`~nflow_cli.TrainedCells`, or of flows a :class:`~nflow_cli.TrainedTable`, as
        :func:`load` returns it.

    Raises:
        NflowError: The table or an option is invalid.
    """
    from nflow_cli.backend.start import start_tensorflow
    from nflow_cli.deadline import deadline_in

    deadline = deadline_in(minutes)
    start_tensorflow(machine=None)
    from nflow_cli.tables import python_fit

    return python_fit.fit(table, preset, settings, output, options, deadline=deadline)


@with_keywords
def infer(
    log_density: Any,
    *,
    preset: Any = None,
    settings: Any = None,
    output: Any = None,
    minutes: Any = None,
    **options: Any,
) -> "TrainedDensity":
    """Fit flows to a log-density by reverse KL, as ``nflow infer`` does.

    Names are a list, and bounds a mapping of names to ``(low, high)`` with None for no bound.

    Args:
        log_density: A function of points ``(n, D)`` that returns ``log p`` ``(n,)`` in nats, up to
            a constant: in operations of Keras or TensorFlow, or a pair of arrays, ``log p`` and its
            gradient ``(n, D)``; a ``pymc.Model``, or a model of NumPyro without arguments, such
            as a partial; or the name of a built-in density.
        preset: Name or path of a preset for all other settings; default: the one for D.
        settings: Other keys of a preset, dotted, and their values.
        output: A new or empty folder for the run, which ``nflow resume`` continues if it is
            stopped; default: one below ``outputs``.
        minutes: Of the whole call, instead of ``steps``.
        **options: By name; None keeps the preset's value.

    Returns:
        A :class:`~nflow_cli.TrainedDensity`, as :func:`load` returns it.

    Raises:
        NflowError: The function or an option is invalid.
    """
    from nflow_cli.backend.start import start_tensorflow
    from nflow_cli.deadline import deadline_in

    deadline = deadline_in(minutes)
    start_tensorflow(machine=None)
    from nflow_cli.inference import python_infer

    return python_infer.infer(log_density, preset, settings, output, options, deadline)


def load(run: Any) -> Any:
    """Load the trained density or VAE of a run.

    Args:
        run: A run directory, as text or a path.

    Returns:
        Of a fit-2d or infer run a :class:`~nflow_cli.TrainedDensity`: ``sample(n, seed=0)``, the
        exact ``log_prob(x)`` in nats, ``latent(x)`` and ``from_latent(z0)``, ``flow``, ``columns``
        and ``to_arviz(n, seed=0)``. Of a run of ``nflow fit`` a :class:`~nflow_cli.TrainedCells`,
        whose ``sample`` and ``log_prob`` take DataFrames too, with ``columns`` and
        ``sample_table(n, seed=0)``, or of flows a :class:`~nflow_cli.TrainedTable`, which has the
        same. Of a run of train-vae a :class:`~nflow_cli.TrainedVAE`: ``sample(n, seed=0)``,
        ``model``.
        Each has ``summary``, its figures, ``warnings``, its warnings, and ``path``, the run
        directory; ``repr`` is the table that the command prints.

    Raises:
        NflowError: The run cannot be loaded.
    """
    from nflow_cli.experiments.run import load  # here: importing nflow_cli loads nothing heavy

    return load(run)
