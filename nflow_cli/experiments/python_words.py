"""Messages in Python's words: an option of the command line is a keyword argument there."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from nflow_cli.config import key_options
from nflow_cli.errors import NflowError
from nflow_cli.layout import worded


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parts(value: str) -> list[str]:
    """Return the parts of a list as options take it: no blank stands behind its commas."""
    return re.split(r",(?! )", value)


def _names(value: str) -> str:
    return f"[{', '.join(map(_text, _parts(value)))}]"


def _steps(value: str) -> str:
    """Write ``NAME[:STEP],…``."""
    parts = [re.fullmatch(r"(.+?)(?::([0-9.e+-]+))?", part, re.DOTALL) for part in _parts(value)]
    known = [(part[1], part[2]) for part in parts if part]
    if not any(step for _, step in known):
        return _names(value)
    return f"{{{', '.join(f'{_text(name)}: {step or 1}' for name, step in known)}}}"


def _intervals(value: str) -> str:
    """Write ``NAME=LOW:HIGH``."""
    intervals = []
    for part in _parts(value):
        name, _, ends = part.rpartition("=")
        low, _, high = ends.partition(":")
        intervals.append(f"{_text(name)}: ({low or None}, {high or None})")
    return f"{{{', '.join(intervals)}}}"


class Form(NamedTuple):
    """How the value of an option is written in Python, and what stands for one that is not said."""

    value: Callable[[str], str]
    empty: str = "..."


TEXT, NUMBER, NAMES = Form(_text), Form(str), Form(_names, "[...]")
FORMS = {
    **{key_options.WHOLE: NUMBER, key_options.NUMBER: NUMBER},
    **{key_options.NAMES: NAMES, key_options.PATTERN: NAMES},
    **{key_options.STEPS: Form(_steps, "[...]"), key_options.INTERVALS: Form(_intervals, "{...}")},
}
KEYS = {**key_options.options_of("infer"), **key_options.options_of("fit")}
OPTIONS = {  # by their flags
    **{option.flags[0][2:]: FORMS.get(option.form, TEXT) for option in KEYS.values()},
    **dict.fromkeys(("preset", "output"), TEXT),
}
# What follows an option that has no value in a sentence, and what ends a name of several words.
_NO_VALUE = "leaves?|takes?|spreads?|goes|such|says?|runs?|or|and|to|of|in|for|is|are|with|as"
_AFTER_NAME = "leaves (?:it|one|such)|takes (?:it|text)|spreads out|goes without"
_OPTION = re.compile(
    rf"(?<![\w-])--(?P<no>no-)?(?P<option>{'|'.join(OPTIONS)})(?![\w-])"
    rf"(?: (?!(?:{_NO_VALUE})\b)"
    rf"(?P<value>(?:(?!--)[^;])+?(?= (?:{_AFTER_NAME}))|(?:[^\s,;)]|,(?=\S))*[^\s,;).]))?"
)


def in_python(text: str) -> str:
    """Return a message with the options in it as keyword arguments of ``fit`` and ``infer``."""
    return _OPTION.sub(_keyword, text)


def _keyword(match: re.Match[str]) -> str:
    option, value = match["option"], match["value"]
    form, name = OPTIONS[option], option.replace("-", "_")
    if match["no"]:
        return f"{name}=False" + (f" {value}" if value else "")
    return f"{name}={form.empty if value is None else form.value(value)}"


@contextmanager
def python_words() -> Iterator[None]:
    """Write the notes and errors of what is called in Python's words."""
    with worded(in_python):
        try:
            yield
        except NflowError as error:
            error.args = (in_python(str(error)),)
            raise
