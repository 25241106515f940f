"""What a run may spend: requests and money; and an estimate before the first request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nlft.answer.types import Request
from nlft.errors import ConfigError
from nlft.prompts import Message

__all__ = ["Estimate", "Limits", "Prices", "Spending", "estimate", "estimate_tokens"]


@dataclass(frozen=True)
class Prices:
    """Price per million tokens read and written."""

    input: float = 0.0
    output: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@dataclass(frozen=True)
class Limits:
    """The most one run may send or spend; None is no limit. Retries count, for servers charge for them too."""

    max_requests: int | None = None
    max_cost: float | None = None
    prices: Prices = Prices()

    def __post_init__(self) -> None:
        if self.max_cost is not None and self.prices == Prices():
            raise ConfigError(
                "a limit on cost needs prices", remedy="give --price-in and --price-out, per million tokens"
            )


class Spending:
    """Keeps a run within its limits: a request is only sent when its worst case still fits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.cost = 0.0
        self.reserved = 0.0

    def fits(self, worst: float) -> bool:
        """Whether one more request may be sent that costs at most `worst`."""
        most, cost = self.limits.max_requests, self.limits.max_cost
        if most is not None and self.requests >= most:
            return False
        # A hair of room for rounding: 0.1 + 0.2 must fit into 0.3.
        return cost is None or self.cost + self.reserved + worst <= cost * (1 + 1e-9)

    def send(self, worst: float) -> None:
        """Count a request as sent, and set its worst case aside."""
        self.requests += 1
        self.reserved += worst

    def settle(self, worst: float, actual: float) -> None:
        """Replace what was set aside by what it came to."""
        self.reserved -= worst
        self.cost += actual


@dataclass(frozen=True)
class Estimate:
    """What a run would send: requests still to be sent, tokens at most, and their cost."""

    requests: int
    prompt_tokens: int
    most_completion_tokens: int
    cost: float


def estimate(requests: Sequence[Request], max_new_tokens: int, prices: Prices = Prices()) -> Estimate:
    """Estimate a run without sending anything; the tokens written are an upper bound, retries left out."""
    read = sum(estimate_tokens(request.messages) for request in requests)
    written = len(requests) * max_new_tokens
    return Estimate(len(requests), read, written, prices.cost(read, written))


def estimate_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens the messages are: a token per four bytes of UTF-8, and four around each message.

    Tokenizers of today read English at four to five bytes a token, so this errs on the high side.
    """
    size = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in messages)
    return -(-size // 4) + 4 * len(messages)
