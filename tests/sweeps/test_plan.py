import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nflow_cli.config import presets
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.sweep_config import SweepConfig
from nflow_cli.errors import BusyError, NflowError, RunDirectoryError
from nflow_cli.experiments.run import plain_preset
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.sweeps import plan

GRID = {
    "command": "sweep",
    "presets": ["multimodal-planar", "u1-planar-k2"],
    "set": {"train.steps": 40},
    "vary": {"flow.k": [2, 8], "train.learning_rate": [0.01, 0.1, 1e-5]},
    "seeds": "3:5",
}


def resolved(**changes):
    return plan.resolve({**GRID, **changes}, "mine", Path())


def planned(**changes):
    return plan.plan(resolved(**changes), "mine")


def test_a_grid_is_every_combination_once_each_with_its_config():
    runs = planned()
    assert len(runs) == 2 * 2 * 3 * 2 == len({run.name for run in runs})
    asked = itertools.product(("multimodal", "u1"), (2, 8), (0.01, 0.1, 1e-5), (3, 4))
    for run, (target, k, rate, seed) in zip(runs, asked, strict=True):
        settings = run.config
        assert (settings.target.name, settings.flow.k, settings.seed) == (target, k, seed)
        assert (settings.train.learning_rate, settings.train.steps) == (rate, 40)
    assert runs[0].name == "multimodal-planar,flow.k=2,train.learning_rate=0.01,seed=3"
    assert runs[-1].name == "u1-planar,flow.k=8,train.learning_rate=1e-05,seed=4"


def test_without_seeds_and_values_the_presets_are_as_they_are():
    (run,) = planned(presets=["u1-planar-k8"], set={}, vary={}, seeds=[])
    assert run.name == "u1-planar-k8"
    preset = presets.read_preset(presets.find_preset("u1-planar-k8"))
    assert run.config == presets.validate(preset, "a test")


NAMED = [  # what is changed of a sweep of one preset, and the folders of its runs
    ({"vary": {"flow.k": [2, 8]}}, ["u1-planar,flow.k=2", "u1-planar,flow.k=8"]),
    ({"vary": {"flow": [{"k": 2}, {}]}}, ["u1,flow=1", "u1,flow=2"]),
    ({"vary": {"target": ["u1", "u2"]}}, ["planar-k2,target=u1", "planar-k2,target=u2"]),
    ({"vary": {"target": ["u3"], "flow": [{"k": 2}]}}, ["fit-2d,flow=1,target=u3"]),
    ({"vary": {"flow.pattern": [["planar"]]}}, ["u1-k2,flow.pattern=planar"]),
    ({"set": {"flow.k": 9}, "seeds": [1]}, ["u1-planar-k9,seed=1"]),
    ({"set": {"flow.k": 2}, "seeds": [1]}, ["u1-planar-k2,seed=1"]),
    ({"vary": {"train.steps": [5]}}, ["u1-planar-k2,train.steps=5"]),
    (  # presets that would share a name are numbered
        {"presets": ["u1-planar-k2", "u1-planar-k8"], "vary": {"flow.k": [3]}},
        ["1,flow.k=3", "2,flow.k=3"],
    ),
    (
        {
            "presets": ["mnist-flow-prior", "mnist-flow-prior-planar"],
            "set": {"data.name": "digits.npz"},
        },
        [
            "digits-k0-prior-affine-coupling-k4",
            "digits-planar-k20-prior-affine-coupling-k4",
        ],
    ),
]


def test_a_folder_begins_with_what_all_its_runs_share():
    empty = {"presets": ["u1-planar-k2"], "set": {}, "vary": {}, "seeds": []}
    for changes, names in NAMED:
        assert [run.name for run in planned(**{**empty, **changes})] == names


def test_a_folder_says_the_value_or_its_number():
    for values, labels in (
        ([0, 1, 10], ["0", "1", "10"]),
        ([None, 10.0], ["null", "10.0"]),
        ([["planar"], ["planar", "radial"]], ["planar", "planar+radial"]),
        ([{"name": "u1"}, {"name": "u2"}], ["1", "2"]),
        (["a/b", "../x"], ["a_b", "x"]),
        (["a/b", "a_b"], ["1", "2"]),
        (["A", "a"], ["1", "2"]),
        ([".", "x"], ["1", "2"]),
        (["x" * 41, "y"], ["1", "2"]),
    ):
        assert plan._labels(values) == labels


