"""Attention for token sequences that continue one another, packed side by side in one forward pass.

The rows of a batch begin alike (instruction, examples), and so do a row's three paths (its question).
Here every token that two sequences share is computed once: the packed input holds, one after another,
only each sequence's own part, a `Segment`, and the segment names the spans of the pack that hold what
came before it. All position-wise layers (projections, MLP, norms, LoRA) run on the packed tokens as
they are, without padding; only attention needs to know which sequence continues which: this module.

A segment may also continue from a `KVCache`: the keys and values of an earlier pass, detached. The
paths without gradient continue that way from the pass that carries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

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


class KVCache:
    """Keys and values of a finished pass, per layer of shape (1, heads, tokens, dim), without gradient."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}


@dataclass
class Pack:
    """What a packed pass hands to its attention layers.

    Attributes:
        segments: Cover the pack without gap or overlap.
        past: The cache that segments with cached spans continue from.
        store: Receives this pass's own keys and values, if another pass will continue from it.
        calls: The number of times an attention layer has used this pack; 0 after a pass means the model never
            handed it on.
    """

    segments: Sequence[Segment]
    past: KVCache | None = None
    store: KVCache | None = None
    calls: int = field(default=0)


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
        pack.store.layers[layer] = (key.detach(), value.detach())
    past = pack.past.layers[layer] if pack.past is not None else (key, value)
    pieces = []
    for segment in pack.segments:
        own = slice(segment.start, segment.stop)
        keys, values = [key[:, :, own]], [value[:, :, own]]
        if segment.context:
            spans = [(past if span.cached else (key, value), slice(span.start, span.stop)) for span in segment.context]
            keys = [source[0][:, :, span] for source, span in spans] + keys
            values = [source[1][:, :, span] for source, span in spans] + values
        pieces.append(_causal(query[:, :, own], torch.cat(keys, 2), torch.cat(values, 2), scaling, dropout))
    return torch.cat(pieces, 2).transpose(1, 2)


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, dropout: float) -> Tensor:
    """The last `query` tokens of a causal sequence attend to all its keys up to themselves."""
    grouped = query.shape[1] != key.shape[1]
    if query.shape[2] == key.shape[2]:
        return F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=grouped
        )
    # Aligned to the lower right, on CUDA this stays a flag of the flash kernel; elsewhere it is a mask.
    flag = causal_lower_right(query.shape[2], key.shape[2])
    bias: Tensor = flag if query.device.type == "cuda" else flag._materialize(query.device)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, scale=scaling, dropout_p=dropout, enable_gqa=grouped
    )


AttentionInterface.register(NAME, shared_prefix_attention)
# Anything that runs the model without a pack (generate, another library) gets sdpa's masks and numbers.
AttentionMaskInterface.register(NAME, sdpa_mask)
