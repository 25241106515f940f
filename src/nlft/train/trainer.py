"""One trainer for every objective: transformers' `Trainer` with its own `compute_loss`.

`nlft.lm` decides the cost of a step: the base path (and the judge path, if an objective trains
on it) runs with gradient, the others continue from its keys and values without; every token that rows
or paths share is computed once; the head sees response positions only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, set_seed

from nlft import processes
from nlft.adapter.record import drop_arguments
from nlft.core.allocation import Allocation
from nlft.errors import ConfigError
from nlft.lm.config import TemplateSettings
from nlft.lm.encode import EncodedExample
from nlft.lm.load import context_length, load_model
from nlft.lm.logprobs import share_prefixes, shares_prefixes
from nlft.lm.score import score_batch
from nlft.lm.template import settle_template
from nlft.objectives import Example, Loss
from nlft.prompts import load_prompts
from nlft.records import Judged
from nlft.train.arguments import NLFTConfig
from nlft.train.base_model import check_base, check_head, warn_of_all_weights
from nlft.train.dataset import EncodedDataset, collate, encode_dataset
from nlft.train.dev import Dev
from nlft.train.lora import prepared
from nlft.train.precision import check_masters
from nlft.train.scale_cache import ScaleCache

Rows = Iterable[Judged | Mapping[str, Any]] | EncodedDataset


class NLFTTrainer(Trainer):  # type: ignore[misc]
    """Fine-tune a causal language model with words as the training signal.

    Args:
        model: A model, or the name or folder of one.
        args: The settings; the paper's by default.
        train_dataset: Judged rows: records, mappings, or a `datasets.Dataset` with the columns
            `question, reference, response, verdict, judgment`; or the result of `encode_dataset`.
        eval_dataset: The same, or several by name, for evaluation losses.
        dev: Problems to solve instead, with the metric `eval_accuracy`.
        peft_config: The adapter to train, such as `lora_config(model)`, the command line's. With None, all weights
            are trained, as in TRL, and a warning says so.
        full: All weights are meant: no warning.
        processing_class: The tokenizer; loaded along with a model given by name.
        **kwargs: Further arguments of transformers' `Trainer`.

    Raises:
        DataError: for unusable rows.
        ConfigError: for invalid settings.

    Example:
        >>> from nlft import NLFTConfig, NLFTTrainer, read_records, Judged
        >>> trainer = NLFTTrainer(                                              # doctest: +SKIP
        ...     model="HuggingFaceTB/SmolLM2-135M-Instruct",
        ...     args=NLFTConfig("out", scale_schedule="once"),
        ...     train_dataset=list(read_records("judged.jsonl", Judged)),
        ...     peft_config=LoraConfig(r=16, target_modules="all-linear"),
        ... )
        >>> trainer.train()                                                     # doctest: +SKIP
    """

    # compute_loss divides by the rows (or tokens) of the whole accumulated batch itself.
    loss_is_scaled_for_ga = True
    control: Any

    def __init__(
        self,
        model: nn.Module | str,
        args: NLFTConfig | None = None,
        train_dataset: Rows | None = None,
        *,
        eval_dataset: Rows | dict[str, Rows] | None = None,
        dev: Dev | None = None,
        peft_config: Any = None,
        full: bool = False,
        processing_class: Any = None,
        **kwargs: Any,
    ) -> None:
        args = args if args is not None else NLFTConfig("nlft-output")
        network: Any
        if isinstance(model, str):
            loaded = load_model(model, dtype="auto" if peft_config is not None else "float32")
            network, processing_class = loaded.model, processing_class or loaded.tokenizer
        else:
            network = model
        if processing_class is None:
            raise ConfigError("the trainer needs a tokenizer", remedy="pass processing_class=tokenizer")
        settle_template(processing_class, TemplateSettings(), name="this model")
        self.objective = args.make_objective()
        self.prompt_set = load_prompts(args.prompts, system=args.system)
        limit = args.max_length or context_length(network.config)

        def encoded(rows: Any) -> Any:
            if rows is None or isinstance(rows, EncodedDataset):
                return rows
            if isinstance(rows, dict):
                return {name: encoded(each) for name, each in rows.items()}
            return encode_dataset(
                rows,
                processing_class,
                self.prompt_set,
                objective=self.objective,
                context_length=limit,
                target=args.target,
                partial_tokens=args.partial_tokens,
                marks=args.marks == "use",
            )

        check_base(args, self.objective, network, peft_config, full=full)
        if kwargs.get("compute_metrics") is not None:
            raise ConfigError(
                "compute_metrics is not supported: no logits are kept",
                remedy="`nlft evaluate` measures accuracy",
            )
        training: EncodedDataset | None = encoded(train_dataset)
        if peft_config is not None:
            from peft import get_peft_model

            set_seed(args.seed)  # before the adapter draws its first weights
            network = get_peft_model(prepared(network), peft_config)
        else:
            check_masters(network, args.learning_rate)
            warn_of_all_weights(network, meant=full)
        check_head(args, network)
        share_prefixes(network, processes.agree(shares_prefixes(network)))  # probed while the weights are whole
        super().__init__(
            model=network,
            args=args,
            train_dataset=training,
            eval_dataset=dev if dev is not None else encoded(eval_dataset),
            processing_class=processing_class,
            data_collator=collate,
            **kwargs,
        )
        self.dev = dev
        if dev is not None and self.is_deepspeed_enabled:
            raise ConfigError(
                "DeepSpeed cannot answer problems while it trains", remedy="use DDP or FSDP2, or drop dev"
            )
        # transformers would count tokens in `labels`, which these batches lack.
        self.model_accepts_loss_kwargs = False
        self.scale_cache = ScaleCache(self.model, self.objective, args, training, self.prompt_set)
        self._encoded = encoded
        self._parts: dict[str, list[Tensor]] = {}
        self._tokens, self._clock = 0, time.perf_counter()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        drop_arguments(output_dir or self.args.output_dir)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """The loader for the evaluation rows, for a named set of them, or for other rows."""
        named = isinstance(eval_dataset, str)
        return super().get_eval_dataloader(eval_dataset if named else self._encoded(eval_dataset))

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The evaluation losses; where there are problems to solve, the share of them that the model solves."""
        if self.dev is None or eval_dataset is not None:
            return dict(super().evaluate(eval_dataset, *args, **kwargs))
        metrics = self.dev.measure(self.model)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], int | Tensor]:
        """The micro-batches of one step, and the divisor of their losses: the rows or tokens of all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        batches = [*batches[:-1], *(self._marked(batch) for batch in batches[-1:])]
        examples = [example for batch in batches for example in batch["examples"][: batch.get("real")]]
        own = sum(len(e.response) for e in examples) if self.args.loss_average == "token" else len(examples)
        if self.accelerator.num_processes == 1:
            return batches, own
        return batches, self.accelerator.reduce(torch.tensor(own, device=device), reduction="sum")

    def _marked(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch with the number of its `real` rows: accelerate fills an epoch's last batches with rows it repeats.

        With a batch of B, process p gets the rows from p B to (p + 1) B of what is left of the epoch. One process has
        nothing to fill; accelerate's state would only be that of an earlier, interrupted epoch.
        """
        if self.accelerator.num_processes == 1:
            return batch
        state, rows = self.accelerator.gradient_state, len(batch["examples"])
        if not (state.in_dataloader and state.end_of_dataloader and state.remainder > 0):
            return batch
        left = state.remainder - self.accelerator.process_index * rows
        return {**batch, "real": min(max(left, 0), rows)}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: int | Tensor | None = None,
    ) -> Any:
        """Algorithm 1: each row's loss under the objective, and their mean."""
        examples, real = inputs["examples"], inputs.get("real")
        if real is not None:
            # Rows that are repeated weigh nothing; where a process has no others, one still makes the passes.
            examples = examples[:real] or [min(examples, key=lambda example: len(example.base.tokens))]
        by_token = self.args.loss_average == "token"
        stored = self._stored(examples) if model.training else None
        scored = self._score(model, examples, stored)
        weighed = stored if stored is not None else self.objective.weigh_all(scored)
        losses = [
            self._anchored(self.objective.loss(row, allocation), row)
            for row, allocation in zip(scored, weighed, strict=True)
        ]
        sizes = [0 if real == 0 else len(row.logp_base) if by_token else 1 for row in scored]
        total = torch.stack([loss.total * size for loss, size in zip(losses, sizes, strict=True)]).sum()
        if model.training and real != 0:
            self._note(losses, scored)
        if num_items_in_batch is None:
            loss = total / max(sum(sizes), 1)
        else:
            # The gradients of the processes are averaged, but the divisor counts the rows of all.
            loss = total * self.accelerator.num_processes / num_items_in_batch
        return (loss, None) if return_outputs else loss

    def _anchored(self, loss: Loss, row: Example) -> Loss:
        """A row's loss + anchor x mean over its tokens of KL(P || P of the untouched model)."""
        if row.divergence is None:
            return loss
        apart = row.divergence.mean()
        parts = {**loss.parts, "divergence": apart.detach()}
        return replace(loss, total=loss.total + self.args.anchor * apart, parts=parts)

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, None, None]:
        """The evaluation loss of a batch; there are no labels to gather."""
        with torch.no_grad():
            return self.compute_loss(model, self._marked(inputs)).detach(), None, None

    def _score(
        self, model: nn.Module, examples: list[EncodedExample], stored: list[Allocation | None] | None
    ) -> list[Example]:
        """The rows' log-probabilities; skips rows that their stored scales exclude, as they add nothing.

        If that leaves none, the shortest row runs anyway, so that the backward pass has a graph.
        """
        idle = [allocation is not None and allocation.excluded for allocation in stored or []]
        anchored = self.args.anchor > 0
        if anchored or not any(idle):  # an anchor holds the excluded rows, too
            return score_batch(model, examples, self.objective, stored=stored is not None, anchored=anchored)
        if all(idle):
            idle[min(range(len(examples)), key=lambda place: len(examples[place].base.tokens))] = False
        run = [example for example, out in zip(examples, idle, strict=True) if not out]
        found = iter(score_batch(model, run, self.objective, stored=True))
        device = next(model.parameters()).device
        nothing = [torch.zeros(len(example.response), device=device) for example in examples]
        return [
            Example(zeros, example.correct) if out else next(found)
            for example, out, zeros in zip(examples, idle, nothing, strict=True)
        ]

    def _stored(self, examples: list[EncodedExample]) -> list[Allocation | None] | None:
        if self.args.scale_schedule == "step":
            return None
        return self.scale_cache.lookup(self.model, examples, epoch=self.state.epoch or 0)

    def _note(self, losses: list[Loss], scored: list[Example]) -> None:
        """Keep the next log line's values on the device, because reading them would wait for the step."""
        for loss in losses:
            for name, value in loss.parts.items():
                self._parts.setdefault(name, []).append(value.detach())
        self._tokens += sum(len(row.logp_base) for row in scored if row.logp_base.requires_grad)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Like `Trainer.log`, with the means of the loss's parts and the trained tokens per second."""
        if "loss" in logs:
            stacked = [torch.stack(values).float().mean() for values in self._parts.values()]
            read = torch.stack(stacked).tolist() if stacked else []  # all at once: each reading waits for the device
            means = {name: (mean, len(self._parts[name])) for name, mean in zip(self._parts, read, strict=True)}
            everywhere = processes.gather((means, self._tokens))
            for name in dict.fromkeys(name for each, _ in everywhere for name in each):
                found = [each[name] for each, _ in everywhere if name in each]
                logs[name] = sum(mean * count for mean, count in found) / sum(count for _, count in found)
            now = time.perf_counter()
            logs["tokens_per_second"] = sum(tokens for _, tokens in everywhere) / max(now - self._clock, 1e-9)
            self._parts, self._tokens, self._clock = {}, 0, now
        super().log(logs, start_time)
