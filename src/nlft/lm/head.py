"""The language-model head at response positions, in chunks: positions x vocabulary is never in memory.

It works inside the model's forward, where FSDP, DeepSpeed and accelerate's hooks have its weights in place: while
something is `asked` of a head, it returns log-probabilities in the place of logits, so that all that carries gradient
leaves the model through its output, where those libraries look for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from accelerate.hooks import add_hook_to_module, remove_hook_from_module
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# One chunk of logits in float32; large enough for an efficient matrix product, small compared with a model.
CHUNK_BYTES = 32 * 2**20
CUDA_CHUNK_BYTES = 512 * 2**20


def chunk_bytes(device: torch.device) -> int:
    """The size of a chunk of logits: a GPU needs larger products to be busy."""
    return CUDA_CHUNK_BYTES if device.type == "cuda" else CHUNK_BYTES


def chunk_rows(vocabulary: int, device: torch.device) -> int:
    """How many positions go through the head at once."""
    return max(1, chunk_bytes(device) // (4 * vocabulary))


@dataclass
class Asked:
    """What a head is to do besides logits, or instead of them, at the n positions it is run at.

    Attributes:
        targets: (n,) tokens to score; None keeps the logits.
        chosen: Places from `start` to `stop` with the (stop - start, k) tokens to score there as well.
        top_k: How many of the likeliest tokens to find at each place.
        values: Maps hidden states (..., d) to values (...), and is run as well.
        untouched: Places from `start` to `stop` with the hidden states (stop - start, d) of the untouched model there,
            from whose next-token distribution the divergence is to be found.
        hidden_states: Left behind, without gradient: what the head was given.
        top: Left behind, without gradient: the likeliest tokens, as (log P, ids) of (n, k) each.
        plain_values: Left behind where the logits are kept: the values, with gradient.
    """

    targets: Tensor | None = None
    chosen: Sequence[tuple[int, int, Tensor]] = ()
    top_k: int = 0
    values: nn.Module | None = None
    untouched: Sequence[tuple[int, int, Tensor]] = ()
    hidden_states: Tensor = field(default_factory=lambda: torch.zeros(0))
    top: tuple[Tensor, Tensor] | None = None
    plain_values: Tensor | None = None

    def split(self, answer: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor | None]:
        """The parts of a head's answer: log P of the targets, of each of `chosen`, divergences, and the values."""
        count = len(self.targets) if self.targets is not None else 0
        sizes = [ids.numel() for *_, ids in self.chosen], [stop - start for start, stop, _ in self.untouched]
        logp, *rest = torch.split(answer, [count, *sizes[0], *sizes[1], *([count] if self.values is not None else [])])
        chosen = [part.view(ids.shape) for part, (*_, ids) in zip(rest, self.chosen, strict=False)]
        divergences = rest[len(chosen) : len(chosen) + len(sizes[1])]
        return logp, chosen, divergences, rest[-1] if self.values is not None else None