def test_presets_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text("command: fit-2d\n")
    data = {"command": "sweep", "presets": ["a/mine.yaml", "b/mine.yaml"]}
    sweep = plan.resolve(data, "mine", tmp_path)
    assert sweep.presets == [str(tmp_path / f / "mine.yaml") for f in ("a", "b")]
    assert [run.name for run in plan.plan(sweep, "mine")] == ["1", "2"]


def test_seeds_are_a_range_or_a_list_and_told_of_where_restarts_share_them():
    for text, seeds in (
        ("0:3", [0, 1, 2]),
        ("7:8", [7]),
        ("1:9:4", [1, 5]),
        ([4, 2], [4, 2]),
    ):
        sweep = resolved(seeds=text)
        assert sweep.seeds == seeds
        assert presets.validate(presets.parse_yaml(presets.dump(sweep), "dump"), "dump") == sweep
    for seeds, restarts, shared in (
        ([0, 1, 2], 1, 0),
        ([0, 8], 8, 0),
        ([8, 0, 15], 8, 1),
        ([5], 8, 0),
        ([], 8, 0),
    ):
        assert bool(plan.overlap(seeds, restarts)) == shared


REFUSED = [  # what is changed, and what is named
    ({"presets": []}, "presets: expected 1 or more"),
    ({"presets": ["u1-planar-k7"]}, "'u1-planar-k7'"),
    ({"presets": ["figure3"]}, "figure3,flow.k=2,"),
    ({"presets": 2 * ["u1-planar-k2"]}, "presets: expected each value once"),
    ({"preset": "u1-planar-k2"}, "preset: unknown key (did you mean 'presets'?)"),
    ({"seeds": 65}, 'seeds: expected a list of seeds, or "first:end"'),
    ({"seeds": "5:5"}, "seeds: expected first < end"),
    ({"seeds": [-1]}, "seeds.0: expected a number not less than 0. Received: -1"),
    ({"seeds": "0:1000"}, "at most 10,000 runs. Received: 12,000"),
    ({"vary": {"flow.k": 2}}, "vary.flow.k: expected a list. Received: 2"),
    ({"vary": {"seed": [1]}}, "vary: expected no `seed`"),
    ({"vary": {"train.steps": [1, 2]}}, "vary: expected no key that is set"),
    ({"vary": {"flow.k": [2], "flow": [{}]}}, "flow.k is within flow"),
    ({"vary": {"flow.k": [2, -1]}}, "flow.k=-1,seed=3: vary flow.k: expected a number not less"),
    ({"set": {"command": "sweep"}}, "command: expected one of fit-2d, "),
    ({"vary": {f"{'a' * n}.b": [1] for n in range(1, 60)}}, "longer than 200 bytes"),
    ({"command": "fit-2d"}, "`nflow fit-2d`, not of sweep"),
]


def test_what_is_wrong_with_a_sweep_is_one_line():
    for changes, named in REFUSED:
        with pytest.raises(NflowError) as caught:
            planned(**changes)
        line = str(caught.value)
        assert line.startswith("mine: ") and named in line and len(line.splitlines()) == 1


def shipped(name):
    """Return the runs of a shipped sweep, by their names."""
    path = presets.shipped_presets()[name]
    sweep = plan.resolve(presets.read_preset(path), name, Path())
    return {run.name: run.config for run in plan.plan(sweep, name)}


def test_the_shipped_sweeps_are_the_papers():
    figure3, table2 = (shipped(name).values() for name in ("figure3", "table2"))
    got = {(c.target.name, *c.flow.pattern, c.flow.k) for c in figure3}
    wanted = itertools.product(("u1", "u2", "u3", "u4"), ("planar", "radial"), (2, 8, 32))
    assert got == set(wanted) and len(figure3) == 24
    assert {c.train.restarts for c in figure3} == {4}
    assert [c.flow.k for c in table2] == [0, 10, 20, 40, 80]
    assert {c.model.network for c in table2} == {"maxout"}


def test_the_sweep_of_posteriors_varies_flows_and_priors_alone():
    configs = shipped("posteriors").values()
    assert [(c.flow.k, c.prior and c.prior.k) for c in configs] == [
        *((0, None), (20, None), (4, None), (4, None), (0, 4), (20, 4), (4, 4))
    ]
    rest = [c.model_dump(exclude={"description", "flow", "prior"}) for c in configs]
    assert rest == len(rest) * rest[:1] and rest[0]["train"]["epochs"] == 60


