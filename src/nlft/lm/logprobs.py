"""log P of response tokens and the hidden states that predict them, each shared token computed once.

Two ways give the same numbers. The shared way packs sequences that continue one another into one pass
(`nlft.lm.pack`, `nlft.lm.attention`); the plain way pads them into an ordinary batch, and serves the
models whose layers the first cannot drive. `sharing_obstacle` says which, and a probe on first use
checks the shared way against the plain one, so that an unknown model never gives wrong numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nlft.core.transfer import send
from nlft.lm import attention, block_mask
from nlft.lm.attention import KVCache, Pack
from nlft.lm.head import Asked, asking, divergence
from nlft.lm.obstacle import sharing_obstacle
from nlft.lm.pack import PackedSequence, TokenPath, pack_sequences
from nlft.lm.wrappers import base_model, unwrap

logger = logging.getLogger("nlft")


@dataclass(frozen=True)
class PathLogprobs:
    """What one path says about its n response tokens.

    Attributes:
        logp: (n,) float32, log P(y_t | X, y_<t); with gradient where the pass had one.
        hidden_states: (n, d), without gradient: the last hidden state that predicts y_t (position t-1, like its logits).
        top: The k likeliest next tokens, (log P, ids) of (n, k) each, where requested.
        chosen: (n, k), log P of the tokens that were named, with gradient as `logp`.
        values: (n,), what `values` made of the hidden states, with gradient as `logp`.
        divergence: (n,), KL to the untouched model's next-token distribution, nats, with gradient as `logp`.
    """

    logp: Tensor
    hidden_states: Tensor
    top: tuple[Tensor, Tensor] | None = None
    chosen: Tensor | None = None
    values: Tensor | None = None
    divergence: Tensor | None = None


@dataclass(frozen=True)
class Prefix:
    """A finished pass that another may continue from: its sequences, and their keys and values."""

    sequences: tuple[PackedSequence, ...]
    cache: KVCache


def path_logprobs(
    model: nn.Module,
    paths: Sequence[TokenPath],
    *,
    top_k: int = 0,
    choose: Sequence[Tensor | None] | None = None,
    values: nn.Module | None = None,
    anchored: Sequence[bool] = (),
    prefix: Prefix | None = None,
    keep_prefix: bool = False,
) -> tuple[list[PathLogprobs], Prefix | None]:
    """Score responses under their prompts; gradient as torch's grad mode says.

    Args:
        model: A causal language model, with or without adapters.
        paths: What to score; no response may be empty, no prompt either.
        top_k: Also return that many likeliest tokens per position.
        choose: Also score these tokens, (n, k) ids for each path, or None for a path.
        values: Also run this module on the hidden states.
        anchored: For each path, whether to find its divergence from the model without its adapter, too; none if empty.
        prefix: Continue from this earlier pass, of the same weights, where beginnings agree.
        keep_prefix: Return this pass, with its keys and values detached, for another to continue from.

    Returns:
        One entry per path, in order, and the prefix if `keep_prefix` (None on the plain way).
    """
    if shares_prefixes(model):
        return _shared(model, paths, top_k, prefix, keep_prefix, choose, values, anchored)
    return _plain(model, paths, top_k, choose, values, anchored), None


def _shared(
    model: nn.Module,
    paths: Sequence[TokenPath],
    top_k: int,
    prefix: Prefix | None = None,
    keep_prefix: bool = False,
    choose: Sequence[Tensor | None] | None = None,
    values: nn.Module | None = None,
    anchored: Sequence[bool] = (),
) -> tuple[list[PathLogprobs], Prefix | None]:
    untouched: Iterator[Tensor] = iter(())
    if any(anchored):
        with torch.no_grad(), base_model(model):
            still = _shared(model, [path for path, wanted in zip(paths, anchored, strict=True) if wanted], 0)[0]
        untouched = iter([scored.hidden_states for scored in still])
    layout = pack_sequences(
        [path.tokens for path in paths],
        cached=prefix.sequences if prefix is not None else (),
        fresh_from=[len(path.prompt) - 1 for path in paths],
    )
    pack = Pack(layout.segments, prefix.cache if prefix is not None else None, KVCache() if keep_prefix else None)
    where: list[int] = []
    chosen: list[tuple[int, int, Tensor]] = []
    others: list[tuple[int, int, Tensor]] = []
    for number, (path, packed) in enumerate(zip(paths, layout.sequences, strict=True)):
        start = len(where)
        where += packed.positions(len(path.prompt) - 1, len(path.tokens) - 1)
        if choose is not None and (ids := choose[number]) is not None:
            chosen.append((start, len(where), ids))
        if anchored and anchored[number]:
            others.append((start, len(where), next(untouched)))
    targets = torch.tensor([token for path in paths for token in path.response])
    asked = Asked(targets, chosen, top_k, values, others)
    answer = run_packed(model, layout.ids, layout.positions, pack, where, asked)
    result = _by_path(asked, answer, paths, choose or [None] * len(paths), anchored or [False] * len(paths))
    # Activation checkpointing holds the pack until the backward pass, and would store all anew there.
    kept, pack.store = pack.store, None
    if kept is None:
        return result, None
    return result, Prefix(tuple(packed.cached() for packed in layout.sequences), kept)


def run_packed(
    model: nn.Module,
    ids: Sequence[int],
    positions: Sequence[int],
    pack: Any,
    keep: Sequence[int],
    asked: Asked | None = None,
) -> Tensor:
    """Run the model once over packed tokens; the head sees those at the places `keep`.

    Returns:
        Their logits, (tokens, vocabulary); or the head's answer to what it is `asked`.
    """
    base = unwrap(model)
    device = base.get_input_embeddings().weight.device
    # All that the pass reads is copied to the device before it begins, at once.
    host = [torch.tensor(list(each), dtype=torch.long) for each in (ids, positions, keep)]
    targets = asked.targets if asked is not None else None
    host += [targets] if targets is not None else []
    in_one_call = isinstance(pack, Pack) and block_mask.one_call(device)
    if in_one_call:
        pack.pad(-len(host[0]) % block_mask.TOKENS)
        host = [*(F.pad(each, (0, pack.padding)) for each in host[:2]), *host[2:], *pack.indices()]
    tokens, places, kept, *rest = send(host, device)
    if asked is not None and targets is not None:
        asked.targets, *rest = rest
    if in_one_call:
        pack.mask = block_mask.block_mask(rest)
    with asking(base, asked):
        output: Tensor = model(
            input_ids=tokens[None],
            position_ids=places[None],
            # Four dimensions: transformers takes such a mask as ready-made and builds none of its own.
            attention_mask=torch.ones((1, 1, 1, 1), dtype=torch.bool, device=device),
            use_cache=False,
            # By number: a slice would be strided, and torch copies a head that needs no gradient for such an input.
            logits_to_keep=kept,
            nlft_pack=pack,
        ).logits
    if isinstance(pack, Pack) and pack.calls == 0:
        raise RuntimeError("the model did not hand the pack to its attention layers")
    return output if asked is not None else output[0]


def _by_path(
    asked: Asked,
    answer: Tensor,
    paths: Sequence[TokenPath],
    choose: Sequence[Tensor | None],
    anchored: Sequence[bool],
) -> list[PathLogprobs]:
    """A head's answer, path by path."""
    logp, chosen, divergences, values = asked.split(answer)
    sizes, named, apart = [len(path.response) for path in paths], iter(chosen), iter(divergences)
    hidden, tops = torch.split(asked.hidden_states, sizes), [torch.split(each, sizes) for each in asked.top or ()]
    valued = torch.split(values, sizes) if values is not None else [None] * len(paths)
    return [
        PathLogprobs(
            own,
            hidden[place],
            (tops[0][place], tops[1][place]) if tops else None,
            next(named) if choose[place] is not None else None,
            valued[place],
            next(apart) if anchored[place] else None,
        )
        for place, own in enumerate(torch.split(logp, sizes))
    ]


