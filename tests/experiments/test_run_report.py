"""The page of a run: what it says, and that no run, a stranger's neither, makes it do more."""

import base64
import io
import os
import shutil

import pytest
from drawable_runs import ARRAYS, SUMMARIES, written_run, written_unfinished
from PIL import Image
from reports import read_report
from running import typed_in_bash
from short_runs import KINDS, edit_json

from nflow_cli.config import presets
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.run import Run, kind_of
from nflow_cli.experiments.run_report import MAX_PICTURE, PICTURES, draw, write_report
from nflow_cli.inference.reverse_kl_report import ReverseKLSummary, verdict_of
from nflow_cli.runs.directory import RunDirectory

HOSTILE = """<script>alert("1")</script><img src='//x' onerror=alert(1)>&lt;\x1b[2J\u202e"""
SHOWN = HOSTILE.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")


def drawn(run):
    """Draw small pictures of a run; return their names."""
    return {path.stem for path in draw(Run(run), dpi=50)}


@pytest.fixture
def finished(short_run, tmp_path):
    """Return a function that copies a run of a kind."""
    return lambda kind: RunDirectory(shutil.copytree(short_run(**KINDS[kind]), tmp_path / "run"))


@pytest.mark.parametrize(
    ("kind", "judged"),
    [
        ("target", ["KL(q || p)", "base without a flow"]),
        ("points", ["log-likelihood", "Gaussian"]),
        ("table", ["log-likelihood", "Gaussian", "gain"]),
        ("images", ["-ELBO", "-log p(x)", "fair coins", "543.43 nats"]),
    ],
)
def test_the_page_of_a_finished_run_says_all_of_it(finished, kind, judged):
    run = finished(kind)
    names = drawn(run)
    assert write_report(Run(run)) == run.path / "report.html"
    report = read_report(run.path)
    assert set(report.pictures) == names
    verdict, scores = report.lines.index("Verdict"), report.lines.index("Scores")
    assert set(judged) <= set(report.lines[verdict:scores])
    opened = Run(run)
    warnings = opened.warnings
    for row in kind_of(opened.config).report.rows_of(opened.config, opened.summary, warnings):
        assert set(row) - {""} <= set(report.lines[verdict:])
    assert not set(judged) & set(report.lines[scores:])  # once
    for word, _, reason in warnings:
        assert {word, f": {reason}"} <= set(report.lines[verdict:scores])
    assert ("No warnings." in report.lines) == (not warnings)
    shown = next(text for text in report.lines if text.startswith("description: "))
    assert presets.validate(presets.parse_yaml(shown, "the page"), "the page") == Run(run).config
    assert f"nflow {opened.config.command} --preset {run.path}/config.yaml" in report.text


def test_a_fit_to_a_target_is_judged_beside_the_base_by_its_free_energy_and_log_z():
    summary = {"kl": 1.24315, "kl_standard_error": 0.13965, "log_z": 1.87750}
    summary |= {"base_free_energy": 2.53723, "base_free_energy_standard_error": 0.20758}
    rows = dict(verdict_of(ReverseKLSummary(**SUMMARIES["fit-2d"] | summary), []))
    assert rows["KL(q || p)"] == "1.24 ± 0.14 nats"
    assert rows["base without a flow"] == "4.41 ± 0.21 nats"


@pytest.mark.parametrize("kind", ARRAYS)
def test_each_picture_that_is_drawn_has_its_place_on_the_page(tmp_path, kind):
    run = written_run(tmp_path / "run", kind)
    names = drawn(run)
    write_report(Run(run))
    assert set(read_report(run.path).pictures) == names <= PICTURES.keys()


def test_all_texts_of_a_run_are_shown_and_do_nothing(tmp_path):
    folder = tmp_path / "<b>'\"&"
    data = {
        **{"name": "x.csv", "given": ["c"], "exclude": ["<i>", '"><b onload="x']},
        "kinds": {name: {"kind": "number"} for name in ("a", HOSTILE[:50], "c")},
    }
    config = presets.validate(
        {"command": "fit", "description": "</p><a href='//x'>", "data": data, "flow": {"k": 2}}, ""
    )
    data = {"name": HOSTILE, "sha256": HOSTILE}
    summary = {"flow": HOSTILE, "data": data, "columns": ["a", HOSTILE[:50]]}
    run = written_run(folder, "fit", presets.dump(config), summary)
    record = {"status": HOSTILE, "argv": ["fit", HOSTILE], "versions": {HOSTILE: HOSTILE}}
    edit_json(run.path / "run.json", **record, data={"name": HOSTILE, "sha256": HOSTILE})
    write_report(Run(run))
    report = read_report(run.path)
    assert report.text.count(SHOWN) >= 6
    for text in ("<b>'\"&", "</p><a href='//x'>", "- <i>", '"><b onload="x'):
        assert text in report.text


