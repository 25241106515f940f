"""ReFT's two phases on a tiny model: what is saved, taken up again, and refused."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.reft.tiny_reft import config, reft
from tests.train.tiny_train import ROWS

from nlft.errors import DataError
from nlft.lm import load_model
from nlft.train import NLFTTrainer
from nlft.train.reft import ReFTTrainer, train_reft


@pytest.mark.usefixtures("paid")
def test_both_phases_leave_one_adapter_and_a_value_head(folder: Path, tmp_path: Path) -> None:
    lines = reft(folder, tmp_path / "out")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]  # four questions, two a rollout, two passes each
    wanted = {
        "reward", "correct", "kl", "policy_loss", "value_loss", "explained_variance", "response_length", "cut_short",
        "ratio", "ratio_clipped", "entropy", "tokens_per_second", "learning_rate", "grad_norm", "epoch",
    }  # fmt: skip
    assert all(wanted <= line.keys() for line in steps)
    assert not [name for line in steps for name in line if "/" in name]
    # The first pass over the first rollout: the policy is the one that sampled, and still the reference.
    assert steps[0]["ratio"] == pytest.approx(1, abs=1e-5)
    assert steps[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert steps[0]["ratio_clipped"] == 0
    # The second pass: it has moved.
    assert steps[1]["ratio"] != pytest.approx(1, abs=1e-5)
    assert steps[2]["kl"] != pytest.approx(0, abs=1e-6)

    summary = json.loads((tmp_path / "out" / "train.json").read_text())
    assert (summary["objective"], summary["rows"], summary["steps"]) == ("reft", 4, 4)
    assert json.loads((tmp_path / "out" / "warm-up" / "train.json").read_text())["rows"] == 2  # the correct ones
    for place in (tmp_path / "out", tmp_path / "out" / "checkpoint-4"):
        head = load_file(place / "value_head.safetensors")
        assert head["linear.weight"].abs().sum() > 0
    saved = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert saved
    assert all("lora_" in name for name in saved)
    assert not list((tmp_path / "out").rglob("reference"))
    assert not list((tmp_path / "out").rglob("training_args.bin"))
    assert load_model(str(folder), adapter=tmp_path / "out", dtype="float32", device="cpu").model.peft_config
    assert not list((tmp_path / "out" / "warm-up").glob("checkpoint-*"))


def test_ppo_goes_on_with_the_adapter_of_the_warm_up(folder: Path, tmp_path: Path) -> None:
    reft(folder, tmp_path / "out", learning_rate=0.0)
    warm = load_file(tmp_path / "out" / "warm-up" / "adapter_model.safetensors")
    end = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert warm.keys() == end.keys()
    assert all(torch.equal(end[name], value) for name, value in warm.items())
    assert any(value.abs().sum() > 0 for name, value in warm.items() if "lora_B" in name)


@pytest.mark.usefixtures("paid")
def test_resumed_is_uninterrupted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off once in each phase; adapter and value head end bit for bit the same."""
    settings: dict[str, Any] = {
        "num_train_epochs": 3,
        "save_strategy": "steps",
        "save_steps": 1,  # rounded up to a whole rollout's 2
        "warm_up_epochs": 2,
        "save_total_limit": None,
    }
    reft(folder, tmp_path / "whole", **settings)
    broken = tmp_path / "broken"

    def broken_off(kind: type[Any], at: int, *, resume: bool) -> None:
        calls, original = 0, kind.training_step

        def interrupted(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == at:
                raise KeyboardInterrupt
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "training_step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                reft(folder, broken, resume=resume, **settings)

    broken_off(NLFTTrainer, 2, resume=False)
    with pytest.raises(DataError, match="interrupted run"):
        reft(folder, broken, **settings)
    broken_off(ReFTTrainer, 8, resume=True)  # in the second epoch's second rollout: step 6 is the last checkpoint
    broken_off(ReFTTrainer, 4, resume=True)  # in the third epoch's first: step 8, the end of an epoch
    lines = reft(folder, broken, resume=True, **settings)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    for name in ("adapter_model.safetensors", "value_head.safetensors", "warm-up/adapter_model.safetensors"):
        expected, found = load_file(tmp_path / "whole" / name), load_file(broken / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name
    with pytest.raises(DataError, match="finished run"):
        reft(folder, broken, **settings)


@pytest.mark.usefixtures("paid")
def test_resumed_is_uninterrupted_on_a_quantized_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever resumes PPO loads the base afresh, and the warm-up, which would make it ready, is not run again."""
    pytest.importorskip("bitsandbytes")

    def run(out: Path, *, resume: bool) -> Any:
        lm = load_model(str(folder), dtype="bfloat16", device="cpu", quantization="4bit")
        assert lm.model.model.norm.weight.dtype is torch.bfloat16
        settings = config(out, save_strategy="steps", save_steps=1, bf16=True)
        train_reft(ROWS, lm, settings, lora={"r": 4}, resume=resume)
        return lm.model

    def interrupted(self: ReFTTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step == 2:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    original = ReFTTrainer.training_step
    run(tmp_path / "whole", resume=False)
    with monkeypatch.context() as patch:
        patch.setattr(ReFTTrainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", resume=False)
    model = run(tmp_path / "broken", resume=True)
    assert model.model.norm.weight.dtype is model.lm_head.weight.dtype is torch.float32
    for name in ("adapter_model.safetensors", "value_head.safetensors"):
        expected, found = load_file(tmp_path / "whole" / name), load_file(tmp_path / "broken" / name)
        assert {value.dtype for value in found.values()} == {torch.float32}  # in bfloat16, small steps would be lost
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name


def test_what_is_overwritten_cannot_be_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the new run is interrupted in its warm-up, before it has a checkpoint of its own."""
    out = tmp_path / "out"
    reft(folder, out)
    assert list(out.glob("checkpoint-*"))

    def broken_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(NLFTTrainer, "train", broken_off)
    with pytest.raises(KeyboardInterrupt):
        train_reft(ROWS, load_model(str(folder), device="cpu"), config(out, seed=1), overwrite=True)
    assert not list(out.glob("checkpoint-*"))
    assert not (out / "train.json").exists()


def test_a_batch_that_does_not_divide_the_questions_loses_none(folder: Path, tmp_path: Path) -> None:
    lines = reft(folder, tmp_path / "out", per_device_train_batch_size=3)
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert lines[-1]["epoch"] == 1.0


def test_rows_that_cannot_be_trained_on(folder: Path, tmp_path: Path) -> None:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    with pytest.raises(DataError, match="row 'x': no number"):
        train_reft([ROWS[0].model_copy(update={"id": "x", "reference": "none"})], lm, config(tmp_path / "a"))
    with pytest.raises(DataError, match="no response is correct"):
        train_reft([ROWS[1]], lm, config(tmp_path / "b"))
    assert not (tmp_path / "a").exists()
    with pytest.raises(DataError, match="the model takes 4096"):
        reft(folder, tmp_path / "c", max_completion_length=4090)


def test_the_warm_up_can_take_the_references(folder: Path, tmp_path: Path) -> None:
    reft(folder, tmp_path / "out", target="reference", max_steps=2)
    assert json.loads((tmp_path / "out" / "warm-up" / "train.json").read_text())["rows"] == 4


def test_the_real_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nlft.cli.app import run
    from nlft.records import write_records

    write_records(tmp_path / "judged.jsonl", ROWS)
    words = [
        "train", str(tmp_path / "judged.jsonl"), "-m", str(folder), "-o", str(tmp_path / "out"), "--objective", "reft",
        "--prompts", "short", "--max-new-tokens", "4", "--batch-size", "2", "--max-steps", "2", "--device", "cpu",
        "--dtype", "float32", "--warm-up-epochs", "1", "--grader", "gsm8k-strict", "--lr", "1e-4",
    ]  # fmt: skip
    assert run(words) == 0
    assert "4 rows, 2 steps" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "train.json").read_text())
    assert (summary["grader"], summary["learning_rate"], summary["max_completion_length"]) == ("gsm8k-strict", 1e-4, 4)
    problems = tmp_path / "test.jsonl"
    problems.write_text(json.dumps({"id": "1", "question": "1+2?", "reference": "#### 3"}) + "\n")
    evaluate = ["evaluate", str(problems), "-m", str(folder), "--adapter", str(tmp_path / "out"), "-o",
                str(tmp_path / "result.json"), "--max-new-tokens", "3", "--dtype", "float32", "--device", "cpu"]  # fmt: skip
    assert run(evaluate) == 0
    assert run([*words, "--overwrite", "--full"]) == 2


