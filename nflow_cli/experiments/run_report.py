"""Report of a run: its pictures, and one self-contained HTML page.

All text is escaped, nothing is executed or loaded.
"""

import base64
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from nflow_cli.backend.start import uncollected
from nflow_cli.config import presets
from nflow_cli.constants import DPI, __version__
from nflow_cli.errors import ConfigError, NflowError, RunDirectoryError
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.summary import Rows
from nflow_cli.registry import nearest
from nflow_cli.runs.directory import (
    ANIMATION,
    CONFIG,
    LIVE,
    PLOTS,
    REPORT,
    SUMMARY,
    RunDirectory,
)
from nflow_cli.text import command_line, printable

MAX_PICTURE = 8 * 2**20  # bytes of a file
MAX_PIXELS = 40_000_000  # of a file, decoded
# Captions of pictures, in the order of the page; other pictures follow.
PICTURES = {
    "density": "The density that was fitted, beside what it was fitted to.",
    "difference": "Where the fit has too much, and where too little: q − p.",
    "corner": "Draws of the fit and what they are compared with, each column against each other.",
    "marginals": "Each column by itself: test rows and draws of the fit.",
    "dependence": "How much each two columns depend on each other, in test rows and in draws.",
    "pairs": "The pairs of columns that depend most, in test rows and in draws.",
    "pit": "The distribution function of each column at the test rows: uniform for a perfect fit.",
    "log-z": "log Z of each chain by the density that left it out, and of all.",
    "weights": "The largest importance weights p/q, with the tail whose shape is k-hat.",
    "ratios": "The largest ratios q/p at the draws, with the tail whose shape is k-hat.",
    "latent": "Test images in the latent space, before and after the flows.",
    "reconstructions": "Test images, and what the model makes of their latents.",
    "samples": "Images drawn from the model.",
    "manifold": "The plane of two latents, decoded.",
    "deformation": "The density after each flow.",
    "training": "The course of the training.",
    ANIMATION: "The base on its way through the flows, each of which moves it at a steady pace.",
}
LIVE_LINK = f'<p><a href="{LIVE}">The flow, to run and to change.</a></p>'
MAX_TEXT = 1_000  # letters
MAX_CODE = 100_000  # letters
MAX_ROWS = 100  # of a table
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
STYLE = files("nflow_cli.experiments").joinpath("report.css").read_text(encoding="utf-8")


def write_report(run: Run) -> Path:
    """Write ``report.html``, self-contained, from the files of a run."""
    config = run.config
    record = run.record
    name = run.path.resolve().name
    description = paragraph(config.description) if config.description else ""
    parts = [
        f"<header><h1>{shown(name)}</h1>",
        paragraph(f"nflow {config.command}, {_text(record.get('status'))}", "soft"),
        description,
        LIVE_LINK if run.directory.has(LIVE) else "",
        "</header>",
        *_scores(run),
        section("Pictures", [*pictures(run.directory)]),
        section("Training", [table(_training(record))]),
        section("Config", [code(presets.dump(config))]),
        section("To repeat it", _repetition(run, record)),
        f"<footer>Written by nflow {__version__} from the files of the run.</footer>",
    ]
    return run.directory.write_text(REPORT, document(f"{name}: nflow {config.command}", parts))


def _scores(run: Run) -> list[str]:
    if not run.directory.has(SUMMARY):
        text = paragraph(f"None yet: the run has no {SUMMARY}.")
        return [section("Verdict", [text])]
    report = run.kind.report
    warnings = run.warnings
    main = report.verdict_of(run.summary, warnings)
    verdict = [table(main, "verdict")]
    if warnings:
        verdict.append(warning_list((warning.word, warning.reason) for warning in warnings))
    else:
        verdict.append(paragraph("No warnings.", "soft"))
    others = [row for row in report.rows_of(run.config, run.summary, warnings) if row not in main]
    return [section("Verdict", verdict), section("Scores", [table(others)])]


def _facts(facts: Mapping[str, Any]) -> Rows:
    texts = [(name, _text(value)) for name, value in facts.items()]
    return [(name, text) for name, text in texts if text]


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def pictures(run: RunDirectory) -> Iterator[str]:
    """Pictures and the animation of a run as they are, or why one is not shown."""
    paths = [*run.path.glob(f"{PLOTS}/*.png"), *run.path.glob(f"{PLOTS}/{ANIMATION}.webp")]
    if not paths:
        yield paragraph(f"None: {PLOTS}/ has no PNG; `nflow plot` draws them.", "soft")
    for path in sorted(paths, key=lambda path: ([*PICTURES, path.stem].index(path.stem), path)):
        file = f"{PLOTS}/{path.name}"
        caption = PICTURES.get(path.stem, f"The picture {path.stem}.")
        try:
            uri, width = embedded(run.read(file, MAX_PICTURE), file)
            yield figure(uri, width, path.stem, caption)
        except NflowError as error:
            yield paragraph(str(error), "soft")


