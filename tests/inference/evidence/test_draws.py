"""Draws of samplers: of CmdStan, of any table, and of InferenceData in netCDF-4."""

import sys

import h5py
import numpy as np
import pytest
import xarray

from nflow_cli.data.files import netcdf, tables
from nflow_cli.data.files.columns import numbers_of, read_columns
from nflow_cli.data.files.table_files import open_table
from nflow_cli.errors import DataError, NflowError, RunDirectoryError
from nflow_cli.inference.evidence.draws import load_draws
from nflow_cli.inference.evidence.evidence_config import DrawsData

STAN = """# stan_version_major = 2
# model = schools_model
lp__,accept_stat__,stepsize__,mu,tau
{first}# Adaptation terminated
# Step size = 0.5
{rest}#
#  Elapsed Time: 0.1 seconds (Sampling)
"""


def rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 2)), np.exp(rng.standard_normal(n))


def write_csv(path, **columns):
    table = np.column_stack(list(columns.values()))
    np.savetxt(path, table, "%.12g", ",", header=",".join(columns), comments="")
    return str(path)


def stan_file(path, n=300, seed=0):
    mu, tau = rows(n, seed)
    lines = [f"{-0.5 * m[0] ** 2:.8g},0.9,0.5,{m[0]:.8g},{t:.8g}\n" for m, t in zip(mu, tau)]
    path.write_text(STAN.format(first=lines[0], rest="".join(lines[1:])))
    return str(path), mu[:, 0], tau


def test_files_of_cmdstan_are_chains_of_unconstrained_log_densities(tmp_path):
    first, mu, tau = stan_file(tmp_path / "a_1.csv")
    second, *_ = stan_file(tmp_path / "a_2.csv", seed=1)
    draws = load_draws(DrawsData(name=first, others=[second], bounds={"tau": [0, None]}))
    assert (draws.is_stan, list(draws.columns), draws.notes) == (True, ["mu", "tau"], [])
    assert [len(part) for part in draws.parts] == [300, 300]
    assert draws.n_folds == 2
    # Stan's lp__ is the log-density of log(tau): that of tau is less by log(tau).
    np.testing.assert_allclose(draws.log_p[:300], -0.5 * mu**2 - np.log(tau), atol=1e-5)
    (note,) = load_draws(DrawsData(name=first)).notes
    assert "--bounds tau=0:" in note
    assert not load_draws(DrawsData(name=first, bounds={"tau": [None, None]})).notes


def test_bounds_are_proposed_for_scales_and_not_for_coefficients_that_are_positive(tmp_path):
    """A normal 4 standard deviations above 0; a gamma density of shape 6, and a half-normal one."""
    rng, n = np.random.default_rng(0), 1_000
    b = rng.normal(4, 1, n)
    draws = {"b": b - min(0, b.min() - 0.1), "s2": rng.gamma(6, 0.5, n)}
    draws["tau"] = np.abs(rng.standard_normal(n))
    write_csv(tmp_path / "draws.csv", **draws, lp=-0.5 * b**2)
    (note,) = load_draws(DrawsData(name=str(tmp_path / "draws.csv"), log_p="lp")).notes
    assert note.startswith("all draws of s2, tau are positive") and "--bounds s2=0:,tau=0:" in note


def test_what_a_file_has_beside_its_draws_is_said(tmp_path):
    x, _ = rows()
    path = write_csv(tmp_path / "a.csv", a=x[:, 0], b=x[:, 1], log_p=x[:, 0])
    (tmp_path / "a.csv").write_text("Chain 1\n" + (tmp_path / "a.csv").read_text())
    notes = load_draws(DrawsData(name=path, log_p="log_p")).notes
    assert f"{path}: left out above the table: line 1, 'Chain 1'" in notes


def test_comments_of_cmdstan_are_no_rows_of_any_table(tmp_path):
    path, mu, _ = stan_file(tmp_path / "a.csv", n=40_000)  # more than a block
    table = open_table(path)
    np.testing.assert_allclose(numbers_of(table, ["mu"])[:, 0], mu, rtol=1e-6)


