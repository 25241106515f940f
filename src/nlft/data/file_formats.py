"""Rows of a file as (place, object): JSONL, JSON, CSV, TSV and Parquet, each in constant memory, and logs (`nlft.data.logs`).

A place is what an error names: the line on which the row begins, or for Parquet the row itself, from 1.

`datasets` reads the hub only. It guesses one type for each column of a JSON or CSV file (a reference "007" becomes
the number 7.0), ends at the first broken row without naming it, copies every file into its cache before the first
row, and takes half a second to import. Parquet has its types already: pyarrow reads it, a batch at a time.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from nlft.data.logs import read_inspect, read_lm_eval
from nlft.errors import ConfigError, DataError
from nlft.files import decode, load_json, open_data, read_objects

Rows = Iterator[tuple[int, dict[str, Any]]]

CHUNK = 1 << 20
BLANK = re.compile(r"[ \t\r\n]*")
# How the logs of other evaluations begin, whatever their names.
INSPECT = re.compile(rb'\s*\{\s*"version":\s*\d+,\s*"status":')
LM_EVAL = re.compile(rb'\s*\{\s*"doc_id":')


def file_format_of(path: Path) -> str:
    """A key of FILE_FORMATS: Parquet and logs by their first bytes, others by their suffix, else by the first character.

    Raises:
        DataError: for a file that is missing, or in none of these formats.
    """
    with open_data(path) as stream:
        start = stream.read(4096)
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"PK") or INSPECT.match(start.removeprefix(codecs.BOM_UTF8)):
        return "inspect"
    if LM_EVAL.match(start.removeprefix(codecs.BOM_UTF8)):
        return "lm-eval"
    suffix = path.suffix.lower().removeprefix(".").replace("ndjson", "jsonl")
    if suffix in FILE_FORMATS:
        return suffix
    first = start.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first == b"[":
        return "json"
    if first in (b"{", b""):
        return "jsonl"
    raise DataError(
        "the file is in none of the formats " + ", ".join(FILE_FORMATS),
        file=path,
        line=1,
        remedy="name its format with --format",
    )


def read_rows(
    path: str | Path, file_format: str | None = None, on_error: Callable[[DataError], None] | None = None
) -> Rows:
    """The rows of a file.

    Args:
        path: The file.
        file_format: A key of FILE_FORMATS; None detects it (see `file_format_of`).
        on_error: Called with the error of each line of a JSONL file or log that is no object, which is then skipped; None raises.
            In the other formats nothing after a damaged place can be trusted.

    Raises:
        DataError: with file and line, for a file that is missing, damaged, cut off or of another format.
        ConfigError: for Parquet without pyarrow.
    """
    path = Path(path)
    file_format = file_format or file_format_of(path)
    if file_format in BY_LINE:
        return BY_LINE[file_format](path, on_error)
    return FILE_FORMATS[file_format](path)


def _read_json(path: Path) -> Rows:
    """The objects of one JSON array, or of several JSON values one after the other, a piece at a time."""
    with open_data(path) as stream:
        pieces = _JsonText(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), path)
        array = pieces.skip() == "["
        if array:
            pieces.take(pieces.at + 1)
        first = True
        while (sign := pieces.skip()) and sign != "]":
            if array and not first:
                if sign != ",":
                    raise pieces.broken("a comma or the closing ] is missing")
                pieces.take(pieces.at + 1)
                pieces.skip()
            first = False
            line = pieces.line
            row = pieces.value()
            if not isinstance(row, dict):
                remedy = 'write each row as {"question": ..., ...}'
                raise DataError("this row is not a JSON object", file=path, line=line, remedy=remedy)
            yield line, row
        if array:
            if not sign:
                raise pieces.broken("the closing ] is missing; the file was cut off")
            pieces.take(pieces.at + 1)
        if pieces.skip():
            raise pieces.broken("there is more text after the end")


class _JsonText:
    """A text read in chunks, from which whole JSON values are taken."""

    def __init__(self, stream: io.TextIOWrapper, path: Path) -> None:
        self.stream, self.path = stream, path
        self.text, self.at, self.line, self.ended = "", 0, 1, False
        self.decoder = json.JSONDecoder()

    def skip(self) -> str:
        """Skip white space; the next character, or "" at the end."""
        while True:
            blank = BLANK.match(self.text, self.at)
            self.take(blank.end() if blank else self.at)
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.more(CHUNK)

    def take(self, end: int) -> str:
        """The text up to `end`, which counts from where the buffer begins."""
        taken = self.text[self.at : end]
        self.at = end
        self.line += taken.count("\n")
        return taken

    def more(self, size: int) -> None:
        """Read the next chunk."""
        try:
            chunk = self.stream.read(size)
        except UnicodeDecodeError:
            raise self.broken("what follows is not UTF-8", remedy="save the file as UTF-8") from None
        if "\0" in chunk:
            raise self.broken("this is binary data, not text", remedy="give a JSON file")
        self.ended = not chunk
        self.text, self.at = self.text[self.at :] + chunk, 0

    def value(self) -> Any:
        """The next value; reads on, twice as much each time, until it is complete."""
        size = CHUNK
        while True:
            try:
                _, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - 16
                if self.ended or not cut:
                    break  # load_json says what is wrong
                self.more(size)
                size *= 2
            except (RecursionError, ValueError):
                break
            else:
                line = self.line
                return load_json(self.take(end), self.path, line)
        return load_json(self.text[self.at :], self.path, self.line)

    def broken(self, what: str, remedy: str = "write one JSON array of objects") -> DataError:
        """An error at this place."""
        return DataError(f"broken JSON: {what}", file=self.path, line=self.line, remedy=remedy)


def _read_table(path: Path, delimiter: str | None = None) -> Rows:
    """CSV with a header; the delimiter is the commonest of comma, semicolon and tab in the header."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default refuses a cell of 128 KB
    with open_data(path) as stream:
        lines = (
            decode(raw.removeprefix(codecs.BOM_UTF8) if line == 1 else raw, path, line)
            for line, raw in enumerate(stream, start=1)
        )
        first = next(lines, "")
        if not first.strip():
            raise DataError("the first line holds no column names", file=path, line=1, remedy="add a header")
        delimiter = delimiter or max(",;\t", key=first.count)
        table = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        begin = 1
        try:
            for cells in table:
                line, begin = begin, table.line_num + 1
                if header is None:
                    header = cells
                    if len(set(header)) < len(header):
                        raise DataError("two columns have the same name", file=path, line=1, remedy="rename one")
                elif cells and len(cells) != len(header):
                    what = f"{len(cells)} cells, but the header has {len(header)}"
                    raise DataError(what, file=path, line=line, remedy="quote cells with a delimiter or newline")
                elif cells:
                    yield line, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            said = str(error).replace("\t", "\\t")  # the delimiter, as it is written
            raise DataError(f"broken CSV: {said}", file=path, line=begin, remedy="quote the cell") from None


def _read_parquet(path: Path) -> Rows:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            "Parquet needs the package pyarrow, which is not installed", remedy='pip install "nlft[hub]"'
        ) from None
    with open_data(path) as stream:
        number = 0
        try:
            for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"broken Parquet: {str(error).splitlines()[0]}", file=path, line=number + 1, remedy="write it again"
            ) from None


BY_LINE = {"jsonl": read_objects, "lm-eval": read_lm_eval}
FILE_FORMATS: dict[str, Callable[[Path], Rows]] = {
    **BY_LINE,
    "json": _read_json,
    "csv": _read_table,
    "tsv": partial(_read_table, delimiter="\t"),
    "parquet": _read_parquet,
    "inspect": read_inspect,
}
