"""`nlft train`: from judged answers to an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

REFT = "reft"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train")(train)


def train(
    judged: Annotated[Path, typer.Argument(help="JSONL of judged answers.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Folder, hub id or GGUF file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for adapter, metrics, checkpoints.")],
    objective: Annotated[str, typer.Option(help="nlft, sft, cut, dft, sdft, token-weights or reft.")] = "nlft",
    preset: Annotated[str, typer.Option(help="Constants: paper or authors.")] = "paper",
    settings: Annotated[Path | None, typer.Option(help="YAML of constants that override the preset.")] = None,
    objective_option: Annotated[
        list[str] | None,
        typer.Option(help="A field of the objective's own, such as threshold=1.1 (cut), top_k=20 (sdft). Repeatable."),
    ] = None,
    weights: Annotated[str, typer.Option(help="When scales are computed: step, epoch or once.")] = "step",
    on: Annotated[str, typer.Option(help="Train on the response, or on the reference.")] = "response",
    correct_only: Annotated[bool, typer.Option("--correct-only", help="Leave incorrect responses out.")] = False,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the first n rows.")] = None,
    prompts: Annotated[str, typer.Option(help="Prompt set: a shipped name, or a YAML file.")] = "paper",
    epochs: Annotated[float, typer.Option(help="Passes over the data; the paper's 10.")] = 10.0,
    max_steps: Annotated[int, typer.Option(help="Stop after so many steps; -1 is off.")] = -1,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Rows per step and accumulation; 4 (reft: 16) where left out.")
    ] = None,
    gradient_accumulation: Annotated[int, typer.Option(min=1, help="Batches per step.")] = 1,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", "--lr", min=0.0, help="Peak; 5e-5 (reft: 3e-7) where left out."),
    ] = None,
    warmup: Annotated[float, typer.Option(min=0.0, help="Share of the steps (or their number).")] = 0.1,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="AdamW's.")] = 0.0,
    loss_average: Annotated[str, typer.Option(help="Mean over each example's mean, or over every token.")] = "example",
    lora_r: Annotated[int, typer.Option(min=1, help="Rank of the adapter.")] = 16,
    lora_alpha: Annotated[int, typer.Option(min=1, help="Scaling of the adapter.")] = 16,
    lora_dropout: Annotated[float, typer.Option(min=0.0, max=1.0, help="Dropout of the adapter.")] = 0.05,
    target_modules: Annotated[str | None, typer.Option(help="Comma-separated; the MLP's where left out.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Train the model itself, without an adapter.")] = False,
    gradient_checkpointing: Annotated[bool, typer.Option("--gradient-checkpointing", help="Less memory.")] = False,
    quantization: Annotated[str | None, typer.Option(help="4bit or 8bit (CUDA).")] = None,
    warm_up_epochs: Annotated[float, typer.Option(help="reft: of SFT before PPO.")] = 2.0,
    warm_up_learning_rate: Annotated[float, typer.Option(min=0.0, help="reft: of SFT before PPO.")] = 1e-5,
    ppo_epochs: Annotated[int, typer.Option(min=1, help="reft: passes over each rollout.")] = 2,
    kl_coefficient: Annotated[float, typer.Option(min=0.0, help="reft: of the KL penalty in the reward.")] = 0.05,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="reft: length limit of a sampled response.")] = 700,
    grader: Annotated[str, typer.Option(help="reft: decides what an answer earns.")] = "gsm8k-flexible",
    seed: Annotated[int, typer.Option(min=0, help="Of adapter, order and dropout.")] = 42,
    save_steps: Annotated[int | None, typer.Option(min=1, help="Steps between checkpoints; else an epoch.")] = None,
    keep_checkpoints: Annotated[int, typer.Option(min=1, help="How many checkpoints to keep, the last ones.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in -o.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that stands in -o.")] = False,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run code of the model's.")] = False,
) -> None:
    """Fine-tune a model on judged answers."""
    from nlft.cli.saliency import saliency_settings
    from nlft.config import override
    from nlft.errors import ConfigError, DataError
    from nlft.prompts import load_prompts
    from nlft.records import Judged, read_records

    constants = saliency_settings(preset, settings)
    own = override({}, objective_option or [])
    load_prompts(prompts)  # a wrong name is told before torch is loaded
    if objective == REFT and full:
        raise ConfigError("reft trains an adapter", remedy="leave --full out")
    if objective == REFT and own:
        raise ConfigError("reft takes no --objective-option", remedy="its settings are options of their own: --help")
    if device.startswith("cuda:") and device != "cuda:0":
        raise ConfigError(
            f'training runs on the first GPU it sees, not on "{device}"',
            remedy=f"CUDA_VISIBLE_DEVICES={device.removeprefix('cuda:')} nlft train ... --device cuda",
        )
    rows = list(read_records(judged, Judged))[:n]
    if correct_only:
        rows = [row for row in rows if row.verdict.correct]
        if not rows:
            raise DataError("no row is correct", file=judged, remedy="leave --correct-only out")

    shared: dict[str, Any] = {
        "output_dir": str(output),
        "target": on,
        "prompts": prompts,
        "num_train_epochs": epochs,
        "max_steps": max_steps,
        "gradient_accumulation_steps": gradient_accumulation,
        "warmup_steps": warmup,
        "weight_decay": weight_decay,
        "activation_checkpointing": gradient_checkpointing,
        "seed": seed,
        "save_strategy": "steps" if save_steps else "epoch",
        "save_steps": save_steps or 500,
        "save_total_limit": keep_checkpoints,
        "use_cpu": device == "cpu",
    }
    given = {"per_device_train_batch_size": batch_size, "learning_rate": learning_rate}
    shared |= {name: value for name, value in given.items() if value is not None}
    loading: dict[str, Any] = {
        "dtype": dtype,
        "device": device,
        "trust_remote_code": trust_remote_code,
        "quantization": quantization,
    }
    lora: dict[str, Any] = {
        "r": lora_r,
        "alpha": lora_alpha,
        "dropout": lora_dropout,
        "target_modules": target_modules if target_modules in (None, "all-linear") else target_modules.split(","),
    }

    from nlft.lm import load_model
    from nlft.train import NLFTConfig, train

    if objective == REFT:
        from nlft.train.reft import ReFTConfig, train_reft

        reft = ReFTConfig(
            warm_up_epochs=warm_up_epochs,
            warm_up_learning_rate=warm_up_learning_rate,
            num_iterations=ppo_epochs,
            kl_coefficient=kl_coefficient,
            max_completion_length=max_new_tokens,
            grader=grader,
            **shared,
        )
        result = train_reft(rows, load_model(model, **loading), reft, lora=lora, resume=resume, overwrite=overwrite)
    else:
        config = NLFTConfig(
            objective=objective,
            objective_options=own,
            settings=constants,
            scale_schedule=weights,  # type: ignore[arg-type]  # checked by the config, with a message of ours
            loss_average=loss_average,  # type: ignore[arg-type]
            **shared,
        )
        lm = load_model(model, **loading)
        result = train(rows, lm, config, lora=lora, full=full, resume=resume, overwrite=overwrite)
    print(
        f"{result.rows} rows, {result.steps} steps, mean loss {result.loss:.4f}, "
        f"{result.trainable:,} parameters trained, {result.seconds:.0f} s: {result.folder}"
    )
