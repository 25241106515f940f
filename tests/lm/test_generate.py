"""Generation: equal to the model's own greedy decoding, independent of its batch, and honest about how it ends."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.tiny import tiny_model
from transformers import GenerationConfig

from nlft.errors import DataError
from nlft.lm import LanguageModel, SamplingSettings, load_model
from nlft.lm.generate import generate
from nlft.lm.logprobs import shares_prefixes
from nlft.lm.sampling import sample_token, uniforms
from nlft.lm.wrappers import unwrap


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    loaded = load_model(str(tiny_model(tmp_path_factory.mktemp("model"), request.param)), dtype="float32", device="cpu")
    assert shares_prefixes(loaded.model)
    return loaded


COMMON = list(range(40, 70))
PROMPTS = [COMMON + list(range(80, 80 + 3 * i)) + [7 * i + 1] for i in range(7)]


def by_the_model(lm: LanguageModel, prompt: list[int], count: int) -> tuple[list[int], str]:
    """The likeliest token each time, by plain forward passes without any cache."""
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            token = int(unwrap(lm.model)(torch.tensor([ids])).logits[0, -1].argmax())
        if token in lm.stop_ids:
            return ids[len(prompt) :], "stop"
        ids.append(token)
    return ids[len(prompt) :], "length"


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize(
    "prompts", [PROMPTS, [[5], [6, 7]], [PROMPTS[2]] * 3], ids=["shared", "nothing shared", "same"]
)
def test_greedy_is_what_the_model_would_say(lm: LanguageModel, prompts: list[list[int]], batch_size: int) -> None:
    settings = SamplingSettings(temperature=0, max_new_tokens=20, batch_size=batch_size)
    found = {c.index: c for c in generate(lm, prompts, settings)}
    assert sorted(found) == list(range(len(prompts)))
    for index, prompt in enumerate(prompts):
        tokens, reason = by_the_model(lm, prompt, 20)
        assert list(found[index].token_ids) == tokens
        assert found[index].finish_reason == reason
        assert found[index].text == lm.tokenizer.decode(tokens, skip_special_tokens=True)


def test_what_is_drawn_does_not_depend_on_the_batch(lm: LanguageModel) -> None:
    def drawn(batch_size: int, order: list[int]) -> dict[int, tuple[int, ...]]:
        settings = SamplingSettings(temperature=0.8, max_new_tokens=16, batch_size=batch_size, seed=3)
        completions = generate(lm, [PROMPTS[i] for i in order], settings, streams=order)
        return {order[c.index]: c.token_ids for c in completions}

    together = drawn(7, list(range(7)))
    assert drawn(2, [6, 3, 1, 0, 2, 5, 4]) == together
    assert drawn(1, [4])[4] == together[4]
    other = SamplingSettings(temperature=0.8, max_new_tokens=16, seed=4)
    assert {c.index: c.token_ids for c in generate(lm, PROMPTS, other)} != together


def test_the_plain_way_draws_the_same(lm: LanguageModel) -> None:
    settings = SamplingSettings(temperature=0.9, top_p=0.9, max_new_tokens=12, batch_size=3, seed=1)
    shared = {c.index: c for c in generate(lm, PROMPTS, settings)}
    unwrap(lm.model)._nlft_shares_prefixes = False
    try:
        assert {c.index: c for c in generate(lm, PROMPTS, settings)} == shared
    finally:
        unwrap(lm.model)._nlft_shares_prefixes = True


def test_the_models_own_habits_are_left_out(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many models ship with a repetition penalty, which transformers would add on the plain way."""
    settings = SamplingSettings(temperature=0, max_new_tokens=12, batch_size=3)
    expected = {c.index: c for c in generate(lm, PROMPTS, settings)}
    first = [c.token_ids[0] for c in expected.values() if c.token_ids]
    habits = GenerationConfig(
        repetition_penalty=9.0, num_beams=2, suppress_tokens=first, eos_token_id=list(lm.stop_ids)
    )
    monkeypatch.setattr(lm.model, "generation_config", habits)
    monkeypatch.setattr(unwrap(lm.model), "_nlft_shares_prefixes", False)
    assert {c.index: c for c in generate(lm, PROMPTS, settings)} == expected
    assert lm.model.generation_config is habits


