"""An append-only file of JSON lines: what is appended is on disk, and a crash can tear the last line only.

JSON lines rather than a database: one `write` of one line is all that a crash can tear, and users can read, count
and repair the file with the tools they have. No line is ever rewritten in place.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from nlft.errors import DataError


class AppendOnlyFile:
    """JSON objects, one per line. The file is created by the first `append`.

    Args:
        path: The file.
        valid: Whether an object is one of this file's; any object by default.
    """

    def __init__(self, path: str | Path, valid: Callable[[dict[str, Any]], bool] = lambda row: True) -> None:
        self.path, self.valid = Path(path), valid
        self._handle: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, *, repair: bool = True) -> Iterator[dict[str, Any]]:
        """Yield the objects of the file; once exhausted, a torn last line has been cut off.

        Args:
            repair: False leaves a torn last line where it is: another process may be writing it.

        Raises:
            DataError: for a damaged line that is not the last, which no crash leaves behind.
        """
        if not self.path.exists():
            return
        whole = 0
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                row = self._parse(line)
                if row is None:
                    if stream.read(1):
                        raise DataError(
                            "this line of the journal is damaged",
                            file=self.path,
                            line=number,
                            remedy="delete the line: its request is sent again, all others are kept",
                        )
                    break
                yield row
                whole += len(line)
        if repair and whole < self.path.stat().st_size:
            with self.path.open("r+b") as stream:
                stream.truncate(whole)
                os.fsync(stream.fileno())

    def append(self, row: dict[str, Any]) -> None:
        """Add one line; it is on disk when this returns.

        Raises:
            DataError: when the disk is full; the file then ends with a whole line, as before.
        """
        # Escaped to ASCII: a lone surrogate in a reply must not stop a paid run.
        line = (json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")
        try:
            handle = self._open()
            before = os.fstat(handle).st_size
            try:
                view = memoryview(line)
                while view:
                    view = view[os.write(handle, view) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, before)
                raise
        except OSError as error:
            raise DataError(
                f"cannot write: {error.strerror}",
                file=self.path,
                remedy="free some disk space and re-run the same command; it resumes where it stopped",
            ) from error

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        if not line.endswith(b"\n"):
            return None
        try:
            row = json.loads(line)
        except ValueError:
            return None
        return row if isinstance(row, dict) and self.valid(row) else None

    def _open(self) -> int:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666
            )
            # Make the new file's name durable too; not every system can fsync a folder.
            with contextlib.suppress(OSError):
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        return self._handle
