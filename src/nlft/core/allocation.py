"""From the three paths' probabilities to each token's role and weight (paper 3.3 and 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nlft.core.cluster import gram, phrases
from nlft.core.saliency import prepare, salient_correct, salient_incorrect
from nlft.core.scales import scale_correct, scale_incorrect
from nlft.core.settings import SaliencySettings


@dataclass(frozen=True)
class Allocation:
    """The role and scale of each of the n response tokens, without gradient.

    A correct response's tokens are salient, sub-salient (`cluster & ~salient`) or irrelevant
    (`~cluster`); in an incorrect one, salient means error, and all other tokens are irrelevant.

    Attributes:
        salient: (n,) the salient tokens.
        cluster: (n,) the tokens of their phrases, salient ones included.
        scale: (n,) S(y_t) of eqs. 3 and 4.
        excluded: whether the filter drops the example; its scales are then all 0.
        correct: whether the response is correct, which decides the loss term of a salient token.
    """

    salient: Bool[Tensor, " n"]
    cluster: Bool[Tensor, " n"]
    scale: Float[Tensor, " n"]
    excluded: bool = False
    correct: bool = True

    def to(self, device: torch.device | str) -> Allocation:
        """The same on another device."""
        return Allocation(
            self.salient.to(device), self.cluster.to(device), self.scale.to(device), self.excluded, self.correct
        )

    @classmethod
    def nothing(cls, like: Float[Tensor, " n"], *, correct: bool) -> Allocation:
        """No token is salient, every scale is 0, and the example is excluded."""
        none = torch.zeros_like(like, dtype=torch.bool)
        scale = torch.zeros(like.shape, dtype=_working_dtype(like), device=like.device)
        return cls(none, none, scale, excluded=True, correct=correct)


@torch.no_grad()
def allocate(
    logp_base: Float[Tensor, " n"],
    logp_standard: Float[Tensor, " n"],
    logp_judge: Float[Tensor, " n"] | None,
    hidden_states: Float[Tensor, "n d"],
    settings: SaliencySettings,
    marks: Bool[Tensor, " n"] | None = None,
) -> Allocation:
    """Find the salient tokens of one response, the phrases around them, and every token's scale.

    Costs one transfer from the device (the salient mask with the Gram matrix of the hidden states) and
    one back, for any n.

    Args:
        logp_base: log P(y_t | base), nats.
        logp_standard: log P(y_t | standard), nats.
        logp_judge: log P(y_t | judge), nats; None for a correct response.
        hidden_states: the base path's last hidden states; row t is the state that predicts y_t.
        settings: the constants.
        marks: the errors of an incorrect response as a person marked them, whatever the ratios and the filter say.

    Raises:
        ValueError: for no tokens, or inputs of different lengths.

    >>> import torch
    >>> a = allocate(
    ...     torch.tensor([0.5, 0.5, 0.5]).log(), torch.tensor([0.99, 0.5, 0.5]).log(), None,
    ...     torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), SaliencySettings.paper())
    >>> a.salient.tolist(), a.cluster.tolist()
    ([True, False, False], [True, True, False])

    Source: arXiv 2412.20382, sections 3.3, 3.4, 6.1.
    """  # fmt: skip
    return allocate_by_products(logp_base, logp_standard, logp_judge, gram(hidden_states), settings, marks)


@torch.no_grad()
def allocate_by_products(
    logp_base: Float[Tensor, " n"],
    logp_standard: Float[Tensor, " n"],
    logp_judge: Float[Tensor, " n"] | None,
    inner: Float[Tensor, "n n"],
    settings: SaliencySettings,
    marks: Bool[Tensor, " n"] | None = None,
) -> Allocation:
    """Like `allocate`, from the inner products of the hidden states, which is all that stored scores keep."""
    correct = logp_judge is None
    _check(logp_base, logp_standard, logp_judge, inner)
    if not correct and not settings.use_judge:
        return Allocation.nothing(logp_base, correct=False)
    base = prepare(logp_base, settings, correct=correct, base=True)
    standard = prepare(logp_standard, settings, correct=correct)
    if logp_judge is None:
        salient = salient_correct(base, standard, settings)
        cluster, _ = _host_walk(salient, inner, settings)
        scale = scale_correct(base, standard, salient, cluster, settings)
        return Allocation(salient, cluster, _mean_one(scale, settings), excluded=False, correct=True)
    judge = prepare(logp_judge, settings, correct=correct)
    salient = salient_incorrect(base, standard, judge, settings) if marks is None else marks
    cluster, share = _host_walk(salient, inner, settings)
    filtered = marks is None and settings.filter != "off" and share > settings.filter_threshold
    scale = scale_incorrect(base, standard, judge, salient, cluster, settings, masked=filtered)
    excluded = filtered and settings.filter == "drop"
    scale = torch.zeros_like(scale) if excluded else _mean_one(scale, settings)
    return Allocation(salient, cluster, scale, excluded, correct=False)


def _host_walk(
    salient: Bool[Tensor, " n"], inner: Float[Tensor, "n n"], settings: SaliencySettings
) -> tuple[Bool[Tensor, " n"], float]:
    """The phrase mask on the device, and the share of salient tokens, for one transfer each way."""
    if settings.cluster == "none":
        return salient, salient.sum().item() / len(salient)
    host = torch.cat([inner, salient[:, None].to(inner)], dim=1).cpu().numpy().astype(np.float64)
    starts = host[:, -1] > 0
    joined = phrases(host[:, :-1], starts, settings)
    return torch.from_numpy(joined).to(salient.device), float(starts.mean())


def _mean_one(scale: Float[Tensor, " n"], settings: SaliencySettings) -> Float[Tensor, " n"]:
    """Divide by the mean if the settings ask for it; scales that are all 0 stay 0."""
    if not settings.mean_one:
        return scale
    mean = scale.mean()
    return torch.where(mean > 0, scale / mean, scale)


def _working_dtype(logp: Tensor) -> torch.dtype:
    return torch.float64 if logp.dtype == torch.float64 else torch.float32


def _check(base: Tensor, standard: Tensor, judge: Tensor | None, inner: Tensor) -> None:
    lengths = {len(base), len(standard), len(inner), *([] if judge is None else [len(judge)])}
    if lengths == {0}:
        raise ValueError("a response needs at least one token")
    if len(lengths) > 1:
        raise ValueError(f"the paths differ in length: {sorted(lengths)}")
