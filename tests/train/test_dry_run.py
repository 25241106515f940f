"""The dry run against the run: steps and tokens from its own log, memory and operations from a step with real tensors."""

import json
from pathlib import Path

import pytest
import torch
from tests.train.test_trainer import trainer_for
from tests.train.tiny_train import ROWS
from torch.utils.flop_counter import FlopCounterMode

from nlft.cli.app import run as cli
from nlft.lm.score import score_batch
from nlft.records import write_records
from nlft.train import rehearsal
from nlft.train.rehearsal import _Memory, rehearse
from tiny import tiny_model


@pytest.mark.parametrize("objective", ["sft", "nlft", "cut"])
def test_a_rehearsed_step_takes_what_a_real_one_does(folder: Path, tmp_path: Path, objective: str) -> None:
    made = trainer_for(folder, tmp_path, objective=objective)
    examples = made.train_dataset.examples
    fields = {"lora_dropout": 0.0}
    found = rehearse(str(folder), examples, made.objective, dtype=torch.float32, lora=fields)
    made.model.train()
    score_batch(made.model, examples, made.objective)  # what is made once is there before
    with _Memory() as memory, FlopCounterMode(display=False) as counter:
        rows = score_batch(made.model, examples, made.objective)
        every = [each for row in rows for each in vars(row).values() if isinstance(each, torch.Tensor)]
        loss = torch.stack([each.sum() for each in every if each.requires_grad]).sum()
        del rows, every
        loss.backward()
    assert found.operations == counter.get_total_flops()
    assert found.step == pytest.approx(memory.peak, rel=0.05)
    parameters = list(made.model.parameters())
    assert found.weights == sum(each.numel() * each.element_size() for each in parameters)
    assert found.optimizer == 8 * sum(each.numel() for each in parameters if each.requires_grad)


def test_a_few_layers_tell_of_all(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer_for(folder, tmp_path, objective="sft")
    deep = str(tiny_model(tmp_path / "deep", num_hidden_layers=7))
    results = []
    for few in (2, 9):
        monkeypatch.setattr(rehearsal, "FEW", few)
        results.append(
            rehearse(deep, made.train_dataset.examples, made.objective, dtype=torch.float32, lora={"lora_dropout": 0.0})
        )
    assert results[0].operations == results[1].operations
    assert results[0].weights == results[1].weights
    assert results[0].step == pytest.approx(results[1].step, rel=0.02)


def test_the_command_says_what_the_run_does(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(tmp_path / "rows.jsonl", [*ROWS, ROWS[1].model_copy(update={"id": "e", "judgment": None})])
    words = [
        "train",
        str(tmp_path / "rows.jsonl"),
        "-m",
        str(folder),
        "-o",
        str(tmp_path / "out"),
        "--prompts",
        "short",
    ]
    words += ["--dtype", "float32", "--device", "cpu", "--epochs", "3", "--batch-size", "3", "--warmup", "0.5"]
    assert cli([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert "rows     5, 1 of them skipped" in said
    assert "steps    6, 2 an epoch, 3 of them warm-up" in said
    assert "warning: 6 steps are few" in said
    trained = sum(len(each.response) for each in trainer_for(folder, tmp_path).train_dataset.examples)
    assert "base     4 rows" in said
    assert f"{trained:,} tokens trained an epoch" in said
    assert "standard 4 rows" in said
    assert "judge    2 rows" in said
    assert "read without gradient" in said
    assert cli(words) == 0
    assert json.loads((tmp_path / "out" / "train.json").read_text())["steps"] == 6
    capsys.readouterr()
    assert cli([*words[:-2], "--max-length", str(100), "--dry-run"]) == 0
    assert "rows have more than 100 tokens, and would be refused" in capsys.readouterr().out
    assert cli([*words, "--dry-run", "--quantization", "4bit"]) == 2
