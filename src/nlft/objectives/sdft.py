"""Self-distillation: the untouched model that sees the standard answer teaches the model that does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from nlft.core.allocation import Allocation
from nlft.core.loss import Loss
from nlft.errors import ConfigError, DataError
from nlft.objectives.interface import Example, Needs, Objective
from nlft.objectives.registry import register


@register
@dataclass(frozen=True)
class SDFT(Objective):
    """Cross-entropy towards the standard path's next-token distribution, on the response as it is given.

    mean over t of -sum over the k likeliest tokens v of q_t(v) log P(v | base, y_<t), with
    q_t = P(v | standard, y_<t) divided by its sum over those k. Right and wrong rows alike: after a wrong
    beginning the teacher still says what should come next.

    The teacher is the model without its adapter, and stands still. (In the paper it follows the student as a
    slow average. One with the student's own weights has no hold: student and teacher drift off together, into
    endless repetition.)

    Attributes:
        top_k: k.

    Source: arXiv 2601.19897, without its sampling from the student.
    """

    name: ClassVar[str] = "sdft"
    top_k: int = 20

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"sdft's top_k cannot be {self.top_k}", remedy="give a whole number of at least 1")

    def needs(self, *, correct: bool) -> Needs:
        """The standard path's likeliest tokens."""
        return Needs(top_k=self.top_k)

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """The formula above."""
        top = example.top_standard
        if top is None:
            raise DataError("sdft needs the standard path's likeliest tokens, and the row has none")
        teacher = torch.softmax(top.logp_standard.detach().float(), dim=-1)
        student = top.logp_base if top.logp_base.dtype == torch.float64 else top.logp_base.float()
        loss = -(teacher.to(student) * student).sum(dim=-1).mean()
        # What of the teacher's distribution the k tokens hold: near 1, or k is too small.
        covered = top.logp_standard.detach().float().exp().sum(dim=-1).mean()
        return Loss(loss, {"weighted": loss.detach(), "teacher_covered": covered})
