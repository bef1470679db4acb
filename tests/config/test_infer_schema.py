import pytest

from nflow_cli.config import preset_files, presets
from nflow_cli.config.infer_schema import SCHOOLS, natural_preset, usual_dim
from nflow_cli.config.naming import made_name, run_name
from nflow_cli.errors import ConfigError
from nflow_cli.registry import DENSITIES

MINE = {"name": "f", "path": "model.py", "dim": 3}


def validated(**changes):
    data = presets.override({"command": "infer", "density": "banana"}, changes)
    return presets.validate(data, "mine")


@pytest.mark.parametrize("name", DENSITIES)
def test_a_built_in_density_is_known_by_its_name(name):
    config = validated(density=name)
    assert config.density.is_built_in and config.subject == name
    assert config.dim == usual_dim(name) == len(config.density.columns)


def test_coordinates_have_names():
    assert validated(density="eight-schools").density.columns == SCHOOLS
    assert validated(density=MINE).density.columns == ["x1", "x2", "x3"]
    assert validated(density=MINE | {"names": ["a", "b", "c"]}).density.columns == ["a", "b", "c"]
    assert not validated(density=MINE).density.is_built_in


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"density": "funel"}, "density.path: expected one for a density that is none of"),
        ({"density": {"name": "f", "path": "model.py"}}, "density.dim: expected how many"),
        ({"density": {"name": "many-well", "dim": 3}}, "density.dim: expected 2 to 20 and even"),
        ({"density": {"name": "banana", "dim": 3}}, "density.dim: expected 2 of banana"),
        ({"density": MINE | {"dim": 0}}, "density.dim: expected a number not less than 1"),
        ({"density": MINE | {"names": ["a", "b"]}}, "density.names: expected 3 different names"),
        ({"density": MINE | {"names": ["a", "a", "b"]}}, "density.names: expected 3 different"),
        ({"density": MINE | {"bounds": {"y": [0, None]}}}, "density.bounds: expected some of"),
        ({"density": MINE | {"bounds": {"x1": [1.0, 0.0]}}}, "density.bounds: expected a lower"),
        (
            {"density": MINE | {"bounds": {"x1": [0.0, 1.0, 5.0]}}},
            "density.bounds: expected a scale",
        ),
        (
            {"density": MINE | {"bounds": {"x1": [0.0, None, 0.0]}}},
            "density.bounds: expected a scal",
        ),
        ({"density": {"name": "banana", "bounds": {"x1": [0.0, 1.0]}}}, "density.bounds: expected"),
        ({"density": MINE | {"sha256": "../.."}}, "density.sha256"),
        ({"density": MINE | {"code": "1"}}, "density.code: unknown key"),
        ({"base": {"name": "standard-normal", "df": 3.0}}, "base.df: expected null"),
        ({"base": "uniform-box"}, "base.name: expected 'standard-normal' or 'student-t'"),
        (
            {"base": "student-t", "train.draws": "even"},
            "train: expected draws independent of student-t",
        ),
        ({"flow.affine": None}, "train: expected first_stage 0 without flow.affine"),
        ({"evaluate.samples": 10}, "evaluate.samples: expected a number not less than 1000"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_key(changes, said):
    with pytest.raises(ConfigError) as refusal:
        validated(**changes)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_path_is_taken_where_it_is_asked_for_and_the_inverse_takes_one_pass():
    def path_from(**changes):
        config = validated(**changes)
        return config.train.path_from(config.flow.pattern)

    by_path = {"train.gradient": "path", "train.steps": 100}
    assert path_from(**by_path) == 50
    assert path_from(**by_path, **{"train.annealing.share": 0.6}) == 60
    assert path_from(**by_path, **{"flow.pattern": ["inverse-autoregressive"]}) is None
    assert path_from() is None


def test_the_base_is_normal_unless_student_is_asked_for():
    assert validated().base.df is None and validated().base_name == "standard-normal"
    assert validated(base="student-t").base.df == 5
    assert validated(**{"base": {"name": "student-t", "df": 3.0}}).base_name.startswith("student-t")


def test_any_flow_ends_with_an_affine_map_unless_it_is_to_have_none():
    assert validated(**{"flow.pattern": ["planar"]}).flow.affine == "full"
    changes = {"flow.pattern": ["planar"], "flow.affine": None, "train.first_stage": 0}
    assert validated(**changes).flow.affine is None


def test_a_config_comes_back_from_its_dump():
    config = validated(density=MINE | {"bounds": {"x2": [None, 3.0]}, "sha256": "a" * 64})
    assert presets.validate(presets.parse_yaml(presets.dump(config), ""), "") == config


def test_a_preset_is_chosen_by_the_dimension():
    shipped = preset_files.shipped_presets()
    names = [natural_preset(dim) for dim in (1, 6, 7, 100)]
    assert names == ["infer", "infer", "infer-wide", "infer-wide"]
    for name in names:
        assert presets.read_preset(shipped[name])["command"] == "infer"


def test_a_run_is_called_by_what_is_fitted():
    path = preset_files.shipped_presets()["infer"]
    assert run_name(presets.validate(presets.read_preset(path), "p"), path) == "infer"
    assert made_name(validated(density=MINE)) == "model-f-affine-coupling-spline-coupling-k8"
    assert (
        made_name(validated(density=MINE | {"name": "a/../b"}))
        == "model-a_.._b-affine-coupling-spline-coupling-k8"
    )
