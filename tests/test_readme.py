"""What the README and the documents tell users to type or to write, a short run beside it."""

import doctest
import re
import shutil
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import click
import keras
import numpy as np
import pytest
from documents import (
    DOCUMENTS,
    ROOT,
    anchors,
    blocks,
    commands,
    executed,
    generator,
    links,
    named_by,
    section,
    undescribed,
)
from short_runs import KINDS
from trees import matching

from benchmarks.__main__ import BENCHMARKS
from nflow_cli.cli import COMMANDS, main
from nflow_cli.config import presets
from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.errors import NflowError
from nflow_cli.experiments.run import kind_of
from nflow_cli.runs.directory import FORMAT

LANGUAGES = ("console", "pycon", "python", "text", "yaml")  # text: what a command prints


USE = section("docs/run-directory.md", "Use a run")


def test_the_front_page_is_short_and_leads_to_every_other():
    assert len(DOCUMENTS["README.md"].splitlines()) <= 100
    reached, left = set(), ["README.md"]
    while left:
        reached.add(page := left.pop())
        for link in links(DOCUMENTS[page]):
            path = (ROOT / page).parent / link.partition("#")[0]
            name = path.resolve().relative_to(ROOT).as_posix()
            if name in DOCUMENTS and name not in reached:
                left.append(name)
    assert reached == set(DOCUMENTS)


def test_the_number_of_the_format_is_on_the_page_of_the_run_directory():
    assert f"the format in `run.json` is {FORMAT}." in DOCUMENTS["docs/run-directory.md"]


def test_the_index_has_every_page_once():
    pages = re.findall(r"^- \[[^\]]+\]\(([\w-]+\.md)\)", DOCUMENTS["docs/index.md"], re.M)
    listed = [f"docs/{page}" for page in [*pages, "index.md"]]
    assert sorted(listed) == sorted(set(DOCUMENTS) - {"README.md"})


def test_every_block_is_in_a_language_that_is_checked():
    for name, text in DOCUMENTS.items():
        fences = re.findall(r"^```(.*)$", text, re.M)
        assert set(fences[::2]) <= set(LANGUAGES) and set(fences[1::2]) <= {""}, name


def marks(page, what):
    return [name for mark, name, _ in generator().MARK.findall(DOCUMENTS[page]) if mark == what]


def test_the_reference_has_every_command_and_every_key_of_every_preset():
    assert marks("docs/commands.md", "command") == list(COMMANDS)
    for name in COMMANDS:
        made = generator().command(name)
        options = [p for p in main.get_command(None, name).params if p.param_type_name == "option"]
        assert all(option.opts[0] in made for option in options), name
    assert sorted(marks("docs/commands.md", "keys")) == sorted(generator().SCHEMAS)
    for name, schema in generator().SCHEMAS.items():
        made = generator().keys(name)
        assert all(f"| `{key}` |" in made for key in schema.model_fields), name


def test_a_page_that_the_site_completes_leads_on_where_it_is_read_as_it_is():
    leads = {"docs/commands.md": ["nflow COMMAND --help", "nflow presets --schema"]}
    leads["docs/flows.md"] = ["nflow plot RUN_DIR --live"]
    leads["docs/tutorial.md"] = ["first/live.html"]
    leads["docs/lesson.md"] = ["radial/live.html"]
    leads["docs/python.md"] = ["help(nflow_cli.fit)", "help(q.predict)"]
    for name, text in DOCUMENTS.items():
        assert all(f"`{lead}`" in text for lead in leads.get(name, ()))
        assert bool(generator().MARK.search(text)) == (name in leads)


def test_every_link_leads_somewhere_and_every_picture_is_shown():
    dead, shown = [], set()
    for name, text in DOCUMENTS.items():
        for link in links(text):
            path, _, anchor = link.partition("#")
            shown.add(Path(path).name)
            target = (ROOT / name).parent / path if path else ROOT / name
            known = target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8")))
            dead += [] if known else [(name, link)]
    assert not dead
    assert not {path.name for path in matching(ROOT, "docs/*.png")} - shown


