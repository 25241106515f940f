"""The language-model head at response positions, in chunks: positions x vocabulary is never in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# One chunk of logits in float32; large enough for an efficient matrix product, small compared with a model.
CHUNK_BYTES = 32 * 2**20


def chunk_rows(vocabulary: int) -> int:
    """How many positions go through the head at once."""
    return max(1, CHUNK_BYTES // (4 * vocabulary))


def _chunk_rows_of(head: nn.Module) -> int:
    weight = head.weight if isinstance(head.weight, Tensor) else next(head.parameters())
    return chunk_rows(weight.shape[0])


class _FrozenHead(torch.autograd.Function):
    """log P of one target per position, for a head that is not trained.

    d log P(y) / d h = W[y] - sum_v P(v) W[v] does not depend on what comes after, so it is computed
    with log P, chunk by chunk, and kept instead of the logits: n x d instead of n x V.
    """

    @staticmethod
    def forward(
        context: torch.autograd.function.FunctionCtx,
        hidden: Tensor,
        targets: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        needs_gradient: bool,
    ) -> Tensor:
        logp = torch.empty(targets.shape, dtype=torch.float32, device=hidden.device)
        slope = torch.empty_like(hidden) if needs_gradient else None
        step = chunk_rows(weight.shape[0])
        for start in range(0, len(targets), step):
            chunk = slice(start, start + step)
            logits = F.linear(hidden[chunk], weight, bias).float()
            normaliser = torch.logsumexp(logits, -1, keepdim=True)
            logp[chunk] = (logits.gather(-1, targets[chunk, None]) - normaliser).squeeze(-1)
            if slope is not None:
                # 1 - P(y) in float32: as a difference of two rows in half precision, the slope of a likely
                # token would be rounding noise.
                errors = logits.sub_(normaliser).exp_().neg_()
                errors.scatter_add_(-1, targets[chunk, None], errors.new_ones(len(errors), 1))
                slope[chunk] = (errors.to(weight.dtype) @ weight).to(slope.dtype)
        if slope is not None:
            context.save_for_backward(slope)
        return logp

    @staticmethod
    def backward(
        context: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, None, None, None, None]:
        (slope,) = context.saved_tensors  # type: ignore[attr-defined]
        return (gradient[:, None] * slope).to(slope.dtype), None, None, None, None


def target_logprobs(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """log P(target) at each position.

    Args:
        head: The output embedding, a linear layer of d to V.
        hidden: (n, d) last hidden states.
        targets: (n,) token ids.

    Returns:
        (n,) log-probabilities in float32, temperature 1.
    """
    if type(head) is nn.Linear and not any(p.requires_grad for p in head.parameters()):
        needs_gradient = hidden.requires_grad and torch.is_grad_enabled()
        result: Tensor = _FrozenHead.apply(hidden, targets, head.weight, head.bias, needs_gradient)  # type: ignore[no-untyped-call]
        return result
    return gathered_logprobs(head, hidden, targets[:, None]).squeeze(-1)


def gathered_logprobs(head: nn.Module, hidden: Tensor, ids: Tensor) -> Tensor:
    """log P of k chosen tokens at each position: ids (n, k) -> (n, k), for any head, also a trained one.

    The logits of a chunk are computed again in the backward pass rather than kept.
    """

    def one_chunk(states: Tensor, chosen: Tensor) -> Tensor:
        return torch.log_softmax(head(states).float(), -1).gather(-1, chosen)

    step = _chunk_rows_of(head)
    pieces = []
    for start in range(0, len(ids), step):
        states, chosen = hidden[start : start + step], ids[start : start + step]
        if torch.is_grad_enabled():
            pieces.append(checkpoint(one_chunk, states, chosen, use_reentrant=False))
        else:
            pieces.append(one_chunk(states, chosen))
    return torch.cat(pieces)


@torch.no_grad()
def top_logprobs(head: nn.Module, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k likeliest tokens at each position: (log P, ids), each (n, k), without gradient."""
    step = _chunk_rows_of(head)
    values, ids = [], []
    for start in range(0, len(hidden), step):
        best = torch.log_softmax(head(hidden[start : start + step]).float(), -1).topk(k, -1)
        values.append(best.values)
        ids.append(best.indices)
    return torch.cat(values), torch.cat(ids)
