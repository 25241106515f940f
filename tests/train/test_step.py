"""The stage: resumed as uninterrupted, what is logged, and a disk that is full."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_train import ROWS, config

from nlft.cli.app import run as cli
from nlft.errors import DataError
from nlft.lm import load_model
from nlft.records import Verdict, write_records
from nlft.steps.step_weights import with_step_weights
from nlft.train import NLFTConfig, NLFTTrainer, train


def run(folder: Path, out: Path, tmp_path: Path, *, resume: bool = False, **changes: Any) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    lm = load_model(str(folder), dtype="float32", device="cpu")
    settings = config(tmp_path, output_dir=str(out), per_device_train_batch_size=2, save_strategy="steps", **changes)
    train(ROWS, lm, settings, resume=resume)
    return load_file(out / "adapter_model.safetensors")


def test_resumed_is_uninterrupted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout included: a run that is interrupted and resumed ends with the same adapter, bit for bit."""
    whole = run(folder, tmp_path / "whole", tmp_path, num_train_epochs=3, save_steps=2)
    calls = 0
    original = NLFTTrainer.training_step

    def interrupted(self: NLFTTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(NLFTTrainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "broken", tmp_path, num_train_epochs=3, save_steps=2)
    monkeypatch.undo()
    with pytest.raises(DataError, match="interrupted run"):
        run(folder, tmp_path / "broken", tmp_path, num_train_epochs=3, save_steps=2)
    resumed = run(folder, tmp_path / "broken", tmp_path, num_train_epochs=3, save_steps=2, resume=True)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    steps = [json.loads(x)["step"] for x in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()]
    assert steps[:6] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(DataError, match="finished run"):
        run(folder, tmp_path / "broken", tmp_path, num_train_epochs=3, save_steps=2)


def test_what_is_logged(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", tmp_path, num_train_epochs=1, save_steps=50)
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    wanted = {"loss", "weighted", "likelihood", "share_salient", "share_sub_salient", "excluded", "mean_scale"}
    assert wanted | {"tokens_per_second", "learning_rate", "grad_norm", "epoch", "step"} <= rows[0].keys()
    summary = json.loads((tmp_path / "out" / "train.json").read_text())
    assert (summary["rows"], summary["steps"], summary["settings"]["r0"]) == (4, 2, 1.5)
    assert summary["provenance"]["versions"]["torch"]


def test_a_full_disk_is_named_and_the_last_whole_checkpoint_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch tells of it in an error of its own, in the middle of a checkpoint; --resume passes that one over."""
    whole = run(folder, tmp_path / "whole", tmp_path, num_train_epochs=3, save_steps=2)
    saved = torch.save
    calls = 0

    def full(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal calls
        if str(path).endswith("optimizer.pt"):
            calls += 1
            if calls == 2:
                Path(path).write_bytes(b"half")
                raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 11648 vs 11536")
        saved(value, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0}))
    with pytest.raises(DataError, match="no space left on the disk; checkpoint-2 is kept"):
        run(folder, tmp_path / "broken", tmp_path, num_train_epochs=3, save_steps=2)
    monkeypatch.undo()
    assert (tmp_path / "broken" / "checkpoint-4").exists()
    resumed = run(folder, tmp_path / "broken", tmp_path, num_train_epochs=3, save_steps=2, resume=True)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_a_run_that_trains_nothing_says_so(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    everything = {"p0_incorrect": 0.0, "ratio_threshold": 1e-9, "filter_threshold": 0.0}
    wrong = [ROWS[1], ROWS[3]]
    train(wrong, lm, config(tmp_path, output_dir=str(tmp_path / "idle"), settings=everything, max_steps=2))
    assert "nothing was trained" in caplog.text
    caplog.clear()
    lm = load_model(str(folder), dtype="float32", device="cpu")
    settings = {**everything, "filter": "off"}
    train(wrong, lm, config(tmp_path, output_dir=str(tmp_path / "busy"), settings=settings, max_steps=2))
    assert "nothing was trained" not in caplog.text


def test_what_is_overwritten_cannot_be_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new run that is interrupted early resumes from its own beginning, not from the old run's last checkpoint."""
    import nlft.train.loop as stage

    out = tmp_path / "out"
    settings = {"save_steps": 1, "num_train_epochs": 2}
    run(folder, out, tmp_path, objective="sft", **settings)
    assert list(out.glob("checkpoint-*"))
    lm = load_model(str(folder), dtype="float32", device="cpu")
    shared = {"per_device_train_batch_size": 2, "save_strategy": "steps", **settings}
    again = config(tmp_path, output_dir=str(out), objective="dft", **shared)
    monkeypatch.setattr(stage.NLFTTrainer, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(ROWS, lm, again, overwrite=True)
    monkeypatch.undo()
    assert not list(out.glob("checkpoint-*"))
    resumed = run(folder, out, tmp_path, objective="dft", resume=True, **settings)
    whole = run(folder, tmp_path / "whole", tmp_path, objective="dft", **settings)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_a_resumed_run_counts_the_time_of_all_its_parts(folder: Path, tmp_path: Path) -> None:
    settings = {"num_train_epochs": 3, "save_steps": 2}
    run(folder, tmp_path / "out", tmp_path, **settings)
    shutil.rmtree(tmp_path / "out" / "checkpoint-6")  # as if interrupted before
    path = tmp_path / "out" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if '"loss"' in line]
    seconds = [row["seconds"] for row in rows]
    assert 0 < seconds[0] < seconds[-1] < 1000
    path.write_text("".join(json.dumps(row | {"seconds": 1000.0 + row["step"]}) + "\n" for row in rows), "utf-8")
    run(folder, tmp_path / "out", tmp_path, resume=True, **settings)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["seconds"] for row in rows[:4]] == [1001, 1002, 1003, 1004]
    assert min(row["seconds"] for row in rows[4:]) > 1004


def test_a_metrics_line_cut_short_is_dropped(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, out, tmp_path, num_train_epochs=2, save_steps=1)
    shutil.rmtree(out / "checkpoint-4")
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 9, "lo')
    run(folder, out, tmp_path, num_train_epochs=2, save_steps=1, resume=True)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert steps[:4] == [1, 2, 3, 4]


def test_several_gpus_do_not_multiply_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainingArguments

    from nlft.train.reft import ReFTConfig

    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda args: args.__dict__.get("_n_gpu") or 4))
    assert NLFTConfig(str(tmp_path), use_cpu=True).train_batch_size == 4
    assert ReFTConfig(str(tmp_path), use_cpu=True).train_batch_size == 16