def test_a_picture_is_on_one_page_and_has_a_palette():
    pages = [text for name, text in DOCUMENTS.items() if name != "README.md"]
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", "".join(pages))
    assert len(shown) == len(set(shown))
    pictures = matching(ROOT, "docs/*.png")
    assert {path.read_bytes()[25] for path in pictures} == {3}  # the colour type


def shown(page):
    """Return the presets and sweeps of a page, as they are validated."""
    every = [presets.parse_yaml(block, page) for block in blocks("yaml", DOCUMENTS[page])]
    return [presets.validate(data, page) for data in every]


def test_every_preset_and_sweep_is_valid():
    wrong = {}
    for page in DOCUMENTS:
        try:
            shown(page)
        except NflowError as error:
            wrong[page] = str(error)
    assert not wrong


@pytest.mark.parametrize(
    ("page", "kind", "least"),
    [
        ("docs/commands.md", object, {"command": "fit-2d"}),
        ("docs/tables-model.md", FitConfig, {"command": "fit"}),
        ("docs/tables-model.md", CellsConfig, {"command": "fit", "flow": None}),
    ],
)
def test_the_preset_of_every_key_has_the_defaults(page, kind, least):
    (preset,) = (found for found in shown(page) if isinstance(found, kind))
    named = {"data": preset.data.name} if least["command"] == "fit" else {}
    assert preset == presets.validate(least | named, "the defaults")


@pytest.mark.parametrize(
    ("page", "number", "dim", "takes_arrays"),
    [
        ("infer", 0, 2, False),
        ("infer", 2, 10, False),
        pytest.param("infer-models", 0, 2, True, id="jax"),
    ],
)
def test_the_functions_of_a_page_are_log_densities(page, number, dim, takes_arrays, tmp_path):
    from nflow_cli.inference.trial import user_subject
    from nflow_cli.inference.user_code import load_function

    if takes_arrays:
        pytest.importorskip("jax")
    path = tmp_path / "model.py"
    path.write_text(blocks("python", DOCUMENTS[f"docs/{page}.md"])[number])
    function = load_function(str(path))
    density = {"name": "log_density", "path": str(path), "dim": dim}
    config = presets.validate({"command": "infer", "density": density}, "a test")
    assert user_subject(config, function).target.takes_arrays == takes_arrays


def taken(words):
    """Parse a command line, and nothing is run; see that the preset that it names is there."""
    name, *args = words
    if name.startswith("--"):
        return
    with main.get_command(None, name).make_context(name, args) as context:
        preset = context.params.get("preset") or context.params.get("sweep")
    if preset and not preset.endswith(".yaml"):
        presets.find_preset(preset)


def test_every_command_line_is_one_that_nflow_takes():
    wrong = {}
    for name, text in DOCUMENTS.items():
        for words in commands(text):
            try:
                taken(words)
            except (click.ClickException, NflowError, KeyError) as error:
                wrong[name, *words] = str(error)
    assert not wrong


def test_every_module_is_there_and_every_benchmark_on_a_page():
    texts = " ".join(" ".join(DOCUMENTS.values()).split())
    modules = set(re.findall(r"python -m ([\w.]+)", texts))
    assert [module for module in sorted(modules) if not find_spec(module)] == []
    assert set(re.findall(r"python -m benchmarks (\w+)", texts)) - {"NAME"} == set(BENCHMARKS)


