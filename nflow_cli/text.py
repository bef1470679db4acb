"""Text that a stranger may have written, made fit to be shown. Imports nothing."""

import re

# Control characters (C0, DEL, C1), what turns the direction of writing, what breaks lines, and
# halves of a character, which bytes that are not UTF-8 become.
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: object) -> str:
    """Return a text as one line that does no more to a terminal than to appear on it."""
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))
