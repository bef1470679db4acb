import numpy as np
import pytest
from truth import normal_log_prob

from nflow_cli.data import split
from nflow_cli.data.points import atoms_of, gaussian_log_prob, load_point_data
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def some_points(n=200, seed=0):
    z = np.random.default_rng(seed).standard_normal((n, 2))
    return z @ [[3.0, 100.0], [0.0, 50.0]] + [1000.0, -7.0]


def rows_of(points):
    return sorted(map(tuple, points.tolist()))


@pytest.mark.parametrize(
    ("n", "held_out"), [(10, 2), (29, 2), (30, 3), (200, 20), (219, 21), (300, 25)]
)
def test_a_tenth_each_is_held_out_up_to_a_limit(folder, n, held_out, monkeypatch):
    monkeypatch.setattr(split, "HELD_OUT", 25)
    points = some_points(n)
    np.save("points.npy", points)
    data = load_point_data("points.npy", 0)
    assert data.sizes == {"n_train": n - 2 * held_out, "n_validation": held_out, "n_test": held_out}
    assert rows_of(np.concatenate([data.train, data.validation, data.test])) == rows_of(points)


def test_the_seed_decides_the_split_and_not_the_checksum(folder):
    np.save("points.npy", some_points())
    one, again, other = (load_point_data("points.npy", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.test, again.test)
    assert rows_of(one.test) != rows_of(other.test)
    assert one.sha256 == other.sha256


def test_the_same_points_have_one_checksum_whatever_the_file(folder):
    points = some_points().astype("f4")
    np.save("single.npy", points)
    np.save("double.npy", points.astype("f8"))
    np.savetxt("points.csv", points, fmt="%.17g", delimiter=",")
    names = ("single.npy", "double.npy", "points.csv")
    assert len({load_point_data(name, 0).sha256 for name in names}) == 1
    np.save("less.npy", points[1:])
    assert load_point_data("less.npy", 0).sha256 != load_point_data("single.npy", 0).sha256


@pytest.mark.parametrize("name", POINT_SETS)
def test_a_built_in_set_is_split_like_a_file(name):
    data = load_point_data(name, 3)
    assert data.sizes == {"n_train": 40_000, "n_validation": 5_000, "n_test": 5_000}
    assert data.sha256 == load_point_data(name, 3).sha256 != load_point_data(name, 4).sha256


def test_the_training_points_alone_are_standardised(folder):
    np.save("points.npy", some_points())
    data = load_point_data("points.npy", 0)
    z = data.units.inside(data.train)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-12)
    assert np.abs(data.units.inside(data.test).mean(0)).max() > 1e-3
    np.testing.assert_allclose(data.units.outside(z), data.train, rtol=1e-12)


def test_the_gaussian_is_the_most_likely_one(folder):
    np.save("points.npy", some_points())
    data = load_point_data("points.npy", 0)
    covariance = np.cov(data.train.T, bias=True)
    expected = normal_log_prob(data.test, data.train.mean(0), covariance)
    found = gaussian_log_prob(data.train, data.test, data.units)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    most = gaussian_log_prob(data.train, data.train, data.units).mean()
    for factor, shift in ((1.02, 0), (0.98, 0), (1, 0.5)):
        mean = data.train.mean(0) + shift
        other = normal_log_prob(data.train, mean, factor * covariance)
        assert other.mean() < most


