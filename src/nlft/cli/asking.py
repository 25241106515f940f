"""What `nlft answer` and `nlft judge` share: the options of asking, and what is said before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nlft.answer.config import AskSettings
    from nlft.answer.types import Request, Usage

ApiKeyFile = Annotated[Path | None, typer.Option(help="File with the key, else OPENAI_API_KEY.")]
Attempts = Annotated[int, typer.Option(min=1, help="Requests per row before it has failed (openai).")]
BaseUrl = Annotated[str | None, typer.Option(help="OpenAI-compatible server, /v1 included.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Most requests at a time (openai); adapts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be asked; send nothing.")]
MaxCost = Annotated[float | None, typer.Option(min=0.0, help="Most this run may cost; needs prices.")]
MaxRequests = Annotated[int | None, typer.Option(min=0, help="Most requests of this run (openai).")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Folder, hub id, GGUF; or its server name.")]
PriceIn = Annotated[float, typer.Option(min=0.0, help="Per million tokens read (openai).")]
PriceOut = Annotated[float, typer.Option(min=0.0, help="Per million tokens written (openai).")]
Prompts = Annotated[str, typer.Option(help="Prompt set: a shipped name, or a YAML file.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again what failed for good.")]
RetrySeconds = Annotated[float, typer.Option(min=0.001, help="How long a row is tried (openai).")]
Seed = Annotated[int, typer.Option(min=0, help="Of the sampling.")]
Timeout = Annotated[float, typer.Option(min=0.001, help="Seconds for one request (openai).")]
TopP = Annotated[float, typer.Option(min=0.0, max=1.0, help="Nucleus of the sampling.")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run code of the model's.")]


def dry_run_summary(requests: Sequence[Request], output: Path, settings: AskSettings, *, retry_failed: bool) -> str:
    """What is still to be asked for this output, and what it would take at most."""
    from nlft.answer.journal import Journal
    from nlft.answer.limits import estimate
    from nlft.answer.step import pending
    from nlft.files import journal_path

    with Journal(journal_path(output)) as journal:
        missing = pending(requests, journal, retry_failed=retry_failed)
    guess = estimate(missing, settings)
    cost = f", at most {guess.cost:.4f} by the prices given" if settings.priced else ""
    return (
        f"would send {guess.requests} requests ({len(requests) - len(missing)} of {len(requests)} rows need none): "
        f"about {guess.prompt_tokens:,} tokens to read, at most {guess.most_completion_tokens:,} to write{cost}; "
        "nothing was sent"
    )


def conclude(output: Path, usage: Usage, settings: AskSettings, *, failed: int, unanswered: int) -> None:
    """Say what was sent, and leave with an exit code of its own where rows are missing.

    Raises:
        LimitError: when rows were not asked because a limit was reached.
        IncompleteError: when rows failed for good.
    """
    from nlft.errors import IncompleteError, LimitError
    from nlft.files import failed_path

    if usage.requests:
        cost = f", cost {settings.cost(usage.prompt_tokens, usage.completion_tokens):.4f}" if settings.priced else ""
        print(
            f"{usage.requests} requests: {usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written{cost}"
        )
    if unanswered:
        more = f", and {failed} failed for good ({failed_path(output).name})" if failed else ""
        raise LimitError(
            f"stopped at the limit: {unanswered} rows were not asked{more}",
            file=output,
            remedy="run the same command again with a higher --max-requests or --max-cost: finished rows are kept",
        )
    if failed:
        raise IncompleteError(
            f"{failed} rows failed for good; with the reasons they stand in {failed_path(output).name}",
            file=output,
            remedy="run the same command again with --retry-failed, or go on without them",
        )
