"""The command line in this process, and files written row by row."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from nlft.cli import app as cli


@pytest.fixture
def run() -> Callable[..., int]:
    """Run `nlft` with these arguments; its exit code."""
    return lambda *arguments: cli.run([*map(str, arguments)])


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[[str, Iterable[Any]], Path]:
    """Write rows as a JSONL file of that name."""

    def write(name: str, rows: Iterable[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
