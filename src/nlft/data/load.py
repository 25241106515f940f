"""A user's own data: any container, any layout, in; records out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nlft.config import did_you_mean
from nlft.data.containers import CONTAINERS, Rows, read_rows
from nlft.data.hub import load_hub_rows
from nlft.data.layouts import LAYOUTS, convert, layout_of, rename
from nlft.data.subset import subset_rows
from nlft.errors import ConfigError, DataError
from nlft.records import Attempt, Graded, Judged, Problem, parse_record

__all__ = ["load_problems"]

FORMATS = ("auto", *CONTAINERS, *LAYOUTS, "sharegpt")


def load_problems(
    source: str | Path,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    n: int | None = None,
    seed: int = 42,
    split: str = "train",
    config: str | None = None,
    first_exchange: bool = False,
) -> Iterator[Problem]:
    """Yield the rows of a file or a hub data set as records.

    A row becomes the furthest record it has the fields of: a `Problem`; with a response an `Attempt`;
    with a verdict too, `Graded`; with a judgment too, `Judged`. A row without an id gets one from the
    source's name and its row number, from 0. Columns that mean nothing to us are kept.

    Args:
        source: A file, or "hub:NAME" for a data set of the hub.
        format: A container (jsonl, json, csv, tsv, parquet) or a layout (nlft, gsm8k, alpaca, messages,
            sharegpt, authors); "auto" tells both from the file.
        columns: Our name -> theirs, for columns that are called otherwise.
        n: The first n of one seeded shuffle of the rows (which reads the file twice); None means
            all, in order.
        seed: Of that shuffle.
        split: Of a hub data set.
        config: Of a hub data set.
        first_exchange: Take the first two turns of a longer chat, instead of refusing it.

    Raises:
        ConfigError: for an unknown format, or n out of range.
        DataError: with file and line, for the first row that cannot be read.
    """
    container, layout = _resolve(format)
    source = str(source)

    def rows() -> Rows:
        if source.startswith("hub:"):
            remedy = "save it as JSONL or Parquet where the hub can be reached, and give that file"
            name = source.removeprefix("hub:")
            return enumerate(load_hub_rows(name, config=config, split=split, remedy=remedy), start=1)
        return read_rows(source, container)

    reader = _Reader(source, rows, layout, dict(columns or {}), first_exchange)
    if n is None:
        yield from reader.records()
        return
    wanted = subset_rows(sum(1 for _ in rows()), n, seed)
    chosen = set(wanted)
    found = {row: record for row, record in enumerate(reader.records()) if row in chosen}
    yield from (found[row] for row in wanted)


class _Reader:
    """Rows as read, turned into records one by one."""

    def __init__(
        self, source: str, rows: Callable[[], Rows], layout: str | None, columns: dict[str, str], first_exchange: bool
    ) -> None:
        self.source, self.rows, self.layout = source, rows, layout
        self.columns, self.first_exchange = columns, first_exchange
        self.stem = Path(source.removeprefix("hub:")).stem if source else source

    def records(self) -> Iterator[Problem]:
        seen: set[int] = set()
        index = -1
        for index, (line, raw) in enumerate(self.rows()):
            row = self._ours(raw, line)
            row = {"id": f"{self.stem}-{index}", **row}
            record = parse_record(row, _kind(row), file=self.source, line=line)
            if hash(record.id) in seen:
                self._refuse_repeated(record.id, line)
            seen.add(hash(record.id))
            yield record
        if index < 0:
            raise DataError("the file holds no rows", file=self.source, remedy="give a file with at least one row")

    def _ours(self, raw: dict[str, Any], line: int) -> dict[str, Any]:
        try:
            row = rename(raw, self.columns)
            self.layout = self.layout or layout_of(row)
            return convert(row, self.layout, first_exchange=self.first_exchange)
        except DataError as error:
            raise DataError(error.message, file=self.source, line=line, remedy=error.remedy) from None

    def _refuse_repeated(self, identity: str, line: int) -> None:
        """Two rows share a hash: refuse, unless it turns out that their ids differ."""
        for index, (earlier, raw) in enumerate(self.rows()):
            if earlier >= line:
                return
            if {"id": f"{self.stem}-{index}", **self._ours(raw, earlier)}["id"] == identity:
                raise DataError(
                    f"the id {identity!r} stands already on line {earlier}",
                    file=self.source,
                    line=line,
                    remedy="give every row an id of its own, or leave ids out",
                )


def _kind(row: Mapping[str, Any]) -> type[Problem]:
    if "response" not in row:
        return Problem
    if "verdict" not in row:
        return Attempt
    return Judged if "judgment" in row else Graded


def _resolve(format: str) -> tuple[str | None, str | None]:
    """The container and the layout that a format names; None for what is to be told from the file."""
    if format not in FORMATS:
        raise ConfigError(f'there is no format "{format}"', remedy=did_you_mean(format, FORMATS))
    if format in CONTAINERS:
        return format, None
    layout = {"auto": None, "sharegpt": "messages"}.get(format, format)
    return None, layout
