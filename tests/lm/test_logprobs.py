"""Shared = plain = one by one, in log-probabilities, hidden states and gradients, on every kind of model."""

import copy
import logging
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from nlft.lm import attention, logprobs
from nlft.lm.attention import KVCache, Pack
from nlft.lm.logprobs import _plain, _shared, path_logprobs, run_packed, shares_prefixes, sharing_obstacle
from nlft.lm.pack import TokenPath, pack_sequences
from nlft.lm.wrappers import base_model, unwrap
from nlft.train.lora import lora_config

VOCABULARY = 61
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": SIZES,
    "qwen2": SIZES,
    "qwen3": SIZES,
    "gemma": SIZES,
    "gpt2": {
        "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "bos_token_id": 1,
        "eos_token_id": 1, "initializer_range": 0.2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
}  # fmt: skip
# These take the plain way, and say so.
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "mistral": ({**SIZES, "sliding_window": 8}, "window"),
    "gemma2": ({**SIZES, "sliding_window": 8}, "layers of the kind sliding_attention"),
    "granite": ({**SIZES, "logits_scaling": 4.0}, "scales its logits"),
}


def tiny(kind: str, config: dict[str, Any] | None = None) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**(config or KINDS[kind])), dtype=torch.float32)
    return model.eval()


def adapted(model: Any) -> Any:
    """With an adapter on every linear layer whose two matrices both count."""
    torch.manual_seed(1)
    network = get_peft_model(
        model, lora_config(model, r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear")
    )
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return network


def ids(seed: int, count: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(2, VOCABULARY, (count,), generator=generator).tolist())


COMMON = ids(0, 30)
SETS = {
    "unequal lengths": [TokenPath(COMMON + ids(i, 5 + 7 * i), ids(10 + i, 3 + 4 * i)) for i in range(4)],
    "one row": [TokenPath(COMMON, ids(1, 6))],
    "nothing in common": [TokenPath(ids(20 + i, 9), ids(30 + i, 5)) for i in range(3)],
    "identical rows": [TokenPath(COMMON, ids(2, 6))] * 3,
    "one row begins another": [
        TokenPath(COMMON, ids(2, 6)), TokenPath(COMMON, ids(2, 3)), TokenPath(COMMON[:4], ids(3, 2)),
    ],
    "a prompt inside another's response": [TokenPath(COMMON, ids(2, 6)), TokenPath(COMMON + ids(2, 2), ids(2, 6)[2:])],
    "prompts of one token": [TokenPath((5,), ids(4, 3)), TokenPath((6,), ids(5, 1))],
}  # fmt: skip


def share(model: Any) -> Any:
    assert shares_prefixes(model), sharing_obstacle(model)
    return model


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", KINDS)
def test_shared_is_plain_is_one_by_one(kind: str, name: str) -> None:
    model, paths = share(tiny(kind)), SETS[name]
    with torch.no_grad():
        shared, plain = _shared(model, paths, 0, None, False)[0], _plain(model, paths, 0)
        single = [_plain(model, [path], 0)[0] for path in paths]
    for one, two, three in zip(shared, plain, single, strict=True):
        torch.testing.assert_close(one.logp, three.logp, atol=1e-5, rtol=0)
        torch.testing.assert_close(two.logp, three.logp, atol=1e-5, rtol=0)
        torch.testing.assert_close(one.hidden_states, three.hidden_states, atol=1e-4, rtol=1e-4)


def gradients(model: Any, paths: list[TokenPath], *, way: str) -> dict[str, torch.Tensor]:
    """Of every trained parameter, for a loss that weighs rows and tokens unevenly."""
    model.zero_grad()
    separate = way == "one by one"
    results = [_plain(model, [path], 0)[0] for path in paths] if separate else path_logprobs(model, paths)[0]
    total = sum((i + 1) * (r.logp * torch.linspace(0.5, 2, len(r.logp))).mean() for i, r in enumerate(results))
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["unequal lengths", "identical rows", "nothing in common"])
def test_gradients_agree(kind: str, name: str, checkpointing: bool) -> None:
    model = adapted(share(tiny(kind)))
    expected = gradients(model, SETS[name], way="one by one")
    if checkpointing:
        unwrap(model).activation_checkpointing_enable()
        model.train()
    found = gradients(model, SETS[name], way="shared")
    assert found.keys() == expected.keys()
    assert len(found) > 4
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5 * float(value.abs().max()) + 1e-9, rtol=1e-5)


