"""`nlft judge --judge openai` over real HTTP: judgments, contradictions, failures, each in its own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nlft.cli.app import run
from nlft.prompts import load_prompts
from nlft.records import Graded, Verdict, write_records


def raw(words: str) -> str:
    return "raw " + json.dumps({"choices": [{"message": {"content": words}, "finish_reason": "stop"}]})


@pytest.mark.parametrize("prompt", ["known-wrong", "a1"])
def test_the_command_over_http(server: Any, tmp_path: Path, capsys: Any, prompt: str) -> None:
    wrong = Verdict(correct=False, reason="made up")
    rows = [
        Graded(id=f"w{i}", question=f"Q{i}?", reference="#### 1", response=f"R{i}", verdict=wrong) for i in range(4)
    ]
    rows.append(rows[0].model_copy(update={"id": "r", "verdict": Verdict(correct=True, reason="made up")}))
    source, output = tmp_path / "graded.jsonl", tmp_path / "judged.jsonl"
    write_records(source, rows)

    def fate(asked: str, attempt: int) -> str:
        if "Q1?" in asked:
            return raw("### The response is correct. ###")
        if "Q2?" in asked:
            return "422 no"
        return "429 with ms" if attempt == 1 else raw("It errs at R." if "Q0?" in asked else "Look at R3.")

    server.fate = fate
    command = ["judge", str(source), "-o", str(output), "--judge", "openai", "--base-url", server.url, "--model", "m"]
    assert run([*command, "--prompt", prompt, "--report"]) == 3
    told = capsys.readouterr()
    assert [(row["id"], row["judgment"]) for row in lines(output)] == [
        ("w0", "It errs at R."),
        ("w3", "Look at R3."),
        ("r", None),
    ]
    assert [row["id"] for row in lines(tmp_path / "judged.rejected.jsonl")] == ["w1"]
    assert [(row["id"], row["failure"]) for row in lines(tmp_path / "judged.failed.jsonl")] == [("w2", "HTTP 422: no")]
    assert "1 judgments contradict the grade" in told.out
    assert "contradict the grade     1 of 4 (25%)" in told.out
    assert "1 rows failed for good" in told.err
    instruction = load_prompts("paper").judging_wrong if prompt == "known-wrong" else load_prompts("paper").judging
    assert {body["messages"][0]["content"] for body in server.bodies} == {instruction}
    assert all(body["temperature"] == 0 for body in server.bodies)

    sent = len(server.bodies)
    assert run([*command, "--prompt", prompt]) == 3
    assert len(server.bodies) == sent, "nothing is asked twice"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
