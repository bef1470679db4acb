"""What the README and the documents tell users to type or to write, a short run beside it."""

import re
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from nflow_cli.cli import main
from nflow_cli.config import presets

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
}

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="runs are trained on TensorFlow"
)


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def commands(text):
    """Return the words after each ``nflow`` that begins a line of code, or ends a line of &&."""
    lines = re.findall(r"^(?:\$ |    (?:.* && \.venv/bin/)?)nflow (.*)", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


def section(name, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENTS[name], re.S | re.M)[1]


def anchors(text):
    """Return what the headings of a page are linked by."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text):
    """Return the links and pictures of a page that lead to other places in the repository."""
    return sorted(set(re.findall(r"\]\((?!https?:)([^)]+)\)", text)))


USE = section("docs/commands.md", "Use what you trained")


def in_documents(parts):
    """Return a parameter for each part of each document."""
    return [
        pytest.param(part, id=f"{name}-{number}")
        for name, text in DOCUMENTS.items()
        for number, part in enumerate(parts(text))
    ]


def test_the_front_page_is_short_and_leads_to_every_other():
    front = DOCUMENTS["README.md"]
    assert len(front.splitlines()) <= 150
    assert set(DOCUMENTS) - {"README.md"} <= set(links(front))


@pytest.mark.parametrize(
    ("name", "link"),
    [pytest.param(name, link) for name, text in DOCUMENTS.items() for link in links(text)],
)
def test_every_link_leads_somewhere(name, link):
    path, _, anchor = link.partition("#")
    target = (ROOT / name).parent / path if path else ROOT / name
    assert target.exists()
    assert not anchor or anchor in anchors(target.read_text("utf-8"))


def test_every_picture_is_shown():
    shown = {link for text in DOCUMENTS.values() for link in links(text)}
    shown = {Path(link).name for link in shown}
    assert not {path.name for path in ROOT.glob("docs/*.png")} - shown


@pytest.mark.parametrize("block", in_documents(lambda text: blocks("yaml", text)))
def test_every_preset_and_sweep_is_valid(block):
    presets.validate(presets.parse_yaml(block, "the block"), "the block")


def test_the_preset_of_every_key_has_the_defaults():
    (block,) = blocks("yaml", DOCUMENTS["docs/presets.md"])
    shown = presets.validate(presets.parse_yaml(block, "the block"), "the block")
    assert shown == presets.validate({"command": "fit-2d"}, "the defaults")


def test_the_preset_of_a_table_has_the_defaults():
    (block,) = blocks("yaml", DOCUMENTS["docs/tables.md"])
    shown = presets.validate(presets.parse_yaml(block, "the block"), "the block")
    least = {"command": "fit", "data": shown.data.name}
    assert shown == presets.validate(least, "the defaults")


def test_the_preset_of_a_log_density_has_the_defaults():
    (block,) = blocks("yaml", DOCUMENTS["docs/infer.md"])
    shown = presets.validate(presets.parse_yaml(block, "the block"), "the block")
    assert shown == presets.validate({"command": "infer", "density": "banana"}, "the defaults")


@pytest.mark.parametrize("number", [0, pytest.param(1, id="jax")])
def test_the_functions_of_the_page_are_log_densities(number, tmp_path):
    from nflow_cli.experiments.infer.subject import user_subject
    from nflow_cli.experiments.infer.user_code import load_function

    if number:
        pytest.importorskip("jax")
    path = tmp_path / "model.py"
    path.write_text(blocks("python", DOCUMENTS["docs/infer.md"])[number])
    function = load_function(str(path))
    density = {"name": "log_density", "path": str(path), "dim": 2}
    config = presets.validate({"command": "infer", "density": density}, "a test")
    assert user_subject(config, function).target.takes_arrays == bool(number)


@pytest.mark.parametrize("code", in_documents(lambda text: blocks("python", text)))
def test_every_block_of_python_compiles(code):
    compile(code, "a document", "exec")


@pytest.mark.parametrize("words", in_documents(commands))
def test_every_command_line_is_one_that_nflow_takes(words):
    name, *args = words
    with main.commands[name].make_context(name, args):
        pass  # its arguments are parsed, and nothing is run


@pytest.fixture(scope="module")
def folder(short_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(short_run(), folder / "outputs" / "my-run")
    (folder / "mine.csv").write_text("0.1,0.2\n1,2\n")
    return folder


def executed(title):
    """Run the Python of a section of its page; return the names that it leaves."""
    (code,) = blocks("python", section("docs/python.md", title))
    names = {}
    exec(compile(code.replace("…", "my-run"), title, "exec"), names)
    return names


def test_the_example_in_python_runs_as_it_stands(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = executed("A run in Python")
    entropy, mass = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"entropy \d\.\d{3} ± 0\.\d{3} nats", entropy)
    assert abs(float(mass.removeprefix("mass ")) - 1) < 0.01
    assert names["points"].shape == (10_000, 2) and names["log_q"].shape == (10_000,)


def test_the_example_of_the_layers_goes_forward_and_back(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = executed("The layers")
    forward, back = (
        keras.ops.convert_to_numpy(names[name]) for name in ("log_det", "inverse_log_det")
    )
    np.testing.assert_allclose(back, -forward, atol=1e-4)


def test_the_section_has_its_commands():
    assert [name for name, *_ in commands(USE)] == [
        *(2 * ["sample"]),
        *(2 * ["evaluate"]),
        "check",
    ]


@pytest.mark.slow
def test_the_example_of_the_front_page_runs_on_few_updates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,), names = blocks("python", DOCUMENTS["README.md"]), {}
    code = code.replace("nflow_cli.fit(table", "nflow_cli.fit(table, steps=40, k=2", 1)
    exec(compile(code, "README.md", "exec"), names)
    assert names["draws"].shape == (1_000, 2) and np.isfinite(names["log_q"]).all()


@pytest.mark.slow
def test_the_example_of_simulations_runs_on_few_of_them(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document, names = DOCUMENTS["docs/conditional.md"].replace("100_000", "400"), {}
    simulate, fit = blocks("python", document)
    exec(compile(simulate, "simulate", "exec"), names)
    _, words, sample, *_ = commands(document)
    for command in ([*words, "--steps", "40", "--k", "2"], sample):
        result = invoke(*command)
        assert result.exit_code == 0, result.stderr
    drawn = np.loadtxt("posterior.csv", delimiter=",", skiprows=1)
    assert drawn.shape == (10_000, 5) and (drawn[:, 2:4] == 0).all()
    fit = fit.replace("given=", "steps=40, k=2, given=", 1)
    exec(compile(fit, "fit", "exec"), names)
    assert names["draws"].shape == (10_000, 4) and np.isfinite(names["log_q"]).all()


@pytest.mark.parametrize("words", commands(USE), ids=" ".join)
def test_each_command_runs_as_it_stands(invoke, folder, monkeypatch, words):
    monkeypatch.chdir(folder)
    result = invoke(*(word.replace("RUN_DIR", "outputs/my-run") for word in words))
    assert result.exit_code == 0, result.stderr
    assert result.stdout