def test_a_log_density_of_another_name_is_that_of_the_columns_themselves(tmp_path):
    x, tau = rows()
    path = write_csv(tmp_path / "a.csv", tau=tau, x=x[:, 0], log_post=-tau)
    settings = {"name": path, "log_p": "log_post", "bounds": {"tau": [0, None]}}
    draws = load_draws(DrawsData(**settings))
    np.testing.assert_allclose(draws.log_p, -tau, rtol=1e-10)
    z = draws.units[0][1].inside(draws.units[0][0].inside(draws.rows[:, 0])[0])[0]
    np.testing.assert_allclose(z, (np.log(tau) - np.log(tau).mean()) / np.log(tau).std(), 1e-6)
    unconstrained = load_draws(DrawsData(**settings, space="unconstrained"))
    np.testing.assert_allclose(unconstrained.log_p, -tau - np.log(tau), rtol=1e-8)


def test_chains_are_by_their_column_and_one_chain_is_four_quarters(tmp_path):
    x, _ = rows(400)
    columns = {"a": x[:, 0], "b": x[:, 1], "lp": -(x[:, 0] ** 2)}
    chain = np.repeat([7, 3, 5, 1, 9], 80)
    path = write_csv(tmp_path / "a.csv", chain=chain, draw=np.arange(400), **columns)
    draws = load_draws(DrawsData(name=path, log_p="lp"))
    assert list(draws.columns) == ["a", "b"]
    assert [len(part) for part in draws.parts] == [80] * 5
    assert draws.folds.tolist() == [0, 0, 1, 2, 3]
    one = load_draws(DrawsData(name=write_csv(tmp_path / "b.csv", **columns), log_p="lp"))
    assert (one.chains.max(), [len(part) for part in one.parts]) == (0, [100] * 4)


X, TAU = rows()
GOOD = {"a": X[:, 0], "b": X[:, 1], "lp": -X[:, 0]}
SHARE = 1 / (1 + np.exp(X[:, 0]))


@pytest.mark.parametrize(
    ("columns", "settings", "named"),
    [
        ({**GOOD, "c": X[:, 0] * 0 + 2}, {}, "is constant, 2"),
        ({**GOOD, "log_lik[1]": X[:, 0]}, {}, "by their names: log_lik"),
        ({**GOOD, "y_rep.1": X[:, 0]}, {}, "by their names: y_rep.1"),
        ({**GOOD, "p": SHARE, "q": 1 - SHARE}, {}, "determine each other: p, q"),
        ({**GOOD, "tau": np.exp(X[:, 0])}, {}, "determine each other: a, tau"),
        ({**GOOD, "c": X[:, 0] * X[:, 1]}, {}, "determine each other: a, b, c"),
        ({**GOOD, "c": np.where(X[:, 0] > 2, np.nan, X[:, 1])}, {}, "finite number"),
        (GOOD, {"bounds": {"a": [-99, None], "b": [-99, 99]}}, "if it is that of log a, logit b"),
        (GOOD, {"bounds": {"a": [0, None]}, "space": "constrained"}, "on a bound or beyond"),
        (GOOD, {"bounds": {"z": [0, None]}}, "no column 'z'"),
        (GOOD, {"log_p": "lq"}, "no column 'lq'"),
        (GOOD, {"columns": ["a", "d"]}, "no column 'd'"),
        ({name: column[:150] for name, column in GOOD.items()}, {}, "200 draws or more"),
        (GOOD, {"others": ["a.csv"]}, "the draws of chain 1 again as chain 2"),
    ],
)
def test_columns_that_are_no_free_parameters_are_refused(
    tmp_path, monkeypatch, columns, settings, named
):
    monkeypatch.chdir(tmp_path)
    path = write_csv(tmp_path / "a.csv", **columns)
    with pytest.raises(DataError, match=r"a\.csv: ") as error:
        load_draws(DrawsData(**{"name": path, "log_p": "lp", **settings}))
    assert named in str(error.value) and "\n" not in str(error.value)


RNG = np.random.default_rng(0)
MU, THETA, L = (RNG.standard_normal((2, 3, *shape)) for shape in ((), (2,), (2, 2)))
SCHOOLS = ["Choate", "Phillips Andover"]
AXES = ("chain", "draw")
DIMS = {"chain": [0, 1], "draw": [10, 11, 12], "school": SCHOOLS, "year": [1990, 1991]}
VARIABLES = {
    "mu": (AXES, MU),
    "theta": ((*AXES, "school"), THETA),
    "L": ((*AXES, "i", "year"), L),
}


@pytest.fixture
def write(tmp_path):
    def write(variables=VARIABLES, statistics=None, dims=DIMS):
        groups = {"posterior": xarray.Dataset(variables, dims)}
        if statistics is not None:
            groups["sample_stats"] = xarray.Dataset(statistics)
        xarray.DataTree.from_dict(groups).to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
        return tmp_path / "draws.nc"

    return write


