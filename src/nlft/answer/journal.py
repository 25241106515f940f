"""The journal: every reply is on disk before the next request is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from nlft.answer.types import Reply
from nlft.files import AppendOnlyFile


class Journal:
    """Replies by the key of their request; in a file, or in memory only where `path` is None.

    Where a request was asked again (`--retry-failed`), its later line counts.

    Raises:
        DataError: for a damaged line that is not the last, which no crash leaves behind.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._file = AppendOnlyFile(path, lambda row: isinstance(row.get("key"), str)) if path is not None else None
        rows = self._file.read() if self._file is not None else ()
        self._replies = {row["key"]: Reply.from_json(row) for row in rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        return key in self._replies

    def __len__(self) -> int:
        return len(self._replies)

    def __iter__(self) -> Iterator[Reply]:
        return iter(self._replies.values())

    def get(self, key: str) -> Reply | None:
        """The reply to the request with this key, if there is one."""
        return self._replies.get(key)

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply; it is on disk when this returns.

        Raises:
            DataError: when the disk is full; the journal then ends with a whole line, as before.
        """
        if self._file is not None:
            self._file.append({"key": key, **reply.to_json()})
        self._replies[key] = reply

    def close(self) -> None:
        """Close the file; a later `put` opens it again."""
        if self._file is not None:
            self._file.close()
