"""Problems that are solved while training: what they count, which checkpoint they choose, and when they end a run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.tiny_train import ROWS

from nlft.cli.app import run as cli
from nlft.lm import load_model
from nlft.prompts import load_prompts
from nlft.records import Problem, Verdict, read_records, write_records
from nlft.train import dev as stage
from nlft.train.dev import Dev
from tiny import tiny_rows

SHARED = ("--prompts", "short", "--dtype", "float32", "--device", "cpu", "--objective", "sft", "--lr", "0.01")


def even(attempt: Any) -> Verdict:
    """A random model solves nothing; this it does now and then."""
    return Verdict(correct=sum(map(ord, attempt.response)) % 2 == 0, reason="-")


@pytest.fixture
def train(folder: Path, tmp_path: Path) -> Any:
    write_records(tmp_path / "rows.jsonl", ROWS)
    tiny_rows(tmp_path / "dev.jsonl", 3, answered=False)

    def run(out: str, *words: str) -> Path:
        rows, where = str(tmp_path / "rows.jsonl"), str(tmp_path / out)
        assert cli(["train", rows, "-m", str(folder), "-o", where, *SHARED, *words]) == 0
        return tmp_path / out

    return run


def told(monkeypatch: pytest.MonkeyPatch, *accuracies: float) -> None:
    """Let each measurement say the next of these."""
    said: Iterator[float] = iter(accuracies)
    monkeypatch.setattr(Dev, "measure", lambda self, model: {"eval_accuracy": next(said)})


def log(out: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def test_what_is_measured_is_what_the_model_answers_greedily(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stage, "get_grader", lambda name: even)
    lm = load_model(str(folder), dtype="float32", device="cpu")
    lm.model.generation_config.eos_token_id = list(range(20))  # so that answers end, after some tokens or others
    problems = list(read_records(tiny_rows(tmp_path / "dev.jsonl", 9, answered=False), Problem))
    made = Dev(problems, lm, load_prompts("short"), grader="exact", max_new_tokens=7)
    expected = cut = 0
    for prompt in made.prompts:
        ids = list(prompt)
        with torch.no_grad():
            while len(ids) < len(prompt) + 7 and (not ids[len(prompt) :] or ids[-1] not in lm.stop_ids):
                ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
        stopped = ids[-1] in lm.stop_ids
        cut += not stopped
        expected += sum(map(ord, lm.read(ids[len(prompt) : len(ids) - stopped], prompt)[1])) % 2 == 0
    assert made.measure(lm.model) == {"eval_accuracy": expected / 9, "eval_hit_length": cut / 9, "eval_n": 9}
    assert 0 < expected < 9
    assert ("the stop token never came" in caplog.text) is (cut == 9)


def test_the_best_checkpoint_is_kept_and_patience_ends_the_run(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train("plain", "--epochs", "2")
    told(monkeypatch, 0.1, 0.5, 0.5, 0.3, 0.9)
    out = train("out", "--epochs", "6", "--dev", str(plain.parent / "dev.jsonl"), "--patience", "2")
    assert log(out, "eval_accuracy") == [0.1, 0.5, 0.5, 0.3]
    said = json.loads((out / "train.json").read_text())
    assert (said["dev_accuracy"], said["best"], said["steps"]) == (0.5, "step 2", 4)
    kept, best = (load_file(each / "adapter_model.safetensors") for each in (out, out / "checkpoint-2"))
    assert all(torch.equal(kept[name], best[name]) for name in best)
    last = load_file(out / "checkpoint-4" / "adapter_model.safetensors")
    assert not all(torch.equal(last[name], best[name]) for name in best)


def test_solving_problems_does_not_change_the_training(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plain = train("plain", "--max-steps", "3", "--batch-size", "2", "--lora", "lora_dropout=0.5")
    words = ["--dev", str(plain.parent / "dev.jsonl"), "--dev-every", "1", "--max-new-tokens", "3"]
    out = train("out", "--max-steps", "3", "--batch-size", "2", "--lora", "lora_dropout=0.5", *words)
    assert log(out, "loss") == log(plain, "loss")
    assert len(log(out, "eval_accuracy")) == 3
    assert "dev accuracy 0.0%: step 1" in capsys.readouterr().out
    assert {each.name for each in out.glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-3"}


def test_folds_choose_the_number_of_epochs(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folds of two rows: after two epochs two of the four are solved, after one or three, one."""
    told(monkeypatch, 0.0, 0.5, 0.5, 0.5, 0.5, 0.0)
    out = train("out", "--epochs", "3", "--dev-folds", "2", "--batch-size", "2")
    said = json.loads((out / "train.json").read_text())
    assert (said["rows"], said["steps"]) == (4, 4)
    assert [log(out / "folds" / str(fold), "eval_accuracy") for fold in (0, 1)] == [[0.0, 0.5, 0.5], [0.5, 0.5, 0.0]]
    whole = train("whole", "--epochs", "3", "--batch-size", "2")
    assert log(out, "loss") == log(whole, "loss")[:4]  # on the learning rates of three epochs
    # A finished fold is not trained again: nothing is left to be told.
    (out / "train.json").unlink()
    again = train("out", "--epochs", "3", "--dev-folds", "2", "--batch-size", "2", "--resume")
    assert json.loads((again / "train.json").read_text())["steps"] == 4
