"""Presets: what they say, where they are found, what beats what, and what is refused."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nflow_cli import registry
from nflow_cli.arguments import MAX_SEED
from nflow_cli.config import presets
from nflow_cli.config.flows import IN_TURN
from nflow_cli.config.presets import find_preset
from nflow_cli.config.schema import json_schema
from nflow_cli.config.schema_options import presets_folder, shipped_presets
from nflow_cli.errors import ConfigError
from nflow_cli.inference.fit_2d_config import nearest_preset

MINIMAL = {"command": "fit-2d"}
PRESETS = shipped_presets()
FORWARD = [name for name in registry.FLOWS if name not in IN_TURN["forward"]]


def complaint(tmp_path, text):
    """Return what is wrong with a preset, and check that it is one line that names the file."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        presets.validate(presets.read_preset(path), str(path))
    line = str(caught.value)
    assert line.startswith(f"{path}:")
    assert "\n" not in line and len(line) < 600
    return line.removeprefix(f"{path}:").strip()


def changed(*assignments, options=None, preset="multimodal-planar"):
    changes = [presets.Change(f"--{path}", path, value) for path, value in (options or {}).items()]
    assigned = map(presets.parse_assignment, assignments)
    return presets.merged("fit-2d", PRESETS[preset], [*assigned, *changes])


def load(text):
    return presets.validate(presets.parse_yaml(text, "dump"), "dump")


def test_every_shipped_preset_is_described_led_to_its_schema_and_comes_back_from_its_dump():
    assert PRESETS
    for name, path in PRESETS.items():
        resolved = presets.validate(presets.read_preset(path), name)
        assert 10 < len(resolved.description) < 100 and "\n" not in resolved.description, name
        assert load(presets.dump(resolved)) == resolved, name
        first = path.read_text(encoding="utf-8").split("\n")[0]
        assert first == "# yaml-language-server: $schema=nflow.schema.json", name


def test_a_preset_is_found_by_name_and_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("command: fit-2d\n")
    assert find_preset(str(path)) == path
    assert find_preset("multimodal-planar") == PRESETS["multimodal-planar"]
    with pytest.raises(ConfigError, match="did you mean 'multimodal-planar'"):
        find_preset("multimodal-plana")


def test_what_is_no_preset_and_what_leads_out_of_their_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = ["../presets/multimodal-planar", "./multimodal-planar", "presets/multimodal-planar"]
    outside += ["*", "."]
    folders = [str(presets_folder() / name) for name in outside]
    nothing = ["nowhere.yaml", str(tmp_path), "", 300 * "a", "a\0b", "\udcff", 5000 * "a/"]
    for asked in (*outside, *folders, *(f"{name}\0" for name in outside), *nothing):
        with pytest.raises(ConfigError, match="no preset named"):
            find_preset(asked)
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        presets.read_preset(tmp_path / "gone.yaml")


def test_the_nearest_preset_has_the_target_the_flows_and_the_k_asked_for():
    for target in set(registry.TARGETS) - {"mixture", "ring"}:
        path = nearest_preset(target, ["planar"], 8)
        assert yaml.safe_load(path.read_text())["target"] == target
    assert nearest_preset("u1", ["planar"], 2).stem == "u1-planar-k2"
    assert nearest_preset("u1", ["planar"], 100).stem == "u1-planar-k32"
    assert nearest_preset("u4", ["inverse-autoregressive"], 8).stem == "u4-spline-coupling"
    assert nearest_preset("u4", ["sylvester"], 8).stem == "u4-planar-k8"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("trian: {steps: 3}", "trian: unknown key (did you mean 'train'?); known: description, "),
        ("seed: true", "seed: expected a whole number. Received: True"),
        ("seed: -1", "seed: expected a number not less than 0. Received: -1"),
        ("seed: '3'", "seed: expected a whole number (received as text: write it as 3)"),
        ("train: {learning_rate: .nan}", "train.learning_rate: "),
        (
            "train: {schedule: cosin}",
            "train.schedule: expected 'cosine' or 'constant' (did you mean",
        ),
        ("train: 3", "train: "),
        ("target: u5", "target.name: "),
        ("flow: {pattern: planar}", "flow.pattern: "),
        (
            "flow: {pattern: [planar, spline-autoregressive]}",
            "flow: expected inverse-autoregressive in place of spline-autoregressive",
        ),
        ("target: {name: mixture, weights: [1], means: [[0]]}", "target.means.0: "),
        ("target: {name: mixture, weights: [1, 2], means: [[0, 0]]}", "target: "),
        (
            "target: {name: mixture, weights: [1], means: [[0, 0]],"
            " covariances: [[[1,0],[0,1]]], sd: 1}",
            "target: expected covariances or sd",
        ),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed_and_what_was_given(tmp_path, value, named):
    assert complaint(tmp_path, f"command: fit-2d\n{value}\n").startswith(named)


