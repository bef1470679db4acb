"""Report of a run: one HTML page."""

import base64
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config import presets
from nflow_cli.constants import DPI, __version__
from nflow_cli.errors import NflowError, RunDirectoryError
from nflow_cli.experiments import page
from nflow_cli.experiments.parts import part
from nflow_cli.experiments.rows import Rows
from nflow_cli.experiments.run import Run
from nflow_cli.runs.directory import ANIMATION, CONFIG, PLOTS, REPORT, SUMMARY, RunDirectory
from nflow_cli.text import command_line

MAX_PICTURE, MAX_PIXELS = 8 * 2**20, 40_000_000  # of a file, in bytes and as decoded
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
    "weights": "The largest importance weights of draws of the fit, whose shape k-hat tells.",
    "latent": "Test images in the latent space, before and after the flows.",
    "reconstructions": "Test images, and what the model makes of their latents.",
    "samples": "Images drawn from the model.",
    "manifold": "The plane of two latents, decoded.",
    "deformation": "The density after each flow.",
    "training": "The course of the training.",
    ANIMATION: "The base on its way through the flows, each of which moves it at a steady pace.",
}


def write_report(run: Run) -> Path:
    """Write ``report.html``, self-contained, from the files of a run."""
    config, record, name = run.config, run.record, run.path.resolve().name
    head = [
        f"<header><h1>{page.shown(name)}</h1>",
        page.paragraph(f"nflow {config.command}, {_text(record.get('status'))}", "soft"),
        page.paragraph(config.description) if config.description else "",
        "</header>",
        *_scores(run),
    ]
    tail = [
        page.section("Training", [page.table(_training(record))]),
        page.section("Config", [page.code(presets.dump(config))]),
        page.section("To repeat it", _repetition(run, record)),
        f"<footer>Written by nflow {__version__} from the files of the run.</footer>",
    ]
    title = f"{name}: nflow {config.command}"
    parts = [*head, page.section("Pictures", [*pictures(run.directory)]), *tail]
    return run.directory.write_text(REPORT, page.document(title, parts))


def _scores(run: Run) -> list[str]:
    if not run.directory.has(SUMMARY):
        text = page.paragraph(f"None yet: the run has no {SUMMARY}.")
        return [page.section("Verdict", [text])]
    report, warnings = part(run.config, "report"), run.warnings
    verdict = [page.table(report.verdict_of(run.summary, warnings), "verdict")]
    if warnings:
        verdict.append(page.warning_list((warning.word, warning.reason) for warning in warnings))
    else:
        verdict.append(page.paragraph("No warnings.", "soft"))
    scores = page.table(report.rows_of(run.config, run.summary, warnings))
    return [page.section("Verdict", verdict), page.section("Scores", [scores])]


def _facts(facts: Mapping[str, Any]) -> Rows:
    texts = [(name, _text(value)) for name, value in facts.items()]
    return [(name, text) for name, text in texts if text]


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def pictures(run: RunDirectory) -> Iterator[str]:
    """Pictures and the animation of a run as they are, or why one is not shown."""
    paths = [*run.path.glob(f"{PLOTS}/*.png"), *run.path.glob(f"{PLOTS}/{ANIMATION}.webp")]
    if not paths:
        yield page.paragraph(f"None: {PLOTS}/ has no PNG; `nflow plot` draws them.", "soft")
    for path in sorted(paths, key=lambda path: ([*PICTURES, path.stem].index(path.stem), path)):
        file, caption = f"{PLOTS}/{path.name}", f"The picture {path.stem}."
        try:
            uri, width = _embedded(run.read(file, MAX_PICTURE), file)
            yield page.figure(uri, width, path.stem, PICTURES.get(path.stem, caption))
        except NflowError as error:
            yield page.paragraph(str(error), "soft")


def _embedded(content: bytes, file: str) -> tuple[str, int]:
    """PNG or WebP as a ``data:`` URI, and its width in pixels of 1/96 inch."""
    format, dpi, width, height = "png", DPI, 0, 0
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR":
        width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    elif content[:4] + content[8:16] == b"RIFFWEBPVP8X":
        format, dpi = "webp", 96
        width, height = (int.from_bytes(content[i : i + 3], "little") + 1 for i in (24, 27))
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
    again = command_line(["nflow", run.config.command, "--preset", str(run.path / CONFIG)])
    parts = [page.code(again)]
    argv = record.get("argv")
    if isinstance(argv, list) and all(isinstance(word, str) for word in argv):
        parts += [page.paragraph("It was begun by"), page.code(command_line(["nflow", *argv]))]
    versions = record.get("versions")
    if isinstance(versions, dict):
        parts += [page.paragraph("with"), page.table(_facts(versions))]
    return parts
