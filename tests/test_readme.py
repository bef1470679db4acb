"""What the README tells users to type, in a folder with a short run in it."""

import re
from pathlib import Path

import keras
import pytest
from short_runs import make_run

README = Path(__file__).parents[1] / "README.md"

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="runs are trained on TensorFlow"
)


def section(title):
    return re.search(rf"^## {title}\n(.*?)^## ", README.read_text("utf-8"), re.S | re.M)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    (folder / "outputs").mkdir()
    make_run(folder / "outputs" / "my-run", train={"steps": 200, "batch_size": 64})
    (folder / "mine.csv").write_text("0.1,0.2\n1,2\n")
    return folder


def test_the_example_in_python_runs_as_it_stands(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", section("Use what you trained"), re.S)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    entropy, mass = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"entropy \d\.\d{3} ± 0\.\d{3} nats", entropy)
    assert abs(float(mass.removeprefix("mass ")) - 1) < 0.01
    assert names["points"].shape == (10_000, 2) and names["log_q"].shape == (10_000,)


def commands():
    return re.findall(r"^    nflow (.*?)(?:  +#.*)?$", section("Use what you trained"), re.M)


def test_the_section_has_its_commands():
    assert [line.split()[0] for line in commands()] == [
        *(2 * ["sample"]),
        *(2 * ["evaluate"]),
        "check",
    ]


@pytest.mark.parametrize("line", commands())
def test_each_command_runs_as_it_stands(invoke, folder, monkeypatch, line):
    monkeypatch.chdir(folder)
    result = invoke(*line.replace("RUN_DIR", "outputs/my-run").split())
    assert result.exit_code == 0, result.stderr
    assert result.stdout
