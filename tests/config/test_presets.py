import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nflow_cli import registry
from nflow_cli.arguments import MAX_SEED
from nflow_cli.config import overrides, preset_files, presets
from nflow_cli.config.flow_options import IN_TURN
from nflow_cli.errors import ConfigError

MINIMAL = {"command": "fit-2d"}
PRESETS = preset_files.shipped_presets()
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
    return overrides.merged("fit-2d", PRESETS[preset], [*assigned, *changes])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("trian: {steps: 3}", "trian: unknown key (did you mean 'train'?); known: description, "),
        ("seed: true", "seed: expected a whole number. Received: True"),
        ("seed: -1", "seed: expected a number not less than 0. Received: -1"),
        ("seed: '3'", "seed: expected a whole number (received as text: write it as 3)"),
        ("train: {learning_rate: .nan}", "train.learning_rate: expected a finite number"),
        ("train: {schedule: cosin}", "expected 'cosine' or 'constant' (did you mean 'cosine'?)"),
        ("train: 3", "train: expected a mapping. Received: 3"),
        ("target: u5", "target.name: expected one of multimodal, gaussian-from-uniform, u1, u2,"),
        ("flow: {pattern: planar}", "flow.pattern: expected a list. Received: 'planar'"),
        (
            "flow: {pattern: [planar, spline-autoregressive]}",
            "flow: expected inverse-autoregressive in place of spline-autoregressive: a density is "
            "fitted through the forward direction, which takes D passes there. Received: {",
        ),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed_and_what_was_given(tmp_path, value, expected):
    assert expected in complaint(tmp_path, f"command: fit-2d\n{value}\n")


def test_an_unknown_key_of_a_column_is_named_too(tmp_path):
    line = complaint(
        tmp_path,
        "command: fit\nflow: null\ndata: {name: t, kinds: {a: {kind: levels, typ: text}}}\n",
    )
    assert "data.kinds.a.typ: unknown key (did you mean 'type'?); known: kind, " in line


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("{name: mixture, weights: [1], means: [[0]]}", "target.means.0: expected 2 or more items"),
        ("{name: mixture, weights: [1, 2], means: [[0, 0]]}", "target: expected lists of the same"),
        (
            "{name: mixture, weights: [1], means: [[0, 0]], covariances: [[[1,0],[0,1]]], sd: 1}",
            "target: expected covariances or sd, not both",
        ),
    ],
)
def test_a_target_spelled_out_is_checked_before_training(tmp_path, target, expected):
    assert complaint(tmp_path, f"command: fit-2d\ntarget: {target}\n").startswith(expected)


def mixture(keys):
    settings = f"{{command: fit-2d, target: {{name: mixture, means: [[2, 0], [-2, 1]], {keys}}}}}"
    return presets.validate(presets.parse_yaml(settings, "a test"), "a test")


@pytest.mark.parametrize(
    "spelled",
    [
        "weights: [0.25, 0.75], covariances: [[[0.25, 0], [0, 0.25]], [[0.25, 0], [0, 0.25]]]",
        "weights: [1, 3], sd: 0.5",
        "weights: [10, 30], sd: [0.5, 0.5]",
    ],
)
def test_a_mixture_is_one_however_it_is_spelled(spelled):
    settings = mixture(spelled)
    assert settings == mixture("weights: [2, 6], sd: 0.5")
    target = yaml.safe_load(presets.dump(settings))["target"]
    assert (target["weights"], "sd" in target) == ([0.25, 0.75], False)
    assert target["covariances"] == 2 * [[[0.25, 0.0], [0.0, 0.25]]]
    assert mixture("weights: [1, 3]") == mixture("weights: [1, 3], sd: 1")


def test_a_preset_without_a_command_is_of_the_one_that_reads_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("flow: {k: 3}\n")
    assert overrides.merged("fit-2d", path, []).flow.k == 3


