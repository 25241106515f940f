"""The page "From adapter to server" is true: its commands run, and say what it says."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from tests.tiny import tiny_rows
from tests.train.tiny_train import ROWS

from nlft.cli.app import run as cli
from nlft.records import write_records

PAGE = Path(__file__).parents[2] / "docs" / "from-adapter-to-server.md"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
TINY = ["--device=cpu", "--max-new-tokens=4"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_commands_of_the_page(
    folder: Path,
    tmp_path: Path,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every `nlft` line in order, on a tiny model; what it prints for servers is what the page shows."""
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "judged.jsonl", ROWS)
    for name in ("test", "dev"):
        tiny_rows(tmp_path / f"{name}.jsonl", 2, answered=False)
    reply = {"choices": [{"message": {"role": "assistant", "content": "#### 2"}, "finish_reason": "stop"}]}
    httpserver.expect_request("/v1/chat/completions", method="POST").respond_with_json(reply)
    # The base model has its hub id on the page; here a folder stands at a path that reads the same.
    shutil.copytree(folder, tmp_path / MODEL)
    monkeypatch.setattr("nlft.adapter.record.model_id", lambda name: name)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    ran, printed = [], ""
    for line in lines:
        program, *words = shlex.split(line.replace("http://localhost:8000", httpserver.url_for("").rstrip("/")))
        if program != "nlft":
            continue
        more = {"train": ["--max-steps=1", "--device=cpu", "--lora-r=16"], "export": [], "push": []}.get(words[0], TINY)
        if "--merge" in words:
            more = TINY
        more = more[1:] if "--base-url" in words else more
        assert cli([*words, *more]) == 0, line
        ran.append(words[0])
        printed += capsys.readouterr().out
    assert ran == ["train", "evaluate", "answer", "export", "export", "evaluate", "push"]
    served = [line for line in lines if line.startswith(("vllm", "python", "llama-server"))]
    assert len(served) == 6
    here = printed.replace("--base ", "--base-model-id ")  # llama.cpp is told of a folder otherwise
    assert [line for line in served if line not in here] == []
    assert "dry run: nothing was uploaded to me/my-adapter" in printed
    sent = httpserver.log[-1][0].get_json()["messages"]
    assert sent[0]["content"].startswith("Solve the problem step by step.")
    (code,) = blocks("python")
    scope: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), scope)  # noqa: S102 - the page's own example
    assert scope["answer"].shape[1] > scope["inputs"].input_ids.shape[1]
