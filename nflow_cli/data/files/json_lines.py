"""Tables of JSON lines (newline-delimited JSON): one object a line, its keys the columns."""

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from nflow_cli.data.files.array_tables import ArrowTable
from nflow_cli.data.files.tables import MAX_COLUMNS, MAX_ROWS, expect_width, explained, shown
from nflow_cli.errors import DataError, one_line

SUFFIXES = (".jsonl", ".ndjson")
MAX_BYTES = 2**30
_NO_OBJECT = re.compile(rb"^[ \t]*(?!\{.*\}[ \t\r]*$)\S", re.M)
# Arrow recurses into nested values without a limit.
_DEEP = re.compile(rb"^(?:[^\[{\n]*+[\[{]){500}", re.M)
MAX_LINE = 2**24
MAX_SPARSE = 2**25  # cells of a table with more of them than bytes
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEYS = re.compile(rb"(%b)\s*+:\s*+(?:%b)?+|%b" % (_STRING, _STRING, _STRING))
_OBJECT = re.compile(rb'\{\s*"(?:[^"\\]|\\.)*+"\s*:')
_ARRAY = re.compile(rb"\[\s*[\[{]")


def are_lines(name: str, head: bytes) -> bool:
    """Whether a file that begins so is JSON lines; other JSON is a ``DataError``."""
    head = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not (_OBJECT.match(head) or _ARRAY.match(head)):
        return False
    try:
        if isinstance(json.loads(head.partition(b"\n")[0]), dict):
            return True
    except (ValueError, RecursionError):
        pass
    received = "a JSON array" if head.startswith(b"[") else "other JSON"
    raise DataError(
        f"{name}: expected a table, of JSON one object a line (.jsonl, which jq -c '.[]' writes of "
        f"an array); received {received}"
    )


def lines_table(name: str, opened: Callable[[], Any]) -> ArrowTable:
    """Table of JSON lines; a key that a line lacks is missing, and text of dates alone is dates."""
    with explained(name, "JSON lines"), opened() as file:
        content = file.read(MAX_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    n = content.count(b"\n") + 1
    if len(content) > MAX_BYTES or n > MAX_ROWS:
        raise DataError(f"{name}: expected at most {MAX_BYTES:,} bytes and {MAX_ROWS:,} JSON lines")
    if match := _NO_OBJECT.search(content) or _DEEP.search(content):
        line = 1 + content.count(b"\n", 0, match.start())
        received = content[match.start() :].partition(b"\n")[0].decode(errors="replace")
        raise DataError(
            f"{name}: line {line}: expected one JSON object, received {shown(received)}"
        )
    width = _width(name, content)
    expect_width(name, width)
    if n * width > max(MAX_SPARSE, len(content)):  # most are missing
        raise DataError(
            f"{name}: expected at most {MAX_SPARSE:,} cells, most of them missing, received "
            f"{n:,} lines of {width:,} keys"
        )
    options = arrow_json.ReadOptions(use_threads=False, block_size=len(content) + 1)
    with explained(name, "JSON lines"):
        try:
            table = arrow_json.read_json(pa.BufferReader(content), options)
        except pa.ArrowInvalid as error:
            raise _complaint(name, content, one_line(error)) from None
        while any(map(pa.types.is_struct, table.schema.types)):
            table = table.flatten()
        for i, field in enumerate(table.schema):
            times = table.column(i)
            if pa.types.is_timestamp(field.type):
                days = times.cast(pa.date32())
                if days.cast(field.type).equals(times):
                    table = table.set_column(i, field.name, days)
    return ArrowTable(name, table)


def _width(name: str, content: bytes) -> int:
    """Number of different keys, or of the first too many: of each Arrow makes a column."""
    keys = set[bytes]()
    start = 0
    while start < len(content) and len(keys) <= MAX_COLUMNS:
        is_last = len(content) - start <= MAX_LINE
        end = len(content) if is_last else content.rfind(b"\n", start, start + MAX_LINE) + 1
        if not end:
            raise DataError(f"{name}: expected lines of at most {MAX_LINE:,} bytes")
        keys.update(_KEYS.findall(content, start, end))
        start = end
    return len(keys - {b""})


def _complaint(name: str, content: bytes, reason: str) -> DataError:
    match = re.fullmatch(r"(?:JSON parse error: )?(.*?)(?: in row (\d+))?", reason)
    reason, row = match.groups() if match else (reason, None)
    lines = [line for line, text in enumerate(content.split(b"\n"), 1) if text.strip()]
    place = f"line {lines[int(row)]}: " if row else ""
    return DataError(f"{name}: {place}expected one JSON object: {reason}")
