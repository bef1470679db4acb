"""InferenceData written by h5py: its layout, its bytes, and what other libraries read."""

import h5py
import numpy as np
import pytest

from nflow_cli.data.columns import numbers_of
from nflow_cli.data.table_files import open_table
from nflow_cli.errors import NflowError, RunDirectoryError
from nflow_cli.runs.netcdf_file import write_inference

ROWS = np.random.default_rng(0).standard_normal((5, 3))
NAMES = ["tau", "theta[größe, 1]"]
FACTS = {"inference_library": "nflow", "pareto_k": 0.25}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "draws.nc"
    write_inference(path, 5, NAMES, ["log_q"], [ROWS[:2], ROWS[2:]], FACTS)
    return path


def test_variables_have_numbered_dimensions_as_netcdf_prescribes(path):
    with h5py.File(path) as file:
        assert file.attrs["_NCProperties"].startswith(b"version=2,")
        assert list(file["posterior"]) == ["chain", "draw", *NAMES]
        numbers = []
        for group, names in (("posterior", NAMES), ("sample_stats", ["log_q"])):
            assert dict(file[group].attrs) == {"inference_library": b"nflow", "pareto_k": 0.25}
            for axis, dimension in enumerate(("chain", "draw")):
                scale = file[group][dimension]
                assert scale.is_scale and scale.attrs["NAME"] == dimension.encode()
                numbers.append(int(scale.attrs["_Netcdf4Dimid"]))
                for name in names:
                    (attached,) = file[group][name].dims[axis].values()
                    assert attached == scale
        assert numbers == [0, 1, 2, 3]
        np.testing.assert_array_equal(file["posterior/tau"], ROWS.T[:1])
        np.testing.assert_array_equal(file["sample_stats/log_q"], ROWS.T[2:])


def test_a_table_of_it_has_the_same_draws_and_they_are_the_same_bytes(path, tmp_path):
    names = ["chain", "draw", *NAMES, "log_q"]
    rows = numbers_of(open_table(path), names)
    np.testing.assert_array_equal(rows, np.column_stack([np.zeros(5), np.arange(5), ROWS]))
    write_inference(tmp_path / "again.nc", 5, NAMES, ["log_q"], [ROWS], FACTS)
    assert (tmp_path / "again.nc").read_bytes() == path.read_bytes()


def test_names_that_a_file_cannot_have_are_refused(tmp_path):
    for name in ("a/b", "chain", "."):
        with pytest.raises(NflowError, match="names without /"):
            write_inference(tmp_path / "draws.nc", 5, [name], [], [ROWS[:, :1]], {})
    assert not list(tmp_path.iterdir())


def test_an_interrupted_file_leaves_the_old_one(path):
    def parts():
        yield ROWS[:2]
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_inference(path, 5, NAMES, ["log_q"], parts(), FACTS)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    with pytest.raises(RunDirectoryError, match="No such file or directory"):
        write_inference(path.parent / "no" / "a.nc", 5, NAMES, [], [ROWS], {})


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_arviz_opens_it(path, engine):
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed")
    pytest.importorskip("netCDF4" if engine == "netcdf4" else engine)
    data = arviz.from_netcdf(path, engine=engine)
    for group, names, values in (
        ("posterior", NAMES, ROWS.T[:2]),
        ("sample_stats", ["log_q"], ROWS.T[2:]),
    ):
        assert list(data[group].data_vars) == names
        assert dict(data[group].sizes) == {"chain": 1, "draw": 5}
        assert data[group].attrs == FACTS
        for name, draws in zip(names, values):
            np.testing.assert_array_equal(data[group][name].values, [draws])
