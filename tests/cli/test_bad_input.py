"""Whatever a user gets wrong: a message with file, line and remedy, the right exit code, nothing lost, no torch loaded.

The command lines run in one fresh interpreter (importing typer dozens of times would take longer than the tests).
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tiny import tiny_rows

GOOD = {
    "id": "a",
    "question": "What is 1 + 2?",
    "reference": "#### 3",
    "response": "#### 4",
    "finish_reason": "stop",
    "verdict": {"correct": False, "value": "4", "extracted": "#### 4", "reason": "4 is not 3"},
    "judgment": "1 + 2 is 3, not 4.",
}
MODEL = ["--model", "no-such-model"]
# Each verb that reads a JSONL file, with what it needs besides.
READERS: dict[str, list[str]] = {
    "answer": ["-o", "out", *MODEL],
    "grade": ["-o", "out"],
    "judge": ["-o", "out"],
    "score": ["-o", "out", *MODEL],
    "train": ["-o", "out", *MODEL],
    "evaluate": ["-o", "out.json", *MODEL],
    "data": ["-o", "out"],
    "data check": [],
    "show": ["1"],
    "view": ["-o", "out.html"],
}
# What is wrong with the last line of a file, and what must be said.
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "broken": (b'{"id": "b", "question": ', "broken JSON"),
    "no object": (b"[1, 2]", "array, not an object"),
    "binary": (b"\x00\x01\x02", "binary"),
    "not UTF-8": (b'{"id": "\xff"}', "UTF-8"),
    "missing field": (b'{"id": "b", "reference": "#### 1", "response": "r"}', '"question"'),
    "wrong type": (json.dumps({**GOOD, "id": "b", "question": 5}).encode(), '"question"'),
    "NaN": (b'{"id": "b", "question": NaN}', "NaN"),
    "empty question": (json.dumps({**GOOD, "id": "b", "question": " "}).encode(), '"question"'),
}


def run_all(folder: Path, command_lines: list[list[str]], before: str = "") -> list[dict[str, Any]]:
    """Run command lines one after the other in a fresh interpreter: exit code, stdout, stderr, and heavy modules."""
    code = f"""
import contextlib, io, json, sys
{before}
from nlft.cli.app import run
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    heavy = [name for name in ("torch", "transformers") if name in sys.modules]
    print(json.dumps({{"code": code, "out": out.getvalue(), "err": err.getvalue(), "heavy": heavy}}))
"""
    words = [sys.executable, "-c", code, json.dumps(command_lines)]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def readers_but_answer(files: list[str]) -> list[list[str]]:
    """Each verb on each file; `answer` makes its answerer first, which takes torch, and has a test of its own."""
    return [[*verb.split(), file, *rest] for verb, rest in READERS.items() for file in files if verb != "answer"]


def test_files_that_are_no_files_of_rows(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "blank.jsonl").write_bytes(b"\n \n\n")
    (tmp_path / "folder.jsonl").mkdir()
    lines = readers_but_answer(["missing.jsonl", "empty.jsonl", "blank.jsonl", "folder.jsonl"])
    for words, result in zip(lines, run_all(tmp_path, lines), strict=True):
        said = result["err"] + result["out"]
        assert result["code"] == 1, (words, result)
        assert next(word for word in words if word.endswith(".jsonl")) in said, words
        assert "Traceback" not in said
        assert result["heavy"] == [], (words, "a file is looked at before torch is loaded")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def bad_lines(folder: Path, verbs: list[str]) -> list[tuple[list[str], str, int]]:
    """Each verb with each kind of bad line: the command line, what must be said, and the line's number."""
    found = []
    for what, (line, said) in BAD_LINES.items():
        stem = what.replace(" ", "-")
        (folder / f"{stem}.jsonl").write_bytes(json.dumps(GOOD).encode() + b"\n\n" + line + b"\n")
        (folder / f"{stem}-first.jsonl").write_bytes(line + b"\n")
        for verb in verbs:
            # A scored row is too long to write by hand: show and view meet the bad line first.
            first = verb in ("show", "view")
            words = [*verb.split(), f"{stem}-first.jsonl" if first else f"{stem}.jsonl", *READERS[verb]]
            found.append((words, said, 1 if first else 3))
    return found


def check_bad_lines(folder: Path, verbs: list[str], heavy: bool) -> None:
    cases = bad_lines(folder, verbs)
    for (words, said, number), result in zip(cases, run_all(folder, [case[0] for case in cases]), strict=True):
        text = result["err"] + result["out"]
        assert result["code"] == 1, (words, result)
        assert f".jsonl:{number}" in text or (words[:2] == ["data", "check"] and f"line {number}" in text), (
            words,
            text,
        )
        assert said in text, (words, text)
        assert "Traceback" not in text
        assert heavy or result["heavy"] == [], words
    assert not [path for path in folder.iterdir() if path.name.startswith("out")]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    check_bad_lines(tmp_path, [verb for verb in READERS if verb != "answer"], heavy=False)


def test_a_bad_line_is_named_by_answer(tmp_path: Path) -> None:
    check_bad_lines(tmp_path, ["answer"], heavy=True)


def test_a_repeated_id_is_named_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD) + "\n")
    lines = [words for words in readers_but_answer(["bad.jsonl"]) if words[0] not in ("show", "view")]
    for words, result in zip(lines, run_all(tmp_path, lines), strict=True):
        text = result["err"] + result["out"]
        assert result["code"] == 1, (words, result)
        assert "line 1" in text, (words, text)
        assert result["heavy"] == [], words


def verbs() -> dict[str, Any]:
    """Every verb, and every source or part of a verb that has its own, with its command."""
    from nlft.cli.app import VERBS, load_verb

    found: dict[str, Any] = {}
    for name in VERBS:
        command = load_verb(name)
        if hasattr(command, "commands"):
            found |= {f"{name} {sub}": each for sub, each in command.commands.items()}
        else:
            found[name] = command
    return found


