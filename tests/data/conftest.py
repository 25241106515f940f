"""The command line in this process, and files written row by row."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from nlft.cli.app import main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `nlft` with these arguments; its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["nlft", *map(str, arguments)])
        try:
            main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
        return 0

    return call


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[[str, Iterable[Any]], Path]:
    """Write rows as a JSONL file of that name."""

    def write(name: str, rows: Iterable[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