def test_lp_of_arviz_is_the_log_density_without_bounds(write):
    tau = np.exp(RNG.standard_normal((2, 150)))
    path = write({"tau": (AXES, tau)}, {"lp": (AXES, -tau)}, dims={})
    draws = load_draws(DrawsData(name=str(path), log_p="lp", bounds={"tau": [0, None]}))
    assert draws.space == "unconstrained"
    np.testing.assert_allclose(draws.log_p, (-tau - np.log(tau)).ravel(), rtol=1e-12)


def test_columns_are_the_elements_of_the_variables_by_their_labels(write):
    lp = RNG.standard_normal((2, 3))
    table = open_table(write(statistics={"energy": (AXES, lp), "lp": (AXES, lp)}))
    assert [column.name for column in table.columns] == [
        *("chain", "draw", "mu", "theta[Choate]", "theta[Phillips Andover]"),
        *("L[0, 1990]", "L[0, 1991]", "L[1, 1990]", "L[1, 1991]", "lp"),
    ]
    assert [c.name for c in table.columns if c.is_index] == ["chain", "draw", "lp"]
    rows = numbers_of(table, [column.name for column in table.columns])
    order = [(chain, draw) for chain in range(2) for draw in range(3)]
    expected = [[c, 10 + d, MU[c, d], *THETA[c, d], *L[c, d].ravel(), lp[c, d]] for c, d in order]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(numbers_of(table, ["L[1, 1990]"])[:, 0], L[:, :, 1, 0].ravel())


def test_dimensions_may_be_in_any_order(write):
    table = open_table(write({"theta": (("school", "draw", "chain"), THETA.T)}))
    values = numbers_of(table, ["theta[Choate]", "theta[Phillips Andover]"])
    np.testing.assert_array_equal(values, THETA.reshape(6, 2))


def test_types_fill_values_and_truth_values_are_kept(write):
    k = np.array([[1, -9, 2**60], [3, 4, 5]], ">i8")
    gap = (AXES, k, {}, {"_FillValue": -9})
    table = open_table(write({"k": (AXES, k), "gap": gap, "flag": (AXES, k > 2)}))
    (block,) = [block.to_pydict() for block in table.blocks(["k", "gap", "flag"])]
    assert block["k"] == k.ravel().tolist()
    assert np.isnan(block["gap"][1]) and block["gap"][0] == 1.0
    assert block["flag"] == [False, False, True, True, True, True]
    columns, _ = read_columns(table)
    assert [c.name for c in columns if c.cell_type != "number"] == ["flag"]


@pytest.mark.parametrize(
    ("variables", "statistics", "named"),
    [
        ({"new": (AXES, np.full((2, 3), b"a"))}, None, "new holds |S1, not numbers"),
        ({}, {"lp": (AXES, np.zeros((2, 4)))}, "lp has other chains or draws"),
        ({"theta": (AXES, MU), "theta[Choate]": (AXES, MU)} | VARIABLES, None, "two columns"),
    ],
)
def test_what_is_no_table_of_numbers_is_one_line(write, variables, statistics, named):
    with pytest.raises(DataError) as caught:
        open_table(write(variables, statistics))
    assert named in str(caught.value) and str(caught.value).isprintable()


def test_a_damaged_file_is_one_line(write, monkeypatch):
    path = write()
    content = path.read_bytes()
    for size in (8, 40, len(content) - 100):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match="expected ArviZ's InferenceData"):
            open_table(path)
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(NflowError, match=r"needs xarray; .* pip install '\.\[arviz\]'"):
        open_table(path)


@pytest.mark.parametrize(
    ("module", "limit", "least"),
    [(netcdf, "MAX_BYTES", 431), (tables, "MAX_ROWS", 5), (tables, "MAX_COLUMNS", 4)],
)
def test_large_tables_are_refused(write, monkeypatch, module, limit, least):
    monkeypatch.setattr(module, limit, least)
    with pytest.raises(DataError, match=f"at most .*{least} .*, received 6 rows of 9 columns"):
        open_table(write())


ROWS = RNG.standard_normal((5, 3))
NAMES = ["tau", "theta[größe, 1]"]
FACTS = {"inference_library": "nflow", "pareto_k": 0.25}


def written(path):
    netcdf.write_inference(path, netcdf.inference_groups(NAMES, ["log_q"], ROWS, FACTS))
    return path


