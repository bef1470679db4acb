"""CSV and similar text tables, parsed in blocks by Arrow."""

import codecs
import csv
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nflow_cli.data.csv_dialect import HEAD, RETURN, sniff
from nflow_cli.data.tables import Field, TableFile, looks_like, shown
from nflow_cli.errors import DataError, one_line

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 2**20  # bytes parsed at once; no row is longer


class TextTable(TableFile):
    """Text table in the format found by :func:`~nflow_cli.data.csv_dialect.sniff`.

    ``unpacked`` opens the uncompressed file anew at each call. Blank lines are skipped.
    """

    is_untyped = True

    def __init__(self, name: str, unpacked: Callable[[], Any]):
        self._unpacked = unpacked
        self.name = name
        with unpacked() as file:
            head = file.read(HEAD)
            whole = len(head) < HEAD
        self.dialect = sniff(name, head, whole)
        self.decimal = self.dialect.decimal
        super().__init__(name, list(map(Field, self.dialect.names)))

    def blocks(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        columns = self.dialect.names
        for text in self._whole_rows():
            content = text.encode()
            try:
                table = arrow_csv.read_csv(
                    pa.BufferReader(content),
                    read_options=arrow_csv.ReadOptions(
                        column_names=columns, block_size=len(content) + 1
                    ),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=self.dialect.delimiter,
                        newlines_in_values=True,
                        invalid_row_handler=_pass_over_blanks,
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(columns, pa.string()),
                        include_columns=list(dict.fromkeys(names)),
                    ),
                )
            except pa.ArrowException:
                raise self._complaint() from None
            for batch in table.to_batches():
                yield _with_returns(batch) if RETURN in text else batch

    def place(self, row: int) -> str:
        """Line of a row, counted from 1."""
        for i, (line, _) in enumerate(self._rows()):
            if i == row:
                return f"line {line}"
        return f"data row {row + 1}"

    def _whole_rows(self) -> Iterator[str]:
        """Text of some rows at a time.

        Arrow's own streaming would call Python from its threads, and hang at exit.
        """
        rest = ""
        for part in self._parts():
            rest += part
            end = _end_of_rows(rest, self.dialect.delimiter)
            if end:
                yield rest[:end]
            rest = rest[end:]
            if len(rest) > BLOCK:
                raise self._complaint()
        if rest:
            yield rest

    def _parts(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.dialect.encoding)()
        lines, skipped, held = 1, self.dialect.skipped, ""
        with self._unpacked() as file:
            while True:
                try:
                    part = file.read(BLOCK)
                    text = decoder.decode(part, final=not part)
                except UnicodeDecodeError as error:
                    raise self._no_text(error, lines) from None
                except (OSError, EOFError, zlib.error) as error:  # of gzip
                    raise DataError(f"{self.name}: damaged: {one_line(error)}") from None
                lines += text.count("\n")
                text = held + text
                held = "\r" if part and text.endswith("\r") else ""  # a line feed may follow
                yield self.dialect.parsable(text.removesuffix(held))[skipped:]
                skipped = 0
                if not part:
                    return

    def _no_text(self, error: UnicodeDecodeError, lines: int) -> DataError:
        line = lines + error.object[: error.start].count(b"\n")
        received = error.object[error.start : error.start + 8]
        encoding = self.dialect.encoding.removesuffix("-sig")
        return DataError(
            f"{self.name}: line {line}: expected text in {encoding}, as at the beginning of the "
            f"file; received the bytes {received!r}"
        )

    def _lines(self) -> Iterator[str]:
        rest = ""
        for part in self._parts():
            lines = [*io.StringIO(rest + part, newline="")]
            rest = lines.pop() if lines else ""
            yield from lines
            if len(rest) > BLOCK:
                return
        if rest:
            yield rest

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        reader, line = csv.reader(self._lines(), delimiter=self.dialect.delimiter), 1
        try:
            for row in reader:
                blank = len(row) == 1 and not row[0].strip()
                if row and not (blank and len(self.dialect.names) > 1):
                    yield self.dialect.lines + line, row
                line = reader.line_num + 1
        except csv.Error:
            return

    def _complaint(self) -> DataError:
        columns = len(self.dialect.names)
        expected = f"expected {columns:,} column{'s' * (columns > 1)}"
        line, delimiter = self.dialect.lines, self.dialect.delimiter
        for line, row in self._rows():
            if len(row) != columns:
                received = delimiter.join(row).replace(RETURN, "\r")
                return DataError(
                    f"{self.name}: line {line}: {expected}, received {len(row):,}: "
                    f"{shown(received)}{looks_like(received)}"
                )
        return DataError(
            f"{self.name}: after line {line}: {expected}, received a row of more than {BLOCK:,} "
            "bytes; is a quotation mark not closed?"
        )


def _with_returns(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    import pyarrow as pa
    import pyarrow.compute as pc

    replaced = [
        pc.replace_substring(cells, RETURN, "\r")  # pyright: ignore[reportAttributeAccessIssue]
        for cells in batch.columns
    ]
    return pa.RecordBatch.from_arrays(replaced, batch.schema.names)


def _pass_over_blanks(row: Any) -> str:
    return "error" if row.text.strip() else "skip"


def _end_of_rows(text: str, delimiter: str) -> int:
    if '"' not in text:
        return text.rfind("\n") + 1 or text.rfind("\r") + 1
    lines, end, before = io.StringIO(text, newline=""), 0, 0
    try:
        for _ in csv.reader(lines, delimiter=delimiter):
            end, before = lines.tell(), end
    except csv.Error:  # a cell of more than 128 KiB, or an unclosed quote
        pass
    return before
