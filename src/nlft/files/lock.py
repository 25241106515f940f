"""An output has one writer at a time, and companions beside it: journal, failed rows, rejected rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nlft.errors import DataError, LockedError


def journal_path(output: str | Path) -> Path:
    """The journal of an output file: `answers.jsonl` has `answers.journal.jsonl`."""
    return _companion(Path(output), "journal")


def failed_path(output: str | Path) -> Path:
    """The rows that failed for good: `answers.failed.jsonl`."""
    return _companion(Path(output), "failed")


def rejected_path(output: str | Path) -> Path:
    """The rows whose judgment contradicts the grade: `judged.rejected.jsonl`."""
    return _companion(Path(output), "rejected")


def candidates_path(output: str | Path) -> Path:
    """What a revision chose from: `revised.candidates.jsonl`."""
    return _companion(Path(output), "candidates")


def edits_path(rows: str | Path) -> Path:
    """What a person changed in the rows of a file: `judged.edits.jsonl`."""
    return _companion(Path(rows), "edits")


def names_of(paths: Sequence[Path]) -> list[str]:
    """Short names that tell files apart: the stem where it does, else the whole path.

    >>> names_of([Path("runs/a.json"), Path("runs/b.json")]), names_of([Path("1/a.json"), Path("2/a.json")])
    (['a', 'b'], ['1/a.json', '2/a.json'])
    """
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [path.as_posix() for path in paths]
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _companion(output: Path, word: str) -> Path:
    return output.with_name(f"{output.stem}.{word}.jsonl")


@contextlib.contextmanager
def sole_writer(output: str | Path) -> Iterator[None]:
    """Lock the output for this process; the operating system releases the lock however the process ends.

    Raises:
        LockedError: naming the process that holds the lock.
        DataError: when the folder cannot be written.
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
            f"cannot write: {error.strerror}", file=output, remedy="choose another output with -o"
        ) from error
    try:
        with contextlib.suppress(OSError):  # Windows lets nobody write a locked file; the process id is a courtesy
            lock_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        # Removed while still held; filelock notices when its file has gone.
        with contextlib.suppress(OSError):
            lock_file.unlink()
        lock.release()


def _holder(lock_file: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" ({int(lock_file.read_text(encoding='ascii'))})"
    return ""
