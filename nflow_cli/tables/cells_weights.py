"""Arrays of ``weights.npz`` of a density of cells: network weights, mixture weights, marginals."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nflow_cli.runs.weights_file import Shape
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.computed_cells import Computed
from nflow_cli.tables.cells.layout import Layout, Outcomes
from nflow_cli.tables.cells.marginal import Marginal, Normals
from nflow_cli.tables.cells.network import PADDING
from nflow_cli.tables.cells.outliers import NONE_KNOWN, Outliers
from nflow_cli.tables.cells.scores import Scores
from nflow_cli.tables.cells.tails import Tail, Tailed
from nflow_cli.tables.cells.unmixing import Unmixing, component

LIMITS = "limits"  # floor, low and high of each column
SHARES = "shares"  # of the networks and the marginal in each cell
MARGINAL_SHARES = "marginal_log_shares"
MARGINAL_NORMALS = "marginal_normals"
BROKEN = "computed_broken"  # probabilities that relations are broken
UNMIXING = "unmixing"
ALONE_NORMALS = "alone_normals"  # of the columns themselves, if they are unmixed
OUTLIERS = "outliers"  # centres and scales
ALONE_OUTLIERS = "alone_outliers"
NO_SCORES = np.zeros((3, 0))  # of a column without scores
FARTHEST_SCALES = 100.0  # of a marginal, its widest; half as many reach the training numbers
IN_TABLE_UNITS = "steps", "outliers"  # arrays of numbers of any size
Requirement = tuple[str, bool | np.bool]  # in words, and whether it is met
LARGEST_NUMBER = float(np.finfo(np.float32).max)  # networks are trained in float32


def shapes(
    layout: Layout,
    columns: Sequence[CellColumn],
    computed: Sequence[CellColumn],
    blocks: int,
    networks: int,
    is_unmixed: bool,
) -> dict[str, Shape]:
    """Shapes of the arrays of a density by name, -1 for a free length.

    ``columns``: modelled or given; ``blocks``: residual blocks of a network; ``networks``: R,
    the first length of their arrays; ``is_unmixed``: whether a map to components is before them.
    """
    n_mixed = len(layout.mixed)
    expected: dict[str, Shape] = {}
    for place, column in enumerate([*columns, *computed]):
        if column.has_scores and place >= layout.n_given:
            expected |= dict.fromkeys(_scores_keys(place), (3, -1))
    for name, shape in network.shapes(layout, blocks).items():
        expected[name] = (networks, *shape)
    expected |= {
        LIMITS: (3, n_mixed),
        SHARES: (networks + 1, len(layout.modelled)),
        MARGINAL_SHARES: (sum(layout.outcomes[i].n_outcomes for i in layout.modelled),),
        MARGINAL_NORMALS: (3, n_mixed, -1),
        OUTLIERS: (2, n_mixed),
    }
    if computed:
        expected[BROKEN] = (len(computed),)
    if is_unmixed:
        expected[UNMIXING] = (n_mixed, n_mixed)
        expected[ALONE_NORMALS] = (3, n_mixed, -1)
        expected[ALONE_OUTLIERS] = (2, n_mixed)
    with_numbers = [k for k, column in enumerate(computed) if column.has_numbers]
    expected |= {_shares_key(k): (column.outcomes.n_outcomes,) for k, column in enumerate(computed)}
    expected |= {_normals_key(k): (3, -1) for k in with_numbers}
    expected |= {_outliers_key(k): (2,) for k in with_numbers}
    return expected


def _shares_key(k: int) -> str:
    return f"computed_{k}_log_shares"


def _normals_key(k: int) -> str:
    return f"computed_{k}_normals"


def _outliers_key(k: int) -> str:
    return f"computed_{k}_outliers"


def _scores_keys(place: int) -> tuple[str, str, str]:
    return f"scores_{place}_steps", f"scores_{place}_normals", f"scores_{place}_tails"


def arrays_of(
    density: CellDensity, networks: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays of a density by name, with the trained network weights of each of its networks."""
    arrays = {
        **stacked(networks),
        LIMITS: density.mixture_limits[..., 0, 0],
        SHARES: density.shares,
        MARGINAL_SHARES: np.concatenate([marginal.log_shares for marginal in density.marginals]),
        MARGINAL_NORMALS: _padded_normals(density.marginals),
        OUTLIERS: _outliers_array([density.columns[i] for i in density.layout.mixed]),
    }
    for place, column in enumerate(density.row_columns):
        if column.has_scores and place >= density.n_given:
            arrays |= dict(zip(_scores_keys(place), _scores_arrays(column.normal_scores)))
    if density.computed_columns:
        arrays[BROKEN] = np.array([computed.broken for computed in density.computed_columns])
    for k, computed in enumerate(density.computed_columns):
        arrays[_shares_key(k)] = computed.marginal.log_shares
        if computed.column.has_numbers:
            arrays[_normals_key(k)] = computed.marginal.normals.array
            arrays[_outliers_key(k)] = np.array(computed.column.outliers)
    if density.unmixing and density.independent:
        arrays[UNMIXING] = density.unmixing.matrix
        arrays[ALONE_NORMALS] = _padded_normals(density.independent.marginals)
        arrays[ALONE_OUTLIERS] = _outliers_array(density.independent.columns)
    return arrays


