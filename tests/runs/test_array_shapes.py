"""What is no array of a picture is refused by its header, before it is unpacked."""

import io
import zipfile

import numpy as np
import pytest

from nflow_cli.config import presets
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.run import kind_of
from nflow_cli.runs import npz
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.npz import ROW_WEIGHTS, ROWS
from nflow_cli.tables import table_report as of_tables

MNIST = presets.validate(presets.read_preset(presets.find_preset("mnist")), "mnist")
FIT_2D = presets.validate({"command": "fit-2d"}, "a test")
SHAPES = {
    **{
        "target": kind_of(FIT_2D).report.shapes_of(FIT_2D),
        "images": kind_of(MNIST).report.shapes_of(MNIST),
    },
    "table": {**of_tables.PLANE, **ROWS, **ROW_WEIGHTS},
}
GRID = (500, 500)
GOOD = {
    "target": {
        **{"axis_1": (500,), "axis_2": (500,), "log_target": GRID, "log_base": GRID},
        **{"log_q": GRID, "samples": (2000, 2), "base_samples": (2000, 2)},
        **{"target_samples": (0, 2), "deformation_k": (9,), "log_deformation": (9, 120, 120)},
        **{"deformation_axis_1": (120,), "deformation_axis_2": (120,)},
        **{"deformation_samples": (9, 2000, 2)},
    },
    "table": {
        **{"axis_1": (400,), "axis_2": (300,), "log_q": (300, 400), "samples": (2000, 2)},
        **{"test_points": (2, 2), "deformation_k": (1,), "log_deformation": (1, 120, 90)},
        **{"deformation_axis_1": (90,), "deformation_axis_2": (120,)},
        **{"deformation_samples": (1, 2000, 2), "test_log_q": (50_000,)},
        "test_weights": (50_000,),
    },
    "images": {
        **{"base_latents": (5000, 2), "latents": (5000, 2), "latent_axes": (2,)},
        **{"labels": (0,), "originals": (10, 28, 28), "reconstructions": (10, 28, 28)},
        **{"samples": (64, 28, 28), "manifold": (20, 20, 28, 28), "manifold_axis": (20,)},
    },
}
WHOLE = ("deformation_k", "latent_axes", "labels")
CASES = [  # experiment, shapes, the array that is named, and why
    ("target", {"axis_1": (12_000,), "log_q": (12_000, 12_000)}, "axis_1", "lengths of 2 to"),
    ("target", {"log_q": (12_000, 12_000)}, "log_q", "lengths of 2 to 1,000"),
    ("target", {"log_q": (500, 499)}, "log_q", "a length of 500"),
    ("target", {"deformation_k": (3_000,)}, "deformation_k", "lengths of 1 to 16"),
    ("target", {"deformation_k": (0,)}, "deformation_k", "lengths of 1 to 16"),
    ("target", {"samples": (2**27, 2)}, "samples", "lengths of 0 to 10,000"),
    ("target", {"samples": (2000, 3)}, "samples", "lengths of 2, received shape (2000, 3)"),
    ("target", {"samples": (2000,)}, "samples", "2 axes"),
    ("target", {"deformation_samples": (8, 2000, 2)}, "deformation_samples", "a length of"),
    ("table", {"deformation_samples": (1, 2**27, 2)}, "deformation_samples", "lengths of"),
    ("target", {"log_base": ()}, "log_base", "2 axes"),
    ("table", {"test_weights": (49_999,)}, "test_weights", "a length of 50,000"),
    ("table", {"log_q": (400, 300)}, "log_q", "a length of 300"),
    ("table", {"test_points": (10**9, 2)}, "test_points", "lengths of 0 to 10,000"),
    ("images", {"samples": (0, 28, 28)}, "samples", "lengths of 1 to 400"),
    ("images", {"originals": (10, 28, 99)}, "originals", "lengths of 1 to 28"),
    ("images", {"manifold": (20, 9, 28, 28)}, "manifold", "a length of 20"),
    ("images", {"latents": (4999, 2)}, "latents", "a length of 5,000"),
    ("images", {"labels": (9,)}, "labels", "a length of 5,000"),
]


def header_of(name, shape, dtype=None):
    """Return the header of an array, without any of its values."""
    file = io.BytesIO()
    descr = np.dtype(dtype or ("<i8" if name in WHOLE else "<f4")).str
    npz.npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def zeros(name, shape):
    file = io.BytesIO()
    np.save(file, np.zeros(shape, "i8" if name in WHOLE else "f4"))
    return file.getvalue()


def complaint(tmp_path, experiment, headers):
    run = RunDirectory.create("any", str(tmp_path / "run"))
    with zipfile.ZipFile(run.path / "evaluation.npz", "w") as archive:
        for name, header in headers.items():
            archive.writestr(f"{name}.npy", header)
    with pytest.raises(RunDirectoryError) as caught:
        run.read_arrays("evaluation.npz", SHAPES[experiment])
    line = str(caught.value)
    assert line.startswith(f"{run.path / 'evaluation.npz'}: damaged: ") and "\n" not in line
    return line


@pytest.mark.parametrize(("experiment", "changes", "name", "why"), CASES)
def test_a_shape_that_no_picture_takes_is_refused_unread(tmp_path, experiment, changes, name, why):
    arrays = {key: zeros(key, shape) for key, shape in GOOD[experiment].items()}
    arrays |= {key: header_of(key, shape) for key, shape in changes.items()}
    assert f"{name}: expected {why}" in complaint(tmp_path, experiment, arrays)


@pytest.mark.parametrize("experiment", GOOD)
def test_shapes_that_pictures_take_are_allowed(tmp_path, experiment):
    headers = {name: header_of(name, shape) for name, shape in GOOD[experiment].items()}
    line = complaint(tmp_path, experiment, headers)
    assert line.endswith("bytes, received 0")  # the values, which are not there
    assert set(headers) == set(SHAPES[experiment])


def test_numbers_are_expected(tmp_path):
    headers = {n: header_of(n, s) for n, s in GOOD["target"].items()}
    for dtype in ("<i4", "?", "<c16", "<U5", "<M8[s]", "|O"):
        wrong = headers | {"axis_1": header_of("axis_1", (500,), dtype)}
        assert "axis_1" in complaint(tmp_path / dtype.strip("<|"), "target", wrong)


def test_coordinates_are_finite_and_rise_and_as_many_as_is_known(tmp_path):
    run = RunDirectory.create("any", str(tmp_path / "run"))
    for axis in ([0, 0], [1, 0], [0, np.nan], [0, np.inf], [-1e200, 1e200]):
        run.write_arrays("evaluation.npz", {"axis_1": np.array(axis, float)})
        with pytest.raises(RunDirectoryError, match="axis_1: expected finite, increasing"):
            run.read_arrays("evaluation.npz", {"axis_1": "x"})
    run.write_arrays("evaluation.npz", {"axis_1": np.arange(2.0), "other": np.ones(9)})
    assert run.read_arrays("evaluation.npz", {"axis_1": (2,)}).keys() == {"axis_1"}
    with pytest.raises(RunDirectoryError, match="axis_1: expected lengths of 4, received"):
        run.read_arrays("evaluation.npz", {"axis_1": (4,)})