WRITTEN_OUT = "expected values written out, no anchors and aliases."


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
        ("command: fit-2d\nseed: [" + 50_000 * "1,", "line 2 more than 50,000 values"),
        ("command: fit-2d\nseed: 0x" + 5000 * "f", "line 2 a whole number of more than 100 digits"),
        ("command: fit-2d\nseed: 1" + 5000 * ":1", "line 2 a whole number of more than 100 digits"),
        (f"command: fit-2d\n{501 * 'k'}: 1\n", "line 2 keys must be text of at most 500 letters"),
        ('command: fit-2d\n"a\\nb": 1\n', "line 2 keys must be text"),
        ("command: fit-2d\n<<: {seed: 1}\n", "line 2 could not determine"),
        ("command: fit-2d\0\n", "not valid YAML"),
        ("command: fit-2d\nseed: &a 1\n", f"line 2 {WRITTEN_OUT} Received: '&a'"),
        ("command: fit-2d\nseed: *d\n", f"line 2 {WRITTEN_OUT} Received: '*d'"),
        ("seed: 1\n", "command: missing; expected one of fit-2d"),
        ("command: fit2d\n", "(did you mean 'fit-2d'?). Received: 'fit2d'"),
    ],
)
def test_a_bad_file_is_explained_in_one_line(tmp_path, text, expected):
    assert expected in complaint(tmp_path, text)


@pytest.mark.parametrize("given", ["1e-3", "1e-5", "2E8", "1e5"])
def test_a_number_that_yaml_reads_as_text_comes_with_a_spelling_that_works(given):
    with pytest.raises(ConfigError) as caught:
        changed(f"train.clip_norm={given}")
    assert "(received as text: write it as " in str(caught.value)
    spelled = str(caught.value).split("write it as ")[1].split(")")[0]
    assert changed(f"train.clip_norm={spelled}").train.clip_norm == float(given)


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


@pytest.mark.parametrize(
    "text",
    [
        *("seed", "=1", " =1", ".=1", "train.=1", ".steps=1", "a..b=1"),
        *(21 * ".a" + "=1", 20_000 * "a." + "a=1", "\udcff=1", "a.b\nc=1", 501 * "k" + "=1"),
    ],
)
def test_set_without_a_key_path_and_a_value_is_refused(text):
    with pytest.raises(ConfigError, match=r"--set expects key\.path=value") as caught:
        changed(text)
    assert len(str(caught.value)) < 200


