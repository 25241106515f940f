"""500 rows against a server that fails in every way: none lost, none doubled, none altered; also when killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.answer.files import answer_file

from nlft.answer.config import AnswerSettings
from nlft.answer.server import Endpoint
from nlft.answer.types import OnReply, Reply, Request
from nlft.files import failed_path, journal_path
from nlft.prompts import load_prompts
from nlft.records import Attempt, Problem, read_records, write_records

WEIGHTS = {
    "good": 0.66, "429": 0.05, "429 with Retry-After": 0.04, "429 with ms": 0.04, "500": 0.05, "503": 0.03,
    "hang": 0.006, "cut": 0.03, "half sent": 0.03, "broken JSON": 0.03, "empty": 0.03,
}  # fmt: skip
ROWS = 500


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    rows = [Problem(id=f"p{i}", question=f"How many are {i} {{x}} & 1?", reference=f"#### {i}") for i in range(ROWS)]
    write_records(path, rows)
    return path


class Calm:
    """What the server would say, without a server: the uninterrupted run with the same replies."""

    name, cacheable = "m", False

    def __init__(self, reply_to: Callable[[str], str]) -> None:
        self.reply_to = reply_to

    def settings(self) -> dict[str, Any]:
        return {}

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        for request in requests:
            on_reply(request, Reply(self.reply_to(request.row.question), "stop"))


@pytest.fixture
def calm(problems: Path, answer_storm: Any) -> bytes:
    return calm_output(problems, answer_storm[1])


def calm_output(problems: Path, reply_to: Callable[[str], str]) -> bytes:
    output = problems.with_name("calm.jsonl")
    answer_file(problems, output, Calm(reply_to), prompts=load_prompts("short"))
    return output.read_bytes()


def keys(journal: Path) -> list[str]:
    lines = [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [json.loads(line)["key"] for line in lines]


def test_storm_loses_doubles_and_alters_nothing(problems, server, tmp_path, answer_storm, calm, monkeypatch) -> None:
    storm, reply_to = answer_storm
    server.fate = storm(1, WEIGHTS)
    output = tmp_path / "answers.jsonl"
    monkeypatch.setattr("nlft.answer.limits.FIRST_WAIT", 0.005)
    monkeypatch.setattr("nlft.answer.limits.LONGEST_WAIT", 0.02)
    # Below the server's longest silence, but long enough for a busy one to have read each request before it is given up.
    settings = AnswerSettings(model="m", base_url=server.url, timeout=1.5, attempts=30, retry_seconds=60)
    endpoint = Endpoint(settings, SecretStr("none"))
    answers = answer_file(problems, output, endpoint, prompts=load_prompts("short"))

    rows = list(read_records(output, Attempt))
    assert [row.id for row in rows] == [f"p{i}" for i in range(ROWS)]
    assert all(row.response == reply_to(row.question) for row in rows)
    assert not answers.failed
    assert not failed_path(output).exists()
    assert output.read_bytes() == calm
    kept = keys(journal_path(output))
    assert len(kept) == len(set(kept)) == ROWS, "a reply stands in the journal twice"
    assert set(server.fates) == set(WEIGHTS), "the storm must have had every fault in it"
    assert answers.usage.requests == sum(server.attempts.values())


def command(problems: Path, output: Path, url: str) -> list[str]:
    return [
        "answer", str(problems), "-o", str(output), "--base-url", url, "--model", "m", "--prompts", "short",
        "--timeout", "0.5", "--attempts", "30", "--concurrency", "8",
    ]  # fmt: skip


def run_command(arguments: list[str]) -> None:
    os.setpgrp()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from nlft.cli.app import run

    os._exit(run(arguments))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills are delivered by POSIX signals")
def test_twenty_kills_lose_double_and_alter_nothing(problems, server, tmp_path, answer_storm, calm) -> None:
    storm, _ = answer_storm
    gentle = {fate: share * (0.25 if fate != "good" else 1) for fate, share in WEIGHTS.items()}
    server.fate = storm(2, gentle)
    output = tmp_path / "answers.jsonl"
    # Forked from a process that has imported everything, so that twenty starts cost little.
    context = multiprocessing.get_context("forkserver")
    # There is one fork server a process: what the pipeline's steps need is loaded in it too, or each would load torch.
    needed = ["nlft.lm.load", "nlft.train.trainer"]
    context.set_forkserver_preload(["nlft.cli.answer", "nlft.answer.server", "nlft.answer.step", "openai", *needed])
    kills = 0
    for round_number in range(1, 21):
        process = context.Process(target=run_command, args=(command(problems, output, server.url),))
        enough = threading.Event()
        goal = 20 * round_number

        def count(goal: int = goal, enough: threading.Event = enough) -> None:
            if sum(server.served.values()) >= goal:
                enough.set()

        server.serve_gate = count
        process.start()
        assert enough.wait(300.0), "the run made no progress"
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert not output.exists(), "a killed run must leave no half output"
    assert kills == 20
    server.serve_gate = lambda: None
    kept = keys(journal_path(output))
    assert len(kept) == len(set(kept)) < ROWS, "a reply stands in the journal twice"
    served_before = sum(server.served.values())

    ended = subprocess.run([sys.executable, "-m", "nlft", *command(problems, output, server.url)], check=False)
    assert ended.returncode == 0
    assert output.read_bytes() == calm
    # What was in flight when a kill struck was served and may not have been kept: at most `concurrency` a kill.
    assert served_before - len(kept) <= 20 * 8
    assert sum(server.served.values()) - served_before >= ROWS - len(kept)
    assert sum(server.served.values()) - ROWS <= 20 * 8 + server.fates["hang"], "kept replies were asked again"


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
def test_ctrl_c_says_what_is_kept_and_the_next_run_goes_on(problems, server, tmp_path, answer_storm) -> None:
    problems.write_text("".join(problems.read_text().splitlines(keepends=True)[:80]))
    calm = calm_output(problems, answer_storm[1])
    output, begun = tmp_path / "answers.jsonl", threading.Event()
    server.serve_gate = lambda: (sum(server.served.values()) >= 30 and begun.set(), None)[1]
    line = [sys.executable, "-m", "nlft", *command(problems, output, server.url)]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert begun.wait(300.0)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130, told
    assert "finished work is on disk" in told
    assert "Traceback" not in told
    assert not output.exists()
    assert len(keys(journal_path(output))) >= 30 - 8, "more is missing than was under way"
    server.serve_gate = lambda: None
    assert subprocess.run(line, check=False, stderr=subprocess.DEVNULL).returncode == 0
    assert output.read_bytes() == calm