def test_without_trl_the_remedy_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nlft.cli.app import run
    from nlft.records import write_records

    write_records(tmp_path / "judged.jsonl", ROWS)
    for name in [name for name in sys.modules if name.startswith("nlft.train.reft.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "trl", None)
    words = ["train", str(tmp_path / "judged.jsonl"), "-m", str(folder), "-o", str(tmp_path / "out")]
    assert run([*words, "--objective", "reft"]) == 2
    said = capsys.readouterr().err
    assert "TRL" in said
    assert 'pip install "nlft[reft]"' in said
    assert run([*words, "--objective", "sft", "--max-steps", "1", "--prompts", "short"]) == 0


@pytest.mark.parametrize("column", ["weights", "marks"])
def test_words_about_a_response_are_refused_before_anything_is_trained(
    column: str, folder: Path, tmp_path: Path
) -> None:
    span = {"text": "4", **({"weight": 0.5} if column == "weights" else {})}
    rows = [row.model_copy(update={column: [span]}) for row in ROWS[:1]]
    with pytest.raises(DataError, match=f"row 'a' has {column}, but reft trains on responses that it samples itself"):
        train_reft(rows, load_model(str(folder), device="cpu"), config(tmp_path / "reft"))
    assert not (tmp_path / "reft").exists()