def test_the_sweep_in_the_docs_is_valid(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n([^`]*command: sweep\n[^`]*)```", text)
    (tmp_path / "mine.yaml").write_text("command: fit-2d\n")
    sweep = plan.resolve(presets.parse_yaml(block, "sweeps.md"), "sweeps.md", tmp_path)
    assert len(plan.plan(sweep, "sweeps.md")) == 2 * 3 * 2 * 5


def test_a_folder_takes_one_sweep(tmp_path):
    folder = RunDirectory.at(str(tmp_path / "a" / "b"))
    for _ in range(2):
        plan.claim(folder, resolved())
    with pytest.raises(RunDirectoryError, match=r"sweep\.yaml: another sweep; --output"):
        plan.claim(folder, resolved(seeds=[3]))
    (tmp_path / "mine.yaml").write_text("command: fit-2d\ntarget: u1\n")
    own = plan.resolve({"command": "sweep", "presets": ["mine.yaml"]}, "mine", tmp_path)
    plan.claim(RunDirectory.at(str(tmp_path / "c")), own)
    (tmp_path / "mine.yaml").write_text("command: fit-2d\ntarget: u2\n")
    with pytest.raises(RunDirectoryError, match="c: a preset has changed since the sweep began"):
        plan.claim(RunDirectory(tmp_path / "c"), own)
    with pytest.raises(RunDirectoryError, match="not empty; --output"):
        plan.claim(RunDirectory(tmp_path), resolved())
    busy = RunDirectory.at(str(tmp_path / "busy"))
    with busy.locked("sweep"), pytest.raises(BusyError):
        plan.claim_beside_others(RunDirectory(busy.path), resolved(), patience=0.0)


def test_a_folder_is_claimed_by_many_at_once_for_one_sweep(tmp_path):
    folders = [RunDirectory.at(str(tmp_path / "s")) for _ in range(8)]

    def claim(folder):
        plan.claim_beside_others(folder, resolved())
        folder.path.joinpath("a run").mkdir(exist_ok=True)  # as soon as it may

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(claim, folders))
    assert presets.validate(plain_preset(folders[0], "sweep.yaml"), "it", {"sweep": SweepConfig})
    with pytest.raises(RunDirectoryError, match="another sweep"):
        plan.claim_beside_others(folders[0], resolved(seeds=[9]))


def test_a_run_is_finished_when_it_says_so(tmp_path):
    first, *_ = planned()
    assert not first.is_finished(tmp_path)
    run = RunDirectory.create("any", str(tmp_path / first.name))
    with run.recorded({}):
        assert not first.is_finished(tmp_path)
    assert first.is_finished(tmp_path)
    for name, read in (("config.yaml", first.as_begun), ("run.json", first.is_finished)):
        run.write_text(name, "{")
        with pytest.raises(NflowError, match=name):
            read(tmp_path)


def test_how_much_is_done_is_read_from_the_metrics(tmp_path):
    first, *_ = planned()
    assert first.part_done(tmp_path) == 0
    run = RunDirectory.create("any", str(tmp_path / first.name))
    for update, part in ((10, 0.25), (40, 0.9)):
        with run.metrics_writer() as add:
            add({"update": update, "loss": 1.0})
        assert first.part_done(tmp_path) == part
    run.write_text("metrics.csv", "nonsense")
    assert first.part_done(tmp_path) == 0


def test_a_run_goes_on_with_the_config_that_it_has_resolved_by_its_table(tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("command: fit\ndata: {name: mine.csv}\ntrain: {epochs: 2, batch_size: 512}\n")
    (run,) = planned(presets=[str(preset)], set={}, vary={"flow.k": [2]}, seeds=[1])
    assert run.name == "mine-spline-coupling,flow.k=2,seed=1"
    assert run.as_begun(tmp_path) == run
    settled = run.config.settled({name: ColumnKind(kind="number") for name in "abc"}, rows=5_120)
    assert settled.train.steps == 20
    directory = RunDirectory.at(str(tmp_path / run.name))
    directory.write_text("config.yaml", presets.dump(settled))
    assert run.as_begun(tmp_path).config == settled