def test_the_prefix_is_read_once(lm: LanguageModel) -> None:
    """Tokens through the decoder: the common part once, each prompt's own part once, then one a step."""
    seen: list[int] = []
    layer = unwrap(lm.model).model.layers[0]
    handle = layer.register_forward_hook(lambda m, i, o: seen.append((o[0] if isinstance(o, tuple) else o).shape[-2]))
    try:
        done = list(generate(lm, PROMPTS, SamplingSettings(temperature=0, max_new_tokens=5, batch_size=16)))
    finally:
        handle.remove()
    own = sum(len(prompt) - len(COMMON) for prompt in PROMPTS)
    assert seen[:2] == [len(COMMON), own]
    steps = sum(len(c.token_ids) - (c.finish_reason == "length") for c in done)
    assert sum(seen[2:]) == steps


def test_the_context_is_never_overrun(tmp_path: Path) -> None:
    short = load_model(str(tiny_model(tmp_path, max_position_embeddings=40)), dtype="float32", device="cpu")
    settings = SamplingSettings(temperature=0, max_new_tokens=50)
    (completion,) = generate(short, [list(range(5, 40))], settings)
    assert len(completion.token_ids) <= 5
    with pytest.raises(DataError, match="prompt 2 has 40 tokens, and the model takes 40"):
        list(generate(short, [[1], list(range(40))], settings))
    with pytest.raises(DataError, match="prompt 1 has 0 tokens"):
        list(generate(short, [[]], settings))
    assert list(generate(short, [], settings)) == []


@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=9),
    st.floats(0.3, 2),
    st.floats(0.05, 1),
    st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=200, deadline=None)
def test_a_draw_inverts_the_cumulative_distribution(logits: list[float], t: float, top_p: float, u: float) -> None:
    sampling = SamplingSettings(temperature=t, top_p=top_p)
    found = int(sample_token(torch.tensor([logits]), sampling, np.array([u])))
    weights = np.exp((np.array(logits, dtype=np.float32) - max(logits)) / t).astype(np.float64)
    weights /= weights.sum()
    kept = np.ones(len(logits), bool)
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        kept = np.zeros(len(logits), bool)
        # A hair more is kept than float32 may keep: a token at the very edge of the mass is either's.
        kept[order[: 1 + int((np.cumsum(weights[order])[:-1] < top_p + 1e-6).sum())]] = True
        near = [i for i in range(len(logits)) if abs(weights[i] - weights[found]) < 1e-6]
        assert any(kept[i] for i in near)
    assert weights[found] > 0
    # The share of mass before and after the draw brackets the number, in the order the draw uses.
    order = np.argsort(-weights, kind="stable") if top_p < 1 else np.arange(len(logits))
    mass = np.where(kept, weights, 0)[order]
    place = list(order).index(found)
    low, high = mass[:place].sum() / mass.sum(), mass[: place + 1].sum() / mass.sum()
    ties = sum(abs(weights[i] - weights[found]) < 1e-5 for i in range(len(logits))) * weights[found] / mass.sum()
    assert low - ties - 1e-4 <= u <= high + ties + 1e-4


def test_the_shares_drawn_are_the_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(4000, 3)
    sampling = SamplingSettings(temperature=1.0, max_new_tokens=4000, seed=5)
    drawn = sample_token(logits, sampling, uniforms(sampling, 0))
    shares = torch.bincount(drawn, minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.0, 1.0, 2.0]).softmax(-1), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"max_new_tokens": 0}, {"top_p": 0}, {"batch_size": 0}, {"seed": -1}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SamplingSettings(**wrong)
