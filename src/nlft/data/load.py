"""A user's own data: any file format and schema in, records out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from nlft.config import did_you_mean
from nlft.data.config import ReadSettings
from nlft.data.file_formats import FILE_FORMATS, Rows, read_rows
from nlft.data.hub import load_hub_rows
from nlft.data.schemas import SCHEMAS, convert, rename, schema_of
from nlft.data.subset import subset_rows
from nlft.edits import Edits
from nlft.errors import ConfigError, DataError
from nlft.records import Attempt, Graded, Judged, Problem, parse_record, refuse_repeated

OnError = Callable[[DataError], None] | None

FORMATS = ("auto", *FILE_FORMATS, *SCHEMAS, "sharegpt")


def load_problems(source: str | Path, *, n: int | None = None, seed: int = 42, **how: Any) -> Iterator[Problem]:
    """Yield the rows of a file or a hub data set as records.

    Args:
        source: A file, or "hub:NAME" for a data set of the hub.
        n: The first n of one seeded shuffle of the rows (which reads the file twice); None means
            all, in order.
        seed: Shuffle seed.
        **how: How they are read; see `Reader`.

    Raises:
        ConfigError: for an unknown format, or n out of range.
        DataError: with file and line, for the first row that cannot be read.
    """
    reader = Reader(source, **how)
    if n is None:
        yield from (record for _, record in reader.records())
        return
    total = sum(1 for _ in (reader.records() if reader.edits else reader.rows()))
    wanted = subset_rows(total, n, seed)
    chosen = set(wanted)
    found = {row: record for row, (_, record) in enumerate(reader.records()) if row in chosen}
    yield from (found[row] for row in wanted)


class Reader:
    """A source that can be read row by row, any number of times.

    A row becomes the furthest record it has the fields of: a `Problem`; with a response an `Attempt`;
    with a verdict too, `Graded`; with a judgment too, `Judged`. A row without an id gets one from the
    source's name and its row number, from 0. Other columns are kept. What a person edited comes as it was left.

    Args:
        source: A file, or "hub:NAME" for a data set of the hub.
        format: A file format (jsonl, json, csv, tsv, parquet), a log (lm-eval, inspect) or a schema (nlft, gsm8k,
            math, alpaca, prompt-completion, preference, messages, sharegpt, authors); "auto" tells both from the file.
        columns: Our name -> theirs, for columns with other names.
        split: Split of a hub data set.
        config: Configuration of a hub data set.
        first_exchange: Take the first two turns of a longer chat, instead of its last exchange.

    Raises:
        ConfigError: for an unknown format.
        DataError: for a pipe.
    """

    def __init__(
        self,
        source: str | Path,
        format: str = "auto",
        columns: Mapping[str, str] | None = None,
        *,
        split: str = "train",
        config: str | None = None,
        first_exchange: bool = False,
    ) -> None:
        self.source = str(source)
        self.file_format, self.schema = _resolve(format)
        self.columns, self.first_exchange = dict(columns or {}), first_exchange
        self.split, self.config = split, config
        path = Path(self.source)
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError("this is a pipe, which cannot be read twice", file=path, remedy="save it to a file first")
        self.edits = Edits.of(path)
        self.stem = Path(self.source.removeprefix("hub:")).stem

    @classmethod
    def of(cls, source: str | Path, settings: ReadSettings) -> Self:
        """A reader of a file, as the settings say."""
        return cls(source, settings.format, settings.map, first_exchange=settings.first_exchange)

    def rows(self, on_error: OnError = None) -> Rows:
        """The rows as they are in the source, with their places."""
        if not self.source.startswith("hub:"):
            return read_rows(self.source, self.file_format, on_error)
        remedy = "save it as JSONL or Parquet where the hub can be reached, and give that file"
        name = self.source.removeprefix("hub:")
        return enumerate(load_hub_rows(name, config=self.config, split=self.split, remedy=remedy), start=1)

    def records(self, on_error: OnError = None) -> Iterator[tuple[int, Problem]]:
        """The rows as records, with their places; `on_error` gets the error of each bad row, None raises."""
        seen: set[int] = set()  # hashes of the ids: the ids themselves would cost more than the rows' places
        index = -1
        for index, (line, raw) in enumerate(self.rows(on_error)):
            try:
                row = self.edits.apply({"id": f"{self.stem}-{index}", **self._ours(raw, line)})
                if row is None:  # a person skipped it
                    continue
                record = parse_record(row, _kind(row), file=self.source, line=line)
                if hash(record.id) in seen:
                    self._refuse_repeated(record.id, line)
            except DataError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            seen.add(hash(record.id))
            yield line, record
        if index < 0 and on_error is None:
            raise DataError("the file holds no rows", file=self.source, remedy="give a file with at least one row")

    def _ours(self, raw: dict[str, Any], line: int) -> dict[str, Any]:
        try:
            row = rename(raw, self.columns)
            self.schema = self.schema or schema_of(row)
            return convert(row, self.schema, first_exchange=self.first_exchange)
        except DataError as error:
            raise DataError(error.message, file=self.source, line=line, remedy=error.remedy) from None

    def _refuse_repeated(self, identity: str, line: int) -> None:
        """Two ids share a hash: read again, and refuse the second unless they differ."""
        seen: dict[str, int] = {}
        for index, (earlier, raw) in enumerate(self.rows(_pass_over)):
            if earlier >= line:
                break
            try:
                earlier_id = {"id": f"{self.stem}-{index}", **self._ours(raw, earlier)}["id"]
            except DataError:
                continue
            if earlier_id == identity:
                seen[identity] = earlier
                break
        refuse_repeated(identity, seen, file=self.source, line=line)


def _pass_over(error: DataError) -> None:
    """For a second reading, whose errors the first has reported."""


def _kind(row: Mapping[str, Any]) -> type[Problem]:
    if "response" not in row:
        return Problem
    if "verdict" not in row:
        return Attempt
    return Judged if "judgment" in row else Graded


def _resolve(format: str) -> tuple[str | None, str | None]:
    """The file format and the schema that a format names; None for what the file has to tell."""
    if format not in FORMATS:
        raise ConfigError(f'there is no format "{format}"', remedy=did_you_mean(format, FORMATS))
    if format in FILE_FORMATS:
        return format, None
    return None, {"auto": None, "sharegpt": "messages"}.get(format, format)
