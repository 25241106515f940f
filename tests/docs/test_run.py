"""The blocks of the pages run, in their order, on a random model of two layers: `make test-docs`.

What is tested is that commands and code fit each other and the files they name. The model knows nothing.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_httpserver import HTTPServer
from tests.docs.blocks import ELSEWHERE, PAGES, Block, blocks, name, nlft_words, program
from tests.tiny import tiny_rows

from nlft.cli.app import run
from nlft.edits import Edit, EditsFile
from nlft.records import Judged, Problem, read_records

pytestmark = pytest.mark.docs

# The names that the pages give to a model; here each is a link to the same folder.
MODELS = ("M", "A", "B", "path/to/model", "HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen2.5-1.5B-Instruct",
          "meta-llama/Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct")  # fmt: skip
CPU = ["--device=cpu", "--dtype=float32"]
SHORT = [*CPU, "--max-new-tokens=4"]
# What keeps a command short.
MORE = {
    "answer": SHORT,
    "revise": SHORT,
    "evaluate": SHORT,
    "score": CPU,
    "train": [*CPU, "--max-steps=2"],
    "choose": [
        *CPU,
        "--folds=2",
        "--epochs=1",
        "--yes",
        "--method=sft-response",
        "--method=nlft-paper",
        "--set=train.max_steps=1",
        "--set=evaluate.max_new_tokens=2",
    ],
    "run": ["--set=train.max_steps=1", "--set=train.device=cpu"],
}
TO_RUN = {
    page: found
    for page in PAGES
    if name(page) not in ELSEWHERE
    and (found := [b for b in blocks(page) if b.language in ("sh", "python") and b.reason is None])
}


@pytest.fixture(scope="module")
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: rows of every stage, an adapter, a file of constants."""
    home = tmp_path_factory.mktemp("files")
    tiny_rows(home / "answers.jsonl", 8, answered=True)
    tiny_rows(home / "more.jsonl", 2, answered=True)
    for file, rows in (("problems", 8), ("test", 3), ("dev", 3)):
        tiny_rows(home / f"{file}.jsonl", rows, answered=False)
    lines = [f'"What is {i} plus 2?",#### {i + 2}' for i in range(12)]
    (home / "problems.csv").write_text("\n".join(["question,answer", *lines]) + "\n", encoding="utf-8")
    (home / "settings.yaml").write_text("p0_correct: 0.9\n", encoding="utf-8")
    model = f"--model={folder}"
    for words in (
        ["grade", home / "answers.jsonl", "-o", home / "graded.jsonl"],
        ["judge", home / "graded.jsonl", "-o", home / "judged.jsonl"],
        ["score", home / "judged.jsonl", "-o", home / "scored.jsonl", model, *CPU],
        ["train", home / "judged.jsonl", "-o", home / "adapter", model, *MORE["train"]],
    ):
        assert run(list(map(str, words))) == 0, words
    row = next(read_records(home / "judged.jsonl", Judged))
    edits = EditsFile(home / "judged.jsonl")
    edits.change(row.id, row.response, Edit(judgment="By hand."))
    edits.close()
    return home


@pytest.fixture
def place(files: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with those files and models, and an environment that is put back."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    for model in MODELS:
        (tmp_path / model).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / model).symlink_to(folder, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nlft.adapter.record.model_id", lambda name: name)  # a link reads like a hub id
    before = dict(os.environ)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("page", TO_RUN, ids=name)
def test_the_blocks_of_a_page_run(page: Path, place: Path, httpserver: HTTPServer) -> None:
    reply = {"message": {"role": "assistant", "content": "#### 2"}, "finish_reason": "stop"}
    httpserver.expect_request(re.compile("/v1/(chat/)?completions"), method="POST").respond_with_json(
        {"choices": [reply]}
    )
    # A server says that it has taken the adapter.
    httpserver.expect_request("/v1/load_lora_adapter", method="POST").respond_with_json({})
    httpserver.expect_request("/v1/unload_lora_adapter", method="POST").respond_with_json({})
    server = httpserver.url_for("/v1")
    ran = 0
    for block in TO_RUN[page]:
        if block.language == "python":
            exec(compile(block.text, f"{page}:{block.line}", "exec"), names(place))  # noqa: S102
            ran += 1
            continue
        for words in block.commands():
            if program(words) == "":
                os.environ.update(word.split("=", 1) for word in words)
            elif program(words) == "cp":
                shutil.copy(*words[1:])
            elif (given := nlft_words(words)) and program(words) == "nlft":
                ran += 1
                one(page, block, [os.path.expandvars(w).replace("http://localhost:8000/v1", server) for w in given])
    assert ran or not any(program(words) == "nlft" for block in TO_RUN[page] for words in block.commands())


def one(page: Path, block: Block, words: list[str]) -> None:
    """Run one command, made short."""
    if "--serve" in words:  # serves until Ctrl-C; tests/saliency_map starts the servers
        return
    at_server = "--base-url" in words
    more = MORE.get(words[0], []) if not at_server else ["--max-new-tokens=4"]
    more = [word for word in more if not (word.startswith("--dtype") and "--merge" in words)]
    overwrite = ["--overwrite"] if words[0] in ("train", "evaluate") and "--dry-run" not in words else []
    code = run([*words, *more, *overwrite])
    # A random model may answer a row with nothing at all: it failed for good, and the file is written.
    assert code in (0, 3), f"{page}:{block.line}: nlft {' '.join(words)}: {code}"


def names(place: Path) -> dict[str, Any]:
    """What the Python of the pages takes for granted."""
    n = 5
    logp = {f"logp_{path}": -torch.rand(n) for path in ("base", "standard", "judge")}
    logp["logp_base"].requires_grad_()
    return {
        **logp,
        "hidden_states": torch.randn(n, 8),
        "problems": list(read_records(place / "problems.jsonl", Problem)),
        "rows": list(read_records(place / "judged.jsonl", Judged)),
    }
