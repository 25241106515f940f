"""`nlft score`: what each token of the responses is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("score")(score)


def score(
    judged: Annotated[Path, typer.Argument(help="JSONL of judged answers.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Folder, hub id or GGUF file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL to write.")],
    adapter: Annotated[str | None, typer.Option(help="Folder of a LoRA adapter.")] = None,
    preset: Annotated[str, typer.Option(help="Constants: paper or authors.")] = "paper",
    settings: Annotated[Path | None, typer.Option(help="YAML of constants that override the preset.")] = None,
    prompts: Annotated[str, typer.Option(help="Prompt set: a shipped name, or a YAML file.")] = "paper",
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the first n rows.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run code of the model's.")] = False,
) -> None:
    """Compute the three paths' probabilities and what each token is worth."""
    from nlft.cli.saliency import saliency_settings
    from nlft.prompts import load_prompts
    from nlft.records import Judged, read_records, write_records

    constants = saliency_settings(preset, settings)
    prompt_set = load_prompts(prompts)
    rows = list(read_records(judged, Judged))[:n]

    from nlft.lm import load_model
    from nlft.score import score

    lm = load_model(model, adapter=adapter, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    scored = list(score(rows, lm, prompt_set, constants))
    write_records(output, scored)
    excluded = sum(row.scores.excluded for row in scored)
    tokens = sum(len(row.scores.token_ids) for row in scored)
    salient = sum(sum(row.scores.salient) for row in scored)
    print(f"{len(scored)} rows, {tokens} tokens, {salient} salient, {excluded} rows excluded by the filter: {output}")
