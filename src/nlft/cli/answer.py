"""`nlft answer`: responses to problems, by a local model, a server, or from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli import asking


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("answer")(answer)


def answer(
    problems: Annotated[Path, typer.Argument(help="JSONL of problems: id, question, reference.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL of answers.")],
    model: asking.Model = None,
    answerer: Annotated[str | None, typer.Option(help="local, openai or replay:FILE; openai if --base-url.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder of a LoRA adapter (local).")] = None,
    prompts: asking.Prompts = "paper",
    samples: Annotated[int, typer.Option(min=1, help="Answers per problem; more than one need temperature.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the sampling; 0 is greedy.")] = 0.6,
    top_p: asking.TopP = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 512,
    seed: asking.Seed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Answers at a time (local).")] = 32,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16 (local).")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps (local).")] = "auto",
    trust_remote_code: asking.TrustRemoteCode = False,
    base_url: asking.BaseUrl = None,
    api_key_file: asking.ApiKeyFile = None,
    timeout: asking.Timeout = 300.0,
    concurrency: asking.Concurrency = 32,
    attempts: asking.Attempts = 8,
    retry_seconds: asking.RetrySeconds = 900.0,
    max_requests: asking.MaxRequests = None,
    max_cost: asking.MaxCost = None,
    price_in: asking.PriceIn = 0.0,
    price_out: asking.PriceOut = 0.0,
    retry_failed: asking.RetryFailed = False,
    dry_run: asking.DryRun = False,
) -> None:
    """Answer problems; a run that was broken off goes on where it was."""
    from nlft.answer.config import AnswerSettings
    from nlft.answer.factory import make_answerer
    from nlft.config import parse_config
    from nlft.prompts import load_prompts

    given = {name: value for name, value in locals().items() if name in AnswerSettings.model_fields}
    given["api_key_file"] = str(api_key_file) if api_key_file is not None else None
    settings = parse_config(given, AnswerSettings)
    prompt_set = load_prompts(prompts)
    who = make_answerer(settings)

    from nlft.answer.step import answer_file, answer_requests
    from nlft.records import Problem, read_records

    if dry_run:
        requests = answer_requests(read_records(problems, Problem), who, prompt_set, samples)
        print(asking.dry_run_summary(requests, output, settings, retry_failed=retry_failed))
        return
    answers = answer_file(problems, output, who, prompts=prompt_set, samples=samples, retry_failed=retry_failed)
    print(f"{output}: {len(answers.attempts)} answers by {who.name}")
    if cut := sum(attempt.finish_reason == "length" for attempt in answers.attempts):
        print(f"{cut} of them were cut off at {max_new_tokens} tokens; with a higher --max-new-tokens they could end")
    asking.conclude(output, answers.usage, settings, failed=len(answers.failed), unanswered=answers.unanswered)
