"""Attention over a whole pack in one call: which keys each token sees, as a block mask for FlexAttention.

On a GPU, one call for each segment would be hundreds of launches a layer, and each would copy the keys and values of
what the segments share. A block mask names the blocks that hold anything to see; the kernel skips the others.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

# Packs are padded to a multiple of this, so that few lengths occur.
TOKENS = 256
# The least head dimension that FlexAttention takes.
LEAST_DIM = 16


def one_call(device: torch.device) -> bool:
    """Whether a layer attends to a whole pack in one call here; elsewhere it takes one for each segment."""
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


@functools.cache
def compiled_flex() -> Callable[..., Any]:
    """FlexAttention's kernel, compiled once for all lengths; without a whole graph it would hold all scores."""
    return torch.compile(flex_attention, dynamic=True, fullgraph=True)


def block_mask(indices: Sequence[Tensor]) -> Any:
    """The mask, from `Pack.indices` on its device: a token sees what its segment continues from, and it causally."""
    segments, owners, places, pieces, continues = indices
    continues = continues.bool()

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = (owners[key] == segments[query]) & (places[key] <= query)
        return own | continues[segments[query], pieces[key]]

    return create_block_mask(visible, None, None, len(segments), len(owners), device=str(segments.device))