@pytest.fixture(scope="module")
def folder(short_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(short_run(), folder / "outputs" / "my-run")
    (folder / "mine.csv").write_text("0.1,0.2\n1,2\n")
    return folder


def test_the_example_in_python_runs_as_it_stands(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = executed("docs/python.md", [0])
    entropy, mass = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"entropy \d\.\d{3} ± 0\.\d{3} nats", entropy)
    assert abs(float(mass.removeprefix("mass ")) - 1) < 0.01
    assert names["points"].shape == (10_000, 2) and names["log_q"].shape == (10_000,)


def test_the_sessions_in_python_print_what_they_say(folder, monkeypatch):
    monkeypatch.chdir(folder)
    printed: list[str] = []
    for name, text in DOCUMENTS.items():
        session = "\n".join(blocks("pycon", text))
        test = doctest.DocTestParser().get_doctest(session, {}, name, None, 0)
        doctest.DocTestRunner(verbose=False).run(test, out=printed.append)
    assert not printed, "".join(printed)


def test_the_examples_of_the_layers_go_forward_and_back(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for number, shorter in ((7, ()), (10, [("…", "my-run")])):
        names = executed("docs/python.md", [number], shorter)
        forward, back = (
            keras.ops.convert_to_numpy(names[name]) for name in ("log_det", "inverse_log_det")
        )
        np.testing.assert_allclose(back, -forward, atol=1e-4)


def test_a_flow_between_other_layers_fails_as_the_page_says():
    layers = keras.layers
    from nflow_cli.flows.planar import PlanarFlow

    (said,) = re.findall(r"`(Layer [^`]*)`", DOCUMENTS["docs/python.md"])
    said = re.escape(said).replace("dense_1", r"dense_\d+")
    with pytest.raises(ValueError, match=said):
        keras.Sequential([layers.Dense(4), PlanarFlow(), layers.Dense(1)])(np.zeros((3, 2)))


def test_each_command_runs_as_it_stands(invoke, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [name for name, *_ in commands(USE)] == [*(2 * ["sample"]), *(2 * ["evaluate"]), "check"]
    for words in commands(USE):
        result = invoke(*(word.replace("RUN_DIR", "outputs/my-run") for word in words))
        assert result.exit_code == 0, result.stderr
        assert result.stdout


def test_a_messy_export_is_read_as_the_page_says(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = section("docs/tables.md", "A messy export")
    table, printed = blocks("text", page)
    Path("orders.csv").write_text(table, "utf-8")
    first, second = commands(page)
    done = invoke(*first)
    assert done.exit_code == 0
    kinds, _, rest = done.stdout.partition("\n\n")
    assert f"{kinds}\n{rest[rest.index('note: ') :]}" == printed  # without the config
    assert re.search(r"^distance .* 38 to 151 +30\.0% ", invoke(*second).stdout, re.M)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_and_array_of_a_run_is_described(short_run, kind):
    assert not undescribed(short_run(**KINDS[kind]))


def test_every_array_and_score_of_an_experiment_is_described():
    fit, known = {"command": "fit"}, named_by("docs/scores.md")
    for config in (
        {"command": "fit-2d"},
        fit | {"data": {"name": "two-moons", "columns": ["x1", "x2"]}},
        fit | {"data": {"name": "t.csv", "columns": ["a"]}},
        fit | {"data": {"name": "t.csv", "columns": ["a"], "given": ["b"]}},
        {"command": "infer", "density": "banana"},
        {"command": "train-vae", "prior": {"k": 2}},
    ):
        config = presets.validate(config, "a test")
        report = kind_of(config).report
        assert set(report.shapes_of(config)) <= known
        assert {measure.key for measure in report.MEASURES} <= known


class StanModel:
    """N(0, I) in the place of a model of BridgeStan."""

    def __init__(self, *files):
        pass

    def log_density_gradient(self, row):
        return -0.5 * float(row @ row), -row


def test_the_adapters_of_other_libraries_give_pairs_of_arrays(monkeypatch):
    monkeypatch.setitem(sys.modules, "bridgestan", types.SimpleNamespace(StanModel=StanModel))
    adapters = executed("docs/infer-models.md", [1])
    made = [adapters["from_stan"]("model.stan", "data.json")]
    if find_spec("torch"):
        made.append(adapters["from_pytorch"](lambda x: -0.5 * (x**2).sum(axis=-1)))
    x = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 0.0]])
    for log_p in made:
        values, gradients = log_p(x)
        np.testing.assert_allclose(values, -0.5 * np.sum(x**2, axis=-1), rtol=1e-6)
        np.testing.assert_allclose(gradients, -x, rtol=1e-6)