def test_an_unknown_key_of_a_column_is_named_too(tmp_path):
    column = "data: {name: t, kinds: {a: {kind: levels, typ: text}}}"
    line = complaint(tmp_path, f"command: fit\nflow: null\n{column}\n")
    assert line.startswith("data.kinds.a.typ: unknown key (did you mean 'type'?)")


def mixture(keys):
    settings = f"{{command: fit-2d, target: {{name: mixture, means: [[2, 0], [-2, 1]], {keys}}}}}"
    return presets.validate(presets.parse_yaml(settings, "a test"), "a test")


def test_a_mixture_is_one_however_it_is_spelled():
    for spelled in (
        "weights: [0.25, 0.75], covariances: [[[0.25, 0], [0, 0.25]], [[0.25, 0], [0, 0.25]]]",
        "weights: [1, 3], sd: 0.5",
        "weights: [10, 30], sd: [0.5, 0.5]",
    ):
        settings = mixture(spelled)
        assert settings == mixture("weights: [2, 6], sd: 0.5")
        target = yaml.safe_load(presets.dump(settings))["target"]
        assert (target["weights"], "sd" in target) == ([0.25, 0.75], False)
        assert target["covariances"] == 2 * [[[0.25, 0.0], [0.0, 0.25]]]
    assert mixture("weights: [1, 3]") == mixture("weights: [1, 3], sd: 1")


def test_a_preset_without_a_command_is_of_the_one_that_reads_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("flow: {k: 3}\n")
    assert presets.merged("fit-2d", path, []).flow.k == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a mapping of preset keys. Received: an empty file"),
        ("- fit-2d\n", "Received: a list"),
        (b"command: \xff\xfe\n", "not a text file"),
        ("command: fit-2d\nseed: 1\nseed: 2\n", "line 3 duplicate key 'seed'"),
        ("command: fit-2d\n1: 2\n", "letters, all printable. Received: 1"),
        ("command: fit-2d\n[1]: 2\n", "line 2 keys must be text"),
        ("command: [fit-2d\n", "line "),
        ("command: fit-2d\n---\nseed: 1\n", "another document"),
        ("command: fit-2d\nseed: !!python/object:os.system 1\n", "constructor"),
        ("command: fit-2d\nseed: !!bool perhaps\n", "not valid YAML"),
        ("command: fit-2d\nseed: " + 21 * "[" + 21 * "]", "line 2 nested deeper than 20 levels"),
        ("- " * 3000, "line 1 nested deeper"),
        ("command: fit-2d\nseed: 0x" + 5000 * "f", "line 2 a whole number of more than 100 digits"),
        ("command: fit-2d\nseed: 1" + 5000 * ":1", "line 2 a whole number of more than 100 digits"),
        (f"command: fit-2d\n{501 * 'k'}: 1\n", "line 2 keys must be text of at most 500 letters"),
        ('command: fit-2d\n"a\\nb": 1\n', "line 2 keys must be text"),
        ("command: fit-2d\n<<: {seed: 1}\n", "line 2 could not determine"),
        ("command: fit-2d\0\n", "not valid YAML"),
        ("command: fit-2d\nseed: &a 1\n", "Received: '&a'"),
        ("command: fit-2d\nseed: *d\n", "Received: '*d'"),
        ("seed: 1\n", "command: missing; expected one of fit-2d"),
        ("command: fit2d\n", "(did you mean 'fit-2d'?). Received: 'fit2d'"),
    ],
)
def test_a_bad_file_is_explained_in_one_line(tmp_path, text, expected):
    assert expected in complaint(tmp_path, text)


