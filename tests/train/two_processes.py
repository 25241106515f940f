"""What several processes do together, for `test_processes`: torchrun starts this file, and each case leaves its files."""

import io
import json
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from peft import get_peft_model
from tests.train.reft import tiny_reft
from tests.train.tiny_train import ROWS, config, stir

from nlft import processes
from nlft.answer.local import LocalAnswerer, together
from nlft.cli import app
from nlft.errors import ModelError
from nlft.lm import SamplingSettings, load_model
from nlft.progress import Outcome
from nlft.score import compute
from nlft.train import NLFTTrainer, lora_config, scale_cache
from nlft.train.reft import ReFTTrainer
from nlft.train.reft import trainer as reft_trainer

# Five rows in batches of two: with two batches a step, an epoch ends on a step of one row alone.
FIVE = [*ROWS, ROWS[1].model_copy(update={"id": "e", "question": "30+40?", "response": "30+40=7, I think #### 7"})]
# Constants under which a random model's responses have salient tokens, and no row is excluded.
SALIENT = {"p0_correct": 0.02, "filter_threshold": 0.9, "r0": 1.01, "ratio_threshold": None}
CASES: dict[str, dict[str, Any]] = {
    "nlft": {"settings": SALIENT},
    "nlft-token": {"settings": {"preset": "authors", **SALIENT}, "loss_average": "token"},
    "nlft-one-path": {"settings": {**SALIENT, "use_judge": False}},  # only right rows have a second pass
    "nlft-once": {"settings": SALIENT, "scale_schedule": "once"},
    "nlft-epoch": {"settings": SALIENT, "scale_schedule": "epoch", "num_train_epochs": 2},
    "sft": {"objective": "sft", "loss_average": "token", "num_train_epochs": 2, "save_strategy": "epoch"},
    "cut": {"objective": "cut"},
    "cut-full": {"objective": "cut", "full": True},
    "sdft": {"objective": "sdft"},
    "anchor": {"objective": "sft", "anchor": 0.5, "loss_average": "token"},
}
WRAPPED = {
    "ddp": ["nlft-token", "nlft-once", "sft", "cut", "sdft", "anchor"],
    "fsdp2": ["nlft", "nlft-one-path", "nlft-epoch", "sft", "cut-full", "anchor"],
}
# An optimiser with a state to save, whose large epsilon keeps rounding from deciding the sign of a step.
STEADY = {"optim": "adamw_torch", "adam_epsilon": 1.0, "learning_rate": 0.1, "lr_scheduler_type": "constant"}


def sharded(fsdp: bool) -> dict[str, Any]:
    layers = {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}
    return {"fsdp": True, "fsdp_config": layers} if fsdp else {}


def on_the_cpu(args: Any) -> Any:
    if args.fsdp:
        # accelerate takes FSDP for GPUs only; its own path runs on the CPU as well.
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    return args


def trained(folder: Path, out: Path, case: str, *, batch: int, fsdp: bool = False, resume: Path | None = None) -> None:
    """Train as the case says, on `batch` rows a process, two batches a step; weights and log go to files in `out`."""
    lm = load_model(str(folder), dtype="float32", device="cpu")
    changes = {"num_train_epochs": 1, **CASES[case]}
    full = changes.pop("full", False)
    args = config(
        out, per_device_train_batch_size=batch, gradient_accumulation_steps=2, **STEADY, **sharded(fsdp), **changes
    )
    adapter = None if full else lora_config(lm.model, lora_dropout=0.0)
    made = NLFTTrainer(
        lm.model, on_the_cpu(args), FIVE, eval_dataset=FIVE, peft_config=adapter, processing_class=lm.tokenizer
    )
    stir(made.model)
    made.train(resume_from_checkpoint=str(resume) if resume is not None else None)
    assert made.is_fsdp_enabled is fsdp
    found = made.evaluate() if case == "sft" else {}
    keep(made, out, found)


