"""Page on which a flow of the plane can be touched: one HTML file, from the sources beside this.

The sources are ES modules, which browsers do not load from ``file://``: in the page they are one,
without their imports and exports. Nothing but that one script runs, by its hash.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from nflow_cli.constants import __version__
from nflow_cli.text import printable

MODULES = ("maps", "flow", "density", "recorded", "raster", "page")  # each after those it imports
IMPORTS = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)
EXPORTS = re.compile(r"^export ", re.MULTILINE)


def live_page(data: Mapping[str, Any]) -> str:
    """HTML of a page: its title, its subtitle and the numbers that it computes from."""
    script = "".join(_module(name) for name in MODULES)
    style = _source("style.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    text = json.dumps(data, ensure_ascii=False).replace("<", r"\u003c")  # no tag ends the script
    parts = {
        "policy": policy,
        "title": escape(printable(data["title"])),
        "subtitle": escape(printable(data["subtitle"])),
        "version": __version__,
        "style": style,
        "data": text,
        "script": script,
    }
    return re.sub(r"\{(\w+)\}", lambda name: parts[name[1]], _source("page.html"))


def _source(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _module(name: str) -> str:
    return EXPORTS.sub("", IMPORTS.sub("", _source(f"{name}.mjs")))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
