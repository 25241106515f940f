"""Files: JSONL read with line numbers, text written atomically, and what tells one content from another."""

from __future__ import annotations

import codecs
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from nlft.errors import ConfigError, DataError
from nlft.files.lock import edits_path

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as an escape; raw, it would be no UTF-8
DEEPEST = 100  # well below the depth at which writing a row would fail


def read_objects(
    path: str | Path, on_error: Callable[[DataError], None] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, JSON object) for each line of `path` that is not blank.

    Args:
        path: The file; UTF-8, a byte-order mark is passed over.
        on_error: Is told of a bad line, which is then left out; None raises.

    Raises:
        DataError: with file and line, for a file that is missing, binary or not UTF-8, and a line that
            is broken JSON, no object, holds NaN or infinity, or is nested beyond all use.
    """
    path = Path(path)
    with open_data(path) as stream:
        for number, raw in enumerate(stream, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if not raw.strip():
                continue
            try:
                text = decode(raw, path, number).rstrip()  # or an error at its end would be on the next line
                row = _object(load_json(text, path, number), path, number)
            except DataError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            yield number, row


def open_data(path: Path) -> BinaryIO:
    """Open a data file for reading bytes.

    Raises:
        DataError: when there is no such file, it is a folder, or it may not be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError("no such file", file=path, remedy="check the path") from None
    except IsADirectoryError:
        raise DataError("this is a folder, not a file", file=path, remedy="name a .jsonl file in it") from None
    except PermissionError:
        raise DataError("this file may not be read", file=path, remedy="check its permissions") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", file=path, remedy="check the path") from None


def decode(raw: bytes, path: Path, line: int) -> str:
    """Bytes as UTF-8 text.

    Raises:
        DataError: for binary data or another encoding.
    """
    if b"\0" in raw:
        remedy = "give a JSONL file: one JSON object a line"
        raise DataError("this is binary data, not text", file=path, line=line, remedy=remedy)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} of the line is not UTF-8"
        raise DataError(where, file=path, line=line, remedy="save the file as UTF-8") from None


def load_json(text: str, path: Path, line: int) -> Any:
    """One JSON value that can be written again.

    Args:
        text: JSON; its first sign stands on `line` of `path`.
        path: The file named in errors.
        line: The line named in errors, counted on over the newlines in `text`.

    Raises:
        DataError: for broken JSON, NaN, infinity, a float or integer beyond Python's, deep nesting, or
            half a surrogate pair (which UTF-8 cannot hold).
    """

    def refuse(number: str) -> NoReturn:
        shown = number if len(number) < 20 else "a number beyond the range of floats"
        remedy = "use null, or leave the field out"
        raise DataError(f"{shown} is no number a JSON file may hold", file=path, line=line, remedy=remedy)

    def finite(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            refuse(digits)
        return value

    try:
        value = json.loads(text, parse_constant=refuse, parse_float=finite)
    except json.JSONDecodeError as error:
        raise DataError(
            f"broken JSON: {error.msg.lower()}, at column {error.colno}",
            file=path,
            line=line + error.lineno - 1,
            remedy="write one complete JSON object a line; if this is the last line, the file was cut off",
        ) from None
    except RecursionError:
        raise _too_deep(path, line) from None
    except ValueError as error:  # an integer beyond Python's limit of digits
        raise DataError(f"broken JSON: {error}", file=path, line=line, remedy="write the number as text") from None
    if _nested_too_deep(value):
        raise _too_deep(path, line)
    if SURROGATE.search(text) and not _encodes(value):
        remedy = "remove it; the text was cut in the middle of a sign"
        raise DataError("half a surrogate pair stands in a text", file=path, line=line, remedy=remedy)
    return value


def _encodes(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _object(value: Any, path: Path, line: int) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    raise DataError(
        f"this line is a JSON {names.get(type(value), 'null')}, not an object",
        file=path,
        line=line,
        remedy='write each row as {"question": ..., ...} on a line of its own',
    )


def _too_deep(path: Path, line: int) -> DataError:
    remedy = "flatten the row's extra fields"
    return DataError(f"nested more than {DEEPEST} levels deep", file=path, line=line, remedy=remedy)


def _nested_too_deep(row: object) -> bool:
    """Whether lists and objects stand in one another more than DEEPEST times: such a row could not be written again."""
    level: list[object] = [row]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(v for v in value.values() if isinstance(v, dict | list))
            elif isinstance(value, list):
                inner.extend(v for v in value if isinstance(v, dict | list))
        if not inner:
            return False
        level = inner
    return True


def write_lines(path: str | Path, lines: Iterable[str]) -> int:
    """Write lines of text, atomically: `path` is the old file or the whole new one, never half.

    What a symbolic link points to is written; the link stays.

    Returns:
        How many lines were written.

    Raises:
        DataError: when the disk is full, the folder cannot be written, or `path` is a folder, a pipe or a device;
            `path` is then untouched.
    """
    path = Path(path)
    if path == Path("-"):
        raise DataError(
            "cannot write to standard output: files are written whole or not at all",
            remedy="give the name of a file with -o",
        )
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or a device, which cannot be written as a whole"
        raise DataError(f"cannot write: it is {kind}", file=path, remedy="give the name of a file with -o")
    count = 0
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            for line in lines:
                stream.write(line + "\n")
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp's 0600 would surprise a colleague
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write: {error.strerror}",
            file=path,
            remedy="free some disk space, or choose another place with -o",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return count


def refuse_same_file(source: str | Path, output: str | Path) -> None:
    """Refuse to overwrite the file that is read.

    Raises:
        ConfigError: when both are the same file.
    """
    if Path(source).resolve() == Path(output).resolve():
        raise ConfigError("input and output are the same file", file=output, remedy="choose another output with -o")


LARGE = 1 << 20  # of a larger file its size and its last MiB tell: a model of many GB must not be read through


def content_hash(path: str | Path) -> str:
    """Tells one state of a file, or of the files directly in a folder, from another, wherever it lies.

    Of an adapter's folder its config, weights, template and prompts count, not the logs of its training; of a file of rows
    also what a person changed in them.
    """
    path = Path(path)
    digest = hashlib.sha256()
    beside = edits_path(path)
    files = (
        [path, *([beside] if beside.is_file() else [])]
        if path.is_file()
        else sorted(each for each in path.iterdir() if each.is_file())
    )
    if (path / "adapter_config.json").is_file():
        files = [file for file in files if file.stem in ("adapter_config", "adapter_model", "chat_template", "prompts")]
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name if file != path else ''}:{size}:".encode())
        with file.open("rb") as stream:
            stream.seek(max(0, size - LARGE))
            digest.update(stream.read())
    return digest.hexdigest()