def stacked(networks: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of R networks by name, stacked: R is the first axis."""
    return {name: np.stack([arrays[name] for arrays in networks]) for name in networks[0]}


def _scores_arrays(scores: Scores | None) -> list[np.ndarray]:
    """Arrays of a column's scores: steps, normals and tails, each ``(3, …)``; empty without."""
    if scores is None:
        return [NO_SCORES] * 3
    smooth = scores.smooth
    steps = np.stack([scores.values, scores.units, scores.masses])
    return [steps, smooth.normals.array, np.array([smooth.lower, smooth.upper]).T]


def _outliers_array(columns: Sequence[CellColumn]) -> np.ndarray:
    """Centres and scales ``(2, N)`` of the outliers of columns with numbers."""
    return np.array([column.outliers for column in columns]).reshape(-1, 2).T


def _padded_normals(marginals: Sequence[Marginal]) -> np.ndarray:
    """Log mixture weights, means and scales ``(3, N, m)`` of the normals of N columns with numbers.

    A column with fewer than m is padded by normals of log mixture weight ``PADDING``.
    """
    normals = [
        marginal.normals.array
        for marginal in marginals
        if marginal.outcomes.number_code is not None
    ]
    most = max((array.shape[1] for array in normals), default=0)
    padding = np.array([PADDING, 0.0, 1.0])[:, None, None]
    padded = np.tile(padding, (1, len(normals), most))
    for place, array in enumerate(normals):
        padded[:, place, : array.shape[1]] = array
    return padded


def inconsistency(layout: Layout, arrays: Mapping[str, np.ndarray]) -> str:
    """Error text of the first invalid array, with expected values; "" if all are valid."""
    for name, requirements in _requirements(layout, arrays):
        for text, is_met in requirements:
            if not is_met:
                return f"{name}: expected {text}"
    return ""


def _requirements(
    layout: Layout, arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, Iterable[Requirement]]]:
    """Requirements of each array, by its name."""
    yield LIMITS, _requirements_of_limits(arrays[LIMITS], arrays[MARGINAL_NORMALS])
    yield SHARES, [("shares of sum 1", np.allclose(arrays[SHARES].sum(axis=0), 1))]
    counts = [layout.outcomes[i].n_outcomes for i in layout.modelled]
    for name, array in arrays.items():
        if array.size or not name.startswith("scores"):
            starts = np.cumsum([0, *counts])[:-1] if name == MARGINAL_SHARES else [0]
            yield name, _requirements_of_array(name, array, starts)
    yield "the networks", [("finite outputs of all inputs", _are_outputs_finite(layout, arrays))]


