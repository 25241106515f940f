"""`nlft evaluate`: accuracy of a model, with or without an adapter, on a file of problems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate")(evaluate)


def evaluate(
    problems: Annotated[Path, typer.Argument(help="JSONL of problems: id, question, reference.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Folder, hub id or GGUF file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Summary; its rows go to a .jsonl beside.")],
    adapter: Annotated[str | None, typer.Option(help="Folder of a LoRA adapter.")] = None,
    prompts: Annotated[str, typer.Option(help="Prompt set: a shipped name, or a YAML file.")] = "paper",
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the sampling; the paper's 0.6.")] = 0.6,
    greedy: Annotated[bool, typer.Option("--greedy", help="The likeliest token each time (temperature 0).")] = False,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Nucleus of the sampling.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a response; the paper's 512.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Problems at a time; changes speed, not results.")] = 32,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the first n problems.")] = None,
    grader: Annotated[
        str | None,
        typer.Option(
            help="number, choice, exact, math, or code:FILE.py, for both counts; GSM8K's strict and flexible where left out."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another run's rows at -o.")] = False,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run code of the model's.")] = False,
) -> None:
    """Let a model answer problems; write accuracy, intervals and every row."""
    from nlft.evaluate.evaluation import rows_path
    from nlft.grade import get_grader
    from nlft.prompts import load_prompts
    from nlft.records import Problem, read_records

    rows_file = rows_path(output)
    prompt_set = load_prompts(prompts)
    if grader is not None:
        get_grader(grader)
    rows = list(read_records(problems, Problem))[:n]

    from nlft.evaluate import evaluate
    from nlft.evaluate.table import summary_table
    from nlft.lm import SamplingSettings, load_model

    settings = SamplingSettings(
        temperature=0.0 if greedy else temperature,
        max_new_tokens=max_new_tokens,
        top_p=top_p,
        seed=seed,
        batch_size=batch_size,
    )
    lm = load_model(model, adapter=adapter, merge=True, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    evaluation = evaluate(
        rows,
        lm,
        settings,
        prompt_set,
        output=output,
        adapter=adapter,
        data=str(problems),
        grader=grader,
        overwrite=overwrite,
    )
    print(summary_table({evaluation.adapter or evaluation.model: evaluation}).text())
    print(f"summary: {output}\nrows: {rows_file}")
