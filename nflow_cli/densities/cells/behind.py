"""The last columns of a density of cells, given those before."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.network import Parameters, Weights


def columns_from(density: CellDensity, j: int) -> CellDensity:
    """Density of the columns from ``j`` on, given all before: the same, of fewer cells.

    Without computed columns, and not unmixed. Members have their weights in the whole density.
    """
    old = density.layout
    new = replace(old, n_given=j)
    inputs, logits = _places(new.inputs, old.inputs), _places(new.logits, old.logits)
    mixed = _places(new.mixed, old.mixed)
    numbers = _places(*(np.repeat(one.mixed, 3 * old.components) for one in (new, old)))
    outputs = {"logits": logits, "mixtures": numbers, "means": mixed}

    def of_columns(weights: Weights) -> Weights:
        found = {}
        for name, array in weights.items():
            array = array[outputs.get(name.split("_")[0], slice(None))]
            is_of_inputs = name == "inputs_kernel" or name.endswith("skip_kernel")
            found[name] = array[:, inputs] if is_of_inputs else array
        return found

    shares = [
        part if part is None else part[_places(ours.modelled, theirs.modelled)]
        for part, ours, theirs in zip(density.marginal.log_shares, new.banks, old.banks)
    ]
    marginal = Parameters(shares, *(array[mixed] for array in density.marginal[1:]))
    modelled = _places(new.modelled, old.modelled)
    members = [
        member._replace(weights=of_columns(member.weights), shares=member.shares[modelled])
        for member in density.networks
    ]
    return CellDensity(density.cells, new, marginal, members)


def _places(new: ArrayLike, old: ArrayLike) -> np.ndarray:
    """Index in ``old`` of each of ``new``, some of the same columns; equal ones in order."""
    new, old = np.asarray(new, int), np.asarray(old, int)
    kept, found = np.flatnonzero(np.isin(old, new)), np.empty(len(new), int)
    found[np.argsort(new, kind="stable")] = kept[np.argsort(old[kept], kind="stable")]
    return found
