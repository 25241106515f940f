"""NLFT: the paper's objective, under either preset (arXiv 2412.20382)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from nlft.core.allocation import Allocation, Paths, allocate_all
from nlft.core.cluster import products
from nlft.core.loss import Loss, example_loss
from nlft.objectives.interface import Example, Needs, Objective, Path, required
from nlft.objectives.registry import register


@register
@dataclass(frozen=True)
class NLFT(Objective):
    """Eqs. 1 to 5; every difference between the presets is a setting."""

    name: ClassVar[str] = "nlft"

    def needs(self, *, correct: bool) -> Needs:
        """Standard, and for an incorrect row judge; the judge path with gradient for the authors' extra term."""
        if not correct and not self.settings.use_judge:
            return Needs()
        weigh: frozenset[Path] = frozenset({"standard"} if correct else {"standard", "judge"})
        extra: frozenset[Path] = frozenset() if correct or not self.settings.likelihood else frozenset({"judge"})
        return Needs(weigh, extra, hidden_states=self.settings.cluster != "none")

    def weigh(self, example: Example) -> Allocation:
        """Eqs. 1 to 4."""
        return self.weigh_all([example])[0]

    def weigh_all(self, examples: Sequence[Example]) -> list[Allocation]:  # type: ignore[override]  # a list of it all
        """The same for several rows, for one transfer from the device."""
        weighed = [example for example in examples if example.correct or self.settings.use_judge]
        found = iter(allocate_all([self._paths(example) for example in weighed], self.settings))
        return [
            next(found)
            if example.correct or self.settings.use_judge
            else Allocation.nothing(example.logp_base.detach(), correct=False)
            for example in examples
        ]

    def _paths(self, example: Example) -> Paths:
        base, hidden = example.logp_base.detach(), example.hidden_states
        if hidden is None:
            if self.settings.cluster != "none":
                required(None, "the base path's hidden states")
            hidden = base.new_zeros(len(base), 1)
        judge = None if example.correct else required(example.logp_judge, "the judge path").detach()
        standard = required(example.logp_standard, "the standard path").detach()
        return Paths(base, standard, judge, products(hidden), example.marks)

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """Eq. 5."""
        allocation = self.weigh(example) if allocation is None else allocation
        judge = None if example.correct else example.logp_judge
        return with_figures(example_loss(example.logp_base, allocation, self.settings, judge), allocation)


def with_figures(loss: Loss, allocation: Allocation) -> Loss:
    """A loss with what the logs show of its allocation; nothing here waits for the device."""
    scale = allocation.scale
    sub = allocation.cluster & ~allocation.salient
    figures: dict[str, Tensor] = {
        "share_salient": allocation.salient.float().mean(),
        # In an incorrect response an error's phrase is irrelevant (paper 3.3).
        "share_sub_salient": sub.float().mean() if allocation.correct else torch.zeros_like(scale.mean()),
        "excluded": torch.full_like(scale.mean(), float(allocation.excluded)),
        "mean_scale": scale.mean(),
    }
    return replace(loss, parts={name: part.detach() for name, part in loss.parts.items()} | figures)