def reft_trained(folder: Path, out: Path, *, batch: int, fsdp: bool = False, resume: Path | None = None) -> None:
    """ReFT's PPO phase: two epochs of one rollout of four questions, each trained on twice."""
    lm = load_model(str(folder), dtype="float32", device="cpu")
    torch.manual_seed(0)  # for the adapter's first weights
    model = get_peft_model(lm.model, lora_config(lm.model))
    stir(model)
    # Many tokens end a response, so that the processes sample for different lengths of time.
    lm.model.generation_config.eos_token_id = list(range(80))
    settings = {**STEADY, **sharded(fsdp), "num_train_epochs": 2, "kl_coefficient": 0.5}
    args = tiny_reft.config(out / "out", per_device_train_batch_size=batch, **settings)
    made = ReFTTrainer(model, on_the_cpu(args), ROWS, processing_class=lm.tokenizer)
    made.train(resume_from_checkpoint=str(resume) if resume is not None else None)
    assert made.is_fsdp_enabled is fsdp
    keep(made, out, {})


def keep(made: Any, out: Path, found: dict[str, float]) -> None:
    whole = {
        name: parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
        for name, parameter in made.model.named_parameters()
        if parameter.requires_grad
    }
    out.mkdir(parents=True, exist_ok=True)
    if processes.leads():
        from safetensors.torch import save_file

        save_file({name: tensor.detach().contiguous() for name, tensor in whole.items()}, out / "weights.safetensors")
        (out / "log.json").write_text(json.dumps([*made.state.log_history, found]))


def pay_for_even_lengths(response: str, key: str, **_: Any) -> float:
    """A random model never answers right, and without any reward nothing would move."""
    return float(len(response) % 2 == 0)


def command(out: Path, *words: str) -> None:
    """The `nlft` command, in all processes; what each of them says goes to a file of its own."""
    said, sys.argv = io.StringIO(), ["nlft", *words]
    with redirect_stderr(said):
        try:
            app.main()
        except SystemExit as exit:
            print(f"exit code {exit.code}", file=sys.stderr)
    (out / f"{words[0]}.{processes.rank()}.txt").write_text(said.getvalue())


def fail_in_one(folder: Path, out: Path) -> None:
    """A process that fails among those that generate."""
    answerer = LocalAnswerer(str(folder), SamplingSettings())

    def generate(*_: Any) -> None:
        if not processes.leads():
            raise RuntimeError("out of memory")

    answerer._generate = generate  # type: ignore[method-assign]

    def ask() -> Outcome:
        answerer.reply([], lambda *_: None)
        answerer.reply([None], lambda *_: None)  # type: ignore[list-item]
        raise AssertionError

    try:
        together(answerer, "cpu", ask)
    except ModelError as error:
        (out / "failure.txt").write_text(f"{processes.rank()} {error}")


def main(folder: Path, out: Path, data: Path) -> None:
    torch.set_num_threads(1)
    compute.ROWS_PER_PASS = scale_cache.ROWS_PER_PASS = 2  # five rows are more than one share
    for case in WRAPPED["ddp"]:
        trained(folder, out / "ddp" / case, case, batch=1)
    reft_trainer.answer_reward = pay_for_even_lengths  # type: ignore[assignment]
    reft_trained(folder, out / "ddp" / "reft", batch=2)
    shared = ("--model", str(folder), "--prompts", "short", "--dtype", "float32", "--device", "cpu")
    command(out, "score", str(data / "rows.jsonl"), "-o", str(out / "scores.jsonl"), *shared)
    command(out, "evaluate", str(data / "problems.jsonl"), "-o", str(out / "eval.json"), *shared,
            "--batch-size", "1", "--max-new-tokens", "6")  # fmt: skip
    command(out, "train", str(data / "rows.jsonl"), "-o", str(out / "adapter"), *shared, "--epochs", "1",
            "--batch-size", "1")  # fmt: skip
    command(out, "grade", str(data / "rows.jsonl"), "-o", str(out / "graded.jsonl"))
    fail_in_one(folder, out)
    # Last, as accelerate's FSDP leaves its mark in the environment.
    for case in WRAPPED["fsdp2"]:
        trained(folder, out / "fsdp2" / case, case, batch=1, fsdp=True)
    reft_trained(folder, out / "fsdp2" / "reft", batch=2, fsdp=True)
    checkpoint = out / "fsdp2" / "reft" / "out" / "checkpoint-2"
    reft_trained(folder, out / "fsdp2" / "reft-resumed", batch=2, fsdp=True, resume=checkpoint)
    checkpoint = out / "fsdp2" / "sft" / "out" / "checkpoint-2"
    trained(folder, out / "fsdp2" / "sft-resumed", "sft", batch=1, fsdp=True, resume=checkpoint)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
    # Leaving together spares the slower one a broken connection.
    processes.gather(None)
