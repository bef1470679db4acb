"""Arrays of ``weights.npz`` of a density of cells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.layout import Layout, Outcomes
from nflow_cli.densities.cells.marginal import Marginal, Normals
from nflow_cli.densities.cells.network import PADDING
from nflow_cli.densities.cells.outliers import NONE_KNOWN, Outliers
from nflow_cli.densities.cells.scores import Scores
from nflow_cli.densities.cells.tails import Tail, Tailed
from nflow_cli.densities.cells.unmixing import Unmixing, component
from nflow_cli.runs.weights_file import Shape

LIMITS, SHARES, WEIGHTS = "limits", "shares", "weights"
MARGINAL_SHARES, MARGINAL_NORMALS = "marginal_log_shares", "marginal_normals"
BROKEN = "computed_broken"
ENDS = "floor", "low", "high"  # of a column, in the order of its limits
UNMIXING, ALONE_NORMALS = "unmixing", "alone_normals"
OUTLIERS, ALONE_OUTLIERS = "outliers", "alone_outliers"  # centres and scales
NO_SCORES = np.zeros((3, 0))  # of a column without scores
FAR = 100.0  # widest scales of a marginal, half of which reaches the training numbers
IN_TABLE_UNITS = "steps", "outliers"  # arrays of numbers of any size
LARGEST = float(np.finfo(np.float32).max)  # a number of a training, which is in float32


def shapes(
    layout: Layout,
    columns: Sequence[CellColumn],
    computed: Sequence[CellColumn],
    blocks: int,
    members: int,
    is_unmixed: bool,
) -> dict[str, Shape]:
    """Shapes of all arrays; those of networks begin with R."""
    shares = {_shares_of(k): (column.outcomes.count,) for k, column in enumerate(computed)}
    normals = {_normals_of(k): (3, -1) for k, c in enumerate(computed) if c.has_numbers}
    outliers = {_outliers_of(k): (2,) for k, c in enumerate(computed) if c.has_numbers}
    scores = {
        name: shape
        for i, column in enumerate([*columns, *computed])
        if column.has_scores and i >= layout.n_given
        for name, shape in zip(_scores_of(i), 3 * [(3, -1)])
    }
    of_networks = network.shapes(layout, blocks)
    n_mixed, n_modelled = len(layout.mixed), len(layout.modelled)
    of_map = {
        UNMIXING: (n_mixed, n_mixed),
        ALONE_NORMALS: (3, n_mixed, -1),
        ALONE_OUTLIERS: (2, n_mixed),
    }
    return {
        **scores,
        **{name: (members, *shape) for name, shape in of_networks.items()},
        LIMITS: (3, n_mixed),
        SHARES: (members, n_modelled),
        WEIGHTS: (members,),
        MARGINAL_SHARES: (sum(layout.outcomes[i].count for i in layout.modelled),),
        MARGINAL_NORMALS: (3, n_mixed, -1),
        OUTLIERS: (2, n_mixed),
        **({BROKEN: (len(computed),)} if computed else {}),
        **(of_map if is_unmixed else {}),
        **shares,
        **normals,
        **outliers,
    }


def _shares_of(k: int) -> str:
    return f"computed_{k}_log_shares"


def _normals_of(k: int) -> str:
    return f"computed_{k}_normals"


def _outliers_of(k: int) -> str:
    return f"computed_{k}_outliers"


def _scores_of(i: int) -> tuple[str, str, str]:
    return f"scores_{i}_steps", f"scores_{i}_normals", f"scores_{i}_tails"


def arrays_of(
    density: CellDensity, networks: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """All arrays of a density, with the trained weights of its networks."""
    arrays = {
        **{name: np.stack([one[name] for one in networks]) for name in networks[0]},
        LIMITS: density.limits[..., 0, 0],
        SHARES: np.stack([member.shares for member in density.networks]),
        WEIGHTS: np.array([member.weight for member in density.networks]),
        MARGINAL_SHARES: np.concatenate([one.log_shares for one in density.marginals]),
        MARGINAL_NORMALS: _normals(density.marginals),
        OUTLIERS: _outliers([density.cells[i] for i in density.layout.mixed]),
    }
    for i, column in enumerate(density.row):
        if column.has_scores and i >= density.n_given:
            arrays |= dict(zip(_scores_of(i), _of_scores(column.scores)))
    if density.computed:
        arrays[BROKEN] = np.array([one.broken for one in density.computed])
    for k, one in enumerate(density.computed):
        arrays[_shares_of(k)] = one.marginal.log_shares
        if one.column.has_numbers:
            arrays[_normals_of(k)] = one.marginal.normals.array
            arrays[_outliers_of(k)] = np.array(one.column.outliers)
    if density.unmixing and density.independent:
        arrays[UNMIXING] = density.unmixing.matrix
        arrays[ALONE_NORMALS] = _normals(density.independent.marginals)
        arrays[ALONE_OUTLIERS] = _outliers(density.independent.cells)
    return arrays


def _of_scores(scores: Scores | None) -> list[np.ndarray]:
    """Steps, normals and tails, each ``(3, …)``, of no length without scores."""
    if scores is None:
        return [NO_SCORES] * 3
    smooth = scores.smooth
    steps = np.stack([scores.values, scores.units, scores.masses])
    return [steps, smooth.normals.array, np.array([smooth.lower, smooth.upper]).T]


def _outliers(columns: Sequence[CellColumn]) -> np.ndarray:
    """Centres and scales ``(2, N)`` of the outliers of columns with numbers."""
    return np.array([column.outliers for column in columns]).reshape(-1, 2).T


def _normals(marginals: Sequence[Marginal]) -> np.ndarray:
    """Normals ``(3, N, m)`` of columns with numbers, those with fewer than m padded by some of
    log-weight ``PADDING``.
    """
    normals = [one.normals.array for one in marginals if one.outcomes.number is not None]
    most = max((array.shape[1] for array in normals), default=0)
    found = np.tile(np.array([PADDING, 0.0, 1.0])[:, None, None], (1, len(normals), most))
    for place, array in enumerate(normals):
        found[:, place, : array.shape[1]] = array
    return found


def inconsistency(layout: Layout, arrays: Mapping[str, np.ndarray]) -> str:
    """First invalid array and the expected values; "" if all are valid."""
    (floors, low, high), (_, means, scales) = arrays[LIMITS], arrays[MARGINAL_NORMALS]
    far = FAR * scales.max(axis=1, initial=0.0)
    near = low >= means.min(axis=1, initial=0.0) - far, high <= means.max(axis=1, initial=0.0) + far
    expected = {
        f"{LIMITS}: expected scales above 0": (floors > 0).all(),
        f"{LIMITS}: expected low < high": (low < high).all(),
        f"{LIMITS}: expected ends near those of the marginal": np.all(near),
        f"{WEIGHTS}: expected weights of sum 1": _are_shares(arrays[WEIGHTS])
        and np.isclose(arrays[WEIGHTS].sum(), 1),
    }
    counts = [layout.outcomes[i].count for i in layout.modelled]
    starts = {MARGINAL_SHARES: np.cumsum([0, *counts])[:-1]}
    for name, array in arrays.items():
        if name.startswith("scores") and not array.size:
            continue
        if not name.endswith(IN_TABLE_UNITS):
            expected[f"{name}: expected numbers up to {LARGEST:.1e}"] = (
                np.abs(array) <= LARGEST
            ).all()
        if name in (SHARES, BROKEN):
            expected[f"{name}: expected numbers from 0 to 1"] = _are_shares(array)
        elif name.endswith("log_shares"):
            shares = np.add.reduceat(np.exp(np.minimum(array, 1.0)), starts.get(name, [0]))
            expected[f"{name}: expected shares of sum 1"] = np.allclose(shares, 1)
        elif name.endswith("outliers"):
            expected[f"{name}: expected scales above 0"] = (array[1] > 0).all()
        elif name.endswith("tails"):
            ends, scales, masses = array
            is_small = (masses > 0).all() and masses.sum() <= 1
            expected[f"{name}: expected two ends in order"] = len(ends) == 2 and ends[0] <= ends[1]
            expected[f"{name}: expected scales above 0"] = (scales > 0).all()
            expected[f"{name}: expected masses above 0 of sum up to 1"] = is_small
        elif name.endswith("steps"):
            is_ordered = (np.diff(array[:2]) > 0).all()
            has_rest = (array[2] > 0).all() and array[2].sum() < 1
            expected[f"{name}: expected ascending values and units"] = is_ordered
            expected[f"{name}: expected masses above 0 of sum below 1"] = has_rest
        elif name.endswith("normals"):
            weights = np.exp(np.minimum(array[0], 1.0)).sum(axis=-1)
            expected[f"{name}: expected weights of sum 1"] = np.allclose(weights, 1)
            expected[f"{name}: expected scales above 0"] = (array[2] > 0).all()
        elif name == UNMIXING:
            is_invertible = np.linalg.matrix_rank(array) == len(array)
            expected[f"{name}: expected an invertible matrix"] = is_invertible
    expected["the networks: expected finite outputs of all inputs"] = _are_finite(layout, arrays)
    return next((text for text, is_so in expected.items() if not is_so), "")


@np.errstate(over="ignore", invalid="ignore")
def _are_finite(layout: Layout, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether networks have finite outputs: those of the sizes of weights and inputs are largest,
    since |silu(h)| is at most silu(|h|).
    """
    names = network.shapes(layout, network.blocks_of(arrays))
    sizes = {name: np.abs(arrays[name].astype(np.float64)) for name in names}
    h = network.hidden(sizes, np.full((len(layout.inputs), 1), network.INPUT_LIMIT), np)
    of_outputs = [sizes[name] @ h for name in ("logits_kernel", "mixtures_kernel") if name in sizes]
    return all(np.isfinite(one).all() for one in of_outputs)


