"""Live pages of the site, written at each build from the numbers of recorded runs.

python docs/live_pages.py RUN_DIR...    # record runs: live/NAME.json
"""

import json
import sys
from pathlib import Path

from nflow_cli.experiments.live_page import page_data
from nflow_cli.experiments.run import Run
from nflow_cli.plotting.live import live_page

RECORDED = Path(__file__).parent / "live"


def record(path: str) -> None:
    """Write the numbers of a run's page."""
    data = page_data(Run.open(path))
    (RECORDED / f"{data['title']}.json").write_text(json.dumps(data), encoding="utf-8")


def write_pages(site: Path) -> None:
    """Write the page of each recorded run into a site."""
    folder = site / RECORDED.name
    folder.mkdir(exist_ok=True)
    for recorded in sorted(RECORDED.glob("*.json")):
        data = json.loads(recorded.read_text(encoding="utf-8"))
        (folder / f"{recorded.stem}.html").write_text(live_page(data), encoding="utf-8")


if __name__ == "__main__":
    for run in sys.argv[1:]:
        record(run)
