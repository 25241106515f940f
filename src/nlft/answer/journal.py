"""The journal: every reply on disk before the next request is sent.

One JSON line a reply, appended and fsynced; keyed by the content of the request. JSON lines rather than
SQLite: a user can read, count and mend it with the tools at hand, one `write` of one line is all a crash
can tear, and a torn last line is recognised and cut off. Nothing is ever rewritten in place; where a
request is asked again (`--retry-failed`), its later line counts.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from nlft.answer.types import Reply
from nlft.errors import DataError, LockedError

__all__ = ["Journal", "journal_path", "sole_writer"]


class Journal:
    """Replies by key of their request; in a file, or in memory only where `path` is None.

    Raises:
        DataError: for a line that is damaged and not the last one, which no crash of ours leaves behind.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self._replies: dict[str, Reply] = {}
        self._file: int | None = None
        if self.path is not None and self.path.exists():
            self._recover(self.path)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Keep a reply; when this returns, it is on disk.

        Raises:
            DataError: when the disk is full; the journal then ends in a whole line, as before.
        """
        if self.path is not None:
            # Escaped to ASCII: a lone surrogate in a reply must not be what stops a paid run.
            line = json.dumps({"key": key, **reply.to_json()}, ensure_ascii=True, allow_nan=False) + "\n"
            self._append(self.path, line.encode("ascii"))
        self._replies[key] = reply

    def close(self) -> None:
        """Close the file; a later `put` opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, path: Path, line: bytes) -> None:
        try:
            if self._file is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                _sync_folder(path.parent)
            before = os.fstat(self._file).st_size
            try:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._file, view) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise
        except OSError as error:
            raise DataError(
                f"cannot write: {error.strerror}",
                file=path,
                remedy="free some space and run the same command again: it goes on where it was",
            ) from error

    def _recover(self, path: Path) -> None:
        """Read the file; cut off a last line that a crash has torn."""
        whole = 0
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                entry = _entry(line)
                if entry is None:
                    if stream.read(1):
                        raise DataError(
                            "this line of the journal is damaged",
                            file=path,
                            line=number,
                            remedy="delete that line: its request will be asked again, all others are kept",
                        )
                    break
                self._replies[entry["key"]] = Reply.from_json(entry)
                whole += len(line)
        if whole < path.stat().st_size:
            with path.open("r+b") as stream:
                stream.truncate(whole)
                os.fsync(stream.fileno())


def _entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("key"), str) else None


def _sync_folder(folder: Path) -> None:
    """Make the new file's name durable too; not every system can fsync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def journal_path(output: str | Path) -> Path:
    """Where the journal of an output file stands: `answers.jsonl` has `answers.journal.jsonl`."""
    return _beside(Path(output), "journal")


def failed_path(output: str | Path) -> Path:
    """Where the rows that failed for good stand: `answers.failed.jsonl`."""
    return _beside(Path(output), "failed")


def rejected_path(output: str | Path) -> Path:
    """Where the rows stand whose judgment contradicts the grade: `judged.rejected.jsonl`."""
    return _beside(Path(output), "rejected")


def _beside(output: Path, word: str) -> Path:
    return output.with_name(f"{output.stem}.{word}.jsonl")


@contextlib.contextmanager
def sole_writer(output: str | Path) -> Iterator[None]:
    """Hold the output for this process alone; the operating system lets go of it however the process ends.

    Raises:
        LockedError: naming the process that holds it.
    """
    from filelock import FileLock, Timeout

    output = Path(output)
    lock_file = output.with_name(f".{output.name}.lock")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file, blocking=False)
        lock.acquire()
    except Timeout:
        raise LockedError(
            f"another process{_holder(lock_file)} is writing this output",
            file=output,
            remedy="wait for it, stop it, or choose another output with -o",
        ) from None
    except OSError as error:
        raise DataError(
            f"cannot write: {error.strerror}", file=output, remedy="choose another place with -o"
        ) from error
    try:
        with contextlib.suppress(OSError):  # Windows lets nobody write a locked file; the number is a courtesy
            lock_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        # Unlinked while it is still held; filelock notices a file that was taken away under its lock.
        with contextlib.suppress(OSError):
            lock_file.unlink()
        lock.release()


def _holder(lock_file: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" ({int(lock_file.read_text(encoding='ascii'))})"
    return ""
