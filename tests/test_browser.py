"""Reports in a real browser: they are shown whole, ask nobody for anything, and run nothing."""

import json
import re
import shutil

import pytest
from browser import browser, opened
from drawable_runs import written_run
from PIL import Image
from reports import ATTRIBUTES, TAGS, Report
from short_runs import MIXED, edit_json

from nflow_cli.evaluation.estimates import with_error
from nflow_cli.experiments.live_page import write_live
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.run_report import write_report
from nflow_cli.runs.directory import RunDirectory

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser() is None, reason="no browser: NFLOW_BROWSER names none and no chromium is on PATH"
    ),
]
TELEPHONE = (500, 900)
SCRIPT = "<script>document.title='changed'; console.error('ran')</script>"
IMAGE = """"><img src="http://elsewhere.invalid/x.png" onerror="document.title='changed'">"""
HOSTILE = SCRIPT + IMAGE


def read(page, title):
    """See that a page is there as it was written and did nothing; return what it shows."""
    assert f"<title>{title}</title>" in page.dom
    assert (page.console, page.hosts) == ([], set())
    report = Report(page.dom)
    assert report.tags <= {*TAGS, "tbody"} and report.attributes <= ATTRIBUTES
    return report


def test_what_a_page_does_would_be_seen(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(f"<html><head><title>as written</title></head><body>{HOSTILE}</body></html>")
    seen = opened(page, tmp_path)
    assert "<title>changed</title>" in seen.dom
    assert seen.console and seen.hosts == {"elsewhere.invalid"}


def test_a_run_is_shown_with_its_verdict_and_its_pictures(short_run, tmp_path):
    run = RunDirectory(shutil.copytree(short_run(**MIXED), tmp_path / "mine"))
    (run.path / "plots").mkdir(exist_ok=True)
    Image.new("RGB", (30, 20)).save(run.path / "plots" / "density.png")
    page = opened(write_report(Run(run)), tmp_path)
    report = read(page, "mine: nflow fit-2d")
    lines = report.lines
    assert lines.index("Verdict") < lines.index("KL(q || p)") < lines.index("Scores")
    summary = json.loads((run.path / "summary.json").read_text())
    kl = with_error(summary["kl"], summary["kl_standard_error"])
    assert lines[lines.index("KL(q || p)") + 1].startswith(kl)
    assert list(report.pictures) == ["density"]


@pytest.mark.parametrize("size", [(1200, 1800), TELEPHONE])
def test_the_texts_of_a_stranger_run_nothing_and_ask_for_nothing(tmp_path, size):
    run = written_run(tmp_path / "mine", "fit", summary={"data": {"name": HOSTILE, "sha256": "0"}})
    edit_json(run.path / "run.json", status=HOSTILE, data={"name": HOSTILE}, argv=["fit", HOSTILE])
    page = opened(write_report(Run(run)), tmp_path, size)
    assert read(page, "mine: nflow fit").text.count(HOSTILE) >= 2


@pytest.mark.parametrize("size", [(1200, 1800), TELEPHONE])
def test_a_page_of_a_flow_computes_the_scores_of_the_run(short_run, tmp_path, size):
    run = shutil.copytree(short_run(**MIXED), tmp_path / "<img src=x>")
    page, _ = write_live(Run.open(run))
    seen = opened(page, tmp_path, size)
    assert (seen.console, seen.hosts) == ([], set())
    text = re.sub("<[^>]+>", " ", seen.dom.split('id="scores"')[1]).replace("−", "-")
    kl, error = map(float, re.search(r"all 5 maps\s+(\S+) ± (\S+) nats", text).groups())
    summary = json.loads((run / "summary.json").read_text())
    assert abs(kl - summary["kl"]) < 3 * error
    assert "Map 5 of 5: planar" in seen.dom and seen.dom.count('class="handle"') == 3
