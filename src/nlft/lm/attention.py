"""Attention for token sequences that continue one another, packed side by side in one forward pass.

The rows of a batch begin alike (instruction, examples), and so do a row's three paths (its question).
Here every token that two sequences share is computed once: the packed input holds, one after another,
only each sequence's own part, a `Segment`, and the segment names the spans of the pack that hold what
came before it. All position-wise layers (projections, MLP, norms, LoRA) run on the packed tokens as
they are, without padding; only attention needs to know which sequence continues which: this module.

On CUDA it takes one call a layer (`nlft.lm.block_mask`), elsewhere one for each segment.

A segment may also continue from a `KVCache`: the keys and values of an earlier pass, detached. The
paths without gradient continue that way from the pass that carries it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from nlft.lm import block_mask

NAME = "nlft_shared_prefix"


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `stop` of the pack, or, if `cached` is set, of the cache it continues from."""

    start: int
    stop: int
    cached: bool = False

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Segment:
    """Tokens `start` to `stop` of the pack, which continue from the spans of `context`, in order."""

    start: int
    stop: int
    context: tuple[Span, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start


class KVCache:
    """Keys and values of a finished pass, per layer of shape (1, heads, tokens, dim), without gradient."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return next(iter(self.layers.values()))[0].shape[2]


@dataclass
class Pack:
    """What a packed pass hands to its attention layers.

    Attributes:
        segments: Cover the pack without gap or overlap.
        past: The cache that segments with cached spans continue from.
        store: Receives this pass's own keys and values, if another pass will continue from it.
        calls: The number of times an attention layer has used this pack; 0 after a pass means the model never
            handed it on.
        biases: The masks of its segments, made by the first layer for all.
        mask: The mask of the whole pack, for one call a layer (see `nlft.lm.block_mask`).
        padding: The number of tokens at its end that pad it, and are not stored.
    """

    segments: list[Segment]
    past: KVCache | None = None
    store: KVCache | None = None
    calls: int = field(default=0)
    biases: dict[tuple[int, int, torch.dtype], Tensor] = field(default_factory=dict)
    mask: Any = None
    padding: int = 0

    def pad(self, count: int) -> None:
        """Lengthen the pack by tokens that no other sees."""
        self.padding = count
        if count:
            end = self.segments[-1].stop
            self.segments = [*self.segments, Segment(end, end + count)]

    @cached_property
    def own_cuts(self) -> list[int]:
        """Where the pack's tokens are to be cut so that every span and segment is made of whole pieces; 0 is no cut."""
        own = [span for segment in self.segments for span in segment.context if not span.cached]
        return _cuts([*own, *self.segments])

    @cached_property
    def past_cuts(self) -> list[int]:
        """The same for the tokens of the cache."""
        return _cuts([span for segment in self.segments for span in segment.context if span.cached])

    def pieces(self, span: Span | Segment) -> range:
        """The numbers of the pieces that make up a span: the cache's come first, then the pack's own."""
        if isinstance(span, Span) and span.cached:
            return range(_piece(self.past_cuts, span.start), _piece(self.past_cuts, span.stop))
        first = len(self.past_cuts) + 1 if self.past is not None else 0
        return range(first + _piece(self.own_cuts, span.start), first + _piece(self.own_cuts, span.stop))

    @cached_property
    def sources(self) -> list[list[int]]:
        """For each segment the pieces it attends to, in order."""
        spans: list[tuple[Span | Segment, ...]] = [(*each.context, each) for each in self.segments]
        return [[piece for span in each for piece in self.pieces(span)] for each in spans]

    def indices(self) -> list[Tensor]:
        """What `block_mask` reads, on the CPU, to be copied to the device along with the tokens.

        Returns:
            The segment of each token; of each key, cached ones first, its segment (-1: cached), its place among the
            tokens and its piece; and (segments, pieces), whether the one continues from the other.
        """
        past = len(self.past) if self.past is not None else 0
        sizes = [*(_sizes([*self.past_cuts, past]) if self.past is not None else []), *_sizes(self.own_cuts)]
        continues = torch.zeros(len(self.segments), len(sizes), dtype=torch.long)
        for number, segment in enumerate(self.segments):
            for span in segment.context:
                continues[number, self.pieces(span)] = 1
        owners, pieces = _numbered([len(each) for each in self.segments]), _numbered(sizes)
        before = owners.new_full((past,), -1)
        return [owners, torch.cat([before, owners]), torch.cat([before, torch.arange(len(owners))]), pieces, continues]


def _sizes(cuts: Sequence[int]) -> list[int]:
    return [stop - start for start, stop in pairwise([0, *cuts])]


def _numbered(sizes: Sequence[int]) -> Tensor:
    """0 as often as the first size says, then 1, and so on."""
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


def _cuts(spans: Sequence[Span | Segment]) -> list[int]:
    return sorted({place for span in spans for place in (span.start, span.stop)} - {0})


def _piece(cuts: list[int], place: int) -> int:
    """The number of the piece that begins at this place."""
    return bisect_left(cuts, place) + 1 if place else 0


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    nlft_pack: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention over a pack; without one, the same as the `sdpa` implementation.

    Args:
        module: The attention layer; its `layer_idx` is the key into the caches.
        query: (1, heads, tokens, dim).
        key: (1, key-value heads, tokens, dim).
        value: As `key`.
        attention_mask: Ignored for a pack, whose segments say everything.
        nlft_pack: A `Pack`, or another object with `attend(module, query, key, value, scaling)`.
        **kwargs: Further arguments that transformers passes to every attention implementation.

    Returns:
        (1, tokens, heads, dim), and no attention weights.
    """
    if nlft_pack is None:
        output: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)[0]
        return output, None
    scaling, dropout = kwargs.get("scaling"), kwargs.get("dropout", 0.0)
    if isinstance(nlft_pack, Pack):
        return _attend(nlft_pack, module, query, key, value, scaling, dropout), None
    attended: Tensor = nlft_pack.attend(module, query, key, value, scaling)
    return attended, None


def _attend(
    pack: Pack, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, dropout: float
) -> Tensor:
    pack.calls += 1
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    if pack.store is not None:
        count = key.shape[2] - pack.padding
        pack.store.layers[layer] = (key[:, :, :count].detach(), value[:, :, :count].detach())
    past = pack.past.layers[layer] if pack.past is not None else None
    if pack.mask is not None and not dropout and query.shape[-1] >= block_mask.LEAST_DIM:
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        grouped = query.shape[1] != key.shape[1]
        whole: Tensor = block_mask.compiled_flex()(
            query, key, value, block_mask=pack.mask, scale=scaling, enable_gqa=grouped
        )
        return whole.transpose(1, 2)
    # Split once: a slice's gradient would fill a tensor of the whole pack, and each segment takes several.
    sizes = _sizes(pack.own_cuts)
    keys, values = (list(torch.split(each, sizes, 2)) for each in (key, value))
    if past is not None:
        keys, values = (
            [*old.tensor_split(pack.past_cuts, 2), *new] for old, new in zip(past, (keys, values), strict=True)
        )
    attended = []
    for own, source in zip(torch.split(query, [len(each) for each in pack.segments], 2), pack.sources, strict=True):
        seen, read = (torch.cat([each[number] for number in source], 2) for each in (keys, values))
        attended.append(_causal(own, seen, read, scaling, dropout, pack.biases))
    return torch.cat(attended, 2).transpose(1, 2)


def _causal(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    dropout: float,
    biases: dict[tuple[int, int, torch.dtype], Tensor],
) -> Tensor:
    """The last `query` tokens of a causal sequence attend to all its keys up to themselves."""
    grouped, own, every = query.shape[1] != key.shape[1], query.shape[2], key.shape[2]
    bias = None
    if own != every:
        # A plain tensor: torch's `causal_lower_right` cannot be handed on under a dispatch mode.
        bias = biases.get((own, every, query.dtype))
        if bias is None:
            bias = query.new_full((own, every), float("-inf")).triu(every - own + 1)
            biases[own, every, query.dtype] = bias
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, is_causal=bias is None, scale=scaling, dropout_p=dropout, enable_gqa=grouped
    )


AttentionInterface.register(NAME, shared_prefix_attention)
# Anything that runs the model without a pack (generate, another library) gets sdpa's masks and numbers.
AttentionMaskInterface.register(NAME, sdpa_mask)
