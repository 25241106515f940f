"""`nlft judge`: words that say what is wrong with each incorrect response."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli import asking


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("judge")(judge)


def judge(
    graded: Annotated[Path, typer.Argument(help="JSONL of graded answers; or, with --report alone, of judged ones.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSONL of judged answers.")] = None,
    judge: Annotated[str, typer.Option(help="rule, replay:FILE, openai, local, or self (the student).")] = "rule",
    model: asking.Model = None,
    adapter: Annotated[str | None, typer.Option(help="Folder of a LoRA adapter (local, self).")] = None,
    prompts: asking.Prompts = "paper",
    prompt: Annotated[
        str, typer.Option(help="known-wrong, or a1 (the paper's: the judge decides first).")
    ] = "known-wrong",
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the judge's sampling; 0 is greedy.")] = 0.0,
    top_p: asking.TopP = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a judgment.")] = 256,
    seed: asking.Seed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Judgments at a time (local, self).")] = 32,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16 (local, self).")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps (local, self).")] = "auto",
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
    report: Annotated[bool, typer.Option("--report", help="Report on the judgments' quality.")] = False,
) -> None:
    """Judge graded answers; a run that was broken off goes on where it was."""
    from nlft.errors import ConfigError

    if output is None:
        if not report:
            raise ConfigError(
                "the output is missing", remedy="name it with -o, or give --report to look at a judged file"
            )
        _report(graded)
        return

    from nlft.config import parse_config
    from nlft.judge.config import JudgeSettings
    from nlft.judge.factory import make_judge
    from nlft.prompts import load_prompts

    given = {name: value for name, value in locals().items() if name in JudgeSettings.model_fields}
    given["api_key_file"] = str(api_key_file) if api_key_file is not None else None
    settings = parse_config(given, JudgeSettings)
    who = make_judge(settings, load_prompts(prompts))

    from nlft.judge.step import judge_file, needs_judgment, read_graded

    if dry_run:
        requests = [who.request(row) for row in read_graded(graded) if needs_judgment(row)]
        print(asking.dry_run_summary(requests if who.cacheable else [], output, settings, retry_failed=retry_failed))
        return
    judgments = judge_file(graded, output, who, retry_failed=retry_failed)
    words = sum(row.judgment is not None for row in judgments.judged)
    own = sum(row.judgment is not None and row.judge is None for row in judgments.judged)
    print(f"{output}: {len(judgments.judged)} rows, {words - own} of them with a judgment by {who.name}")
    if own:
        print(f"judgments of the data kept: {own}; remove the column `judgment` to judge those rows too")
    if judgments.rejected:
        from nlft.files import rejected_path

        print(f"{len(judgments.rejected)} judgments contradict the grade; set aside in {rejected_path(output)}")
    if report:
        _report(output)
    asking.conclude(output, judgments.usage, settings, failed=len(judgments.failed), unanswered=judgments.unanswered)


def _report(judged: Path) -> None:
    """Print the quality report of a judged file, with its companions for failures and contradictions."""
    from nlft.cli.printable import printable
    from nlft.files import failed_path, rejected_path
    from nlft.judge.quality import quality_report
    from nlft.records import Judged, read_objects, read_records

    beside = [
        sum(1 for _ in read_objects(p)) if p.exists() else 0 for p in (failed_path(judged), rejected_path(judged))
    ]
    print(printable(quality_report(read_records(judged, Judged), failed=beside[0], contradictions=beside[1]).text()))