def test_an_objective_has_options_on_the_command_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(tmp_path / "judged.jsonl", ROWS)
    words = [
        "train",
        str(tmp_path / "judged.jsonl"),
        "-m",
        str(folder),
        "-o",
        str(tmp_path / "out"),
        "--prompts",
        "short",
    ]
    words += ["--objective", "cut", "--max-steps", "1"]
    assert cli([*words, "--objective-option", "treshold=2"]) == 2
    assert 'no option "treshold"' in capsys.readouterr().err
    assert cli([*words, "--objective-option", "threshold"]) == 2
    assert cli([*words, "--objective", "reft", "--objective-option", "threshold=2"]) == 2
    assert cli([*words, "--objective-option", "threshold=2.5"]) == 0
    said = json.loads((tmp_path / "out" / "train.json").read_text())
    assert said["objective_options"] == {"threshold": 2.5}


@pytest.mark.parametrize("objective", ["first-error", "clipped-ratio"])
def test_where_a_row_goes_wrong_is_found_here_or_given(folder: Path, tmp_path: Path, objective: str) -> None:
    """Without a column of weights the command finds the wrong step itself; with one, it takes that."""
    tokenizer = load_model(str(folder), dtype="float32", device="cpu").tokenizer
    wrong = ROWS[0].model_copy(
        update={
            "response": "1 + 2 = 4\n#### 4", "judgment": 'The step "1 + 2 = 4" is wrong.',
            "verdict": Verdict(correct=False, reason="-"),
        }
    )  # fmt: skip
    given = with_step_weights([wrong, *ROWS[1:]], tokenizer)
    other = [given[0].model_copy(update={"token_weights": [0.5] * len(given[0].token_weights)}), *given[1:]]  # type: ignore[attr-defined]
    losses = []
    for name, rows in (("without", [wrong, *ROWS[1:]]), ("with", given), ("other", other)):
        write_records(tmp_path / f"{name}.jsonl", rows)
        words = ["train", str(tmp_path / f"{name}.jsonl"), "--model", str(folder), "--objective", objective]
        words += [
            "--max-steps",
            "1",
            "--lora",
            "r=2",
            "--dtype",
            "float32",
            "--device",
            "cpu",
            "-o",
            str(tmp_path / name),
        ]
        assert cli(words) == 0
        losses.append(json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])["loss"])
    assert losses[0] == losses[1] != losses[2]