def test_a_trained_head_gets_its_gradient() -> None:
    model = share(tiny("llama"))
    expected = gradients(model, SETS["unequal lengths"], way="one by one")
    found = gradients(model, SETS["unequal lengths"], way="shared")
    assert "lm_head.weight" in found
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5 * float(value.abs().max()) + 1e-9, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_pass_continues_from_the_first(kind: str) -> None:
    model = adapted(share(tiny(kind)))
    base = [TokenPath(COMMON + ids(i, 8) + (3,), ids(40 + i, 5 + i)) for i in range(3)]
    other = [TokenPath(COMMON + ids(i, 8) + ids(50 + i, 6 + i), ids(40 + i, 5 + i)) for i in range(3)]
    other.append(base[0])  # the very same path again: its hidden states are not cached, only its keys
    first, prefix = path_logprobs(model, base, keep_prefix=True)
    with torch.no_grad():
        second, _ = path_logprobs(model, other, prefix=prefix)
        alone = [_plain(model, [path], 0)[0] for path in other]
    for one, two in zip(second, alone, strict=True):
        torch.testing.assert_close(one.logp, two.logp, atol=1e-5, rtol=0)
        assert not one.logp.requires_grad
    assert first[0].logp.requires_grad


def test_kept_keys_are_freed_with_the_prefix_even_under_activation_checkpointing() -> None:
    model = adapted(share(tiny("llama")))
    unwrap(model).activation_checkpointing_enable()
    model.train()
    found, prefix = path_logprobs(model, SETS["unequal lengths"], keep_prefix=True)
    assert prefix is not None
    kept = weakref.ref(prefix.cache)
    del prefix
    assert kept() is None
    torch.stack([scored.logp.sum() for scored in found]).sum().backward()


