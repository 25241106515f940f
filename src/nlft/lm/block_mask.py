"""Attention over a whole pack in one call: which keys each token sees, as a block mask for FlexAttention.

On a GPU, one call for each segment would be hundreds of launches a layer, and each would copy the keys and values of
what the segments share. A block mask names the blocks that hold anything to see; the kernel skips the others.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

if TYPE_CHECKING:
    from nlft.lm.attention import Pack

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


def indices(pack: Pack) -> list[Tensor]:
    """What the mask reads, on the CPU, to be copied to the device along with the tokens.

    Args:
        pack: Its segments cover all tokens.

    Returns:
        The segment of each token; of each key, cached ones first, its segment (-1: cached), its place among the tokens
        and its piece (see `Pack.pieces`); and (segments, pieces), whether the one continues from the other.
    """
    past = len(pack.past) if pack.past is not None else 0
    past_sizes = _sizes([*pack.past_cuts, past]) if pack.past is not None else []
    sizes = [*past_sizes, *_sizes(pack.own_cuts)]
    continues = torch.zeros(len(pack.segments), len(sizes), dtype=torch.long)
    for number, segment in enumerate(pack.segments):
        for span in segment.context:
            continues[number, pack.pieces(span)] = 1
    segments, pieces = _numbered([len(each) for each in pack.segments]), _numbered(sizes)
    before = segments.new_full((past,), -1)
    return [
        segments,
        torch.cat([before, segments]),
        torch.cat([before, torch.arange(len(segments))]),
        pieces,
        continues,
    ]


def block_mask(indices: Sequence[Tensor]) -> Any:
    """The mask, from `indices` on its device: a token sees what its segment continues from, and itself causally."""
    segments, owners, places, pieces, continues = indices
    continues = continues.bool()

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = (owners[key] == segments[query]) & (places[key] <= query)
        return own | continues[segments[query], pieces[key]]

    return create_block_mask(visible, None, None, len(segments), len(owners), device=str(segments.device))


def _sizes(cuts: Sequence[int]) -> list[int]:
    return [stop - start for start, stop in pairwise([0, *cuts])]


def _numbered(sizes: Sequence[int]) -> Tensor:
    """0 as often as the first size says, then 1, and so on."""
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
