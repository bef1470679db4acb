"""Densities of cells whose weights are random and as large as trained ones."""

import itertools
from dataclasses import replace

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind, Lattice
from nflow_cli.data.column_maps import Log, Logit, Scale, TukeyH
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.fitting import layout_of
from nflow_cli.tables.cells.marginal import Marginal, Normals
from nflow_cli.tables.cells.outliers import Outliers
from nflow_cli.tables.cells.scores import Scores
from nflow_cli.tables.cells.tails import Tail, Tailed

UNITS = (Scale(1.0, 2.0),)
TAILS = (Scale(1.0, 2.0), TukeyH(0.02))
# Of columns of whole numbers from 0 on, and from 0 to 9.
POSITIVE = (Log(-0.5, "above"), Scale(0.4, 0.3))
BETWEEN = (Logit(-0.5, 9.5), Scale(0.0, 1.5))
FEW = 1e-12  # share of outliers, next to none: they are in no draw, no mean and no quantile
FREQUENCIES = 0.25, 1.0
KNOTS = -1.0, 0.5, 1.0
FAR = 20.0  # units of an outlier among numbers without steps, where these have no density


def independent(density):
    """Return the density of independent columns: the marginals of another alone."""
    computed = [replace(one, broken=1.0) for one in density.computed_columns]
    return CellDensity(density.columns, density.layout, density.marginals, computed=computed)


def levels(name, count, missing=False):
    texts = [f"level {i}" for i in range(count)]
    return CellColumn(name, ColumnKind(kind="levels", type="text", levels=texts, missing=missing))


def ordered(name, count, missing=False):
    """Return levels in order, in normal scores."""
    kind = ColumnKind(
        kind="levels",
        type="text",
        levels=[f"level {i}" for i in range(count)],
        missing=missing,
        is_ordered=True,
        lattice=Lattice(step=1.0),
        atoms=[*map(float, range(count))],
        repeats=True,
        bounds=[0.0, count - 1.0],
    )
    maps = (Scale(count / 2, count / 3),)
    return scored(CellColumn(name, kind, maps, least_scale=0.01))


def grid(name, step=0.5, offset=0.0, maps=UNITS, **facts):
    """Return a grid in normal scores."""
    lattice = Lattice(step=step, offset=offset)
    facts = {"decimals": 2, "lattice": lattice, "resolution": step, **facts}
    kind = ColumnKind(kind="grid", repeats=True, **facts)
    return scored(CellColumn(name, kind, maps, least_scale=0.01))


def day(name, middle=18_300.0, spread=5.0, **facts):
    """Return dates around 7 February 2020 with their weekday and season."""
    maps = (Scale(middle, spread),)
    facts = {"type": "date", "calendar": ["season", "weekday"], "decimals": 0, **facts}
    return grid(name, step=1.0, maps=maps, **facts)


def number(name, resolution=1e-3, maps=UNITS, decimals=3, **facts):
    """Return numbers, in normal scores if they have atoms."""
    facts = {"decimals": decimals, "resolution": resolution, **facts}
    column = CellColumn(name, ColumnKind(kind="number", repeats="atoms" in facts, **facts), maps)
    return scored(replace(column, least_scale=0.01))


def scored(column):
    """Return a column with outliers and, if it repeats, with its scores: steps at atoms and near
    the middle.

    All outliers are one value, so that sums over values are finite.
    """
    column = replace(column, outliers=Outliers(_outlier(column), 1e-12 * column.step))
    if not column.has_scores:
        return column
    rng = np.random.default_rng(5)
    some = column.values_at(rng.uniform(-1.0, 1.0, 6))
    values = np.unique(np.append(some, column.kind.atoms))
    masses = 0.6 * rng.dirichlet(np.full(len(values), 2.0))
    smooth = Normals(np.log([0.3, 0.7]), np.array([-0.5, 0.3]), np.array([0.7, 1.0]))
    # Short tails where all values are summed, or where maps make a far score very far.
    is_short = len(column.maps) > 1 or (column.kind.kind == "grid" and column.step > 0.1)
    width = 0.05 if is_short else 0.45
    tails = Tail(-1.5, width, 0.12 * width), Tail(2.0, width, 0.07 * width)
    scores = Scores(values, column.in_units(values)[0], masses, Tailed(smooth, *tails))
    return replace(column, normal_scores=scores)


def _outlier(column):
    """Return the outlier of a column: beyond found bounds, else among the values of a grid."""
    if column.kind.is_open:
        return column.kind.bounds[0] - 3 * column.step
    units = FAR if column.kind.kind == "number" else 2.0
    return float(column.nearest(column.values_at(np.array([units])))[0])


def in_units(column):
    """Return a column without its scores."""
    return replace(column, normal_scores=None)