def test_an_option_beats_set_beats_the_preset_beats_the_default(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("command: fit-2d\nflow: {k: 3}\ntrain: {steps: 11}\n")

    def k(assignments=(), option=None):
        options = [] if option is None else [presets.Change("--k", "flow.k", option)]
        assigned = map(presets.parse_assignment, assignments)
        return overrides.merged("fit-2d", path, [*assigned, *options]).flow.k

    assert presets.validate(MINIMAL, "none").flow.k == 8
    assert k() == 3
    assert k(("flow.k=4",)) == 4
    assert k(("flow.k=4",), 5) == 5
    assert k(("flow.k=4", "flow.k=6")) == 6
    one = presets.Change("--k", "flow.k", 4)
    assert overrides.merged("fit-2d", path, [one]).train.steps == 11


@pytest.mark.parametrize(
    ("assignments", "options", "expected"),
    [
        (["flow.k=many"], {}, "--set flow.k: expected a whole number. Received: 'many'"),
        (["trian.steps=1"], {}, "--set trian.steps: trian: unknown key (did you mean 'train'?)"),
        ([], {"flow.k": -1}, "--flow.k: expected a number not less than 0. Received: -1"),
        (
            ["target.foo=bar"],
            {"target": "u1"},
            "--set target.foo and --target: expected one of the two",
        ),
        (["flow.k=2", "flow={}"], {}, "--set flow.k and --set flow: expected one of the two"),
        (["train=1"], {"train.steps": 5}, "--train.steps: expected a mapping at train. Received: "),
        (
            ["train.first_stage=5"],
            {},
            "multimodal-planar with --set train.first_stage: train: expected first_stage 0 without",
        ),
    ],
)
def test_an_error_names_who_asked_and_nothing_that_was_asked_for_is_dropped(
    assignments, options, expected
):
    with pytest.raises(ConfigError) as caught:
        changed(*assignments, options=options)
    line = str(caught.value)
    assert expected in line and "\n" not in line
    assert ".yaml" not in line  # a shipped preset has a name


@pytest.mark.parametrize("text", ["train: nonsense", "train: [1]", "train: 3"])
def test_what_an_option_would_replace_in_a_damaged_preset_is_refused(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(f"command: fit-2d\n{text}\n")
    steps = presets.Change("--steps", "train.steps", 500)
    with pytest.raises(ConfigError, match=rf"--steps: expected a mapping at train.* from {path}"):
        overrides.merged("fit-2d", path, [steps])


def test_text_stands_for_the_name_below_it_too():
    assert changed("target=u1", "target.name=u3").target.name == "u3"
    with pytest.raises(ConfigError, match=r"--set target\.foo: unknown key; known: name"):
        changed("target=u1", "target.foo=1")


def test_a_key_may_be_changed_again_and_below_what_was_changed():
    assert changed("flow={k: 3}", "flow.k=4").flow.k == 4
    assert changed("flow={k: 3}", options={"flow.k": 5}).flow.k == 5
    assert changed("target=u1", options={"target": "u2"}).target.name == "u2"


@pytest.mark.parametrize(
    ("assignments", "kept"),
    [
        ([], True),
        (["seed=4"], True),
        (["flow.k=8"], True),
        (["flow.k=6"], False),
        (["flow.pattern=[radial]"], False),
        (["target=u1"], False),
        (["train.steps=7"], False),
    ],
)
def test_a_description_stays_with_what_it_was_written_for(assignments, kept):
    written = "Two modes from one Gaussian, with planar flows (K = 8)."
    assert changed(*assignments).description == (written if kept else "")
    assert changed(*assignments, "description=mine").description == "mine"


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


def load(text):
    return presets.validate(presets.parse_yaml(text, "dump"), "dump")


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_preset_is_valid_described_and_comes_back_from_its_dump(name):
    resolved = presets.validate(presets.read_preset(PRESETS[name]), name)
    assert 10 < len(resolved.description) < 100 and "\n" not in resolved.description
    assert load(presets.dump(resolved)) == resolved


def test_there_are_shipped_presets_and_a_target_spelled_out_comes_back_from_its_dump():
    assert PRESETS
    rings = (
        "{name: ring, weights: [1, 1], centers: [[0, 0], [1, 0]], radii: [1, 3], widths: [1, 1]}"
    )
    resolved = changed(f"target={rings}")
    assert load(presets.dump(resolved)) == resolved


@pytest.mark.parametrize(
    "text", ["", "two\nlines", "β, ½ and 图", "\x85", "\u2028", "yes", "# 1: 2"]
)
def test_a_description_comes_back_whatever_its_letters(text):
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


CONFIGS = st.fixed_dictionaries(
    MINIMAL | {"command": st.just("fit-2d")},
    optional={
        "description": st.text(),
        "seed": st.integers(0, MAX_SEED),
        "target": st.sampled_from(["multimodal", "u1", "u4"]) | mixtures(),
        "base": st.sampled_from([None, *registry.BASES]),
        "flow": st.fixed_dictionaries(
            {},
            optional={
                "pattern": st.lists(st.sampled_from(FORWARD), min_size=1, max_size=4),
                "k": st.integers(0, 10_000),
            },
        ),
        "train": st.fixed_dictionaries(
            {},
            optional={
                "steps": st.integers(1, 10**9),
                "learning_rate": floats(0, 1e6),
                "clip_norm": st.none() | floats(0, 1e300),
                "annealing": st.fixed_dictionaries({"start": floats(0, 1)}),
                "early_stopping": st.none() | st.fixed_dictionaries({"min_delta": floats(0, 1)}),
                "restarts": st.integers(1, 100),
                "halving": st.booleans(),
            },
        ),
    },
)


@settings(max_examples=60)
@given(CONFIGS)
def test_every_valid_config_comes_back_equal_from_its_dump(data):
    resolved = presets.validate(data, "drawn")
    assert load(presets.dump(resolved)) == resolved


@settings(max_examples=100)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_for_any_key_is_taken_or_refused_in_one_line(value):
    for key in ("seed", "target", "target.name", "flow.pattern", "train", "base", "description"):
        try:
            presets.validate(presets.override(MINIMAL, {key: value}), "drawn")
        except ConfigError as error:
            assert str(error).startswith(f"drawn: {key.split('.')[0]}")
            assert len(str(error).splitlines()) == 1