def _requirements_of_limits(limits: np.ndarray, normals: np.ndarray) -> Iterator[Requirement]:
    """What is required of the limits ``(3, N)`` of N columns, by their normals ``(3, N, m)``."""
    floors, low, high = limits
    _, means, scales = normals
    reach = FARTHEST_SCALES * scales.max(axis=1, initial=0.0)
    is_low_near = low >= means.min(axis=1, initial=0.0) - reach
    is_high_near = high <= means.max(axis=1, initial=0.0) + reach
    yield "scales above 0", (floors > 0).all()
    yield "low < high", (low < high).all()
    yield "ends near those of the marginal", (is_low_near & is_high_near).all()


def _requirements_of_array(
    name: str, array: np.ndarray, starts: Sequence[int] | np.ndarray
) -> Iterator[Requirement]:
    """What is required of an array by its name; ``starts``: where the log-shares of each column
    start in it.
    """
    if not name.endswith(IN_TABLE_UNITS):
        yield f"numbers up to {LARGEST_NUMBER:.1e}", (np.abs(array) <= LARGEST_NUMBER).all()
    if name in (SHARES, BROKEN):
        yield "numbers from 0 to 1", _are_shares(array)
    elif name.endswith("log_shares"):
        shares = np.add.reduceat(np.exp(np.minimum(array, 1.0)), starts)
        yield "shares of sum 1", np.allclose(shares, 1)
    elif name.endswith("outliers"):
        yield "scales above 0", (array[1] > 0).all()
    elif name.endswith("tails"):
        ends, scales, masses = array
        yield "two ends in order", len(ends) == 2 and ends[0] <= ends[1]
        yield "scales above 0", (scales > 0).all()
        yield "masses above 0 of sum up to 1", (masses > 0).all() and masses.sum() <= 1
    elif name.endswith("steps"):
        masses = array[2]
        yield "ascending values and units", (np.diff(array[:2]) > 0).all()
        yield "masses above 0 of sum below 1", (masses > 0).all() and masses.sum() < 1
    elif name.endswith("normals"):
        total = np.exp(np.minimum(array[0], 1.0)).sum(axis=-1)  # of mixture weights
        yield "weights of sum 1", np.allclose(total, 1)
        yield "scales above 0", (array[2] > 0).all()
    elif name == UNMIXING:
        yield "an invertible matrix", bool(np.linalg.matrix_rank(array) == len(array))