def test_draws_written_are_a_table_of_the_same_draws(tmp_path):
    path = written(tmp_path / "draws.nc")
    rows = numbers_of(open_table(path), ["chain", "draw", *NAMES, "log_q"])
    np.testing.assert_array_equal(rows, np.column_stack([np.zeros(5), np.arange(5), ROWS]))
    with h5py.File(path) as file:
        for group in ("posterior", "sample_stats"):
            assert dict(file[group].attrs) == FACTS
    for name in ("a/b", "chain", "."):
        with pytest.raises(NflowError, match="names without /"):
            netcdf.inference_groups([name], [], ROWS[:, :1], {})
    with pytest.raises(RunDirectoryError, match="No such file or directory"):
        written(tmp_path / "no" / "a.nc")


ELEMENTS = {  # names of columns, and the axes that the variables have
    ("mu", "theta[A]", "theta[B/C]"): {"mu": [], "theta": [["A", "B/C"]]},
    ("L[0, b]", "L[0, a]", "x", "L[1, b]", "L[1, a]"): {"L": [[0, 1], ["b", "a"]], "x": []},
    ("t[10]", "t[9]"): {"t": [[10, 9]]},
    ("t[01]", "t[1]"): {"t": [["01", "1"]]},
    **{
        names: {key: [] for key in names}
        for names in (
            ("L[0, 0]", "L[1, 1]"),
            ("t[0]", "t[0, 1]"),
            ("t", "t[0]"),
            ("chain[0]", "draw[0]"),
            ("t[0]", "t_dim_0"),
        )
    },
    ("t[0]", "t_dim_0[0]"): {"t[0]": [], "t_dim_0": [[0]]},
}


@pytest.mark.parametrize("names", ELEMENTS, ids=" ".join)
def test_elements_are_written_as_arrays_with_their_labels_in_four_chains(tmp_path, names):
    rows = RNG.standard_normal((12, len(names) + 1))
    groups = netcdf.inference_groups(names, ["log_q"], rows, {})
    netcdf.write_inference(tmp_path / "draws.nc", groups)
    with xarray.open_datatree(tmp_path / "draws.nc", engine="h5netcdf") as tree:
        posterior = tree["posterior"].to_dataset()
        assert tree["sample_stats"]["log_q"].shape == (4, 3)
        for name, axes in ELEMENTS[names].items():
            assert posterior[name].dims == (*AXES, *(f"{name}_dim_{i}" for i in range(len(axes))))
            for dim, labels in zip(posterior[name].dims[2:], axes):
                assert posterior[dim].values.tolist() == labels
        assert [*posterior.data_vars] == [*ELEMENTS[names]]
    table = open_table(tmp_path / "draws.nc")
    assert {c.name for c in table.columns} == {*AXES, *names, "log_q"}
    expected = np.column_stack([np.repeat(range(4), 3), np.tile(range(3), 4), rows])
    np.testing.assert_array_equal(numbers_of(table, [*AXES, *names, "log_q"]), expected)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_arviz_opens_what_is_written(tmp_path, engine):
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed")
    pytest.importorskip("netCDF4" if engine == "netcdf4" else engine)
    data = arviz.from_netcdf(written(tmp_path / "draws.nc"), engine=engine)
    for group, names, values in (
        ("posterior", ["tau", "theta"], ROWS.T[:2]),
        ("sample_stats", ["log_q"], ROWS.T[2:]),
    ):
        assert list(data[group].data_vars) == names
        assert [data[group].sizes[axis] for axis in AXES] == [1, 5]
        assert data[group].attrs == FACTS
        for name, draws in zip(names, values):
            np.testing.assert_array_equal(data[group][name].values.ravel(), draws)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_files_of_arviz_are_read(tmp_path, engine):
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed")
    pytest.importorskip("netCDF4" if engine == "netcdf4" else engine)
    groups = {"posterior": {"mu": MU, "theta": THETA, "L": L}, "sample_stats": {"lp": MU - 1}}
    labels = {"coords": {"school": list(SCHOOLS)}, "dims": {"theta": ["school"]}}
    is_old = hasattr(arviz, "InferenceData")
    data = arviz.from_dict(**groups, **labels) if is_old else arviz.from_dict(groups, **labels)
    data.to_netcdf(tmp_path / "draws.nc", engine=engine)
    table = open_table(tmp_path / "draws.nc")
    names = [column.name for column in table.columns]
    assert names == ["chain", "draw", *arviz.summary(data).index, "lp"]
    values = np.column_stack([MU.ravel(), THETA.reshape(6, 2), L.reshape(6, 4), MU.ravel() - 1])
    np.testing.assert_array_equal(numbers_of(table, names[2:]), values)
