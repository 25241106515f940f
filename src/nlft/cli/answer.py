"""`nlft answer`: responses to problems, by a local model, a server, or from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("answer")(answer)


def answer(
    problems: Annotated[Path, typer.Argument(help="JSONL of problems: id, question, reference.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL of answers.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Folder, hub id, GGUF; or its server name.")
    ] = None,
    answerer: Annotated[str | None, typer.Option(help="local, openai or replay:FILE; openai if --base-url.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder of a LoRA adapter (local).")] = None,
    prompts: Annotated[str, typer.Option(help="Prompt set: a shipped name, or a YAML file.")] = "paper",
    samples: Annotated[int, typer.Option(min=1, help="Answers per problem; more than one need temperature.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the sampling; 0 is greedy.")] = 0.6,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Nucleus of the sampling.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Answers at a time (local).")] = 16,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16 (local).")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps (local).")] = "auto",
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run code of the model's.")] = False,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server, /v1 included.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the key, else OPENAI_API_KEY.")] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for one request (openai).")] = 300.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests at a time (openai); adapts.")] = 32,
    attempts: Annotated[int, typer.Option(min=1, help="Requests per row before it has failed (openai).")] = 8,
    retry_seconds: Annotated[float, typer.Option(min=0.001, help="How long a row is tried (openai).")] = 900.0,
    max_requests: Annotated[int | None, typer.Option(min=0, help="Most requests of this run (openai).")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0.0, help="Most this run may cost; needs prices.")] = None,
    price_in: Annotated[float, typer.Option(min=0.0, help="Per million tokens read (openai).")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0.0, help="Per million tokens written (openai).")] = 0.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again what failed for good.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked; send nothing.")] = False,
) -> None:
    """Answer problems; a run that was broken off goes on where it was."""
    from nlft.answer.choose import AnswererSettings, make_answerer
    from nlft.cli.asking import conclude, dry_run_summary
    from nlft.config import parse_config
    from nlft.prompts import load_prompts

    given = {name: value for name, value in locals().items() if name in AnswererSettings.model_fields}
    given["api_key_file"] = str(api_key_file) if api_key_file is not None else None
    settings = parse_config(given, AnswererSettings)
    prompt_set = load_prompts(prompts)
    who = make_answerer(settings)

    from nlft.answer.stage import answer_file, answer_requests
    from nlft.records import Problem, read_records

    if dry_run:
        requests = answer_requests(read_records(problems, Problem), who, prompt_set, samples)
        print(dry_run_summary(requests, output, settings, retry_failed=retry_failed))
        return
    answers = answer_file(problems, output, who, prompts=prompt_set, samples=samples, retry_failed=retry_failed)
    print(f"{output}: {len(answers.attempts)} answers by {who.name}")
    conclude(output, answers.tally, settings, failed=len(answers.failed), unanswered=answers.unanswered)
