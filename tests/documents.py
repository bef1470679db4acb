"""The README and the pages of ``docs/`` as tests read them: their blocks, commands and links."""

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
from trees import matching

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *matching(ROOT, "docs/*.md")]
}


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def commands(text):
    """Return the words after each ``nflow`` that begins a line of code, or ends a line of &&."""
    lines = re.findall(r"^(?:\$ |    (?:.* && \.venv/bin/)?)nflow (.*)", text, re.M)
    typed = (re.split(r" [>|] ", line)[0] for line in lines)  # not where its output goes
    return [shlex.split(line, comments=True) for line in typed]


def section(name, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENTS[name], re.S | re.M)[1]


def anchors(text):
    """Return what the headings of a page are linked by."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text):
    """Return the links and pictures of a page that lead to other places in the repository."""
    return sorted(set(re.findall(r"\]\((?!https?:)([^)]+)\)", text)))


def generator():
    """Return the module that completes pages from the code."""
    if "generated" not in sys.modules:
        spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
        sys.modules["generated"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["generated"])
    return sys.modules["generated"]


def executed(page, numbers=(), shorter=(), names=None):
    """Run the blocks of Python of a page, made shorter; return the names that they leave.

    Args:
        page: Its path.
        numbers: Of the blocks, in order; without, all.
        shorter: Pairs of texts, each of which is in a block, and what takes its place.
        names: Those that stand already.
    """
    names, every = {} if names is None else names, blocks("python", DOCUMENTS[page])
    code = "\n\n".join(every[number] for number in numbers or range(len(every)))
    for text, other in shorter:
        assert text in code, f"{page}: {text}"
        code = code.replace(text, other)
    exec(compile(code, page, "exec"), names)
    return names


# Mappings of a summary whose keys are names of columns, or of other things of the user's.
BY_COLUMN = (
    "columns",
    "column_gains",
    "shares",
    "fill_acceptance",
    "moments",
    "moments_standard_error",
    "moments_pareto_k",
    "missed_mode",
)


def keys_of(value):
    """Yield the keys of a summary, and those of the mappings in it, but the names of columns."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield key
        if key in BY_COLUMN and isinstance(inner, dict):
            inner = next(iter(inner.values()), None)
        yield from keys_of(inner[0] if isinstance(inner, list) and inner else inner)


def named_by(page):
    """Return what stands as code on a page."""
    return set(re.findall(r"`(\w+)`", DOCUMENTS[page]))


def undescribed(run):
    """Return the keys, columns and arrays of a run that the page on scores does not name."""
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    names = [*keys_of(summary), *(run / "metrics.csv").read_text().splitlines()[0].split(",")]
    for path in matching(run, "e*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            names += arrays
    return set(names) - named_by("docs/scores.md")