@pytest.mark.parametrize("kind", OTHERS)
def test_what_cannot_share_falls_back_and_says_so(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    config, reason = OTHERS[kind]
    model = tiny(kind, config)
    with caplog.at_level(logging.WARNING, logger="nlft"), torch.no_grad():
        found = path_logprobs(model, SETS["unequal lengths"])[0]
        path_logprobs(model, SETS["one row"])
    assert [record.message for record in caplog.records if reason in record.message] == [caplog.records[0].message]
    assert model.config._attn_implementation != attention.NAME
    for path, scored in zip(SETS["unequal lengths"], found, strict=True):
        logits = model(torch.tensor([path.tokens])).logits[0, len(path.prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(path.response)[:, None])[:, 0]
        torch.testing.assert_close(scored.logp, expected, atol=1e-5, rtol=0)


def test_the_probe_catches_a_model_that_only_looks_right(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny("llama")
    attend = model.model.layers[1].self_attn.forward
    # A layer that drops what it is not told of: it would run, and give numbers that are wrong.
    model.model.layers[1].self_attn.forward = lambda *a, nlft_pack=None, **k: attend(*a, **k)
    with caplog.at_level(logging.WARNING, logger="nlft"):
        assert not shares_prefixes(model)
    assert "probe" in caplog.text
    assert model.config._attn_implementation != attention.NAME


def sharpened() -> Any:
    """A bfloat16 model whose large weights give sharp logits, as training at a high rate does."""
    model = tiny("qwen2")
    torch.manual_seed(8)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data += 0.4 * torch.randn_like(parameter)
    return model.to(torch.bfloat16)


def test_rounding_alone_does_not_decide_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kernel rounds otherwise, and sharp logits in bfloat16 then differ by a fifth of a nat."""
    causal = attention._causal

    def other_kernel(query: Any, key: Any, value: Any, *rest: Any) -> Any:
        return causal(query.float(), key.float(), value.float(), *rest).to(query.dtype)

    monkeypatch.setattr(attention, "_causal", other_kernel)
    assert shares_prefixes(sharpened())


def test_the_probe_refuses_what_differs_by_more_than_rounding(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    causal = attention._causal

    def forgetful(query: Any, key: Any, value: Any, *rest: Any) -> Any:
        own = query.shape[2]
        return causal(query, key[:, :, -own:], value[:, :, -own:], *rest)

    monkeypatch.setattr(attention, "_causal", forgetful)
    for model in (tiny("qwen2"), tiny("qwen2").to(torch.bfloat16), sharpened()):
        caplog.clear()
        assert not shares_prefixes(model)
        assert "the probe's log-probabilities differ by" in caplog.text
        assert model.config._attn_implementation != attention.NAME


def test_the_probe_runs_once_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[Any] = []
    probe = logprobs._probe
    monkeypatch.setattr(logprobs, "_probe", lambda base: probed.append(base) or probe(base))
    model = tiny("llama")
    with torch.no_grad():
        for paths in (SETS["one row"], SETS["identical rows"]):
            path_logprobs(model, paths)
        network = adapted(model)
        path_logprobs(network, SETS["one row"])
        assert shares_prefixes(network)
    assert probed == [model]


def test_without_a_pack_the_exchanged_attention_is_sdpa() -> None:
    model = share(tiny("qwen2"))
    twin = copy.deepcopy(model)
    twin.set_attn_implementation("sdpa")
    batch = torch.tensor([[0, 0, 5, 7, 9], [3, 5, 7, 9, 11]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        torch.testing.assert_close(
            model(batch, attention_mask=mask).logits, twin(batch, attention_mask=mask).logits, atol=0, rtol=0
        )
        assert model.generate(batch, attention_mask=mask, max_new_tokens=4, do_sample=False).tolist() == (
            twin.generate(batch, attention_mask=mask, max_new_tokens=4, do_sample=False).tolist()
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(dtype: torch.dtype) -> None:
    exact, half = share(tiny("llama")), share(tiny("llama").to(dtype))
    with torch.no_grad():
        for one, two in zip(
            path_logprobs(exact, SETS["unequal lengths"])[0],
            path_logprobs(half, SETS["unequal lengths"])[0],
            strict=True,
        ):
            assert two.logp.dtype == torch.float32
            torch.testing.assert_close(one.logp, two.logp, atol=0.15, rtol=0.05)


def test_top_tokens_are_those_of_the_full_softmax() -> None:
    model = share(tiny("llama"))
    with torch.no_grad():
        shared, plain = (
            path_logprobs(model, SETS["unequal lengths"], top_k=5)[0],
            _plain(model, SETS["unequal lengths"], 5),
        )
    for one, two in zip(shared, plain, strict=True):
        assert one.top is not None
        assert two.top is not None
        torch.testing.assert_close(one.top[0], two.top[0], atol=1e-5, rtol=0)
        assert one.top[1].tolist() == two.top[1].tolist()


@pytest.mark.parametrize("kind", ["llama", *OTHERS])
def test_chosen_tokens_are_scored_as_the_model_scores_them(kind: str) -> None:
    """Through caps and scales of the logits too, and for one path of two."""
    model = tiny(kind, OTHERS[kind][0] if kind in OTHERS else None)
    paths, choice = SETS["unequal lengths"][1:3], torch.randint(VOCABULARY, (7, 3))
    scored, _ = path_logprobs(model, paths, choose=[choice, None])
    assert scored[1].chosen is None
    logits = model(torch.tensor([paths[0].tokens])).logits[0, -8:-1]
    expected = torch.log_softmax(logits, -1).gather(-1, choice)
    torch.testing.assert_close(scored[0].chosen, expected, atol=1e-4, rtol=0)
    (slope,) = torch.autograd.grad(scored[0].chosen.sum(), model.get_input_embeddings().weight)
    (same,) = torch.autograd.grad(expected.sum(), model.get_input_embeddings().weight)
    torch.testing.assert_close(slope, same, atol=1e-3, rtol=1e-3)


def test_weights_that_are_elsewhere_until_a_layer_runs(tmp_path: Path) -> None:
    """As `device_map` may leave them: accelerate's hooks bring each layer's weights when its forward runs."""
    model = tiny("llama")
    expected = [_plain(model, [path], 0)[0].logp.detach() for path in SETS["unequal lengths"]]
    for first in ("before", "after"):
        scattered = tiny("llama")
        if first == "after":
            shares_prefixes(scattered)
        places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.rotary_emb": "cpu"}
        places |= dict.fromkeys(("model.layers.1", "model.norm", "lm_head"), "disk")
        dispatch_model(scattered, places, main_device="cpu", offload_dir=str(tmp_path / first), force_hooks=True)
        assert scattered.lm_head.weight.device.type == "meta"
        with torch.no_grad():
            found = path_logprobs(scattered, SETS["unequal lengths"], top_k=2)[0]
        assert shares_prefixes(scattered)
        for scored, logp in zip(found, expected, strict=True):
            torch.testing.assert_close(scored.logp, logp, atol=1e-5, rtol=0)


def test_the_untouched_model_is_found_in_its_wrappers() -> None:
    model = adapted(tiny("llama"))
    wrapped = torch.nn.DataParallel(model)
    with torch.no_grad():
        with model.disable_adapter():
            plain = model(torch.tensor([COMMON])).logits
        with base_model(wrapped):
            assert torch.equal(model(torch.tensor([COMMON])).logits, plain)
        assert not torch.equal(model(torch.tensor([COMMON])).logits, plain)


def test_no_token_runs_twice_and_the_head_sees_responses_only() -> None:
    """What makes a step cheap: one pass, each token once through the decoder, the head at responses only."""
    model, paths = share(tiny("llama")).requires_grad_(False), SETS["unequal lengths"]
    seen: list[int] = []
    model.model.layers[0].register_forward_hook(
        lambda m, i, o: seen.append((o[0] if isinstance(o, tuple) else o).shape[-2])
    )
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda m, i, o: rows.append(i[0].shape[-2]))
    with torch.no_grad():
        path_logprobs(model, paths)
    unique = {path.tokens[: i + 1] for path in paths for i in range(len(path.tokens))}
    assert seen == [len(unique)]
    assert rows == [sum(len(path.response) for path in paths)]


TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=6), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_every_layout_spells_its_sequences(pairs: list[tuple[tuple[int, ...], tuple[int, ...]]], first: int) -> None:
    """However sequences share beginnings: following the spans gives each sequence back, positions included."""
    paths = [TokenPath(prompt, response) for prompt, response in pairs]
    before, after = paths[:first], paths[first:]
    earlier = pack_sequences([path.tokens for path in before])
    cached = [packed.cached() for packed in earlier.sequences]
    layout = pack_sequences([p.tokens for p in after], cached=cached, fresh_from=[len(p.prompt) - 1 for p in after])
    for path, packed in zip(after, layout.sequences, strict=True):
        spelled: list[int] = []
        positions: list[int] = []
        for span in packed.spans:
            source = earlier if span.cached else layout
            spelled += source.ids[span.start : span.stop]
            positions += source.positions[span.start : span.stop]
        assert tuple(spelled) == path.tokens
        assert positions == list(range(len(path.tokens)))
        # What is asked of this pass is computed in this pass.
        needed = len(path.prompt) - 1
        count = 0
        for span in packed.spans:
            count += len(span)
            assert not span.cached or count <= needed
    ends = [segment.stop for segment in layout.segments]
    assert [0, *ends][: len(ends)] == [segment.start for segment in layout.segments]
    assert (ends or [0])[-1] == len(layout.ids)


def test_a_pass_can_be_kept_and_run_from_a_bare_pack() -> None:
    model, cache = share(tiny("llama")), KVCache()
    layout = pack_sequences([COMMON])
    with torch.no_grad():
        logits = run_packed(model, layout.ids, layout.positions, Pack(layout.segments, store=cache), [3, 29])
        expected = model(torch.tensor([COMMON])).logits[0, [3, 29]]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert {key.shape for key, _ in cache.layers.values()} == {torch.Size([1, 2, len(COMMON), 8])}


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_runs_on_the_meta_device(kind: str) -> None:
    """Where there are no numbers nothing can wait for one: forward and backward never read the device."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**KINDS[kind]), dtype=torch.bfloat16)
    model.set_attn_implementation(attention.NAME)
    model.get_output_embeddings().requires_grad_(False)
    first, prefix = _shared(model, SETS["unequal lengths"], 0, keep_prefix=True)
    with torch.no_grad():
        second, _ = _shared(model, SETS["unequal lengths"], 3, prefix)
    torch.stack([scored.logp.mean() for scored in first]).sum().backward()
    for path, one, two in zip(SETS["unequal lengths"], first, second, strict=True):
        assert one.logp.shape == (len(path.response),)
        assert one.logp.dtype == torch.float32
        assert one.hidden_states.shape == (len(path.response), 32)
        assert one.hidden_states.dtype == torch.bfloat16
        assert one.logp.device.type == "meta"
        assert two.top is not None
        assert two.top[1].shape == (len(path.response), 3)


def trained(dtype: torch.dtype) -> Any:
    """With an adapter trained at a high rate until it knows the rows, as a run of many epochs does."""
    model = adapted(share(tiny("qwen2")).to(dtype))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-2)
    for _ in range(60):
        loss = -torch.cat([scored.logp for scored in path_logprobs(model, SETS["unequal lengths"])[0]]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 1
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_trained_and_merged_models_keep_the_shared_way(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As evaluation meets them: loaded anew and asked once, with the adapter on and merged into the weights."""
    probed: list[Any] = []
    probe = logprobs._probe
    monkeypatch.setattr(logprobs, "_probe", lambda base: probed.append(base) or probe(base))
    model = trained(dtype)
    assert len(probed) == 1  # once in all of training
    for merged in (False, True):
        network = copy.deepcopy(model)
        network = network.merge_and_unload() if merged else network
        del unwrap(network)._nlft_shares_prefixes
        for _ in range(3):
            assert shares_prefixes(network)
    assert len(probed) == 3
    assert not caplog.records
