import pytest
import yaml

from nflow_cli import registry
from nflow_cli.config.preset_files import find_preset, nearest_preset, shipped_presets
from nflow_cli.config.presets import read_preset
from nflow_cli.config.shipped import presets_folder
from nflow_cli.errors import ConfigError

PRESETS = shipped_presets()


def test_a_missing_file_and_a_folder_are_no_presets(tmp_path):
    for name in ("nowhere.yaml", str(tmp_path), "", 300 * "a", "a\0b", "\udcff", 5000 * "a/"):
        with pytest.raises(ConfigError, match="no preset named"):
            find_preset(name)
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        read_preset(tmp_path / "gone.yaml")


def test_a_preset_is_found_by_name_and_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("command: fit-2d\n")
    assert find_preset(str(path)) == path
    assert find_preset("multimodal-planar") == PRESETS["multimodal-planar"]
    with pytest.raises(ConfigError, match="did you mean 'multimodal-planar'"):
        find_preset("multimodal-plana")


@pytest.mark.parametrize(
    "name",
    ["../presets/multimodal-planar", "./multimodal-planar", "presets/multimodal-planar", "*", "."],
)
def test_a_name_does_not_lead_out_of_the_folder_of_presets(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for asked in (name, str(presets_folder() / name), f"{name}\0"):
        with pytest.raises(ConfigError, match="no preset named"):
            find_preset(asked)


@pytest.mark.parametrize("target", [t for t in registry.TARGETS if t not in ("mixture", "ring")])
def test_the_nearest_preset_is_of_the_target_asked_for(target):
    path = nearest_preset(target, ["planar"], 8)
    assert yaml.safe_load(path.read_text())["target"] == target


def test_the_nearest_preset_has_the_flows_and_the_k_asked_for():
    assert nearest_preset("u1", ["planar"], 2).stem == "u1-planar-k2"
    assert nearest_preset("u1", ["planar"], 100).stem == "u1-planar-k32"
    assert nearest_preset("u4", ["inverse-autoregressive"], 8).stem == "u4-spline-coupling"
    assert nearest_preset("u4", ["sylvester"], 8).stem == "u4-planar-k8"
    with pytest.raises(ConfigError, match="no preset for the target 'nothing'"):
        nearest_preset("nothing", ["planar"], 8)
