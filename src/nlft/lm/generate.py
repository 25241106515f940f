"""Batched generation: the shared beginning is read once, and a finished sequence makes room for the next.

All prompts of a run begin with the same instruction and examples. Their keys and values are computed
once and attended to in one product for the whole batch; each slot of the batch holds only its own
tokens. When a sequence ends, its slot takes the next prompt, so the batch stays full to the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from nlft.errors import DataError
from nlft.lm.attention import KVCache, Pack, Segment, Span
from nlft.lm.config import SamplingSettings
from nlft.lm.hf_generate import hf_generate
from nlft.lm.load import LanguageModel
from nlft.lm.logprobs import run_packed, shares_prefixes
from nlft.lm.sampling import Completion, sample_token, uniforms

__all__ = ["Completion", "SamplingSettings", "generate"]


def generate(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    settings: SamplingSettings,
    *,
    streams: Sequence[int] | None = None,
) -> Iterator[Completion]:
    """Sample one response per prompt; each is yielded as soon as it ends, with its prompt's index.

    A prompt's random numbers depend on (seed, stream) alone, so what it gets does not depend on what
    else is in its batch, nor on which prompts an earlier, interrupted run has already done.
    Of the model's own generation config only the stop tokens are used.

    Args:
        lm: Model and tokenizer.
        prompts: Token ids, generation prompt included.
        settings: Temperature (0 is greedy), length limit, seed, batch size.
        streams: The number of each prompt's random stream; its position if None.

    Raises:
        DataError: for a prompt that is empty or leaves no room in the model's context.
    """
    limit = lm.context_length
    for index, prompt in enumerate(prompts):
        if not prompt or (limit is not None and len(prompt) >= limit):
            raise DataError(
                f"prompt {index + 1} has {len(prompt)} tokens, and the model takes {limit}",
                remedy="shorten the problem or the instruction",
            )
    lm.model.eval()
    if not prompts:
        return
    streams = range(len(prompts)) if streams is None else streams
    with _whole(lm.model):
        if shares_prefixes(lm.model):
            yield from _Run(lm, prompts, settings, streams).completions()
        else:
            yield from hf_generate(lm, prompts, settings, streams)


@contextmanager
def _whole(model: nn.Module) -> Iterator[None]:
    """Within this context FSDP leaves all weights in place: processes that generate make different numbers of passes."""
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


@dataclass
class _Slot:
    """One sequence in the batch."""

    index: int
    length: int  # own tokens whose keys and values are stored
    limit: int  # how many tokens it may generate
    uniforms: np.ndarray
    generated: list[int] = field(default_factory=list)


class _SlotCache:
    """Keys and values of the slots' own tokens per layer, (slots, heads, capacity, dim); grows as needed."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.capacity = 0

    def reserve(self, length: int, like: dict[int, tuple[Tensor, Tensor]]) -> None:
        """Make room for `length` tokens per slot."""
        if length <= self.capacity:
            return
        capacity = max(length, self.capacity + 128)
        for layer, (key, _) in like.items():
            _, heads, _, dim = key.shape
            fresh = tuple(key.new_zeros(self.slots, heads, capacity, dim) for _ in range(2))
            if layer in self.layers:
                for new, old in zip(fresh, self.layers[layer], strict=True):
                    new[:, :, : self.capacity] = old
            self.layers[layer] = (fresh[0], fresh[1])
        self.capacity = capacity

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a slot's tokens over another's."""
        for tensors in self.layers.values():
            for tensor in tensors:
                tensor[target, :, :length] = tensor[source, :, :length]


@dataclass
class _Decode:
    """One decoding step of `len(lengths)` slots, as the attention layers see it (`nlft_pack`)."""

    cache: _SlotCache
    prefix: KVCache
    lengths: Tensor  # (slots,) own tokens before this one
    longest: int
    slots: Tensor = field(init=False)  # (slots,) their numbers
    beyond: Tensor = field(init=False)  # (slots, 1, 1, longest + 1), whether nothing is stored there yet

    def __post_init__(self) -> None:
        """The same for all layers."""
        self.slots, places = (
            torch.arange(count, device=self.lengths.device) for count in (len(self.lengths), self.longest + 1)
        )
        self.beyond = (places[None] > self.lengths[:, None])[:, None, None]

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """One new token per slot: query (1, heads, slots, dim) -> (1, slots, heads, dim)."""
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        own_keys, own_values = self.cache.layers[layer]
        own_keys[self.slots, :, self.lengths] = key[0].transpose(0, 1)
        own_values[self.slots, :, self.lengths] = value[0].transpose(0, 1)
        count, heads, dim = query.shape[2], key.shape[1], query.shape[3]
        groups = query.shape[1] // heads
        scale = scaling if scaling is not None else dim**-0.5
        grouped = query[0].view(heads, groups, count, dim) * scale

        reach = self.longest + 1
        keys, values = own_keys[:count, :, :reach], own_values[:count, :, :reach]
        scores = torch.matmul(grouped.permute(2, 0, 1, 3), keys.transpose(2, 3))  # slots, heads, groups, reach
        scores = scores.masked_fill(self.beyond, float("-inf"))
        if layer in self.prefix.layers:
            prefix_keys, prefix_values = (tensor[0] for tensor in self.prefix.layers[layer])
            flat = grouped.reshape(heads, groups * count, dim)
            shared = torch.matmul(flat, prefix_keys.transpose(1, 2)).view(heads, groups, count, -1)
            scores = torch.cat([shared.permute(2, 0, 1, 3), scores], -1)
            weights = scores.float().softmax(-1).to(query.dtype)
            length = prefix_keys.shape[1]
            first = weights[..., :length].permute(1, 2, 0, 3).reshape(heads, groups * count, length)
            out = torch.matmul(first, prefix_values).view(heads, groups, count, dim).permute(2, 0, 1, 3)
            out = out + torch.matmul(weights[..., length:], values)
        else:
            out = torch.matmul(scores.float().softmax(-1).to(query.dtype), values)
        return out.reshape(1, count, heads * groups, dim)


class _Run:
    """One call of `generate` on the shared way."""

    def __init__(
        self, lm: LanguageModel, prompts: Sequence[Sequence[int]], settings: SamplingSettings, streams: Sequence[int]
    ) -> None:
        self.lm, self.prompts, self.settings, self.streams = lm, prompts, settings, streams
        # Long prompts first: what is left at the end is short, and the batch empties evenly.
        self.waiting = deque(sorted(range(len(prompts)), key=lambda i: -len(prompts[i])))
        self.shared = min(_common_prefix(prompts), min(len(prompt) for prompt in prompts) - 1)
        self.prefix = KVCache()
        self.active: list[_Slot] = []
        self.cache = _SlotCache(min(settings.batch_size, len(prompts)))

    def completions(self) -> Iterator[Completion]:
        """Decode until nothing waits and nothing is active."""
        with torch.inference_mode():
            if self.shared:
                ids = self.prompts[0][: self.shared]
                pack = Pack([Segment(0, self.shared)], store=self.prefix)
                run_packed(self.lm.model, ids, range(self.shared), pack, keep=[])
        while self.waiting or self.active:
            # The mode is left before each yield: a generator must not keep it on for its caller.
            with torch.inference_mode():
                ended = self._admit() if self.waiting and len(self.active) < self.cache.slots else self._step()
            yield from ended

    def _admit(self) -> list[Completion]:
        """Read the next prompts' own parts into the free slots and draw their first tokens."""
        count = min(self.cache.slots - len(self.active), len(self.waiting))
        chosen = [self.waiting.popleft() for _ in range(count)]
        ids: list[int] = []
        positions: list[int] = []
        segments: list[Segment] = []
        context = (Span(0, self.shared, cached=True),) if self.shared else ()
        for index in chosen:
            own = self.prompts[index][self.shared :]
            segments.append(Segment(len(ids), len(ids) + len(own), context))
            ids.extend(own)
            positions.extend(range(self.shared, self.shared + len(own)))
        own_cache = KVCache()
        past = self.prefix if self.shared else None
        last = [segment.stop - 1 for segment in segments]
        logits = run_packed(self.lm.model, ids, positions, Pack(segments, past, own_cache), last)
        self.cache.reserve(max(s.stop - s.start for s in segments) + 1, own_cache.layers)
        first = len(self.active)
        for index, segment in zip(chosen, segments, strict=True):
            length = segment.stop - segment.start
            for layer, tensors in own_cache.layers.items():
                for store, tensor in zip(self.cache.layers[layer], tensors, strict=True):
                    store[len(self.active), :, :length] = tensor[0, :, segment.start : segment.stop]
            limit = self.settings.max_new_tokens
            if self.lm.context_length is not None:
                limit = min(limit, self.lm.context_length - len(self.prompts[index]))
            self.active.append(_Slot(index, length, limit, uniforms(self.settings, self.streams[index])))
        return self._draw(range(first, len(self.active)), logits)

    def _step(self) -> list[Completion]:
        """One more token for every active slot."""
        device = self.lm.device
        longest = max(slot.length for slot in self.active)
        self.cache.reserve(longest + 1, self.cache.layers)
        decode = _Decode(
            self.cache, self.prefix, torch.tensor([slot.length for slot in self.active], device=device), longest
        )
        ids = [slot.generated[-1] for slot in self.active]
        positions = [self.shared + slot.length for slot in self.active]
        logits = run_packed(self.lm.model, ids, positions, decode, range(len(ids)))
        for slot in self.active:
            slot.length += 1
        return self._draw(range(len(self.active)), logits)

    def _draw(self, places: Sequence[int], logits: Tensor) -> list[Completion]:
        """Choose the next token of the slots at `places`; take those that end out of the batch."""
        slots = [self.active[place] for place in places]
        numbers = np.array([slot.uniforms[len(slot.generated)] for slot in slots])
        ids = sample_token(logits, self.settings, numbers).tolist()
        ended: list[Completion] = []
        # From the back, so that a slot moved into a gap has already been looked at.
        for place, slot, token in reversed(list(zip(places, slots, ids, strict=True))):
            stopped = token in self.lm.stop_ids
            if not stopped:
                slot.generated.append(token)
            if stopped or len(slot.generated) >= slot.limit:
                ended.append(self._completion(slot, token if stopped else None))
                self._remove(place)
        return ended[::-1]

    def _remove(self, place: int) -> None:
        last = len(self.active) - 1
        if place != last:
            self.cache.move(last, place, self.active[last].length)
            self.active[place] = self.active[last]
        self.active.pop()

    def _completion(self, slot: _Slot, stop: int | None) -> Completion:
        thoughts, text = self.lm.read(slot.generated, self.prompts[slot.index])
        why: Literal["stop", "length"] = "length" if stop is None else "stop"
        return Completion(slot.index, text, tuple(slot.generated), why, stop, thoughts)


def _common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many ids all prompts begin with; the smallest and the largest decide for all between them."""
    low, high = min(map(list, prompts)), max(map(list, prompts))
    return next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
