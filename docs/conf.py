"""The site: the pages of this folder, and what is generated in place of their marks."""

import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the layers start it, for their docstrings

import generated
import live_pages

from nflow_cli import __version__

project, version, release = "nflow", __version__, __version__
html_title = f"nflow {__version__}"
copyright = "the nflow authors, under the MIT licence"
extensions = ["myst_parser"]
html_theme = "furo"
html_static_path = ["style"]
html_css_files = ["site.css"]
html_show_sphinx = False
smartquotes = False  # they make a dash of the two in front of an option
html_copy_source = False
root_doc = "index"
highlight_language = "none"  # of indented blocks: commands, formulas, files
myst_heading_anchors = 4
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")  # of this folder: no page of the site


def complete(app: Any, page: str, content: list[str]) -> None:
    """Put what is generated into a page as it is read."""
    text = OUTSIDE.sub(r"\1", content[0])
    content[0] = generated.complete(text) + (generated.navigation(text) if page == root_doc else "")


def finish(app: Any, error: Exception | None) -> None:
    """Put the live pages beside the others."""
    if error is None and app.builder.format == "html":
        live_pages.write_pages(Path(app.outdir))


def setup(app: Any) -> None:
    """Register what this file does."""
    app.connect("source-read", complete)
    app.connect("build-finished", finish)