def _are_shares(array: np.ndarray) -> bool:
    return bool(((array >= 0) & (array <= 1)).all())


def density_of(
    columns: Sequence[CellColumn],
    computed: Sequence[CellColumn],
    layout: Layout,
    arrays: Mapping[str, np.ndarray],
) -> CellDensity:
    """Density of :func:`arrays_of`; ``columns`` have their own scales."""
    limits = dict(zip(layout.mixed, arrays[LIMITS].T.tolist()))
    outliers = dict(zip(layout.mixed, map(Outliers._make, arrays[OUTLIERS].T.tolist())))
    bounded = [
        replace(
            column,
            scores=_scores(i, arrays),
            outliers=outliers.get(i, NONE_KNOWN),
            **dict(zip(ENDS, limits.get(i, ()))),
        )
        for i, column in enumerate(columns)
    ]
    names = network.shapes(layout, network.blocks_of(arrays))
    members = [
        Member(
            network.masked(layout, {name: arrays[name][r].astype(np.float64) for name in names}),
            shares,
            float(weight),
        )
        for r, (shares, weight) in enumerate(zip(arrays[SHARES], arrays[WEIGHTS]))
    ]
    outcomes = [layout.outcomes[i] for i in layout.modelled]
    marginals = _marginals(outcomes, arrays[MARGINAL_SHARES], arrays[MARGINAL_NORMALS])
    last = []
    for k, column in enumerate(computed):
        column = replace(column, scores=_scores(len(columns) + k, arrays))
        if column.has_numbers:
            column = replace(column, outliers=Outliers(*arrays[_outliers_of(k)].tolist()))
        normals = Normals(*arrays.get(_normals_of(k), np.zeros((3, 0))))
        own = Marginal(column.outcomes, arrays[_shares_of(k)], normals)
        last.append(Computed(column, len(columns) + k, bounded, own, float(arrays[BROKEN][k])))
    if UNMIXING not in arrays:
        return CellDensity(bounded, layout, marginals, members, last)
    components = [
        replace(component(i, *ends), outliers=outliers[i]) for i, ends in sorted(limits.items())
    ]
    own = _marginals(outcomes, arrays[MARGINAL_SHARES], arrays[ALONE_NORMALS])
    alone = [
        replace(column, outliers=Outliers(*ends))
        for column, ends in zip(columns, arrays[ALONE_OUTLIERS].T.tolist())
    ]
    found = Unmixing(alone, arrays[UNMIXING])
    independent = CellDensity(alone, layout, own, [])
    return CellDensity(components, layout, marginals, members, last, found, independent)


def _scores(i: int, arrays: Mapping[str, np.ndarray]) -> Scores | None:
    steps, normals, tails = _scores_of(i)
    if steps not in arrays or not arrays[tails].size:
        return None
    lower, upper = (Tail(*tail) for tail in arrays[tails].T.tolist())
    values, units, masses = arrays[steps]
    return Scores(values, units, masses, Tailed(Normals(*arrays[normals]), lower, upper))


def _marginals(
    outcomes: Sequence[Outcomes], log_shares: np.ndarray, normals: np.ndarray
) -> list[Marginal]:
    ends = np.cumsum([one.count for one in outcomes])[:-1]
    found, left = [], iter(normals.swapaxes(0, 1))
    for one, shares in zip(outcomes, np.split(log_shares, ends)):
        array = np.zeros((3, 0)) if one.number is None else next(left)
        found.append(Marginal(one, shares, Normals(*array[:, array[0] > PADDING / 2])))
    return found