def _plain(
    model: nn.Module,
    paths: Sequence[TokenPath],
    top_k: int,
    choose: Sequence[Tensor | None] | None = None,
    values: nn.Module | None = None,
    anchored: Sequence[bool] = (),
) -> list[PathLogprobs]:
    """One left-padded batch through the model's own attention and head."""
    base = unwrap(model)
    device = base.get_input_embeddings().weight.device
    longest = max(len(path.tokens) for path in paths)
    response = max(len(path.response) for path in paths)
    ids = torch.zeros((len(paths), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, path in enumerate(paths):
        ids[row, longest - len(path.tokens) :] = torch.tensor(path.tokens)
        mask[row, longest - len(path.tokens) :] = 1
    inputs = {
        "input_ids": ids.to(device),
        "attention_mask": mask.to(device),
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0).to(device),
        "use_cache": False,
        "logits_to_keep": response + 1,
    }
    untouched: Tensor | None = None
    if any(anchored):
        with torch.no_grad(), base_model(model):
            untouched = model(**inputs).logits
    asked = Asked(values=values)
    with asking(base, asked):
        logits = model(**inputs).logits
    result = []
    for row, path in enumerate(paths):
        own = slice(-len(path.response) - 1, -1)
        every = torch.log_softmax(logits[row, own].float(), -1)
        logp = every.gather(-1, torch.tensor(path.response, device=every.device)[:, None]).squeeze(-1)
        best = every.detach().topk(top_k, -1) if top_k else None
        top = (best.values, best.indices) if best is not None else None
        ids_here = choose[row] if choose is not None else None
        chosen = every.gather(-1, ids_here) if ids_here is not None else None
        valued = asked.plain_values[row, own] if asked.plain_values is not None else None
        apart = divergence(logits[row, own], untouched[row, own]) if untouched is not None and anchored[row] else None
        result.append(PathLogprobs(logp, asked.hidden_states[row, own], top, chosen, valued, apart))
    return result


def shares_prefixes(model: nn.Module) -> bool:
    """Whether this model takes the shared way; decided once per model, by its config and a probe."""
    base = unwrap(model)
    known = getattr(base, "_nlft_shares_prefixes", None)
    if known is None:
        obstacle = sharing_obstacle(base) or _probe(base)
        if obstacle is not None:
            logger.warning("prefixes are not shared with %s: %s", type(base).__name__, obstacle)
        share_prefixes(base, known := obstacle is None)
    return bool(known)


def share_prefixes(model: nn.Module, shares: bool) -> None:
    """Let this model take the shared way, or not, whatever its probe said."""
    base = unwrap(model)
    base._nlft_shares_prefixes = shares
    if shares:
        base.set_attn_implementation(attention.NAME)


@torch.no_grad()
def _probe(base: Any) -> str | None:
    """Score three small sequences both ways; None if they agree as well as the model's precision allows.

    How far rounding alone moves the numbers depends on the model: sharp logits in bfloat16 move by tenths. So the
    model says it itself: its embeddings are shifted by half a unit in the last place, and scored again.
    """
    size = base.get_input_embeddings().weight.shape[0]
    paths = [
        TokenPath(tuple(i * 7 % size for i in range(9)), tuple(i * 5 % size for i in range(4))),
        TokenPath((*(i * 7 % size for i in range(6)), 3 % size), tuple(i * 3 % size for i in range(7))),
        TokenPath(tuple(i * 11 % size for i in range(1, 4)), (1 % size,)),
    ]
    was, training = base.config._attn_implementation, base.training
    base.eval()
    try:
        plain = torch.cat([scored.logp for scored in _plain(base, paths, 0)])
        with _rounded_embeddings(base):
            rounded = torch.cat([scored.logp for scored in _plain(base, paths, 0)])
        base.set_attn_implementation(attention.NAME)
        shared = torch.cat([scored.logp for scored in _shared(base, paths, 0)[0]])
        difference, noise = (float((plain - other).abs().mean()) for other in (shared, rounded))
        if difference <= max(1e-3, 3 * noise):
            return None
        return f"the probe's log-probabilities differ by {difference:.2g}, where rounding explains {noise:.2g}"
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        return f"the probe failed ({type(error).__name__}: {error})"
    finally:
        base.train(training)
        base.set_attn_implementation(was)


@contextmanager
def _rounded_embeddings(base: Any) -> Iterator[None]:
    """Inside, every second component of an embedding is smaller by half a unit in its last place.

    A quantized model that is prepared for training has them in float32, but rounds as the type it was loaded in.
    """
    loaded = getattr(base.config, "dtype", None) if getattr(base, "quantization_method", None) is not None else None

    def shift(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        shifted = output.clone()
        shifted[..., ::2] *= 1 - max(torch.finfo(each).eps for each in (output.dtype, loaded or output.dtype)) / 2
        return shifted

    handle = base.get_input_embeddings().register_forward_hook(shift)
    try:
        yield
    finally:
        handle.remove()