def test_a_number_that_yaml_reads_as_text_comes_with_a_spelling_that_works():
    for number in ("1e-3", "1e-5", "2E8", "1e5"):
        with pytest.raises(ConfigError, match="received as text") as caught:
            changed(f"train.clip_norm={number}")
        spelled = str(caught.value).split("write it as ")[1].split(")")[0]
        assert changed(f"train.clip_norm={spelled}").train.clip_norm == float(number)


def test_set_reaches_every_depth_and_is_read_as_yaml():
    resolved = changed(
        "seed=7", "train.annealing.start=0.5", "flow.pattern=[radial, planar]", "base=uniform-box"
    )
    assert (resolved.seed, resolved.base_name) == (7, "uniform-box")
    assert resolved.train.annealing.start == 0.5
    assert resolved.flow.pattern == ["radial", "planar"]
    assert changed("train.clip_norm=null").train.clip_norm is None
    assert changed("train.early_stopping.patience=9").train.early_stopping.patience == 9
    assert changed("target.name=u3").target.name == "u3"


def test_set_without_a_key_path_and_a_value_is_refused():
    texts = ["seed", "=1", " =1", ".=1", "train.=1", ".steps=1", "a..b=1", 21 * ".a" + "=1"]
    for text in (*texts, 20_000 * "a." + "a=1", "\udcff=1", "a.b\nc=1", 501 * "k" + "=1"):
        with pytest.raises(ConfigError, match=r"--set expects key\.path=value") as caught:
            changed(text)
        assert len(str(caught.value)) < 200


def test_an_option_beats_set_beats_the_preset_beats_the_default(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("command: fit-2d\nflow: {k: 3}\ntrain: {steps: 11}\n")

    def k(assignments=(), option=None):
        options = [] if option is None else [presets.Change("--k", "flow.k", option)]
        assigned = map(presets.parse_assignment, assignments)
        return presets.merged("fit-2d", path, [*assigned, *options]).flow.k

    assert presets.validate(MINIMAL, "none").flow.k == 8
    assert k() == 3
    assert k(("flow.k=4",)) == 4
    assert k(("flow.k=4",), 5) == 5
    assert k(("flow.k=4", "flow.k=6")) == 6
    one = presets.Change("--k", "flow.k", 4)
    assert presets.merged("fit-2d", path, [one]).train.steps == 11


@pytest.mark.parametrize(
    ("assignments", "options", "named"),
    [
        (["flow.k=many"], {}, "--set flow.k: expected a whole number. Received: 'many'"),
        (["trian.steps=1"], {}, "--set trian.steps: trian: unknown key (did you mean 'train'?)"),
        ([], {"flow.k": -1}, "--flow.k: "),
        (["target.foo=bar"], {"target": "u1"}, "--set target.foo and --target: "),
        (["flow.k=2", "flow={}"], {}, "--set flow.k and --set flow: "),
        (["train=1"], {"train.steps": 5}, "--train.steps: expected a mapping at train"),
        (["train.first_stage=5"], {}, "multimodal-planar with --set train.first_stage: train: "),
        (["target=u1", "target.foo=1"], {}, "--set target.foo: unknown key; known: name"),
    ],
)
def test_an_error_names_who_asked_and_nothing_that_was_asked_for_is_dropped(
    assignments, options, named
):
    with pytest.raises(ConfigError, match=re.escape(named)) as caught:
        changed(*assignments, options=options)
    line = str(caught.value)
    assert "\n" not in line and ".yaml" not in line  # a shipped preset has a name


def test_what_an_option_would_replace_in_a_damaged_preset_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    steps = presets.Change("--steps", "train.steps", 500)
    for train in ("nonsense", "[1]", "3"):
        path.write_text(f"command: fit-2d\ntrain: {train}\n")
        with pytest.raises(ConfigError, match=rf"--steps: .* at train.* from {path}"):
            presets.merged("fit-2d", path, [steps])


def test_a_key_may_be_changed_again_and_below_what_was_changed():
    assert changed("flow={k: 3}", "flow.k=4").flow.k == 4
    assert changed("flow={k: 3}", options={"flow.k": 5}).flow.k == 5
    assert changed("target=u1", options={"target": "u2"}).target.name == "u2"
    assert changed("target=u1", "target.name=u3").target.name == "u3"  # text stands for it


def test_a_description_stays_with_what_it_was_written_for():
    written = "Two modes from one Gaussian, with planar flows (K = 8)."
    for kept in ([], ["seed=4"], ["flow.k=8"]):
        assert changed(*kept).description == written
    for other in ("flow.k=6", "flow.pattern=[radial]", "target=u1", "train.steps=7"):
        assert changed(other).description == ""
        assert changed(other, "description=mine").description == "mine"


def test_a_shorter_training_is_annealed_for_the_same_share_of_it():
    short = changed("train.steps=4000", preset="u3-planar-k32").train
    assert (short.annealing.share, short.annealed.updates) == (0.5, 2_000)


def test_override_leaves_what_it_was_given_unchanged():
    data = {"train": {"steps": 1}}
    assert presets.override(data, {"train.steps": 2}) == {"train": {"steps": 2}}
    assert data == {"train": {"steps": 1}}


def test_a_config_cannot_be_changed():
    resolved = presets.validate(MINIMAL, "none")
    for part, key in [(resolved, "seed"), (resolved.train, "steps"), (resolved.target, "name")]:
        with pytest.raises(ValidationError):
            setattr(part, key, 1)


def test_the_base_follows_the_target_unless_given():
    assert changed("target=gaussian-from-uniform").base_name == "uniform-box"
    assert changed("target=u1").base_name == "standard-normal"
    given = changed("target=gaussian-from-uniform", "base=standard-normal")
    assert given.base_name == "standard-normal"


def test_the_schema_and_the_registry_know_the_same_names():
    for name in registry.TARGETS:
        if name not in ("mixture", "ring"):
            assert changed(f"target={name}").target.name == name
    for name in registry.BASES:
        assert changed(f"base={name}").base_name == name
    for name in FORWARD:
        assert changed(f"flow.pattern=[{name}]").flow.pattern == [name]


def test_a_target_spelled_out_comes_back_from_its_dump():
    resolved = changed(
        "target={name: ring, weights: [1, 1], centers: [[0, 0], [1, 0]], radii: [1, 3],"
        " widths: [1, 1]}"
    )
    assert load(presets.dump(resolved)) == resolved


def test_a_description_comes_back_whatever_its_letters():
    for text in ("", "two\nlines", "β, ½ and 图", "\x85", "\u2028", "yes", "# 1: 2"):
        resolved = presets.validate(MINIMAL | {"description": text}, "mine")
        assert load(presets.dump(resolved)).description == text


def floats(low, high):
    return st.floats(low, high, exclude_min=True)


POINT = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2)


