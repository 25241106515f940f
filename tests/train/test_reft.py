"""ReFT's two phases on a tiny model: what is sampled, rewarded, trained, saved, and taken up again."""

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny import tiny_model

from nlft.errors import ConfigError, DataError
from nlft.lm import load_model
from nlft.lm.logprobs import unwrap
from nlft.records import Judged, Verdict
from nlft.train import NLFTTrainer, lora_config
from nlft.train.reft import ReFTConfig, ReFTTrainer, train_reft
from nlft.train.reft import trainer as trainer_module
from nlft.train.reft.questions import QuestionSampler
from nlft.train.reft.reward import answer_reward
from nlft.train.reft.trl_names import GRPOTrainer, check_trl

RIGHT = Verdict(correct=True, reason="equal")
WRONG = Verdict(correct=False, reason="another number")
ROWS = [
    Judged(id="a", question="2+2?", reference="2+2=4\n#### 4", response="#### 4", verdict=RIGHT),
    Judged(id="b", question="3+4, please?", reference="#### 7", response="#### 5", verdict=WRONG, judgment="no"),
    Judged(id="c", question="1+1?", reference="#### 2", response="2", verdict=RIGHT),
    Judged(id="d", question="9-1?", reference="#### 8", response="#### 9", verdict=WRONG, judgment="no"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


def config(out: Path, **changes: Any) -> ReFTConfig:
    settings: dict[str, Any] = {
        "output_dir": str(out),
        "prompts": "short",
        "use_cpu": True,
        "per_device_train_batch_size": 2,
        "max_completion_length": 6,
        "learning_rate": 1e-2,
        "warm_up_learning_rate": 1e-2,
        "warm_up_epochs": 1,
        "warmup_steps": 0,
        "num_train_epochs": 1,
        "save_strategy": "epoch",
        "disable_tqdm": True,
    }
    return ReFTConfig(**{**settings, **changes})


def reft(folder: Path, out: Path, *, resume: bool = False, **changes: Any) -> list[dict[str, Any]]:
    """Both phases; the lines of `metrics.jsonl`."""
    lm = load_model(str(folder), dtype="float32", device="cpu")
    train_reft(ROWS, lm, config(out, **changes), lora={"r": 4}, resume=resume)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def trainer_for(folder: Path, out: Path, **changes: Any) -> ReFTTrainer:
    """The PPO phase alone, on an adapter that is not 0, as after a warm-up."""
    from peft import get_peft_model

    lm = load_model(str(folder), dtype="float32", device="cpu")
    model = get_peft_model(lm.model, lora_config(lm.model))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    return ReFTTrainer(model, config(out, **changes), ROWS, processing_class=lm.tokenizer)


def rollout(made: ReFTTrainer, rows: int = 4) -> dict[str, Any]:
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made._generate_and_score_completions([made.train_dataset[i] for i in range(rows)])


@pytest.fixture
def paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never answers right, and without any reward nothing would move: pay for even lengths."""
    monkeypatch.setattr(trainer_module, "answer_reward", lambda response, key, **_: float(len(response) % 2 == 0))


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
    with pytest.raises(DataError, match="broken off"):
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


def test_the_reference_is_the_warm_up_policy_and_not_the_untouched_model(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path / "out")
    batch = rollout(made)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    with torch.no_grad():
        own = made._logprobs(batch)
        with made.reference.in_place(made.model):
            torch.testing.assert_close(made._logprobs(batch), own)
        with made.model.disable_adapter():
            untouched = made._logprobs(batch)
        assert (untouched - own).abs().max() > 1e-3
        for name, parameter in made.model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(2)
        moved = made._logprobs(batch)
        with made.reference.in_place(made.model):
            torch.testing.assert_close(made._logprobs(batch), own)
        torch.testing.assert_close(made._logprobs(batch), moved)
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, before[name] * 2 if "lora_B" in name else before[name]), name


def test_the_policy_loss_is_trls(folder: Path, tmp_path: Path) -> None:
    """`GRPOTrainer` takes advantages of shape (rows, tokens); its clipped loss and ours are the same, gradients too."""
    made = trainer_for(folder, tmp_path / "out", value_coefficient=0.0)
    batch = rollout(made)
    batch["old_per_token_logps"] = batch["old_per_token_logps"] + 0.5 * torch.randn_like(batch["advantages"])

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        made.model.zero_grad()
        loss.backward()
        return {n: p.grad.clone() for n, p in made.model.named_parameters() if "lora" in n and p.grad is not None}

    ours, theirs = made.compute_loss(made.model, batch), GRPOTrainer._compute_loss(made, made.model, batch)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    left, right = gradients(ours), gradients(theirs)
    assert left.keys() == right.keys() != set()
    for name, value in right.items():
        torch.testing.assert_close(left[name], value, atol=1e-7, rtol=1e-5)


def test_values_belong_to_the_states_their_tokens_are_chosen_in(folder: Path, tmp_path: Path) -> None:
    """Row by row, without padding, through transformers' own output of hidden states."""
    made = trainer_for(folder, tmp_path / "out")
    torch.nn.init.normal_(made.value_head.linear.weight)
    batch = rollout(made)
    for row in range(4):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        response = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        with torch.no_grad():
            output = made.model(input_ids=torch.cat([prompt, response])[None], output_hidden_states=True)
        states = output.hidden_states[-1][0, len(prompt) - 1 : -1]
        values = (states @ made.value_head.linear.weight[0]) + made.value_head.linear.bias
        torch.testing.assert_close(batch["old_values"][row, : len(response)], values, atol=1e-4, rtol=1e-4)
        logp = output.logits[0, len(prompt) - 1 : -1].log_softmax(-1).gather(-1, response[:, None])[:, 0]
        torch.testing.assert_close(batch["old_per_token_logps"][row, : len(response)], logp, atol=1e-4, rtol=1e-4)


def test_an_accumulated_rollout_is_one_large_batch(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path / "out", per_device_train_batch_size=4)
    batch = rollout(made)
    large = made.compute_loss(made.model, batch).detach()
    halves = [{k: v[i : i + 2] if v.ndim else v for k, v in batch.items()} for i in (0, 2)]
    made.current_gradient_accumulation_steps = 2
    found = sum(made.compute_loss(made.model, half).detach() for half in halves)
    torch.testing.assert_close(found, large, atol=1e-6, rtol=1e-5)


def test_questions_are_asked_in_the_words_of_the_other_peers(folder: Path, tmp_path: Path) -> None:
    from nlft.lm import encode_example
    from nlft.prompts import load_prompts

    made = trainer_for(folder, tmp_path / "out")
    batch = rollout(made)
    for row, record in enumerate(ROWS):
        example = encode_example(made.processing_class, record, load_prompts("short"))
        found = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist()
        assert tuple(found) == example.base.prompt


def test_the_token_that_ends_a_response_is_part_of_it(folder: Path, tmp_path: Path) -> None:
    """Ending there was the policy's choice, too; half of all tokens end a response here."""
    made = trainer_for(folder, tmp_path / "out", max_completion_length=20)
    stops = set(range(130))
    unwrap(made.model).generation_config.eos_token_id = sorted(stops)
    batch = rollout(made)
    lengths = batch["completion_mask"].sum(-1).tolist()
    assert min(lengths) < 20
    for row, length in enumerate(lengths):
        *others, last = batch["completion_ids"][row, :length].tolist()
        assert last in stops or length == 20
        assert not stops & set(others)
    assert made.model.training
    again = rollout(made)
    assert torch.equal(batch["completion_ids"], again["completion_ids"])  # the same seed, step and places
    made.state.global_step = 1
    assert not torch.equal(batch["completion_ids"], rollout(made)["completion_ids"])


@pytest.mark.usefixtures("paid")
def test_the_value_head_learns_beside_the_policy(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path / "out")
    made.compute_loss(made.model, rollout(made)).backward()
    head = made.value_head.linear
    assert head.weight.grad is not None
    assert head.weight.grad.abs().sum() > 0
    made.create_optimizer()
    trained = {id(p) for group in made.optimizer.param_groups for p in group["params"]}
    assert {id(head.weight), id(head.bias)} <= trained


def test_it_learns_what_is_rewarded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known to this model, so let one easy thing pay: to begin with a letter or a digit."""
    monkeypatch.setattr(trainer_module, "answer_reward", lambda response, key, **_: float(_begins_well(response)))
    made = trainer_for(
        folder, tmp_path / "out", per_device_train_batch_size=64, max_completion_length=1, kl_coefficient=0.0,
        learning_rate=5e-3, max_steps=40, save_strategy="no",
    )  # fmt: skip
    made.train()
    rewards = [row["reward"] for row in made.state.log_history if "reward" in row]
    assert sum(rewards[-6:]) / 6 > rewards[0] + 0.3


def _begins_well(response: str) -> bool:
    return response[:1].isascii() and response[:1].isalnum()


def test_the_penalty_draws_the_policy_back_to_the_reference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no answer earns anything; one token each, so that the penalty is of that token alone."""
    monkeypatch.setattr(trainer_module, "answer_reward", lambda *_, **__: 0.0)
    made = trainer_for(
        folder, tmp_path / "out", per_device_train_batch_size=64, max_completion_length=1, kl_coefficient=1.0,
        learning_rate=3e-3, max_steps=40, save_strategy="no",
    )  # fmt: skip
    for name, parameter in made.model.named_parameters():  # away from the reference, to be drawn back
        if "lora_B" in name:
            parameter.data.mul_(6)
    made.train()
    drift = [row["kl"] for row in made.state.log_history if "kl" in row]
    assert drift[0] > 1
    assert sum(drift[-8:]) / 8 < 0.4 * drift[0]


@pytest.mark.parametrize(
    ("response", "grader", "reward"),
    [
        ("So it is 4.", "gsm8k-flexible", 1.0),
        ("So it is 5.", "gsm8k-flexible", 0.1),
        ("I cannot say.", "gsm8k-flexible", 0.0),
        ("", "gsm8k-flexible", 0.0),
        ("So it is 4.", "gsm8k-strict", 0.0),
        ("#### 4", "gsm8k-strict", 1.0),
        ("#### 5", "gsm8k-strict", 0.1),
        ("#### ...", "gsm8k-strict", 0.0),
    ],
)
def test_what_an_answer_earns(response: str, grader: str, reward: float) -> None:
    assert answer_reward(response, "2+2=4\n#### 4", grader=grader) == reward


@pytest.mark.parametrize(("rows", "rollout", "repeats"), [(5, 2, 3), (4, 4, 1), (3, 8, 2), (7, 1, 2)])
def test_every_question_comes_up_and_rollouts_are_whole(rows: int, rollout: int, repeats: int) -> None:
    epoch = 0
    sampler = QuestionSampler(rows, rollout=rollout, repeats=repeats, seed=1, epoch=lambda: epoch)
    first = list(sampler)
    assert len(first) == len(sampler) == -(-rows // rollout) * rollout * repeats
    assert set(first) == set(range(rows))
    for start in range(0, len(first), rollout * repeats):
        block = first[start : start + rollout * repeats]
        assert block == block[:rollout] * repeats
    assert list(sampler) == first
    others = []
    for epoch in range(1, 20):  # noqa: B007 - the sampler reads it
        others.append(list(sampler))
    assert any(other != first for other in others)


def test_a_batch_that_does_not_divide_the_questions_loses_none(folder: Path, tmp_path: Path) -> None:
    lines = reft(folder, tmp_path / "out", per_device_train_batch_size=3)
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert lines[-1]["epoch"] == 1.0


def test_settings_that_are_no_reft(tmp_path: Path) -> None:
    cases = {
        "beta": 0.1, "num_generations": 4, "per_device_train_batch_size": 1, "partial_reward": 1.0, "on": "both",
        "grader": "gsm9k", "prompts": "nowhere", "gae_lambda": 2.0, "loss_type": "dapo", "disable_dropout": False,
    }  # fmt: skip
    for name, value in cases.items():
        with pytest.raises(ConfigError):
            config(tmp_path, **{name: value})
    assert config(tmp_path, save_strategy="steps", save_steps=3).save_steps == 4
    assert config(tmp_path, num_iterations=1, save_strategy="steps", save_steps=3).save_steps == 3


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
    reft(folder, tmp_path / "out", on="reference", max_steps=2)
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


def test_another_trl_is_refused() -> None:
    check_trl(metadata.version("trl"), GRPOTrainer)
    with pytest.raises(ConfigError, match=r"1\.17\.0 is installed"):
        check_trl("1.17.0", GRPOTrainer)

    class Bare:
        _tokenize_prompts = None

    with pytest.raises(ConfigError, match=r"lacks .*_generate_and_score_completions"):
        check_trl("1.16.3", Bare)