LINE = np.array([[i + 0.1, 3 * i + 0.2] for i in range(40)])
BLOB = np.random.default_rng(0).standard_normal((40, 2))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (BLOB[:9], "expected at least 10 points, received 9"),
        (BLOB[:, :1], "expected two columns of numbers, received one"),
        (np.c_[BLOB, BLOB], "received 4: '1', '2', '3', …"),
        (np.c_[BLOB, BLOB[:, :1]], "received 3: '1', '2', '3'; `nflow fit TABLE`"),
        (BLOB * [1, 0] + 0.1, "column 2 is constant, 0.1"),
        (BLOB * [0, 1] + 1e9, "column 1 is constant, 1e+09"),
        (LINE, "all are on one line"),
        (np.tile([[1.0, 2.0], [5.0, 6.0]], (30, 1)), "all are on one line"),
        (BLOB * [1e300, 1], "column 1 has the standard deviation "),
        (BLOB * 1e-120, "column 1 has the standard deviation "),
        (BLOB * [1, 1e-200], "9.75e-201, not one from 1e-100"),
        (BLOB * 1e-310, "9.97e-311, not one from 1e-100 to 1e+100"),
        (BLOB + np.array([0, 1e15]), "beside values as large as 1e+15, less than 1e-14 of them"),
        (np.where(BLOB > 0, 1e308, -1e308), "column 1 has the standard deviation 9.98e+307, not"),
        (np.r_[BLOB, [[999999999.0, 999999999.0]]], "row 40 counted from 0, [999999999.0,"),
        (np.r_[LINE, [[1e9, 3e9]]], "all are on one line"),
        (np.where(BLOB > 1, np.nan, BLOB), "counted from 0: expected two finite numbers"),
    ],
)
def test_points_without_a_density_are_one_line(folder, points, expected):
    np.save("bad.npy", points)
    with pytest.raises(DataError) as caught:
        load_point_data("bad.npy", 0)
    line = str(caught.value)
    assert line.startswith("bad.npy: ") and expected in line
    assert len(line.splitlines()) == 1


def test_a_point_that_no_float_reaches_is_named(folder):
    row = int(stream(0, "split").permutation(len(BLOB))[0])  # held out: it widens no scale
    points = BLOB.copy()
    points[row, 1] = -1e20
    np.save("far.npy", points)
    with pytest.raises(DataError, match=rf"far\.npy: expected points within .*, in row {row} "):
        load_point_data("far.npy", 0)


@pytest.mark.parametrize("name", ["two-moon", "nowhere.csv", "", 300 * "a", "a\0b"])
def test_what_is_no_data_is_told_what_is(folder, name):
    with pytest.raises(DataError) as caught:
        load_point_data(name, 0)
    line = str(caught.value)
    assert "expected two-moons, pinwheel, eight-gaussians, spirals, checkerboard" in line
    assert ("did you mean 'two-moons'?" in line) == (name == "two-moon")
    assert len(line.splitlines()) == 1


def test_a_file_beside_a_built_in_set_is_reached_by_its_path(folder):
    np.savetxt("spirals", BLOB, delimiter=",")
    assert load_point_data("spirals", 0).sizes["n_train"] == 40_000
    assert load_point_data("./spirals", 0).sizes["n_train"] == 32


def test_a_built_in_set_has_as_many_points_as_asked_for():
    data = load_point_data("rings", 3, 1_000)
    assert data.sizes == {"n_train": 800, "n_validation": 100, "n_test": 100}


@pytest.mark.slow
def test_ten_million_points_take_bounded_memory(folder):
    import tracemalloc

    np.save("many.npy", np.random.default_rng(0).standard_normal((10**7, 2), np.float32))
    tracemalloc.start()
    data = load_point_data("many.npy", 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.sizes["n_train"] == 10**7 - 2 * split.HELD_OUT
    assert peak < 1.2e9  # the points alone are 160 MB


RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(5_000)
PRICES = np.exp(RNG.normal(4.0, 1.0, 5_000))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (RNG.integers(1, 10, 5_000), {"value"}),  # rooms
        (np.where(RNG.random(5_000) < 0.2, 0.0, PRICES), {"value"}),  # rain
        (RNG.integers(0, 90, 500), {"step"}),  # ages: many steps, none of them frequent
        (NORMAL, set()),
        (np.round(PRICES, 2), set()),  # in cents
        (NORMAL.astype(np.float16), set()),
        (np.repeat(NORMAL[:2_500], 2), set()),  # each row twice
    ],
    ids=["rooms", "rain", "ages", "normal", "cents", "float16", "twice"],
)
def test_columns_whose_values_repeat_are_known(column, expected):
    atoms = atoms_of(np.stack([NORMAL[-len(column) :], column], axis=1))
    assert [atom["column"] for atom in atoms] == [2] * len(expected)
    assert all(expected <= set(atom) for atom in atoms)


def test_the_share_of_an_atom_is_that_of_its_rows(tmp_path):
    path = tmp_path / "rain.npy"
    rain = np.where(np.arange(1_000) % 4 == 0, 0.0, PRICES[:1_000])
    np.save(path, np.stack([rain, NORMAL[:1_000]], axis=1))
    assert load_point_data(str(path), 0).atoms == [{"column": 1, "value": 0.0, "share": 0.25}]