DIAGONAL = st.tuples(floats(1, 1e6), floats(1, 1e6)).map(lambda s: [[s[0], 0.0], [0.0, s[1]]])


@st.composite
def mixtures(draw):
    n = draw(st.integers(1, 3))
    exactly = {"min_size": n, "max_size": n}
    return {
        "name": "mixture",
        "weights": draw(st.lists(floats(1e-3, 1e3), **exactly)),
        "means": draw(st.lists(POINT, **exactly)),
        "covariances": draw(st.none() | st.lists(DIAGONAL, **exactly)),
    }


def some(**optional):
    return st.fixed_dictionaries({}, optional=optional)


CONFIGS = some(
    description=st.text(),
    seed=st.integers(0, MAX_SEED),
    target=st.sampled_from(["multimodal", "u1", "u4"]) | mixtures(),
    base=st.sampled_from([None, *registry.BASES]),
    flow=some(
        pattern=st.lists(st.sampled_from(FORWARD), min_size=1, max_size=4),
        k=st.integers(0, 10_000),
    ),
    train=some(
        steps=st.integers(1, 10**9),
        learning_rate=floats(0, 1e6),
        clip_norm=st.none() | floats(0, 1e300),
        annealing=some(start=floats(0, 1)),
        early_stopping=st.none() | some(min_delta=floats(0, 1)),
        restarts=st.integers(1, 100),
        halving=st.booleans(),
    ),
)


