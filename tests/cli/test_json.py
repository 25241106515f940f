"""`--json` from stage to stage: one document on stdout and nothing else, and the exit code that the text has, too."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nlft.cli.app import run
from nlft.train.trainer import NLFTTrainer

LIGHT = ["--prompts", "short", "--dtype", "float32", "--device", "cpu", "--batch-size", "2"]
EXPERIMENT = """\
name: tiny
title: Tiny
output: {0}/run
model: {0}/model
prompts: short
data: {{source: {0}/train.jsonl}}
test: {{source: {0}/test.jsonl}}
evaluate: {{max_new_tokens: 4, dtype: float32, device: cpu, greedy: true}}
methods: {{base: {{train: null}}}}
sizes: [2]
epochs: [1]
seeds: [0]
"""


@pytest.fixture(scope="module")
def home(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, with judged rows, a scored file, an adapter and two evaluations."""
    folder = tmp_path_factory.mktemp("json")
    shutil.copytree(world, folder, dirs_exist_ok=True)
    at, model = str(folder) + "/", ["-m", str(folder / "model")]
    short = [*LIGHT, "--max-new-tokens", "4", "--greedy"]
    for words in (
        ["grade", at + "train.jsonl", "-o", at + "graded.jsonl"],
        ["judge", at + "graded.jsonl", "-o", at + "judged.jsonl"],
        ["score", at + "judged.jsonl", *model, *LIGHT[:-2], "-o", at + "scored.jsonl"],
        ["evaluate", at + "test.jsonl", *model, *short, "-o", at + "a.json"],
        ["evaluate", at + "test.jsonl", *model, *short, "-o", at + "b.json"],
    ):
        assert run(words) == 0, words
    (folder / "experiment.yaml").write_text(EXPERIMENT.format(folder), encoding="utf-8")
    return folder


@pytest.fixture
def said(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in the folder with `--json`; its document, after its exit code was looked at."""
    monkeypatch.chdir(home)

    def run_with_json(*words: str, code: int = 0) -> Any:
        capfd.readouterr()
        assert run([*words, "--json"]) == code
        return json.loads(capfd.readouterr().out)

    return run_with_json


def test_show(said: Any) -> None:
    row = said("show", "scored.jsonl", "1")
    assert row["id"] == "train-0"
    assert len(row["tokens"]) > 3
    assert {"role", "scale"} <= set(row["tokens"][0])
    table = said("show", "scored.jsonl")
    assert set(table) == {"right", "wrong"}


def test_evaluate_and_compare(said: Any) -> None:
    model = ["-m", "model", *LIGHT, "--max-new-tokens", "4", "--greedy"]
    summary = said("evaluate", "test.jsonl", *model, "-o", "c.json")
    assert summary["n"] == 3
    assert summary["strict"]["n"] == 3
    both = said("compare", "a.json", "b.json")
    assert [each["grader"] for each in both] == ["strict", "flexible"]
    assert (both[0]["only_a"], both[0]["difference"]) == (0, 0.0)


def test_choose_and_experiment(said: Any) -> None:
    few = ["--method=sft-reference", "--method=sft-response", "--folds=2", "--epochs", "1", "--prompts", "short"]
    few += ["--dtype", "float32", "--device", "cpu", "--set", "train.lora.r=2", "--set", "evaluate.max_new_tokens=4"]
    choice = said("choose", "judged.jsonl", "-m", "model", *few, "-o", "choice")
    assert choice["recipe"] == "choice/recipe.yaml"
    assert "sft-reference" in json.dumps(choice)
    assert said("experiment", "experiment.yaml", "--dry-run")["missing"] == ["base-s0"]
    ran = said("experiment", "experiment.yaml")
    assert ran["results"]["base-s0"]["evaluation"]["n"] == 3
    assert "results/experiment/test/table.md" in "".join(ran["written"])


def test_what_a_model_does_is_counted(said: Any) -> None:
    model = ["-m", "model", *LIGHT]
    answers = said("answer", "test.jsonl", *model, "--max-new-tokens", "4", "-o", "answers.jsonl")
    assert answers["by"] == {"model": {"answers": 3, "cut_off": answers["by"]["model"]["cut_off"]}}
    assert answers["completion_tokens"] > 0
    assert said("data", "merge", "train.jsonl", "answers.jsonl", "-o", "both.jsonl")["rows"] == 7
    assert said("score", "judged.jsonl", "-m", "model", *LIGHT[:-2], "-o", "scored2.jsonl")["rows"] == 4
    plan = said("train", "judged.jsonl", *model, "--epochs", "1", "-o", "adapter", "--dry-run")
    assert "steps" in plan["message"]
    trained = said("train", "judged.jsonl", *model, "--epochs", "1", "-o", "adapter")
    assert (trained["folder"], trained["rows"]) == ("adapter", 4)
    assert trained["steps"] == 2
    ways = said("revise", "judged.jsonl", *model, "--max-new-tokens", "4", "-o", "revised.jsonl")
    assert ways["wanted"] == 2
    assert ways["ways"][0]["answers"] > 0


def test_a_failure_prints_no_document_and_its_own_code(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    (home / "empty.jsonl").write_text('{"id": "a"}\n', encoding="utf-8")
    for words, code in (
        (["compare", "a.json", "nowhere.json"], 1),
        (["compare", "a.json"], 2),
        (["show", "scored.jsonl", "99"], 2),
        (["experiment", "experiment.yaml", "--set", "sizes=none"], 2),
        (["experiment", "experiment.yaml", "--set", "train=null"], 2),
        (["choose", "empty.jsonl", "-m", "model"], 1),
        (["evaluate", "empty.jsonl", "-m", "model", "-o", "d.json"], 1),
    ):
        capfd.readouterr()
        assert run([*words, "--json"]) == code, words
        out, err = capfd.readouterr()
        assert out == ""
        assert "error: " in err


def test_errors_of_a_check_are_a_document_too(said: Any, home: Path) -> None:
    (home / "bad.jsonl").write_text('{"id": "a"}\n', encoding="utf-8")
    assert said("data", "check", "bad.jsonl", code=1)["errors"]


def test_a_program_reads_it_through_a_pipe(home: Path) -> None:
    """In a process of its own, where whatever a library prints would be in the document as well."""
    words = [sys.executable, "-m", "nlft", "compare", "a.json", "b.json", "--json"]
    ran = subprocess.run(words, cwd=home, capture_output=True, text=True, check=True)
    assert len(json.loads(ran.stdout)) == 2
    assert ran.stderr == ""


def test_quiet_still_says_where_a_training_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(home)
    monkeypatch.setattr(NLFTTrainer, "training_step", stop)
    capfd.readouterr()
    assert run(["train", "judged.jsonl", "-m", "model", *LIGHT, "-o", "stopped", "--quiet"]) == 130
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split(":")[0].split(";")[0] for line in err.splitlines()] == ["training interrupted", "interrupted"]
