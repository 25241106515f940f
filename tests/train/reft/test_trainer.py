"""The PPO phase on a tiny model: what is sampled, rewarded and trained."""

from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
import torch
from tests.train.reft.tiny_reft import config, rollout, trainer_for
from tests.train.tiny_train import ROWS

from nlft.data.reasoning_tasks import reasoning_task
from nlft.errors import ConfigError, DataError
from nlft.lm.wrappers import unwrap
from nlft.records import Problem
from nlft.train.reft import ReFTConfig
from nlft.train.reft import trainer as trainer_module
from nlft.train.reft.questions import QuestionSampler
from nlft.train.reft.reference import as_reference
from nlft.train.reft.reward import answer_reward, check_references
from nlft.train.reft.step import _warm_up_config
from nlft.train.reft.trl_names import GRPOTrainer, check_trl


def test_the_reference_is_the_warm_up_policy_and_not_the_untouched_model(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path / "out")
    batch = rollout(made)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    with torch.no_grad():
        own = made._logprobs(batch)
        with as_reference(made.model):
            torch.testing.assert_close(made._logprobs(batch), own)
        with made.model.disable_adapter():
            untouched = made._logprobs(batch)
        assert (untouched - own).abs().max() > 1e-3
        for name, parameter in made.model.named_parameters():
            if "lora_B.default" in name:
                parameter.mul_(2)
        moved = made._logprobs(batch)
        with as_reference(made.model):
            torch.testing.assert_close(made._logprobs(batch), own)
        torch.testing.assert_close(made._logprobs(batch), moved)
    trained = [name for name, parameter in made.model.named_parameters() if parameter.requires_grad]
    assert trained
    assert not [name for name in trained if "reference" in name]
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, before[name] * 2 if "lora_B.default" in name else before[name]), name


def test_the_policy_loss_is_trls(folder: Path, tmp_path: Path) -> None:
    """On TRL's own log-probabilities too; `GRPOTrainer` takes advantages of shape (rows, tokens). Gradients as well."""
    made = trainer_for(folder, tmp_path / "out", value_coefficient=0.0)
    batch = rollout(made)
    batch["old_per_token_logps"] = batch["old_per_token_logps"] + 0.5 * torch.randn_like(batch["advantages"])

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        made.model.zero_grad()
        loss.backward()
        return {n: p.grad.clone() for n, p in made.model.named_parameters() if "lora" in n and p.grad is not None}

    ours = made.compute_loss(made.model, batch)
    made._get_per_token_logps_and_entropies = partial(GRPOTrainer._get_per_token_logps_and_entropies, made)
    theirs = GRPOTrainer._compute_loss(made, made.model, batch)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    left, right = gradients(ours), gradients(theirs)
    assert left.keys() == right.keys() != set()
    for name, value in right.items():
        torch.testing.assert_close(left[name], value, atol=1e-6, rtol=1e-4)


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
        if "lora_B.default" in name:
            parameter.data.mul_(6)
    made.train()
    drift = [row["kl"] for row in made.state.log_history if "kl" in row]
    assert drift[0] > 1
    assert sum(drift[-8:]) / 8 < 0.4 * drift[0]


@pytest.mark.parametrize(
    ("response", "grader", "reward"),
    [
        ("So it is 4.\n#### 4", "gsm8k-flexible", 1.0),
        ("#### It makes 4.", "gsm8k-flexible", 1.0),
        ("4 apples\n#### 5", "gsm8k-flexible", 0.1),
        # A number without the marker is no answer, not even the right one.
        ("So it is 4.", "gsm8k-flexible", 0.0),
        ("So it is 5.", "gsm8k-flexible", 0.0),
        ("It is 4. ####", "gsm8k-flexible", 0.0),
        ("So it is 4.", "number", 0.0),
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


def test_a_grader_may_read_the_whole_row(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def grade(record):\n    return record['response'] == record['own'] + record['question']\n")
    row = Problem.model_validate({"id": "a", "question": "q", "reference": "r", "own": "x"})
    earned = [answer_reward(each, "r", grader=f"code:{file}", problem=row) for each in ("xq", "q")]
    assert earned == [1.0, 0.0]
    check_references([row], f"code:{file}")


def test_a_tasks_own_scorer_pays_only_after_the_marker() -> None:
    row = reasoning_task("spell_backward", 1, 0)[0]
    answer = row.entry["answer"]  # type: ignore[attr-defined]
    check_references([row], "reasoning-gym")
    responses = (f"So\n#### {answer}", f"{answer}", "#### no", "")
    assert [answer_reward(r, row.reference, grader="reasoning-gym", problem=row) for r in responses] == [1, 0, 0.1, 0]
    with pytest.raises(DataError, match="row 'b': the record has no entry"):
        check_references([Problem(id="b", question="q", reference="r")], "reasoning-gym")


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


def test_settings_that_are_no_reft(tmp_path: Path) -> None:
    cases = {
        "beta": 0.1, "num_generations": 4, "per_device_train_batch_size": 1, "partial_reward": 1.0, "target": "both",
        "grader": "gsm9k", "prompts": "nowhere", "gae_lambda": 2.0, "loss_type": "dapo", "disable_dropout": False,
        "temperature": 0.7, "mask_truncated_completions": True,
    }  # fmt: skip
    for name, value in cases.items():
        with pytest.raises(ConfigError):
            config(tmp_path, **{name: value})
    assert config(tmp_path, save_strategy="steps", save_steps=3).save_steps == 4
    assert config(tmp_path, num_iterations=1, save_strategy="steps", save_steps=3).save_steps == 3


def test_another_trl_is_refused() -> None:
    check_trl(metadata.version("trl"), GRPOTrainer)
    with pytest.raises(ConfigError, match=r"1\.17\.0 is installed"):
        check_trl("1.17.0", GRPOTrainer)

    class Bare:
        _tokenize_prompts = None

    with pytest.raises(ConfigError, match=r"lacks .*_generate_and_score_completions"):
        check_trl("1.16.3", Bare)


def test_question_and_response_together_fit_max_length(folder: Path, tmp_path: Path) -> None:
    plain = trainer_for(folder, tmp_path / "plain")
    asked = [len(ids) for ids in plain._tokenize_prompts(list(plain.train_dataset["prompt"]))[0]]
    longest = max(asked) + 2
    made = rollout(trainer_for(folder, tmp_path / "cut", max_length=longest))
    together = (made["prompt_mask"].sum(-1) + made["completion_mask"].sum(-1)).tolist()
    assert max(together) == longest
    with pytest.raises(DataError, match="leave no room for a response in max_length"):
        trainer_for(folder, tmp_path / "none", max_length=max(asked))


def test_the_warm_up_is_the_sources(tmp_path: Path) -> None:
    made = ReFTConfig(output_dir=str(tmp_path), per_device_train_batch_size=16, warm_up_batch_size=48, use_cpu=True)
    warm_up = _warm_up_config(made, tmp_path)
    assert warm_up.per_device_train_batch_size == 48
    assert (warm_up.lr_scheduler_type, warm_up.warmup_steps, warm_up.num_train_epochs) == ("linear", 0.1, 2)
    assert (made.lr_scheduler_type, made.warmup_steps) == ("constant_with_warmup", 0)
    assert (
        _warm_up_config(ReFTConfig(output_dir=str(tmp_path), use_cpu=True), tmp_path).per_device_train_batch_size == 16
    )
