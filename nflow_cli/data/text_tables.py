"""Tables written as text: CSV and its kin, streamed through Arrow. No Keras here."""

import codecs
import csv
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.data.csv_dialect import HEAD, sniff
from nflow_cli.data.tables import Column, NotANumberError, TableFile, floats, looks_like, shown
from nflow_cli.errors import DataError, one_line

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 2**20  # bytes that are parsed at once; no row is longer


class TextTable(TableFile):
    """A table of text, told apart by :func:`~nflow_cli.data.csv_dialect.sniff`.

    A column is of numbers if its cells in the first MiB are, or missing, but not all. Blank lines
    are passed over.

    Args:
        name: Of the file.
        unpacked: Opens the file, its bytes unpacked, anew with each call.

    Raises:
        DataError: In one line: it is no table.
    """

    def __init__(self, name: str, unpacked: Callable[[], Any]):
        self._unpacked = unpacked
        self.name = name
        with unpacked() as file:
            head = file.read(HEAD)
            whole = len(head) < HEAD
        self.dialect = sniff(name, head, whole)
        self.decimal = self.dialect.decimal
        super().__init__(name, self._columns())

    def _columns(self) -> list[Column]:
        names = self.dialect.names
        block = next(self.blocks(names), None)
        if block is None:
            return [Column(name, False) for name in names]
        return [Column(name, self._holds_numbers(block.column(name))) for name in names]

    def _holds_numbers(self, cells: Any) -> bool:
        try:
            values = floats(cells, self.decimal).to_numpy(zero_copy_only=False)
        except NotANumberError:
            return False
        return not np.isnan(values).all()

    def blocks(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        """Yield cells as text."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        columns = self.dialect.names
        with io.BufferedReader(_Stream(self._parts())) as body:
            body.read(self.dialect.skipped)
            if not body.peek(1):
                return
            try:
                yield from arrow_csv.open_csv(
                    body,
                    read_options=arrow_csv.ReadOptions(column_names=columns, block_size=BLOCK),
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

    def batches(self) -> Iterator["pa.RecordBatch"]:
        """Yield all columns in their order, those of numbers as float64, the others as text."""
        import pyarrow as pa

        n = 0
        names = [column.name for column in self.columns]
        for block in self.blocks(names):
            arrays = [
                pa.array(self.floats(block, column.name, n))
                if column.is_number
                else block.column(column.name)
                for column in self.columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names)
            n += block.num_rows

    def place(self, row: int) -> str:
        """Return the line in which a row begins; lines are counted from 1."""
        for i, (line, _) in enumerate(self._rows()):
            if i == row:
                return f"line {line}"
        return f"data row {row + 1}"

    def _parts(self) -> Iterator[bytes]:
        """Yield the text in UTF-8, without a byte order mark."""
        encoding = self.dialect.encoding
        decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
        with self._unpacked() as file:
            while True:
                try:
                    part = file.read(BLOCK)
                    text = decoder.decode(part, final=not part)
                except UnicodeDecodeError as error:
                    at = lines + error.object[: error.start].count(b"\n")
                    bad = error.object[error.start : error.start + 8]
                    raise DataError(
                        f"{self.name}: line {at}: expected text in {encoding.removesuffix('-sig')},"
                        f" as at the beginning of the file; received the bytes {bad!r}"
                    ) from None
                except (OSError, EOFError, zlib.error) as error:  # of gzip
                    raise DataError(f"{self.name}: damaged: {one_line(error)}") from None
                lines += text.count("\n")
                yield text.encode()
                if not part:
                    return

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line and the cells of each row, slowly, until one is no row."""
        with io.BufferedReader(_Stream(self._parts())) as body:
            body.read(self.dialect.skipped)
            lines = io.TextIOWrapper(body, "utf-8", newline="")
            reader, line = csv.reader(lines, delimiter=self.dialect.delimiter), 1
            try:
                for row in reader:
                    blank = len(row) == 1 and not row[0].strip()
                    if row and not (blank and len(self.dialect.names) > 1):
                        yield self.dialect.lines + line, row
                    line = reader.line_num + 1
            except csv.Error:
                return

    def _complaint(self) -> DataError:
        """Find the first row that has not as many cells as there are columns."""
        columns = len(self.dialect.names)
        expected = f"expected {columns:,} column{'s' * (columns > 1)}"
        line, delimiter = self.dialect.lines, self.dialect.delimiter
        for line, row in self._rows():
            if len(row) != columns:
                received = delimiter.join(row)
                return DataError(
                    f"{self.name}: line {line}: {expected}, received {len(row):,}: "
                    f"{shown(received)}{looks_like(received)}"
                )
        return DataError(
            f"{self.name}: after line {line}: {expected}, received a row of more than {BLOCK:,} "
            "bytes; is a quotation mark not closed?"
        )


def _pass_over_blanks(row: Any) -> str:
    return "error" if row.text.strip() else "skip"


class _Stream(io.RawIOBase):
    """What an iterator of bytes yields, as a file."""

    def __init__(self, parts: Iterator[bytes]):
        super().__init__()
        self._parts, self._rest = parts, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n
