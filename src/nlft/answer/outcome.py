"""What a stage that asks a model tells its user: before it begins, and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlft.answer.config import AskSettings
from nlft.answer.limits import estimate
from nlft.answer.types import Request, Usage
from nlft.errors import IncompleteError, LimitError, NLFTError
from nlft.files import failed_path
from nlft.progress import Outcome


def estimate_line(missing: Sequence[Request], total: int, settings: AskSettings) -> str:
    """What is still to be asked, and what it would take at most.

    Args:
        missing: The requests that have no reply.
        total: How many there are in all.
        settings: Who is asked, and the prices.
    """
    guess = estimate(missing, settings)
    cost = f", at most {guess.cost:.4f} by the prices given" if settings.priced else ""
    return (
        f"would send {guess.requests} requests ({total - len(missing)} of {total} rows need none): "
        f"about {guess.prompt_tokens:,} tokens to read, at most {guess.most_completion_tokens:,} to write{cost}; "
        "nothing was sent"
    )


def outcome(
    lines: Sequence[str], usage: Usage, settings: AskSettings, output: Path, *, failed: int, unanswered: int
) -> Outcome:
    """The lines, what was sent, and the rows that are missing: not asked because of a limit, or failed for good."""
    told = list(lines)
    if usage.requests:
        cost = f", cost {settings.cost(usage.prompt_tokens, usage.completion_tokens):.4f}" if settings.priced else ""
        read, written = usage.prompt_tokens, usage.completion_tokens
        told.append(f"{usage.requests} requests: {read:,} tokens read, {written:,} written{cost}")
    shortfall: NLFTError | None = None
    if unanswered:
        more = f", and {failed} failed for good ({failed_path(output).name})" if failed else ""
        shortfall = LimitError(
            f"stopped at the limit: {unanswered} rows were not asked{more}",
            file=output,
            remedy="run the same command again with a higher --max-requests or --max-cost: finished rows are kept",
        )
    elif failed:
        shortfall = IncompleteError(
            f"{failed} rows failed for good; {failed_path(output).name} has them, with the reasons",
            file=output,
            remedy="run the same command again with --retry-failed, or continue without them",
        )
    counts = {
        "output": output,
        "requests": usage.requests,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost": settings.cost(usage.prompt_tokens, usage.completion_tokens) if settings.priced else None,
        "failed": failed,
        "unanswered": unanswered,
    }
    return Outcome("\n".join(told), shortfall, data=counts)