def test_the_command_that_repeats_a_run_names_its_folder(tmp_path):
    run = written_run(tmp_path / os.fsdecode(b"caf\xe9"), "fit-2d")
    (run.path / "run.json").write_text(r'{"argv": ["fit-2d", "\ud800"]}')
    write_report(Run(run))
    lines = read_report(run.path).lines
    again = next(line for line in lines if " --preset " in line)
    assert typed_in_bash(again)[-1] == os.fsencode(run.path / "config.yaml")
    assert r"nflow fit-2d $'\xed\xa0\x80'" in lines  # half of a character


def test_a_record_that_makes_no_sense_is_left_out(tmp_path):
    run = written_run(tmp_path / "run", "fit-2d")
    times = {"start_seconds": "soon", "end_seconds": 1e300}
    for record in (
        {**times, "argv": "fit", "versions": [], "data": []},
        {"start_seconds": None, "argv": [1], "data": {"name": {}}, "resumed": {}, "status": []},
    ):
        edit_json(run.path / "run.json", **record)
        write_report(Run(run))
        lines = read_report(run.path).lines
        assert not {"began", "ended", "data", "resumed", "It was begun by"} & set(lines)
        assert lines[lines.index("seed") + 1] == "3"


def test_a_summary_that_is_damaged_is_one_line(finished):
    run = finished("target")
    edit_json(run.path / "summary.json", mass=[])  # more of them are tested with picture_data
    with pytest.raises(RunDirectoryError, match=r"summary\.json: damaged: mass"):
        write_report(Run(run))


def test_a_run_that_has_not_ended_has_no_verdict_yet(tmp_path):
    run = written_unfinished(tmp_path / "run", "fit-2d")
    write_report(Run(run))
    report = read_report(run.path)
    assert "None yet: the run has no summary.json." in report.lines
    assert "Scores" not in report.lines and "nflow fit-2d, interrupted" in report.lines
    assert "None: plots/ has no PNG; `nflow plot` draws them." in report.lines


def test_a_picture_that_is_no_picture_is_told_of_and_no_link_is_followed(tmp_path):
    run = written_run(tmp_path / "run", "fit-2d")
    drawn(run)
    (tmp_path / "other.png").write_bytes((run.path / "plots" / "density.png").read_bytes())
    (run.path / "plots" / "density.png").unlink()
    (run.path / "plots" / "density.png").symlink_to(tmp_path / "other.png")
    (run.path / "plots" / "training.png").write_text("<svg onload='alert(1)'>")
    os.mkfifo(run.path / "plots" / "corner.png")
    write_report(Run(run))
    report = read_report(run.path)
    assert set(report.pictures) == {"difference", "deformation"}
    for name, reason in (("density", "a link"), ("corner", "a named pipe")):
        assert f"{run.path}/plots/{name}.png: {reason}; expected a plain file" in report.lines
    assert "plots/training.png: damaged, or too large to be shown here" in report.lines


def written_animation(run, frames=5):
    """Write a moving picture from black to white."""
    greys = (Image.new("L", (400, 300), shade).convert("RGB") for shade in range(0, 255, 50))
    first, *others = list(greys)[:frames]
    path = run.path / "plots" / "animation.webp"
    first.save(path, save_all=True, append_images=others, duration=60)
    return path.read_bytes()


def test_pictures_and_a_moving_one_are_shown_as_they_are(tmp_path):
    run = written_run(tmp_path / "run", "fit-2d")
    names = drawn(run)
    content = written_animation(run)
    write_report(Run(run))
    report = read_report(run.path)
    moving = report.pictures["animation"]
    assert set(report.pictures) == {*names, "animation"}
    assert (moving.format, moving.n_frames) == ("WEBP", 5)
    *pngs, webp = (base64.b64decode(source.partition(",")[2]) for source in report.sources)
    assert {*pngs} == {(run.path / "plots" / f"{name}.png").read_bytes() for name in names}
    assert webp == content


def test_what_is_no_picture_or_too_large_is_told_of(tmp_path):
    run = written_run(tmp_path / "run", "fit-2d")
    (run.path / "plots").mkdir()
    moving, png = written_animation(run), io.BytesIO()
    Image.new("L", (40, 30)).save(png, "PNG")
    whole, side = png.getvalue(), (10**5).to_bytes(4)
    for name, contents in {
        "density.png": (b"", whole[:20], b"\0" + whole[1:], whole[:16] + side + side + whole[24:]),
        "animation.webp": (b"RIFF", b"", moving[:12], moving[:24] + 6 * b"\xff" + moving[30:]),
    }.items():
        for content in contents:
            (run.path / "plots" / name).write_bytes(content)
            write_report(Run(run))
            told = f"plots/{name}: damaged, or too large to be shown here"
            assert told in read_report(run.path).lines
    (run.path / "plots" / "density.png").write_bytes(whole + bytes(MAX_PICTURE))
    write_report(Run(run))
    assert "expected at most 8,388,608 bytes" in read_report(run.path).text


def test_a_page_that_cannot_be_written_loses_no_run(tmp_path, monkeypatch, capsys):
    from nflow_cli.experiments import running

    def full(run):
        raise RunDirectoryError("report.html: No space left on device")

    monkeypatch.setattr(running, "write_report", full)
    running._report(Run(RunDirectory(tmp_path)))
    assert capsys.readouterr().err == "no report: report.html: No space left on device\n"