class ScoringHead(nn.Module):
    """Mixed into the class of a model's head: as before, unless something is asked of it."""

    asked: Asked | None = None
    chunks_of: torch.device | None = None  # the device whose chunks it makes, if not its own

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The logits; where targets are asked, one vector of all that carries gradient (see `Asked.split`)."""
        asked, logits = self.asked, super().forward
        if asked is None or asked.targets is None:
            if asked is not None:
                asked.hidden_states = hidden_states.detach()
                asked.plain_values = asked.values(hidden_states) if asked.values is not None else None
            result: Tensor = logits(hidden_states, *args, **kwargs)
            return result
        states = hidden_states[0]
        asked.hidden_states = states.detach()
        parts = [target_logprobs(self, states, asked.targets.to(states.device))]
        for start, stop, ids in asked.chosen:
            parts.append(gathered_logprobs(self, states[start:stop], ids.to(states.device)).flatten())
        for start, stop, others in asked.untouched:
            parts.append(divergences(self, states[start:stop], others.to(states)))
        if asked.values is not None:
            parts.append(asked.values(states))
        if asked.top_k:
            asked.top = top_logprobs(self, states, asked.top_k)
        return torch.cat(parts)


def scoring_head(base: Any) -> ScoringHead:
    """The head of a causal language model, made one that can be asked."""
    head = base.get_output_embeddings()
    if not isinstance(head, ScoringHead):
        # accelerate's hook (for `device_map`) keeps the forward it found; it must find the new one.
        hook = getattr(head, "_hf_hook", None)
        if hook is not None:
            remove_hook_from_module(head)
            vars(head).pop("forward", None)
        # The name stays, since PEFT and FSDP's policies know layers by it.
        head.__class__ = type(type(head).__name__, (ScoringHead, type(head)), {})
        if hook is not None:
            add_hook_to_module(head, hook)
    return head  # type: ignore[no-any-return]


@contextmanager
def asking(base: Any, asked: Asked | None) -> Iterator[None]:
    """Within this context, passes of the model answer `asked`; of None, nothing changes."""
    if asked is None:
        yield
        return
    head = scoring_head(base)
    head.asked = asked
    try:
        yield
    finally:
        head.asked = None


def _chunk_rows_of(head: nn.Module, device: torch.device) -> int:
    weight = head.weight if isinstance(head.weight, Tensor) else next(head.parameters())
    return chunk_rows(weight.shape[0], getattr(head, "chunks_of", None) or device)


def _logits(head: nn.Module) -> Callable[[Tensor], Tensor]:
    """The head's own product, without the module's hooks, which have run once for the whole pass."""
    return super(ScoringHead, head).forward if isinstance(head, ScoringHead) else head.forward


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
        step: int,
    ) -> Tensor:
        logp = torch.empty(targets.shape, dtype=torch.float32, device=hidden.device)
        slope = torch.empty_like(hidden) if needs_gradient else None
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
    ) -> tuple[Tensor, None, None, None, None, None]:
        (slope,) = context.saved_tensors  # type: ignore[attr-defined]
        return (gradient[:, None] * slope).to(slope.dtype), None, None, None, None, None


def target_logprobs(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """log P(target) at each position.

    Args:
        head: The output embedding, a linear layer of d to V.
        hidden: (n, d) last hidden states.
        targets: (n,) token ids.

    Returns:
        (n,) log-probabilities in float32, temperature 1.
    """
    product = getattr(_logits(head), "__func__", None)
    if product is nn.Linear.forward and not any(p.requires_grad for p in head.parameters()):
        how = hidden.requires_grad and torch.is_grad_enabled(), _chunk_rows_of(head, hidden.device)
        result: Tensor = _FrozenHead.apply(hidden, targets, head.weight, head.bias, *how)  # type: ignore[no-untyped-call]
        return result
    return gathered_logprobs(head, hidden, targets[:, None]).squeeze(-1)


def gathered_logprobs(head: nn.Module, hidden: Tensor, ids: Tensor) -> Tensor:
    """log P of k chosen tokens at each position: ids (n, k) -> (n, k), for any head, also a trained one."""
    logits = _logits(head)
    return _in_chunks(
        head, lambda states, chosen: torch.log_softmax(logits(states).float(), -1).gather(-1, chosen), hidden, ids
    )


def divergences(head: nn.Module, hidden: Tensor, untouched: Tensor) -> Tensor:
    """KL(P || Q) of the next-token distributions at each position, in nats, for a head that is not trained.

    Args:
        head: Makes both distributions.
        hidden: (n, d) hidden states that P comes from.
        untouched: (n, d) hidden states that Q comes from, without gradient.

    Returns:
        (n,) in float32.
    """
    logits = _logits(head)
    return _in_chunks(
        head, lambda states, others: divergence(logits(states), logits(others).detach()), hidden, untouched
    )


def _in_chunks(head: nn.Module, part: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """`part` of corresponding rows; the logits of a chunk are computed again in the backward pass rather than kept."""
    step = _chunk_rows_of(head, left.device)
    chunks = [(left[start : start + step], right[start : start + step]) for start in range(0, len(left), step)]
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(part, *chunk, use_reentrant=False) for chunk in chunks])
    return torch.cat([part(*chunk) for chunk in chunks])


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL of the distributions with these logits: sum over v of P(v) (log P(v) - log Q(v)), (..., V) -> (...)."""
    logp, logq = (torch.log_softmax(each.float(), -1) for each in (logits, others))
    return (logp.exp() * (logp - logq)).sum(-1)


@torch.no_grad()
def top_logprobs(head: nn.Module, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k likeliest tokens at each position: (log P, ids), each (n, k), without gradient."""
    logits, step = _logits(head), _chunk_rows_of(head, hidden.device)
    values, ids = [], []
    for start in range(0, len(hidden), step):
        best = torch.log_softmax(logits(hidden[start : start + step]).float(), -1).topk(k, -1)
        values.append(best.values)
        ids.append(best.indices)
    return torch.cat(values), torch.cat(ids)
