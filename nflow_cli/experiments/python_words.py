"""Messages for Python users: command-line options become keyword arguments."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nflow_cli.config import forms
from nflow_cli.config.options import options_of
from nflow_cli.errors import ConfigError, NflowError
from nflow_cli.terminal.layout import worded

# The placeholder of a value that is not given, by form.
EMPTY = {**dict.fromkeys(forms.LISTS, "[...]"), forms.INTERVALS: "{...}"}
KEYS = {**options_of("infer"), **options_of("fit")}
OPTIONS = {  # their forms by flag
    **{option.flags[0].removeprefix("--"): option.form for option in KEYS.values()},
    **dict.fromkeys(("preset", "output", "target", "by"), forms.NAME),
    **dict.fromkeys(("minutes", "coverage"), forms.NUMBER),
}
# Words after an option without a value, and words after a name of several words.
_NO_VALUE = (
    "leaves?|takes?|spreads?|goes|too|such|says?|runs?|or|and|to|of|in|for|is|are|with(?:out)?|as"
)
_AFTER_NAME = "leaves (?:it|one|such)|takes (?:it|text)|spreads out|goes without"
_OPTION = re.compile(
    rf"(?<![\w-])--(?P<no>no-)?(?P<option>{'|'.join(OPTIONS)})(?![\w-])"
    rf"(?: (?!(?:{_NO_VALUE})\b)"
    rf"(?P<value>(?:(?!--)[^;])+?(?= (?:{_AFTER_NAME}))|(?:[^\s,;)]|,(?=\S))*[^\s,;).]))?"
)
_KEY = re.compile(r"--set ([\w.]+)=([^\s,;]+)")


def in_python(text: str) -> str:
    """Message with its options as keyword arguments of ``fit``, ``infer`` and ``predict``."""
    return _OPTION.sub(_keyword, _KEY.sub(r'settings={"\1": \2}', text))


def _keyword(match: re.Match[str]) -> str:
    option: str = match["option"]
    value: Any = match["value"]
    name, form = option.replace("-", "_"), OPTIONS[option]
    if match["no"]:
        return f"{name}=False" + (f" {value}" if value else "")
    if value is None and match.string.startswith(":", match.end()):
        return name
    if value is None:
        return f"{name}={EMPTY.get(form, '...')}"
    if form in forms.LISTS:
        try:
            value = forms.items_of(form, [value])
        except ConfigError:  # no value, but a word of the sentence
            return match[0]
    if form == forms.STEPS and set(value.values()) == {1}:
        value = list(value)
    return f"{name}={value if form in (forms.WHOLE, forms.NUMBER) else _written(value)}"


def _written(value: Any, ends: str = "[]") -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"{ends[0]}{', '.join(map(_written, value))}{ends[1]}"
    if isinstance(value, dict):
        pairs = (f"{_written(name)}: {_written(one, '()')}" for name, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    return str(value).removesuffix(".0")


@contextmanager
def python_words() -> Iterator[None]:
    """Convert notes and errors of a block for Python users."""
    with worded(in_python):
        try:
            yield
        except NflowError as error:
            error.args = (in_python(str(error)),)
            raise
