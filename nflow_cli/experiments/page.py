"""Self-contained HTML: all text is escaped, nothing is executed or loaded."""

from collections.abc import Iterable, Sequence
from html import escape

from nflow_cli.experiments.rows import Rows
from nflow_cli.text import printable

MAX_TEXT, MAX_CODE, MAX_ROWS = 1_000, 100_000, 100  # letters, letters, of a table
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #59636e;
  --line: #d8dee4; --block: #f4f6f8; --warn: #8a3b00; --warned: #fff4e5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --paper: #14181c; --soft: #9aa5b1; --line: #323a42;
    --block: #1d2329; --warn: #ffb070; --warned: #2e2013; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.soft, footer { color: var(--soft); font-size: .9rem; margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0;
  border-top: 1px solid var(--line); }
th { font-weight: 500; color: var(--soft); width: 13rem; }
th:empty, th:empty + td { border-top: 0; padding-top: 0; }
.verdict tr:first-child th, .verdict tr:first-child td { font-size: 1.35rem; font-weight: 600;
  color: var(--ink); border-top: 0; }
.warnings { background: var(--warned); border-left: 4px solid var(--warn); margin: 1rem 0;
  padding: .6rem 1rem .6rem 2rem; }
.warnings strong { color: var(--warn); }
figure { margin: 1.2rem 0 1.8rem; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .4rem; }
pre { background: var(--block); border-radius: 4px; padding: .8rem 1rem; margin: .5rem 0;
  font: .85rem/1.45 ui-monospace, monospace; white-space: pre-wrap; }
@media (max-width: 40rem) {
  th, td { display: block; width: auto; padding-right: 0; }
  td { border-top: 0; padding-top: 0; }
  th:empty { display: none; } }
@media print, (prefers-reduced-motion: reduce) {
  figure:has(img[src^="data:image/webp"]) { display: none; } }
@media print {
  :root { --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --block: #f4f4f4;
    --warn: #8a3b00; --warned: #fff; }
  main { max-width: none; padding: 0; } figure, tr { break-inside: avoid; }
  img { max-height: 22cm; width: auto; } h2 { break-after: avoid; } }
"""


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
    return f"<pre>{chr(10).join([*lines, *('…' for _ in text[MAX_CODE : MAX_CODE + 1])])}</pre>"


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
