"""What two gloo processes do together, for `test_processes`: run by torchrun, each case leaves a file."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from tests.train.tiny_train import ROWS, config, stir

from nlft import processes
from nlft.lm import load_model
from nlft.records import Judged
from nlft.train import NLFTTrainer, lora_config

# Five rows in batches of two: with two batches a step, an epoch ends on a step of one row alone.
FIVE = [*ROWS, ROWS[1].model_copy(update={"id": "e", "question": "30+40?", "response": "30+40=7, I think #### 7"})]
# Constants under which a random model's responses have salient tokens, and no row is excluded.
SALIENT = {"p0_correct": 0.02, "filter_threshold": 0.9, "r0": 1.01, "ratio_threshold": None}
CASES: dict[str, dict[str, Any]] = {
    "nlft": {"settings": SALIENT},
    "nlft-authors-token": {"settings": {"preset": "authors", **SALIENT}, "loss_average": "token"},
    "nlft-once": {"settings": SALIENT, "scale_schedule": "once"},
    "nlft-epoch": {"settings": SALIENT, "scale_schedule": "epoch"},
    "sft": {"objective": "sft"},
    "sft-token": {"objective": "sft", "loss_average": "token"},
    "cut": {"objective": "cut"},
    "cut-full": {"objective": "cut", "full": True},
    "sdft": {"objective": "sdft"},
}


def trained(folder: Path, out: Path, *, batch: int, wrapped: str = "ddp", **changes: Any) -> None:
    """Two epochs in `out`, of `batch` rows a process, twice a step; the weights and the log go to files."""
    lm = load_model(str(folder), dtype="float32", device="cpu")
    full = changes.pop("full", False)
    fsdp = {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]} if wrapped == "fsdp2" else {}
    args = config(
        out, per_device_train_batch_size=batch, gradient_accumulation_steps=2, num_train_epochs=2, optim="sgd",
        learning_rate=0.1, lr_scheduler_type="constant", fsdp=bool(fsdp) or None, fsdp_config=fsdp or None, **changes,
    )  # fmt: skip
    if fsdp:
        # accelerate takes FSDP for GPUs only; its own path runs on the CPU as well.
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    adapter = None if full else lora_config(lm.model, dropout=0.0)
    made = NLFTTrainer(lm.model, args, rows(), peft_config=adapter, processing_class=lm.tokenizer)
    stir(made.model)
    made.train()
    weights = {
        name.replace("_fsdp_wrapped_module.", ""): (p.full_tensor() if hasattr(p, "full_tensor") else p).detach()
        for name, p in made.model.named_parameters()
        if p.requires_grad
    }
    if processes.leads():
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, out / "weights.safetensors")
        (out / "log.json").write_text(json.dumps(made.state.log_history))


def rows() -> list[Judged]:
    return FIVE


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    for wrapped in ("ddp", "fsdp2"):
        for name, changes in CASES.items():
            (out / wrapped / name).mkdir(parents=True, exist_ok=True)
            trained(folder, out / wrapped / name, batch=1, wrapped=wrapped, **changes)
            print(wrapped, name, "done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
