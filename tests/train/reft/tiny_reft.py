"""Both phases, and the PPO phase alone, on a tiny model."""

import json
from pathlib import Path
from typing import Any

from tests.train.tiny_train import ROWS, stir

from nlft.lm import load_model
from nlft.train import lora_config
from nlft.train.reft import ReFTConfig, ReFTTrainer, train_reft


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
        "warm_up_warmup": 0,
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
    stir(model)
    return ReFTTrainer(model, config(out, **changes), ROWS, processing_class=lm.tokenizer)


def rollout(made: ReFTTrainer, rows: int = 4) -> dict[str, Any]:
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made._generate_and_score_completions([made.train_dataset[i] for i in range(rows)])
