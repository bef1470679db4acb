"""Untrusted text made safe to print or paste into a shell (light imports)."""

import os
import re
import shlex
import sys
from collections.abc import Iterable

# Control characters (C0, DEL, C1), changes of writing direction, line separators, and
# surrogates, which stand for bytes that are not UTF-8.
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: object) -> str:
    """Text as one line, with control characters escaped."""
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def to_stderr(line: str) -> None:
    """Print a line on stderr."""
    print(printable(line), file=sys.stderr)


def command_line(words: Iterable[str]) -> str:
    """Words as one printable line that bash parses into them, byte by byte."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """One that is not printable is in ANSI-C style, which escapes its bytes."""
    if not _UNSHOWN.search(word):
        return shlex.quote(word)
    text = re.sub(r"[\\']", r"\\\g<0>", word)
    escaped = _UNSHOWN.sub(lambda m: "".join(rf"\x{b:02x}" for b in _encoded(m[0])), text)
    return f"$'{escaped}'"


def _encoded(character: str) -> bytes:
    try:
        return os.fsencode(character)
    except UnicodeEncodeError:  # a surrogate that is no byte, from an edited file
        return character.encode("utf-8", "surrogatepass")
