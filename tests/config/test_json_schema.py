import json

import pytest

from nflow_cli.config import preset_files, presets
from nflow_cli.config.json_schema import json_schema
from nflow_cli.config.shipped import presets_folder

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", preset_files.shipped_presets())
def test_it_takes_every_shipped_preset(validator, name):
    validator.validate(presets.read_preset(preset_files.shipped_presets()[name]))


def test_the_file_beside_the_presets_is_the_schema_of_now():
    written = json.loads((presets_folder() / "nflow.schema.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(json_schema())), (
        "to be written anew: nflow presets --schema > s.json && mv s.json presets/nflow.schema.json"
    )


@pytest.mark.parametrize("name", preset_files.shipped_presets())
def test_an_editor_is_led_from_every_shipped_preset_to_the_schema(name):
    first = preset_files.shipped_presets()[name].read_text(encoding="utf-8").split("\n")[0]
    assert first == "# yaml-language-server: $schema=nflow.schema.json"


@pytest.mark.parametrize(
    ("preset", "is_valid"),
    [
        ("{command: fit-2d, target: u4}", True),
        ("{command: fit-2d, target: u9}", False),
        ("{command: fit-2d, data: two-moons}", False),
        ("{command: fit-2d, flow: {pattern: [planar, {affine: {full: true}}]}}", True),
        ("{command: fit-2d, flow: {pattern: [planer]}}", False),
        ("{command: fit-2d, train: {steps: 0}}", False),
        ("{command: fit-2d, steps: 10}", False),
        ("{command: fit, data: mine.csv}", True),
        ("{command: infer, density: eight-schools, base: student-t}", True),
        ("{command: fit, data: {name: mine.csv, columns: [1, 2]}}", True),
        ("{command: fit}", False),
        ("{command: train-vae, data: mnist-sample}", True),
        ("{command: sweep, presets: [u1-planar-k8], seeds: '0:20:4'}", True),
        ("{command: plot}", False),
    ],
)
def test_it_says_what_nflow_says(validator, preset, is_valid):
    data = presets.parse_yaml(preset, "a test")
    assert validator.is_valid(data) == is_valid
    if is_valid:
        presets.validate(data, "a test")
    else:
        with pytest.raises(presets.ConfigError):
            presets.validate(data, "a test")


def test_every_key_is_described():
    """By itself, or as the mapping that it is."""
    for name, model in json_schema()["$defs"].items():
        for key, field in model.get("properties", {}).items():
            assert "description" in field or "#/$defs/" in str(field), f"{name}.{key}"