def test_a_mistyped_flag_of_any_verb_is_told_its_neighbour(tmp_path: Path) -> None:
    lines, wanted = [], []
    for name, command in verbs().items():
        flags = [flag for p in command.params for flag in getattr(p, "opts", []) if flag.startswith("--")]
        for flag in flags:
            if len(flag) >= 7 and flag != "--help":
                lines.append([*name.split(), flag[:4] + flag[5] + flag[4] + flag[6:] + "x"])
                wanted.append(flag)
                break
    assert len(lines) >= 12
    for words, flag, result in zip(lines, wanted, run_all(tmp_path, lines), strict=True):
        assert result["code"] == 2, (words, result)
        assert "did you mean" in result["err"], (words, result["err"])
        assert flag in result["err"], (words, result["err"])
        assert result["heavy"] == [], words


def test_settings_that_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(GOOD) + "\n")
    (tmp_path / "settings.yaml").write_text("p0_correct: 0.9\np0_corect: 0.9\n")
    (tmp_path / "prompts.yaml").write_text("solve: s\nslove: s\n")
    cases = {
        ("train", "rows.jsonl", "-o", "out", *MODEL, "--preset", "papper"): "paper",
        ("train", "rows.jsonl", "-o", "out", *MODEL, "--settings", "settings.yaml"): "p0_correct",
        ("train", "rows.jsonl", "-o", "out", *MODEL, "--prompts", "papr"): "paper",
        ("train", "rows.jsonl", "-o", "out", *MODEL, "--device", "cuda:1"): "CUDA_VISIBLE_DEVICES=1",
        ("train", "rows.jsonl", "-o", "out", *MODEL, "--ppo-epochs", "3"): "no effect",
        ("train", "rows.jsonl", "-o", "out", *MODEL, "--max-steps", "many"): "--max-steps",
        ("train", "rows.jsonl", "-o", "out", *MODEL, "--lora", "r"): "key=value",
        ("answer", "rows.jsonl", "-o", "out", *MODEL, "--base-url", "http://x/v1", "--adapter", "a"): "no such adapter",
        ("evaluate", "rows.jsonl", "-o", "e.json", *MODEL, "--greedy", "--temperature", "1"): "greedy",
        ("score", "rows.jsonl", "-o", "out", *MODEL, "--settings", "settings.yaml"): "p0_correct",
        ("evaluate", "rows.jsonl", "-o", "out.json", *MODEL, "--prompts", "prompts.yaml"): "solve",
        ("grade", "rows.jsonl", "-o", "out", "--grader", "gsm8k-strikt"): "gsm8k-strict",
        ("judge", "rows.jsonl", "-o", "out", "--judge", "rul"): "rule",
        ("data", "gsm8k", "-o", "out", "--split", "tset"): "test",
        ("compare", "a.json", "b.json", "--grader", "strikt"): "strict",
        ("run", "settings.yaml"): "unknown key",
        ("evalaute",): '"evaluate"',
    }
    lines = [list(words) for words in cases]
    for words, wanted, result in zip(lines, cases.values(), run_all(tmp_path, lines), strict=True):
        assert result["code"] == 2, (words, result)
        assert wanted in result["err"], (words, result["err"])
        assert result["heavy"] == [], words


def test_evaluations_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text('{"n": 1}')
    lines = [["compare", name, name] for name in ("missing.json", "broken.json", "list.json", "other.json")]
    for words, result in zip(lines, run_all(tmp_path, lines), strict=True):
        assert result["code"] == 1, (words, result)
        assert words[1] in result["err"]
        assert "remedy" in result["err"]


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_no_room_on_the_disk_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    """A limit on a file's size stands for a full disk: the same system calls fail."""
    tiny_rows(tmp_path / "rows.jsonl", 20, answered=True)
    (tmp_path / "out.jsonl").write_text("old\n")
    (result,) = run_all(tmp_path, [["grade", "rows.jsonl", "-o", "out.jsonl"]], before=LIMIT)
    assert result["code"] == 1
    assert "out.jsonl" in result["err"]
    assert "free some disk space" in result["err"]
    assert "Traceback" not in result["err"]
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "out.jsonl",
        "rows.jsonl",
    ]


@pytest.mark.parametrize("raised", ["OSError(28, 'No space left on device', 'a/b')", "OSError(122, 'Quota', 'a/b')"])
def test_a_full_disk_anywhere_is_a_message(tmp_path: Path, raised: str) -> None:
    before = f"""
import nlft.cli.app
def refuse(*_, **__):
    raise {raised}
nlft.cli.app.app = refuse
"""
    (result,) = run_all(tmp_path, [["grade", "x.jsonl", "-o", "y.jsonl"]], before=before)
    assert result["code"] == 1
    assert result["err"].startswith("error: a/b: ")
    assert "free some disk space" in result["err"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGPIPE")
def test_a_reader_that_has_gone_is_left_quietly() -> None:
    code = "from nlft.cli.app import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "train", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b""
    assert process.returncode in (1, 141)  # typer's own, or a shell's for SIGPIPE


def test_data_cannot_drive_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({**GOOD, "id": "\x1b[31mred\x07"}) + "\n" + '{"id": "\x1b]0;t"}\n')
    lines = [
        ["grade", "rows.jsonl", "-o", "o"],
        ["data", "check", "rows.jsonl"],
        ["grade", "\x1b[31m.jsonl", "-o", "o"],
    ]
    for result in run_all(tmp_path, lines):
        assert "\x1b" not in result["err"] + result["out"]
        assert "\x07" not in result["err"] + result["out"]
