"""500 rows against a server that fails in every way: none lost, none doubled, none altered; also when killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nlft.answer.backoff import RetryPolicy
from nlft.answer.endpoint import Endpoint, EndpointSettings
from nlft.answer.journal import failed_path, journal_path
from nlft.answer.secrets import Secret
from nlft.answer.stage import answer_file
from nlft.prompts import load_prompts
from nlft.records import Attempt, Problem, read_records, write_records

WEIGHTS = {
    "good": 0.66, "429": 0.05, "429 with Retry-After": 0.04, "429 with ms": 0.04, "500": 0.05, "503": 0.03,
    "hang": 0.01, "cut": 0.03, "half sent": 0.03, "broken JSON": 0.03, "empty": 0.03,
}  # fmt: skip
ROWS = 500


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    rows = [Problem(id=f"p{i}", question=f"How many are {i} {{x}} & 1?", reference=f"#### {i}") for i in range(ROWS)]
    write_records(path, rows)
    return path


def endpoint(url: str, timeout: float = 0.3) -> Endpoint:
    policy = RetryPolicy(attempts=30, seconds=60, base=0.005, cap=0.02)
    return Endpoint(EndpointSettings("m", url, timeout=timeout, retry=policy), Secret("none"))


def calm_output(problems: Path, server, tmp_path: Path) -> bytes:
    """What an uninterrupted run against a server without faults writes."""
    server.fate = lambda question, attempt: "good"
    calm = tmp_path / "calm" / "answers.jsonl"
    answer_file(problems, calm, endpoint(server.url, 10.0), prompts=load_prompts("short"))
    server.attempts.clear()
    server.served.clear()
    server.fates.clear()
    return calm.read_bytes()


def test_storm_loses_doubles_and_alters_nothing(problems, server, tmp_path, answer_storm) -> None:
    storm, reply_to = answer_storm
    calm = calm_output(problems, server, tmp_path)
    server.fate = storm(1, WEIGHTS)
    output = tmp_path / "answers.jsonl"
    answers = answer_file(problems, output, endpoint(server.url), prompts=load_prompts("short"))

    rows = list(read_records(output, Attempt))
    assert [row.id for row in rows] == [f"p{i}" for i in range(ROWS)]
    assert all(row.response == reply_to(row.question) for row in rows)
    assert not answers.failed
    assert not failed_path(output).exists()
    assert output.read_bytes() == calm
    assert set(server.served.values()) == {1}, "a row that had its reply was asked again"
    assert set(server.fates) == set(WEIGHTS), "the storm must have had every fault in it"
    assert answers.tally.requests == sum(server.attempts.values())


def command(problems: Path, output: Path, url: str) -> list[str]:
    return [
        "answer", str(problems), "-o", str(output), "--base-url", url, "--model", "m", "--prompts", "short",
        "--timeout", "0.3", "--attempts", "30", "--concurrency", "8",
    ]  # fmt: skip


def run_command(arguments: list[str]) -> None:
    os.setpgrp()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from nlft.cli.app import run

    os._exit(run(arguments))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills are delivered by POSIX signals")
def test_twenty_kills_lose_double_and_alter_nothing(problems, server, tmp_path, answer_storm) -> None:
    storm, _ = answer_storm
    calm = calm_output(problems, server, tmp_path)
    gentle = {fate: share * (0.25 if fate != "good" else 1) for fate, share in WEIGHTS.items()}
    server.fate = storm(2, gentle)
    output = tmp_path / "answers.jsonl"
    # Forked from a process that has imported everything, so that twenty starts cost little.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nlft.cli.answer", "nlft.answer.endpoint", "nlft.answer.stage", "openai"])
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
        assert enough.wait(20.0), "the run made no progress"
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert not output.exists(), "a killed run must leave no half output"
    assert kills == 20
    server.serve_gate = lambda: None
    kept = [json.loads(line)["key"] for line in whole_lines(journal_path(output))]
    assert len(kept) == len(set(kept)), "a reply stands in the journal twice"
    asked_before = set(server.served)

    ended = subprocess.run([sys.executable, "-m", "nlft.cli.app", *command(problems, output, server.url)], check=False)
    assert ended.returncode == 0
    assert output.read_bytes() == calm
    # What was in flight when a kill struck may have been served and not kept: at most `concurrency` a kill.
    again = sum(count - 1 for count in server.served.values())
    assert again <= 20 * 8
    assert len(asked_before) < ROWS
    assert again == sum(server.served.values()) - ROWS


def whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
