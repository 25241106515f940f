"""PPO on TRL's `GRPOTrainer`: a value head, rewards token by token, and both clipped losses.

TRL has a rollout made, keeps it for several passes, and runs the loop. What is different
here: the baseline is a value head instead of a group of answers, the KL penalty is part of the reward, the loss
is PPO's (`nlft.train.reft.ppo`), and responses are sampled as in an evaluation and scored as they
are under every other objective.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from nlft import processes
from nlft.adapter.record import drop_arguments
from nlft.errors import ConfigError
from nlft.lm import LanguageModel, SamplingSettings
from nlft.lm.config import TemplateSettings
from nlft.lm.encode import encode_prompt
from nlft.lm.generate import generate
from nlft.lm.load import context_length, stop_ids
from nlft.lm.logprobs import path_logprobs, share_prefixes, shares_prefixes
from nlft.lm.pack import TokenPath
from nlft.lm.template import settle_template
from nlft.lm.wrappers import unwrap
from nlft.prompts import load_prompts
from nlft.records import Problem
from nlft.train.precision import masters_kept
from nlft.train.reft import ppo
from nlft.train.reft.config import ReFTConfig
from nlft.train.reft.questions import QuestionSampler, question_rows
from nlft.train.reft.reference import add_reference, as_reference, without_reference
from nlft.train.reft.reward import answer_reward
from nlft.train.reft.trl_names import GRPOTrainer
from nlft.train.reft.value_head import ValueHead

HEAD = "value_head"


class ReFTTrainer(GRPOTrainer):  # type: ignore[misc]
    """The PPO phase of ReFT.

    Args:
        model: The policy after the warm-up, with the adapter it trains. Its current state is also the reference of the
            KL penalty.
        args: The settings.
        train_dataset: Problems; their references are the answer key.
        processing_class: The tokenizer.
        **kwargs: Further arguments of transformers' `Trainer`.

    Raises:
        DataError: if a question leaves no room for a response.
        ConfigError: for a model without an adapter, or DeepSpeed's ZeRO-3.
    """

    def __init__(
        self,
        model: nn.Module,
        args: ReFTConfig,
        train_dataset: Sequence[Problem],
        *,
        processing_class: Any,
        **kwargs: Any,
    ) -> None:
        self.prompt_set = load_prompts(args.prompts, system=args.system)
        settle_template(processing_class, TemplateSettings(), name="this model")
        base = unwrap(model)
        room = args.max_completion_length or 1
        self._problems = {row.id: row for row in train_dataset}
        rows = question_rows(
            train_dataset,
            processing_class,
            self.prompt_set,
            room=room,
            max_length=args.max_length,
            context_length=context_length(base.config),
        )
        share_prefixes(model, processes.agree(shares_prefixes(model)))  # probed while the weights are whole
        add_reference(model)
        # A part of the model, so that optimiser, gradient clipping and moves between devices take it along;
        # PEFT writes only the adapter, so the head is not saved with it.
        head = ValueHead(base.get_output_embeddings().weight.shape[1])
        model.add_module(HEAD, head.to(base.get_output_embeddings().weight.device))
        self._rollout: dict[str, Tensor] = {}
        self._passes: dict[str, list[Tensor]] = {}
        self._tokens, self._clock = 0, time.perf_counter()
        self._values = self._terminal = torch.zeros(0)
        with masters_kept(model):
            super().__init__(
                model=model,
                reward_funcs=[self._answer_rewards],
                args=args,
                train_dataset=Dataset.from_list(rows),
                processing_class=processing_class,
                **kwargs,
            )
        deepspeed = getattr(self.accelerator.state, "deepspeed_plugin", None)
        if deepspeed is not None and deepspeed.zero_stage == 3:
            raise ConfigError(
                "ReFT cannot sample from weights that ZeRO-3 has spread", remedy="use FSDP2, ZeRO-2 or DDP"
            )
        self.eos_token_ids = sorted(
            stop_ids(base.generation_config, processing_class)
        )  # TRL knows only the model's own

    @property
    def value_head(self) -> ValueHead:
        """The head on the policy's last hidden states."""
        head: ValueHead = getattr(self.model, HEAD)
        return head

    def _send_telemetry(self) -> None:
        """Send no telemetry: nothing leaves this machine."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card: `train.json` describes the run."""

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        return QuestionSampler(
            len(self.train_dataset if dataset is None else dataset),
            rollout=self.args.rollout_size,
            repeats=self.args.num_iterations * self.args.steps_per_generation,
            seed=self.args.seed,
            epoch=lambda: int(self.state.epoch or 0),
        )

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The questions, worded as for the other methods and the evaluation."""
        ids = [encode_prompt(self.processing_class, self.prompt_set.base(question)) for question in prompts]
        return ids, None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> tuple[Any, None]:
        """Responses sampled as in an evaluation, with every chosen token, including the stop token.

        Several times as fast as `model.generate`; the random numbers depend on seed and step alone, so a resumed run
        draws the same as an uninterrupted one.
        """
        settings = SamplingSettings(
            temperature=self.args.temperature,
            max_new_tokens=self.args.max_completion_length,
            seed=self.args.seed,
            batch_size=len(prompt_ids),
        )
        first = self.state.global_step * self.args.rollout_size + self.accelerator.process_index * len(prompt_ids)
        policy, training = LanguageModel(self.model, self.processing_class, "policy"), self.model.training
        found = list(generate(policy, prompt_ids, settings, streams=range(first, first + len(prompt_ids))))
        self.model.train(training)
        found.sort(key=lambda completion: completion.index)
        responses = [[*each.token_ids, *([] if each.stop_id is None else [each.stop_id])] for each in found]
        longest = self.args.max_length
        if longest is not None:
            responses = [ids[: longest - len(asked)] for ids, asked in zip(responses, prompt_ids, strict=True)]
        return responses, None

    def _answer_rewards(self, completions: list[str], reference: list[str], **columns: Any) -> list[float]:
        grader, partial = self.args.grader, self.args.partial_reward
        return [
            answer_reward(response, key, grader=grader, partial=partial, problem=self._problems[name])
            for response, key, name in zip(completions, reference, columns["id"], strict=True)
        ]

    def _calculate_rewards(self, *args: Any) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(*args)
        rows = len(rewards) // self.accelerator.num_processes  # TRL has gathered those of all processes
        self._terminal = rewards.sum(-1)[self.accelerator.process_index * rows :][:rows]
        return rewards

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None, None]:
        """The package's own log-probabilities instead of TRL's; the values of the same states go to `self._values`.

        Padding is left out and the shared beginning computed once, whereas TRL off CUDA puts all positions through the
        head, prompts and padding included. No entropies: a metric of them would cost a second pass over the logits.
        """
        real = attention_mask.bool()
        logp: list[Tensor] = []
        values: list[Tensor] = []
        size = batch_size or len(input_ids)
        for start in range(0, len(input_ids), size):
            rows = range(start, min(start + size, len(input_ids)))
            paths = [_path(input_ids[row], real[row], logits_to_keep) for row in rows]
            for one in path_logprobs(model, paths, values=self.value_head)[0]:
                logp.append(one.logp)
                values += [one.values] if one.values is not None else []
        self._values = _padded(values, logits_to_keep)
        return _padded(logp, logits_to_keep), None, None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """A rollout: TRL's, with values, returns and advantages of every token."""
        with warnings.catch_warnings():
            # TRL 1.16 uses a name that transformers 5.x has renamed; users cannot change that.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            rollout: dict[str, Any] = super()._generate_and_score_completions(inputs)
        args = self.args
        mask = rollout["completion_mask"].bool()
        with torch.no_grad():
            # TRL runs the old policy only if it needs a ratio; then its values exist already.
            if "old_per_token_logps" not in rollout:
                rollout["old_per_token_logps"] = self._logprobs(rollout)
            values, old = self._values.detach(), rollout["old_per_token_logps"]
            with as_reference(self.model):
                reference = self._logprobs(rollout)
            rewards = ppo.token_rewards(self._terminal, old, reference, mask, kl_coefficient=args.kl_coefficient)
            advantages, returns = ppo.advantages_and_returns(
                rewards, values, mask, gamma=args.gamma, lam=args.gae_lambda
            )
            # Every process's tokens: a rollout is whitened as a whole.
            parts = processes.gather([each[mask].cpu() for each in (advantages, values, returns)])
            of_all, values_of_all, returns_of_all = (
                torch.cat(part).to(mask.device) for part in zip(*parts, strict=True)
            )
            rollout |= {"old_values": values, "returns": returns, "advantages": ppo.whitened(advantages, mask, of_all)}
            lengths = mask.sum(-1).float()
            self._rollout = {
                "reward": self._terminal.mean(),
                "correct": (self._terminal >= 1).float().mean(),
                "kl": ppo.mean_over_rows(old - reference, mask),
                "entropy": ppo.mean_over_rows(-old, mask),  # what -log P of the sampled tokens estimates
                "explained_variance": ppo.explained_variance(values_of_all, returns_of_all),
                "response_length": lengths.mean(),
                "cut_short": (lengths >= (args.max_completion_length or 0)).float().mean(),
            }
        return rollout

    def _logprobs(self, rollout: dict[str, Any]) -> Tensor:
        """log P of a rollout's responses under the current model."""
        ids, mask, width = _sequences(rollout)
        size = self.args.per_device_train_batch_size
        return self._get_per_token_logps_and_entropies(self.model, ids, mask, width, batch_size=size)[0]

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Policy loss plus the weighted value loss, for part of a rollout."""
        args = self.args
        ids, attention, width = _sequences(inputs)
        mask, old = inputs["completion_mask"].bool(), inputs["old_per_token_logps"]
        logp = self._get_per_token_logps_and_entropies(model, ids, attention, width)[0]
        policy = ppo.policy_loss(logp, old, inputs["advantages"], mask, clip=args.epsilon)
        value = ppo.value_loss(self._values, inputs["old_values"], inputs["returns"], mask, clip=args.value_clip)
        far = ((logp - old).detach().exp() - 1).abs() > args.epsilon
        self._tokens += int(mask.sum())
        self._note(
            policy_loss=policy,
            value_loss=value,
            ratio=ppo.mean_over_rows((logp - old).detach().exp(), mask),
            ratio_clipped=ppo.mean_over_rows(far.float(), mask),
        )
        parts = self.current_gradient_accumulation_steps if model.training else 1
        loss: Tensor = (policy + args.value_coefficient * value) / parts
        return loss

    def _note(self, **values: Tensor) -> None:
        """Keep the next log line's values on the device, because reading them would wait for the step."""
        for name, value in values.items():
            self._passes.setdefault(name, []).append(value.detach())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Like `Trainer.log`, with the last rollout's figures and the means of the passes' since the last line."""
        if "loss" in logs:
            own = {name: float(value) for name, value in self._rollout.items()}
            own |= {name: float(torch.stack(values).float().mean()) for name, values in self._passes.items()}
            own["tokens_per_second"] = self._tokens / max(time.perf_counter() - self._clock, 1e-9)
            everywhere = processes.gather(own)  # means of equally many rows
            logs.update({name: sum(each[name] for each in everywhere) / len(everywhere) for name in own})
            logs["tokens_per_second"] *= len(everywhere)
            self._passes = {}
        # TRL's own figures concern groups of answers and a KL term in the loss, which ReFT does not have.
        for figures in self._metrics.values():
            figures.clear()
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Like `Trainer.save_model`, with the value head next to the adapter."""
        with without_reference(self.model):
            super().save_model(output_dir, _internal_call)
        self.value_head.save(output_dir or self.args.output_dir)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        drop_arguments(output_dir or self.args.output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.value_head.load(resume_from_checkpoint)


def _sequences(rollout: dict[str, Any]) -> tuple[Tensor, Tensor, int]:
    """Ids and attention mask of prompts (padded left) with responses (padded right), and the responses' width."""
    ids = torch.cat([rollout["prompt_ids"], rollout["completion_ids"]], dim=1)
    mask = torch.cat([rollout["prompt_mask"], rollout["completion_mask"]], dim=1)
    return ids, mask, rollout["completion_ids"].shape[1]


def _path(ids: Tensor, real: Tensor, width: int) -> TokenPath:
    """A row's prompt and response without their padding."""
    prompt, response = ids[:-width][real[:-width]], ids[-width:][real[-width:]]
    return TokenPath(tuple(prompt.tolist()), tuple(response.tolist()))


def _padded(rows: list[Tensor], width: int) -> Tensor:
    """(rows, width) of per-token values, padded with zeros on the right."""
    padded = pad_sequence(rows, batch_first=True)
    return torch.cat([padded, padded.new_zeros(len(rows), width - padded.shape[1])], dim=1)