def random_weights(layout, rng, blocks=2):
    """Return weights that say much of each cell by those before it, its scales within bounds."""
    weights = network.initial_weights(layout, blocks, rng, np.ones(len(layout.inputs)))
    sizes = {"logits_kernel": 1.5, "logits_skip_kernel": 0.7, "logits_bias": 1.0}
    sizes |= {"mixtures_kernel": 0.15, "means_skip_kernel": 0.2, "inputs_bias": 0.5}
    for name, size in sizes.items():
        if name in weights:
            weights[name] = size * rng.standard_normal(weights[name].shape)
    if layout.mixed:
        bias = np.zeros((len(layout.mixed), 3, layout.components))
        bias[:, 1], bias[:, 2] = np.linspace(-1.5, 1.5, layout.components), -0.5
        weights["mixtures_bias"] = bias.reshape(-1, 1)
    for name in weights:
        if name.startswith("block") and "out" in name:
            weights[name] = 0.3 * rng.standard_normal(weights[name].shape)
    return weights


def random_marginal(column, rng, new=None):
    shares = rng.dirichlet(np.ones(column.outcomes.n_outcomes))
    if new is None and column.has_numbers and not column.kind.is_open:
        new = FEW
    if new is not None:
        shares[:-1] *= (1 - new) / shares[:-1].sum()
        shares[-1] = new
    mixture = np.log([0.3, 0.6, 0.1]), rng.normal(0, 0.5, 3), np.array([0.5, 1.0, 2.0])
    normals = Normals(*mixture) if column.has_numbers else Normals(*np.zeros((3, 0)))
    return Marginal(column.outcomes, np.log(shares), normals)


def random_density(columns, n_given=0, members=1, seed=0, width=16, shares=None, new=None):
    """Return a density of cells of columns; of networks alone where ``shares`` of these is 1, and
    with a share ``new`` of new levels and outliers, or few outliers.
    """
    rng = np.random.default_rng(seed)
    columns = [in_units(c) if i < n_given else c for i, c in enumerate(columns)]
    layout = layout_of(columns, n_given, 3, width, FREQUENCIES, KNOTS)
    marginals = [random_marginal(column, rng, new) for column in columns][n_given:]
    networks = []
    of_networks = []
    for weight in np.random.default_rng([seed, 1]).dirichlet(np.full(members, 5.0)):
        networks.append(network.masked_weights(layout, random_weights(layout, rng)))
        count = len(layout.modelled)
        beside = rng.uniform(0.2, 0.9, count) if shares is None else np.full(count, shares)
        of_networks.append(weight * beside)
    of_marginals = np.maximum(1 - np.sum(of_networks, axis=0), 0.0)
    return CellDensity(columns, layout, marginals, networks, np.array([*of_networks, of_marginals]))


def values_of(column, reach=18.0, outliers=True):
    """Return all values of a column but numbers without a step, -1 for a new level."""
    gap = [] if column.missing_code is None else [np.nan]
    if column.has_levels:
        return np.array([*range(len(column.levels)), -1.0, *gap])
    far = [column.outliers.centre] if outliers else []
    if column.kind.kind == "number":
        return np.array(
            [*(column.normal_scores.values if column.normal_scores else ()), *far, *gap]
        )
    low, high = column.values_at(np.array([-reach, reach]))
    values = low + column.step * np.arange(round((high - low) / column.step) + 1)
    return np.array([*values, *(far if column.kind.is_open else ()), *gap])


def quadrature(column, panels=12):
    """Return values ``(V,)`` of a column and weights of their probabilities: a sum is an integral.

    Of numbers, 16 of Gauss's points in each panel of t, units are sinh t, which a step ends or a
    tail begins; then steps and gaps.
    """
    others = values_of(column)
    if column.kind.kind != "number":
        return others, np.ones(len(others))
    breaks = []
    if column.normal_scores:
        smooth = column.normal_scores.smooth
        breaks = [*column.normal_scores.units, smooth.lower.end, smooth.upper.end]
    ends = np.sort([*np.linspace(-5.5, 5.5, panels + 1), *np.arcsinh(breaks)])
    at, weights = np.polynomial.legendre.leggauss(16)
    low, high = ends[:-1, None], ends[1:, None]
    t = ((high + low) / 2 + (high - low) / 2 * at).ravel()
    weights = ((high - low) / 2 * weights).ravel() * np.cosh(t)
    values = np.sinh(t)
    for one in reversed(column.maps):
        values, log_slope = one.outside(values)
        weights = weights * np.exp(log_slope)
    weights = weights / column.step if column.normal_scores else weights  # of a mass
    is_outlier = (others == column.outliers.centre) & (column.log_width != 0)
    of_others = np.where(is_outlier, column.step, 1.0)
    return np.append(values, others), np.append(weights, of_others)


def products(*values):
    """Return all rows ``(n, C)`` of values of each column."""
    return np.array(list(itertools.product(*values)), float)


def a_sample(columns, n, seed=0):
    """Return rows of all outcomes of columns, each by itself."""
    rng = np.random.default_rng(seed)
    rows = np.full((n, len(columns)), np.nan)
    for j, column in enumerate(columns):
        some = values_of(column, 1.5, outliers=False)
        rows[:, j] = rng.choice(some, n) if len(some) else np.nan
        if column.kind.kind == "number":
            is_number = (rng.random(n) < 0.6) | (len(some) == 0)
            rows[:, j] = np.where(is_number, column.values_at(rng.normal(0, 1, n)), rows[:, j])
    return rows


def drawn(density, n, seed=0, with_new=True):
    """Return draws of a density without given columns."""
    empty = np.full((n, len(density.columns)), np.nan)
    return density.draw(empty, np.random.default_rng(seed), with_new)