@np.errstate(over="ignore", invalid="ignore")
def _are_outputs_finite(layout: Layout, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether networks, of weights ``arrays`` by name, have finite outputs for all inputs. They are
    bounded by those for the largest inputs and the absolute network weights, since |silu(h)| is at
    most silu(|h|). Biases and skips of the last layer, finite themselves, are left out.
    """
    names = network.shapes(layout, network.count_blocks(arrays))
    absolute = {name: np.abs(arrays[name].astype(np.float64)) for name in names}
    h = network.last_hidden_layer(
        absolute, np.full((len(layout.inputs), 1), network.INPUT_LIMIT), np
    )
    kernels = [absolute[name] for name in ("logits_kernel", "mixtures_kernel") if name in absolute]
    return all(np.isfinite(kernel @ h).all() for kernel in kernels)


def _are_shares(array: np.ndarray) -> bool:
    return bool(((array >= 0) & (array <= 1)).all())


def density_of(
    columns: Sequence[CellColumn],
    computed: Sequence[CellColumn],
    layout: Layout,
    arrays: Mapping[str, np.ndarray],
) -> CellDensity:
    """Density of cells from its arrays, those of :func:`arrays_of`.

    ``columns``: modelled or given, still without limits, scores and outliers, which are added.
    """
    limits = {
        place: {"least_scale": floor, "low": low, "high": high}
        for place, (floor, low, high) in zip(layout.mixed, arrays[LIMITS].T.tolist())
    }
    outliers = dict(zip(layout.mixed, _outliers_of_columns(arrays[OUTLIERS])))
    row = [
        replace(
            column,
            normal_scores=_scores_of_column(place, arrays),
            outliers=outliers.get(place, NONE_KNOWN),
            **limits.get(place, {}),
        )
        for place, column in enumerate(columns)
    ]
    names = network.shapes(layout, network.count_blocks(arrays))
    shares = arrays[SHARES]
    networks = []
    for r in range(len(shares) - 1):
        weights = {name: arrays[name][r].astype(np.float64) for name in names}
        networks.append(network.masked_weights(layout, weights))
    outcomes = [layout.outcomes[i] for i in layout.modelled]
    log_shares = arrays[MARGINAL_SHARES]
    marginals = _marginals_of_columns(outcomes, log_shares, arrays[MARGINAL_NORMALS])
    relations = [_computed_column(k, column, row, arrays) for k, column in enumerate(computed)]
    if UNMIXING not in arrays:
        return CellDensity(row, layout, marginals, networks, shares, relations)
    components = [
        replace(component(place, **ends), outliers=outliers[place])
        for place, ends in sorted(limits.items())
    ]
    mixed_columns = [
        replace(column, outliers=column_outliers)
        for column, column_outliers in zip(columns, _outliers_of_columns(arrays[ALONE_OUTLIERS]))
    ]
    unmixing = Unmixing(mixed_columns, arrays[UNMIXING])
    alone_marginals = _marginals_of_columns(outcomes, log_shares, arrays[ALONE_NORMALS])
    independent = CellDensity(mixed_columns, layout, alone_marginals)
    return CellDensity(
        components, layout, marginals, networks, shares, relations, unmixing, independent
    )


def _outliers_of_columns(array: np.ndarray) -> list[Outliers]:
    """Outliers of columns, from centres and scales ``(2, N)``."""
    return [Outliers(centre, scale) for centre, scale in array.T.tolist()]


def _computed_column(
    k: int, column: CellColumn, others: Sequence[CellColumn], arrays: Mapping[str, np.ndarray]
) -> Computed:
    """Computed column ``k`` from its arrays; ``others``: the columns before computed ones."""
    place = len(others) + k
    column = replace(column, normal_scores=_scores_of_column(place, arrays))
    normals = Normals(*np.zeros((3, 0)))
    if column.has_numbers:
        column = replace(column, outliers=Outliers(*arrays[_outliers_key(k)].tolist()))
        normals = Normals(*arrays[_normals_key(k)])
    marginal = Marginal(column.outcomes, arrays[_shares_key(k)], normals)
    return Computed(column, place, others, marginal, float(arrays[BROKEN][k]))


def _scores_of_column(place: int, arrays: Mapping[str, np.ndarray]) -> Scores | None:
    """Scores of the column at ``place`` of a row from its arrays; ``None`` if it has none."""
    steps, normals, tails = _scores_keys(place)
    if steps not in arrays or not arrays[tails].size:
        return None
    lower, upper = arrays[tails].T.tolist()
    smooth = Tailed(Normals(*arrays[normals]), Tail(*lower), Tail(*upper))
    values, units, masses = arrays[steps]
    return Scores(values, units, masses, smooth)


def _marginals_of_columns(
    outcomes: Sequence[Outcomes], log_shares: np.ndarray, normals: np.ndarray
) -> list[Marginal]:
    """Marginals of columns with these outcomes, from the log-shares of all and the padded normals
    ``(3, N, m)`` of the N with numbers.
    """
    ends = np.cumsum([column.n_outcomes for column in outcomes])[:-1]
    column_normals = iter(normals.swapaxes(0, 1))
    marginals = []
    for column, shares in zip(outcomes, np.split(log_shares, ends)):
        array = np.zeros((3, 0)) if column.number_code is None else next(column_normals)
        array = array[:, array[0] > PADDING / 2]  # without padding
        marginals.append(Marginal(column, shares, Normals(*array)))
    return marginals
