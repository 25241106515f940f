"""What only a GPU can show: the compiled kernel with its gradient, no wait inside a step, and what memory it takes.

    pytest -m cuda tests/cuda

`benchmarks/gpu.sh` runs these first. Nothing here has run on a GPU yet: see docs/performance.md.
"""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lm.test_attention import attend, cached_pack, inputs, with_mask
from lm.test_logprobs import SETS, SIZES, adapted, gradients, share, tiny
from nlft.lm import SamplingSettings, load_model
from nlft.lm.attention import KVCache, Pack
from nlft.lm.generate import generate
from nlft.lm.logprobs import path_logprobs, shares_prefixes
from nlft.train import NLFTTrainer, lora_config
from nlft.train.dataset import collate
from nlft.train.memory import needed
from train.tiny_train import ROWS, config, stir

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    # torch's compiler warns of its own ways on first use.
    pytest.mark.filterwarnings("default"),
]
WIDE = {**SIZES, "hidden_size": 64, "head_dim": 16}  # FlexAttention takes heads of 16 and more


def on_gpu(pack: Pack, tokens: int) -> Pack:
    lengthened = with_mask(pack, tokens)
    from nlft.lm import block_mask

    lengthened.mask = block_mask.block_mask([each.cuda() for each in lengthened.indices()])
    if lengthened.past is not None:
        moved = KVCache()
        moved.layers = {layer: (k.cuda(), v.cuda()) for layer, (k, v) in lengthened.past.layers.items()}
        lengthened.past = moved
    return lengthened


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)])
def test_the_kernel_is_the_loop_forward_and_backward(dtype: torch.dtype, near: float) -> None:
    pack, tokens = cached_pack()
    exact = inputs(tokens)
    looped = attend(pack, *exact)
    looped.square().sum().backward()
    lengthened = on_gpu(pack, tokens)
    for layer, (key, value) in (lengthened.past.layers if lengthened.past else {}).items():
        lengthened.past.layers[layer] = (key.to(dtype), value.to(dtype))  # type: ignore[union-attr]
    given = [each.detach().to("cuda", dtype).requires_grad_() for each in exact]
    found = attend(lengthened, *(F.pad(each, (0, 0, 0, lengthened.padding)) for each in given))[:, :tokens]
    found.float().square().sum().backward()
    torch.testing.assert_close(found.float().cpu(), looped, atol=near, rtol=near)
    for one, two in zip(exact, given, strict=True):
        assert one.grad is not None
        assert two.grad is not None
        scale = float(one.grad.abs().max())
        torch.testing.assert_close(two.grad.float().cpu(), one.grad, atol=near * scale, rtol=near)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_scores_and_gradients_are_the_cpus(kind: str, checkpointing: bool) -> None:
    model = adapted(share(tiny(kind, WIDE)))
    expected = gradients(model, SETS["unequal lengths"], way="shared")
    first, prefix = path_logprobs(model, SETS["unequal lengths"], keep_prefix=True)
    second = path_logprobs(model, SETS["one row"], prefix=prefix)[0]
    twin = copy.deepcopy(model).cuda()
    if checkpointing:
        twin.get_base_model().activation_checkpointing_enable()
        twin.train()
    found = gradients(twin, SETS["unequal lengths"], way="shared")
    for key, value in expected.items():
        torch.testing.assert_close(found[key].cpu(), value, atol=1e-3 * float(value.abs().max()), rtol=1e-3)
    scored, prefix = path_logprobs(twin, SETS["unequal lengths"], keep_prefix=True)
    again = path_logprobs(twin, SETS["one row"], prefix=prefix)[0]
    for one, two in zip([*first, *second], [*scored, *again], strict=True):
        torch.testing.assert_close(two.logp.cpu(), one.logp, atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_probe_lets_the_kernel_pass(dtype: torch.dtype) -> None:
    assert shares_prefixes(tiny("llama", WIDE).to("cuda", dtype))


@pytest.fixture
def trainer(world: Path, tmp_path: Path, request: pytest.FixtureRequest) -> NLFTTrainer:
    model = tiny("llama", {**WIDE, "vocab_size": 300, "max_position_embeddings": 4096}).cuda()
    tokenizer = load_model(str(world / "model"), device="cpu").tokenizer
    options = getattr(request, "param", {})
    made = NLFTTrainer(
        model, config(tmp_path, use_cpu=False, **options), ROWS, peft_config=lora_config(model, lora_dropout=0.0),
        processing_class=tokenizer,
    )  # fmt: skip
    stir(made.model)
    made.model.train()
    return made


def step(trainer: NLFTTrainer) -> None:
    batch = collate(trainer.train_dataset.examples)
    trainer.compute_loss(trainer.model, batch).backward()


@pytest.mark.parametrize(("trainer", "waits"), [({"scale_schedule": "step"}, 1), ({"scale_schedule": "once"}, 0)], indirect=["trainer"])  # fmt: skip
def test_a_step_waits_for_the_device_only_to_walk(trainer: NLFTTrainer, waits: int) -> None:
    """Once, for all rows, and not at all where the scales are known."""
    for _ in range(2):
        step(trainer)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step(trainer)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    told = [str(each.message) for each in caught if "synchroniz" in str(each.message)]
    assert len(told) <= waits, told


def test_a_step_takes_no_more_memory_than_estimated(trainer: NLFTTrainer) -> None:
    step(trainer)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(trainer)
    assert torch.cuda.max_memory_allocated() - before < needed(trainer, lora={"lora_dropout": 0.0})


def test_generation_is_the_cpus(world: Path) -> None:
    prompts = [(5, 6, 7, 8, *range(20, 20 + i)) for i in range(1, 5)]
    settings = SamplingSettings(temperature=0, max_new_tokens=8, batch_size=2)
    answers: list[dict[int, Any]] = []
    for device in ("cpu", "cuda"):
        lm = load_model(str(world / "model"), dtype="float32", device=device)
        assert lm.device.type == device
        answers.append({each.index: each.token_ids for each in generate(lm, prompts, settings)})
    assert answers[0] == answers[1]