@given(CONFIGS)
def test_every_valid_config_comes_back_equal_from_its_dump(data):
    resolved = presets.validate(MINIMAL | data, "drawn")
    assert load(presets.dump(resolved)) == resolved


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_for_any_key_is_taken_or_refused_in_one_line(value):
    for key in ("seed", "target", "target.name", "flow.pattern", "train", "base", "description"):
        try:
            presets.validate(presets.override(MINIMAL, {key: value}), "drawn")
        except ConfigError as error:
            assert str(error).startswith(f"drawn: {key.split('.')[0]}")
            assert len(str(error).splitlines()) == 1


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_for_editors_takes_every_shipped_preset_and_says_what_nflow_says(validator):
    for path in PRESETS.values():
        validator.validate(presets.read_preset(path))
    for text, is_valid in [
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
    ]:
        data = presets.parse_yaml(text, "a test")
        assert validator.is_valid(data) == is_valid, text
        try:
            presets.validate(data, "a test")
        except ConfigError:
            assert not is_valid, text
        else:
            assert is_valid, text


def test_the_file_beside_the_presets_is_the_schema_of_now_in_one_line_and_describes_every_key():
    text = (presets_folder() / "nflow.schema.json").read_text(encoding="utf-8")
    assert text == json.dumps(json_schema()) + "\n", "to be written anew: .ci/schema"
    for name, model in json.loads(text)["$defs"].items():
        for key, field in model.get("properties", {}).items():
            # By itself, or as the mapping that it is.
            assert "description" in field or "#/$defs/" in str(field), f"{name}.{key}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (10**6 * "[", "nesting depth"),
        (500_000 * "- ", "nested deeper"),
        ("seed: [" + 500_000 * "1,", "more than 50,000 values"),
        (130_000 * "a: {", "nested deeper"),
        (20_000 * "x y ", "expected a mapping of preset keys"),
        ("command: fit-2d\n" + (presets.MAX_BYTES - 15) * "#", "at most 1,048,576 bytes"),
    ],
    ids=["brackets", "dashes", "items", "maps", "words", "bytes"],
)
def test_a_preset_that_would_take_all_the_time_or_memory_is_refused(tmp_path, text, named):
    assert named in complaint(tmp_path, text)


def test_a_preset_of_the_largest_size_is_read_and_an_endless_one_is_not():
    largest = "command: fit-2d\n" + (presets.MAX_BYTES - 16) * "#"
    assert presets.parse_yaml(largest, "mine") == {"command": "fit-2d"}
    with pytest.raises(ConfigError, match=r"/dev/zero: expected a preset of at most"):
        presets.read_preset(Path("/dev/zero"))


def test_a_mixture_of_a_thousand_gaussians_is_within_the_limits_however_its_lists_are_shared():
    mixture = {
        "name": "mixture",
        "weights": 1000 * [1],
        "means": [[i, i] for i in range(1000)],
        "covariances": 1000 * [[[1, 0], [0, 1]]],  # one list, which YAML would write as an alias
    }
    resolved = presets.validate({"command": "fit-2d", "target": mixture}, "mine")
    assert load(presets.dump(resolved)) == resolved


def test_a_value_of_set_keeps_to_the_limits_of_a_file():
    for value, named in [(30_000 * "- ", "nested deeper"), ("\udcff", "not valid YAML")]:
        with pytest.raises(ConfigError, match=rf"^--set seed: .*{named}") as caught:
            presets.parse_assignment(f"seed={value}")
        assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_what_would_take_all_the_memory_or_d_passes_is_refused(tmp_path):
    for command in ("fit", "train-vae"):
        line = complaint(tmp_path, f"command: {command}\ndata: {{name: {5000 * 'a'}}}\n")
        assert line.startswith("data.name: ") and "4096" in line
    for hidden in ([100_000], 9 * [1]):
        assert "model.hidden" in complaint(
            tmp_path, f"command: train-vae\nmodel: {{hidden: {hidden}}}\n"
        )
    for key in ("flow", "prior"):
        line = complaint(tmp_path, f"command: train-vae\n{key}: {{k: 10000}}\n")
        assert line.startswith(f"{key}: expected at most 100,000,000 weights in all")
    line = complaint(tmp_path, "command: train-vae\nflow: {pattern: [affine-autoregressive]}\n")
    assert line.startswith("flow: expected inverse-autoregressive in place of affine-autoreg")
