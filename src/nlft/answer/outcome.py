"""What a step that asks a model tells at its end, and before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlft.answer.config import AskSettings
from nlft.answer.journal import Journal
from nlft.answer.limits import estimate
from nlft.answer.step import pending
from nlft.answer.types import Request, Usage
from nlft.errors import IncompleteError, LimitError, NLFTError
from nlft.files import failed_path, journal_path

__all__ = ["dry_run", "shortfall", "usage_line"]


def dry_run(requests: Sequence[Request], output: Path, settings: AskSettings, *, retry_failed: bool) -> str:
    """What is still to be asked for this output, and what it would take at most."""
    with Journal(journal_path(output)) as journal:
        missing = pending(requests, journal, retry_failed=retry_failed)
    guess = estimate(missing, settings)
    cost = f", at most {guess.cost:.4f} by the prices given" if settings.priced else ""
    return (
        f"would send {guess.requests} requests ({len(requests) - len(missing)} of {len(requests)} rows need none): "
        f"about {guess.prompt_tokens:,} tokens to read, at most {guess.most_completion_tokens:,} to write{cost}; "
        "nothing was sent"
    )


def usage_line(usage: Usage, settings: AskSettings) -> list[str]:
    """Requests, tokens and cost, where anything was sent."""
    if not usage.requests:
        return []
    cost = f", cost {settings.cost(usage.prompt_tokens, usage.completion_tokens):.4f}" if settings.priced else ""
    return [
        f"{usage.requests} requests: {usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written{cost}"
    ]


def shortfall(output: Path, *, failed: int, unanswered: int) -> NLFTError | None:
    """The rows that are missing: not asked because a limit was reached, or failed for good."""
    if unanswered:
        more = f", and {failed} failed for good ({failed_path(output).name})" if failed else ""
        return LimitError(
            f"stopped at the limit: {unanswered} rows were not asked{more}",
            file=output,
            remedy="run the same command again with a higher --max-requests or --max-cost: finished rows are kept",
        )
    if failed:
        return IncompleteError(
            f"{failed} rows failed for good; {failed_path(output).name} has them, with the reasons",
            file=output,
            remedy="run the same command again with --retry-failed, or continue without them",
        )
    return None