def embedded(content: bytes, file: str) -> tuple[str, int]:
    """PNG or WebP as a ``data:`` URI, and its width in pixels of 1/96 inch."""
    format = "png"
    dpi = DPI
    width = 0
    height = 0
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR":
        width = int.from_bytes(content[16:20])
        height = int.from_bytes(content[20:24])
    elif content[:4] + content[8:16] == b"RIFFWEBPVP8X":
        format = "webp"
        dpi = 96
        width = int.from_bytes(content[24:27], "little") + 1
        height = int.from_bytes(content[27:30], "little") + 1
    if not 0 < width * height <= MAX_PIXELS:
        raise RunDirectoryError(f"{file}: damaged, or too large to be shown here")
    uri = f"data:image/{format};base64,{base64.b64encode(content).decode()}"
    return uri, width * 96 // dpi


def _training(record: Mapping[str, Any]) -> Rows:
    data = record.get("data")
    data = data if isinstance(data, dict) else {}
    return _facts(
        {
            "seed": record.get("seed"),
            "data": data.get("name"),
            "SHA-256 of the data": data.get("sha256"),
            "began": _moment(record.get("start_seconds")),
            "ended": _moment(record.get("end_seconds")),
            "resumed": record.get("resumed") or "",
        }
    )


def _moment(seconds: Any) -> str:
    """Seconds since 1970 as a date; "" where they are none."""
    if not isinstance(seconds, int | float):
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return ""


def _repetition(run: Run, record: Mapping[str, Any]) -> list[str]:
    words = ["nflow", run.config.command, "--preset", str(run.path / CONFIG)]
    parts = [code(command_line(words))]
    argv = record.get("argv")
    if isinstance(argv, list) and all(isinstance(word, str) for word in argv):
        parts += [paragraph("It was begun by"), code(command_line(["nflow", *argv]))]
    versions = record.get("versions")
    if isinstance(versions, dict):
        parts += [paragraph("with"), table(_facts(versions))]
    return parts


def shown(text: object, most: int = MAX_TEXT) -> str:
    """Text as one line of escaped HTML."""
    line = str(text)
    return escape(printable(line if len(line) <= most else f"{line[:most]} …"))


def paragraph(text: object, style: str = "") -> str:
    """Paragraph, optionally of a style such as ``soft``."""
    return f'<p class="{style}">{shown(text)}</p>' if style else f"<p>{shown(text)}</p>"


def table(rows: Rows, style: str = "scores") -> str:
    """Table of two columns."""
    lines = (
        f'<tr><th scope="row">{shown(a)}</th><td>{shown(b)}</td></tr>' for a, b in rows[:MAX_ROWS]
    )
    return f'<table class="{style}">{"".join(lines)}</table>'


def warning_list(warnings: Iterable[tuple[str, str]]) -> str:
    """Box of warnings: labels and reasons."""
    items = (f"<li><strong>{shown(word)}</strong>: {shown(why)}</li>" for word, why in warnings)
    return f'<ul class="warnings">{"".join(items)}</ul>'


def figure(uri: str, width: int, name: str, caption: str) -> str:
    """Picture with a ``data:`` URI and a caption."""
    image = f'<img src="{uri}" width="{width}" alt="{shown(f"{name}: {caption}")}">'
    return f"<figure>{image}<figcaption>{shown(caption)}</figcaption></figure>"


def code(text: str) -> str:
    """Preformatted lines."""
    kept = text[:MAX_CODE].rstrip("\n").split("\n")
    lines = [shown(line, MAX_CODE) for line in kept]
    if len(text) > MAX_CODE:
        lines.append("…")
    return f"<pre>{chr(10).join(lines)}</pre>"


def section(title: str, parts: Sequence[str]) -> str:
    """HTML section."""
    return f"<section><h2>{shown(title)}</h2>\n{chr(10).join(parts)}\n</section>"


def document(title: str, parts: Sequence[str]) -> str:
    """HTML page."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{shown(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{chr(10).join(parts)}
</main>
</body>
</html>
"""


@uncollected()
def draw(run: Run, format: str = "png", dpi: int = DPI, only: Collection[str] = ()) -> list[Path]:
    """Draw pictures into ``run``, all or ``only`` some; return their paths."""
    report = run.kind.report
    curves = run.curves(report.CURVES)
    pictures = report.figures_of(run.config, run.shown_arrays, curves, with_warnings(run))
    for name in only:
        if name not in pictures:
            names = ", ".join(pictures)
            hint = nearest(name, list(pictures))
            raise ConfigError(f"--only: {name!r} is no picture of this run{hint}; known: {names}")
    return [
        write_picture(run, name, figure, format, dpi)
        for name, figure in pictures.items()
        if not only or name in only
    ]


def with_warnings(run: Run) -> dict[str, Any]:
    """Summary with its warnings, as pictures take it."""
    return {**run.facts, "warnings": run.warnings}


def write_picture(run: Run, name: str, figure: Any, format: str, dpi: int) -> Path:
    """Write a picture into the plots of a run; return its path."""
    from nflow_cli.plotting.style import save_figure

    return run.directory.write(
        f"{PLOTS}/{name}.{format}", lambda file: save_figure(figure, file, format, dpi)
    )
