"""What every command has in common: `--json`, `--quiet`, `--verbose`, colours, bars of one line, no keys."""

import io
import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.tiny import tiny_rows

from nlft.cli import app
from nlft.cli.app import VERBS, load_verb, run
from nlft.cli.output import TABLES
from nlft.errors import without_secrets
from nlft.pipeline import process
from nlft.progress import progress
from nlft.saliency_map.terminal import legend

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def graded(tmp_path: Path) -> Path:
    tiny_rows(tmp_path / "answers.jsonl", 4, answered=True)
    assert run(["grade", str(tmp_path / "answers.jsonl"), "-o", str(tmp_path / "graded.jsonl")]) == 0
    assert run(["judge", str(tmp_path / "graded.jsonl"), "-o", str(tmp_path / "judged.jsonl")]) == 0
    return tmp_path


def printed(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    """What a command prints with `--json`, read again."""
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_table_is_json_for_a_program(graded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def at(name: str) -> str:
        return str(graded / name)

    assert printed(["grade", at("answers.jsonl"), "--explain"], capsys)["correct"]["gsm8k-strict"] == 2
    assert printed(["judge", at("judged.jsonl"), "--report"], capsys)["incorrect"] == 2
    assert printed(["data", "check", at("answers.jsonl")], capsys)["rows"] == 4
    assert "tuned" in [each["name"] for each in printed(["recipes"], capsys)]
    assert printed(["env"], capsys)["python"] == sys.version.split()[0]
    planned = printed(["run", str(RECIPES / "fig10-tokens/small.yaml"), "--dry-run"], capsys)
    assert any(step.startswith("nlft score") for step in planned)


def test_json_ends_with_its_command(graded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(["grade", str(graded / "answers.jsonl"), "--explain"], capsys)
    assert run(["grade", str(graded / "answers.jsonl"), "--explain"]) == 0
    assert capsys.readouterr().out.endswith("4 rows graded, 2 correct (50.0%) by gsm8k-flexible\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_options_that_all_have(verb: str) -> None:
    command = load_verb(verb)
    parts = {f"{verb} {part}": each for part, each in getattr(command, "commands", {}).items()}
    for name, each in (parts or {verb: command}).items():
        words = [word for option in each.params for word in option.opts]
        assert {"--quiet", "--verbose"} <= set(words), name
        assert ("--json" in words) == (name in TABLES), name
        assert len(words) == len(set(words)), f"{name}: an option is there twice"


def test_quiet_says_nothing_of_the_work(graded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["grade", str(graded / "answers.jsonl"), "-o", str(graded / "again.jsonl")]) == 0
    assert "grading: 4/4" in capsys.readouterr().err
    assert run(["grade", str(graded / "answers.jsonl"), "-o", str(graded / "again.jsonl"), "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert run(["grade", str(graded / "nowhere.jsonl"), "-o", str(graded / "again.jsonl"), "--quiet"]) == 1
    assert "nowhere.jsonl" in capsys.readouterr().err, "errors are told"
    assert logging.getLogger("nlft").isEnabledFor(logging.WARNING), "the next command is not quiet"


def test_verbose_shows_debug_messages_and_ends_with_its_command(graded: Path) -> None:
    logger = logging.getLogger("nlft")
    before = (logger.level, [*logger.handlers])
    assert run(["grade", str(graded / "answers.jsonl"), "-o", str(graded / "again.jsonl"), "-v"]) == 0
    assert (logger.level, logger.handlers) == before


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)])
def test_no_color_has_no_colour(value: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, the roles of the tokens are then told by underlines alone."""
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setenv("TERM", "xterm-256color")
    file = io.StringIO()
    Console(force_terminal=True, markup=False, file=file).print(legend(correct=True))
    assert "salient" in file.getvalue()
    assert (re.search(r"\x1b\[[\d;]*[34]8;", file.getvalue()) is not None) == coloured


@pytest.mark.parametrize("width", [40, 80])
def test_a_bar_stays_one_line(width: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress("answering", 1000) as bar:
        bar.note("12 of them failed, 123.4 tokens/s, and a note that is longer than the line")
        bar.advance(123)
    out = capfd.readouterr().err
    assert "answering" in out
    assert "123/1000" in re.sub(r"\x1b\[[\d;]*m", "", out)
    assert out.count("\n") == 1, "only the last state ends with a line feed"


def test_a_key_is_in_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh12345678")
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(app, "run", lambda arguments: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        app.main()
    try:
        raise RuntimeError("sent Bearer abcdefgh12345678")
    except RuntimeError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    err = capsys.readouterr().err
    assert "RuntimeError: sent Bearer [SOME_API_KEY]" in err
    assert "abcdefgh" not in err
    assert without_secrets("PATH stays") == "PATH stays"


def crash() -> None:
    raise RuntimeError("sent Bearer abcdefgh12345678")


def test_nor_in_that_of_a_step_in_its_own_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The child's side, called here: it ends with 1, which is made an exception."""
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh12345678")
    monkeypatch.setattr(os, "_exit", sys.exit)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            process._work(None, None, logging.ERROR, crash, (), None, None)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGINT, handler)
        logging.getLogger("nlft").setLevel(logging.NOTSET)
    assert "Bearer [SOME_API_KEY]" in capsys.readouterr().err
