import numpy as np
import pytest

from nflow_cli.config.evidence_schema import DrawsData
from nflow_cli.data.draws import load_draws
from nflow_cli.data.table_files import open_table
from nflow_cli.errors import DataError

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


def test_comments_of_cmdstan_are_no_rows_of_any_table(tmp_path):
    path, mu, _ = stan_file(tmp_path / "a.csv", n=40_000)  # more than a block
    table = open_table(path)
    np.testing.assert_allclose(table.numbers(["mu"], 10**6)[:, 0], mu, rtol=1e-6)


def test_a_positive_column_of_cmdstan_asks_for_its_bounds(tmp_path):
    path, *_ = stan_file(tmp_path / "a.csv")
    (note,) = load_draws(DrawsData(name=path)).notes
    assert "--bounds tau=0:" in note
    assert not load_draws(DrawsData(name=path, bounds={"tau": [None, None]})).notes


def test_a_log_density_of_another_name_is_that_of_the_columns_themselves(tmp_path):
    x, tau = rows()
    path = write_csv(tmp_path / "a.csv", tau=tau, x=x[:, 0], log_post=-tau)
    bounds = {"tau": [0, None]}
    draws = load_draws(DrawsData(name=path, log_p="log_post", bounds=bounds))
    np.testing.assert_allclose(draws.log_p, -tau, rtol=1e-10)
    unconstrained = DrawsData(name=path, log_p="log_post", bounds=bounds, space="unconstrained")
    np.testing.assert_allclose(load_draws(unconstrained).log_p, -tau - np.log(tau), rtol=1e-8)


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


def test_units_are_those_of_bounded_draws(tmp_path):
    x, tau = rows()
    path = write_csv(tmp_path / "a.csv", tau=tau, x=x[:, 0], lp=-tau)
    bounds = {"tau": [0, None]}
    draws = load_draws(DrawsData(name=path, log_p="lp", bounds=bounds, space="constrained"))
    z = draws.units[0][1].inside(draws.units[0][0].inside(draws.rows[:, 0])[0])[0]
    np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-9)
    np.testing.assert_allclose(z, (np.log(tau) - np.log(tau).mean()) / np.log(tau).std(), 1e-6)


def test_a_chain_given_twice_is_refused(tmp_path):
    x, _ = rows(200)
    files = [write_csv(tmp_path / f"{n}.csv", a=x[:, 0], lp=-(x[:, 0] ** 2)) for n in "ab"]
    with pytest.raises(DataError, match="the draws of chain 1 again as chain 2"):
        load_draws(DrawsData(name=files[0], others=files[1:], log_p="lp"))


X, TAU = rows()
GOOD = {"a": X[:, 0], "b": X[:, 1], "lp": -X[:, 0]}
SHARE = 1 / (1 + np.exp(X[:, 0]))


@pytest.mark.parametrize(
    ("columns", "settings", "expected"),
    [
        ({**GOOD, "c": X[:, 0] * 0 + 2}, {}, "is constant, 2"),
        ({**GOOD, "log_lik[1]": X[:, 0]}, {}, "generated quantities by their names: log_lik"),
        ({**GOOD, "y_rep.1": X[:, 0]}, {}, "generated quantities by their names: y_rep.1"),
        ({**GOOD, "p": SHARE, "q": 1 - SHARE}, {}, "determine each other: p, q"),
        ({**GOOD, "tau": np.exp(X[:, 0])}, {}, "determine each other: a, tau"),
        ({**GOOD, "c": X[:, 0] * X[:, 1]}, {}, "determine each other: a, b, c"),
        ({**GOOD, "c": np.where(X[:, 0] > 2, np.nan, X[:, 1])}, {}, "expected a finite number"),
        (
            GOOD,
            {"bounds": {"a": [-99, None], "b": [-99, 99]}},
            "--space: expected constrained, if lp is the log-density of a, b, or unconstrained, if "
            "it is that of log a, logit b, as of Stan, PyMC and NumPyro; received neither",
        ),
        (GOOD, {"bounds": {"a": [0, None]}, "space": "constrained"}, "on a bound or beyond"),
        (GOOD, {"bounds": {"z": [0, None]}}, "no column 'z'"),
        (GOOD, {"log_p": "lq"}, "no column 'lq'"),
        (GOOD, {"columns": ["a", "d"]}, "no column 'd'"),
        ({name: column[:150] for name, column in GOOD.items()}, {}, "expected 200 draws or more"),
    ],
)
def test_columns_that_are_no_free_parameters_are_refused(tmp_path, columns, settings, expected):
    path = write_csv(tmp_path / "a.csv", **columns)
    with pytest.raises(DataError, match=r"a\.csv: ") as error:
        load_draws(DrawsData(**{"name": path, "log_p": "lp", **settings}))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
