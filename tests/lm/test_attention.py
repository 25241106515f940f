"""Attention over a pack: one call a layer sees what the loop over segments sees, and the loop stays lean."""

import functools
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_mask, flex_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

from lm.test_logprobs import COMMON, KINDS, SETS, SIZES, adapted, gradients, ids, share, tiny
from nlft.lm import block_mask
from nlft.lm.attention import KVCache, Pack, Segment, Span, shared_prefix_attention
from nlft.lm.generate import generate
from nlft.lm.logprobs import path_logprobs
from nlft.lm.pack import TokenPath, pack_sequences

HEADS, KV_HEADS, DIM = 4, 2, 16


class Layer:
    layer_idx = 0


def masked(query: Any, key: Any, value: Any, *, block_mask: Any, scale: Any, enable_gqa: bool) -> Any:
    """FlexAttention, as one SDPA with the whole of the same mask: it has a backward pass on the CPU."""
    mask = create_mask(block_mask.mask_mod, None, None, query.shape[2], key.shape[2], device="cpu")[0, 0]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=enable_gqa)


@pytest.fixture
def one_call(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take one call a layer on the CPU, too; the lengths of the calls."""
    lengths: list[int] = []

    def counted(query: Any, *rest: Any, **options: Any) -> Any:
        lengths.append(query.shape[2])
        return masked(query, *rest, **options)

    monkeypatch.setattr(block_mask, "one_call", lambda device: True)
    monkeypatch.setattr(block_mask, "compiled_flex", lambda: counted)
    monkeypatch.setattr(block_mask, "LEAST_DIM", 8)
    return lengths


def cached_pack() -> tuple[Pack, int]:
    """Segments that continue from a cache of 300 tokens, from one another, from the middle of one, and from nothing."""
    past = KVCache()
    past.layers[0] = (torch.randn(1, KV_HEADS, 300, DIM), torch.randn(1, KV_HEADS, 300, DIM))
    old, begun = Span(0, 130, cached=True), Span(200, 290, cached=True)
    segments = [
        Segment(0, 140, (old, begun)),
        Segment(140, 150),
        Segment(150, 290, (old, Span(0, 77))),
        Segment(290, 390, (old, Span(0, 140), Span(140, 145))),
    ]
    return Pack(segments, past), 390


def with_mask(pack: Pack, tokens: int) -> Pack:
    pack = Pack(list(pack.segments), pack.past, pack.store)
    pack.pad(-tokens % block_mask.TOKENS)
    pack.mask = block_mask.block_mask(pack.indices())
    return pack


def attend(pack: Pack, *inputs: torch.Tensor) -> torch.Tensor:
    return shared_prefix_attention(Layer(), *inputs, None, nlft_pack=pack)[0]  # type: ignore[arg-type]


def inputs(tokens: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, heads, tokens, DIM, requires_grad=True) for heads in (HEADS, KV_HEADS, KV_HEADS)]


def test_the_mask_shows_what_the_spans_say() -> None:
    pack, tokens = cached_pack()
    lengthened = with_mask(pack, tokens)
    dense = create_mask(lengthened.mask.mask_mod, None, None, 512, 300 + 512, device="cpu")[0, 0]
    expected = torch.zeros_like(dense)
    for segment in lengthened.segments:
        for query in range(segment.start, segment.stop):
            expected[query, 300 + segment.start : 300 + query + 1] = True
            for span in segment.context:
                first = 0 if span.cached else 300
                expected[query, first + span.start : first + span.stop] = True
    assert torch.equal(dense, expected)
    assert lengthened.mask.sparsity() > 10  # percent of the blocks: those are not even looked at


def test_one_call_is_the_loop_forward_and_backward(one_call: list[int]) -> None:
    pack, tokens = cached_pack()
    first = inputs(tokens)
    looped = attend(pack, *first)
    weights = torch.randn_like(looped)
    (looped * weights).sum().backward()
    second = inputs(tokens)
    lengthened = with_mask(pack, tokens)
    at_once = attend(lengthened, *(F.pad(each, (0, 0, 0, lengthened.padding)) for each in second))[:, :tokens]
    (at_once * weights).sum().backward()
    assert one_call == [512]
    torch.testing.assert_close(at_once, looped, atol=1e-5, rtol=1e-5)
    for one, two in zip(first, second, strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_scores_the_same_in_one_call(kind: str, request: pytest.FixtureRequest) -> None:
    """Log-probabilities, gradients, and a pass that continues from another; tokens are padded, the cache is not."""
    model = adapted(share(tiny(kind)))
    expected = gradients(model, SETS["unequal lengths"], way="shared")
    longer = [TokenPath(COMMON + ids(i, 8) + ids(50 + i, 6 + i), ids(40 + i, 5 + i)) for i in range(3)]
    second = path_logprobs(model, longer)[0]
    lengths: list[int] = request.getfixturevalue("one_call")
    found = gradients(model, SETS["unequal lengths"], way="shared")
    assert set(lengths) == {256}
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5 * float(value.abs().max()) + 1e-9, rtol=1e-5)
    _, prefix = path_logprobs(model, SETS["unequal lengths"], keep_prefix=True)
    assert prefix is not None
    layout = pack_sequences([path.tokens for path in SETS["unequal lengths"]])
    assert len(prefix.cache) == len(layout.ids)
    for one, two in zip(path_logprobs(model, longer, prefix=prefix)[0], second, strict=True):
        torch.testing.assert_close(one.logp, two.logp, atol=1e-5, rtol=0)


def test_generation_is_the_same_in_one_call(lm: Any, request: pytest.FixtureRequest) -> None:
    from nlft.lm import SamplingSettings

    prompts = [(5, 6, 7, 8, *range(20, 20 + i)) for i in range(1, 5)]
    settings = SamplingSettings(temperature=0, max_new_tokens=6, batch_size=2)
    expected = {each.index: each.token_ids for each in generate(lm, prompts, settings)}
    lengths: list[int] = request.getfixturevalue("one_call")
    assert {each.index: each.token_ids for each in generate(lm, prompts, settings)} == expected
    assert set(lengths) == {256}


def attend_by(kernel: Any, packs: list[tuple[Pack, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pack by this kernel, and by the loop."""
    monkeypatch.setattr(block_mask, "compiled_flex", lambda: kernel)
    with torch.no_grad():
        for pack, tokens in packs:
            given, lengthened = inputs(tokens), with_mask(pack, tokens)
            padded = [F.pad(each, (0, 0, 0, lengthened.padding)) for each in given]
            torch.testing.assert_close(
                attend(lengthened, *padded)[:, :tokens], attend(pack, *given), atol=1e-5, rtol=1e-5
            )


def test_flex_attention_is_compiled_for_all_lengths_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one block of queries and for several; were it compiled again and again, torch would give it up."""
    pack, tokens = cached_pack()
    short = Pack([Segment(0, 200), Segment(200, 230, (Span(0, 150),))], pack.past)
    long = Pack([Segment(0, 700), Segment(700, 1000, (Span(0, 450),)), Segment(1000, 1030)], pack.past)
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]
    counters.clear()
    kernel = torch.compile(flex_attention, dynamic=True, fullgraph=True, backend="eager")
    attend_by(kernel, [(pack, tokens), (short, 230), (pack, tokens), (long, 1030), (short, 230)], monkeypatch)
    assert counters["unique_graphs"] <= 2


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method`:DeprecationWarning"
)  # torch's own, on its first compilation
def test_compiled_flex_attention_is_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel itself, which on the CPU has no backward pass, and which torch 2.13 can compile for one length only."""
    torch._dynamo.reset()
    attend_by(torch.compile(flex_attention, fullgraph=True), [cached_pack()], monkeypatch)


def rows(count: int) -> list[TokenPath]:
    """Alike in the first thirty tokens and no further."""
    return [TokenPath((*COMMON, 2 + i, *ids(i, 4)), ids(100 + i, 6)) for i in range(count)]


def step(model: Any, count: int) -> None:
    model.zero_grad()
    torch.stack([scored.logp.mean() for scored in path_logprobs(model, rows(count))[0]]).sum().backward()


class Launches(TorchDispatchMode):
    """Counts operations that compute or copy: on a GPU each is a launch; views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def launches_per_layer(count: int) -> list[str]:
    """Of a step with so many rows: what a third layer adds to two."""
    found = []
    for layers in (2, 3):
        model = adapted(share(tiny("llama", {**SIZES, "num_hidden_layers": layers})))
        with Launches() as counted:
            step(model, count)
        found.append(Counter(counted.names))
    return sorted((found[1] - found[0]).elements())


def test_a_row_more_costs_six_operations_a_layer() -> None:
    """Attention, keys and values joined; and in the backward pass attention, and two gradients added to the shared."""
    few, many = launches_per_layer(4), launches_per_layer(32)
    assert len(many) - len(few) == 6 * 28
    assert [name for name in many if "slice_backward" in name] == [name for name in few if "slice_backward" in name]


def test_in_one_call_a_row_more_costs_no_operation(one_call: list[int]) -> None:
    assert len(launches_per_layer(32)) == len(launches_per_layer(4))


def test_a_step_computes_what_a_dense_pass_over_as_many_tokens_does() -> None:
    """Counted by torch, but for the attention's products, which it does not count on the CPU."""
    model = adapted(share(tiny("llama")))
    tokens = pack_sequences([path.tokens for path in rows(32)])
    with FlopCounterMode(display=False) as ours:
        step(model, 32)
    with FlopCounterMode(display=False) as dense:
        model.base_model.model.model(torch.tensor([tokens.ids]), use_cache=False).last_hidden_state.sum().backward()
    head = 2 * 2 * sum(len(path.response) for path in rows(32)) * SIZES["vocab_size"] * SIZES["hidden_size"]
    assert ours.get_total_flops() == dense.get_total_flops() + head


def save_products(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    product = operation is torch.ops.aten.mm.default
    return CheckpointPolicy.MUST_SAVE if product else CheckpointPolicy.PREFER_RECOMPUTE


def test_selective_checkpointing_gives_the_same_gradients() -> None:
    """It hands every operation on, as counters do; torch's causal bias, a kind of tensor of its own, broke there."""
    model = adapted(share(tiny("llama")))
    expected = gradients(model, SETS["unequal lengths"], way="shared")
    contexts = functools.partial(create_selective_checkpoint_contexts, save_products)
    options = {"use_reentrant": False, "context_fn": contexts}
    model.get_base_model().activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    model.train()
    found = gradients(model, SETS["unequal lengths"], way="shared")
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-5)
