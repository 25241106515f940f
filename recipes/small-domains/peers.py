"""On-policy relatives of the method, trained by TRL: SDFT (arXiv 2601.19897) and SDPO (arXiv 2601.20802).

Both let the student write, and pull each of its tokens towards what the same model would say if it saw more. Here it sees
what a row holds: a right response, or a wrong one with its judgment and the final answer. They start, like `revise-all`,
from the student of all responses, merged in float32, and train for as many steps of as many rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from nlft.grade import get_grader
from nlft.prompts import PromptSet
from nlft.records import Judged
from nlft.train.lora import lora_config

__all__ = ["PEERS", "merge", "shown", "train_peer"]

PEERS = ("sdft", "sdpo")


def merge(model: str, adapter: Path, output: Path) -> Path:
    """The adapter's student as a model of its own, in float32; written once."""
    if not output.exists():
        whole = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), adapter)
        partial = output.with_suffix(".partial")
        whole.merge_and_unload().save_pretrained(partial)
        AutoTokenizer.from_pretrained(adapter).save_pretrained(partial)
        partial.rename(output)
    return output


def shown(row: Judged) -> str:
    """What the teacher sees of a row besides its question."""
    if row.verdict.correct:
        return f"A correct response:\n\n{row.response}"
    return f"A wrong response:\n\n{row.response}\n\n{row.judgment}\n\nThe correct answer:\n\n{row.reference}"


def rewarder(rows: Sequence[Judged]) -> Callable[..., list[float]]:
    """1 for a completion that ends in its row's answer."""
    grader, by_place = get_grader("gsm8k-flexible"), list(rows)

    def reward(completions: list[Any], row: list[int], **_: Any) -> list[float]:
        texts = [completion[0]["content"] if isinstance(completion, list) else completion for completion in completions]
        return [
            float(grader(by_place[place].model_copy(update={"response": text})).correct)
            for text, place in zip(texts, row, strict=True)
        ]

    return reward


def train_peer(
    method: str, model: Path, rows: Sequence[Judged], prompts: PromptSet, output: Path, *, steps: int, batch: int, rate: float, seed: int
) -> None:  # fmt: skip
    """Train an adapter on the merged student with TRL's own trainer, at TRL's defaults but for what is named here."""
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    data = Dataset.from_list(
        [
            {
                "prompt": [dict(message) for message in prompts.base(row.question)],
                "privileged_context": shown(row),
                "row": place,
            }
            for place, row in enumerate(rows)
        ]
    )
    common: dict[str, Any] = {
        "output_dir": str(output.with_suffix(".run")), "max_steps": steps, "learning_rate": rate, "lr_scheduler_type": "cosine",
        "warmup_steps": steps // 10, "seed": seed, "save_strategy": "no", "report_to": "none", "use_cpu": True, "bf16": False,
        "logging_steps": 4, "max_completion_length": 120, "remove_unused_columns": False, "gradient_checkpointing": False,
    }  # fmt: skip
    tools: dict[str, Any] = {"processing_class": tokenizer, "train_dataset": data, "peft_config": lora_config(lm)}
    if method == "sdft":
        from trl.experimental.sdft import SDFTConfig, SDFTTrainer

        settings = SDFTConfig(**common, per_device_train_batch_size=batch, num_generations=1)
        trainer = SDFTTrainer(lm, settings, **tools)
    else:
        from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

        # A group of answers to one question is what SDPO looks for a right one in.
        settings = SDPOConfig(
            **common, per_device_train_batch_size=batch, gradient_accumulation_steps=2, num_generations=2 * batch, include_environment_feedback=True
        )  # fmt: skip
        trainer = SDPOTrainer(lm, reward_funcs=rewarder(rows), args=settings, **tools)
    trainer.train()
    trainer.model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    shutil.rmtree(output.with_suffix(".run"), ignore_errors=True)
