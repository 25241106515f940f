"""What one trainer asks of every objective, and what it hands it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from nlft.core.allocation import Allocation
from nlft.core.loss import Loss
from nlft.core.settings import SaliencySettings
from nlft.errors import DataError

Path = Literal["standard", "judge", "preferred"]
"""A path besides the base path; `preferred` is the base prompt with the right response of a pair."""


@dataclass(frozen=True)
class Needs:
    """What an objective must be given for a row; the base path, with gradient, it always gets.

    Attributes:
        weigh: the paths `weigh` reads, without gradient; empty where there is nothing to weigh.
        loss: the paths `loss` reads, with gradient.
        hidden_states: whether `weigh` reads the base path's hidden states.
        top_k: how many of the standard path's likeliest tokens under the untouched model `loss` reads at each
            place; 0: none.
    """

    weigh: frozenset[Path] = frozenset()
    loss: frozenset[Path] = frozenset()
    hidden_states: bool = False
    top_k: int = 0


@dataclass(frozen=True)
class TopTokens:
    """The k likeliest next tokens of the standard path under the untouched model, at each of the n places.

    Attributes:
        logp_standard: their log-probabilities there, nats, no gradient.
        logp_base: the same tokens' log-probabilities on the base path, nats, with gradient.
    """

    logp_standard: Float[Tensor, "n k"]
    logp_base: Float[Tensor, "n k"]


@dataclass(frozen=True)
class Example:
    """One row's response of n tokens, as the model sees it.

    Attributes:
        logp_base: log P(y_t | base), nats, with gradient.
        correct: the row's verdict.
        logp_standard: log P(y_t | standard), nats.
        logp_judge: log P(y_t | judge), nats; with gradient where `Needs.loss` names it.
        hidden_states: the base path's last hidden states; row t predicts y_t.
        token_weights: the user's own weights, one for each token.
        top_standard: the standard path's likeliest tokens.
        logp_preferred: log P of the m tokens of the right response it is paired with, base prompt, nats, with gradient.
        fork: how many tokens the two responses share at their beginning.
        marks: the errors of a wrong response as a person marked them, in place of those the objective would find.
        divergence: KL(P || P of the untouched model) of the next token, base path, nats, with gradient; for the
            trainer's anchor.
    """

    logp_base: Float[Tensor, " n"]
    correct: bool
    logp_standard: Float[Tensor, " n"] | None = None
    logp_judge: Float[Tensor, " n"] | None = None
    hidden_states: Float[Tensor, "n d"] | None = None
    token_weights: Float[Tensor, " n"] | None = None
    top_standard: TopTokens | None = None
    logp_preferred: Float[Tensor, " m"] | None = None
    fork: int = 0
    marks: Bool[Tensor, " n"] | None = None
    divergence: Float[Tensor, " n"] | None = None


@dataclass(frozen=True)
class Objective(ABC):
    """What a token is worth. Subclass it, give it a name, and register it; ten lines do:

    >>> import torch
    >>> from nlft.objectives import Objective, Example, Loss, register, get_objective
    >>> @register
    ... class Focal(Objective):
    ...     "Tokens the model already knows count less: mean of -(1 - P)^2 log P."
    ...     name = "focal"
    ...     def loss(self, example, allocation):
    ...         logp = example.logp_base
    ...         rest = 1 - logp.detach().exp()
    ...         return Loss(-(rest**2 * logp).mean())
    >>> get_objective("focal").loss(Example(torch.tensor([0.5]).log(), correct=True), None).total
    tensor(0.1733)

    Attributes:
        settings: the constants of saliency, for the objectives that use them.
    """

    name: ClassVar[str] = ""
    settings: SaliencySettings = field(default_factory=SaliencySettings.paper)

    def needs(self, *, correct: bool) -> Needs:
        """Which paths a correct or an incorrect row needs; here the base path only."""
        return Needs()

    def weigh(self, example: Example) -> Allocation | None:
        """The part that may be computed once, at each epoch or at each step; no gradient; here none.

        An allocation that is `excluded` promises that the row's loss is 0: where it was computed before, the
        row is not run, and `loss` gets zeros for its log-probabilities.
        """
        return None

    def weigh_all(self, examples: Sequence[Example]) -> list[Allocation | None]:
        """`weigh` for the rows of a batch; override it where they are cheaper together."""
        return [self.weigh(example) for example in examples]

    @abstractmethod
    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """The row's loss.

        Args:
            example: the row, with what `needs` named.
            allocation: what `weigh` found, now or earlier.
        """


def required(tensor: Tensor | None, what: str) -> Tensor:
    """The tensor, which this row needs.

    Raises:
        DataError: where the row lacks it.
    """
    if tensor is None:
        raise DataError(f"this objective needs {what}, and the row has none", remedy=_REMEDIES.get(what))
    return tensor


_REMEDIES = {
    "token weights": "give each row a column `weights` of spans, or `token_weights` of one number for each token of its response",
    "token weights of the wrong step": "make them with nlft.steps.step_weights.with_step_weights(rows, tokenizer)",
    "the right response of the pair": "make the rows with nlft.revise.pairs(rows)",
    "the judge path": "run `nlft judge`, or leave incorrect rows out",
}
