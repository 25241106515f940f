"""The score step: from a file of judged rows to a file of scored ones."""

from __future__ import annotations

from pathlib import Path

from nlft import processes
from nlft.progress import Outcome
from nlft.records import Judged, read_records, write_records
from nlft.score.config import ScoreSettings


def run(settings: ScoreSettings, judged: Path, output: Path) -> Outcome:
    """Score the judged rows of a file into another file.

    Raises:
        DataError: like `score`, and for a file that cannot be read or written.
        ModelError: for a model that cannot be loaded.
    """
    processes.join(settings.device)
    rows = list(read_records(judged, Judged))[: settings.n]

    from nlft.lm import load_as
    from nlft.score.compute import score

    lm = load_as(settings, settings.model, adapter=settings.adapter)
    scored = list(score(rows, lm, settings.prompt_set(), settings.saliency()))
    processes.first(lambda: write_records(output, scored))
    excluded = sum(row.scores.excluded for row in scored)
    tokens = sum(len(row.scores.token_ids) for row in scored)
    salient = sum(sum(row.scores.salient) for row in scored)
    return Outcome(
        f"{len(scored)} rows, {tokens} tokens, {salient} salient, {excluded} rows excluded by the filter: {output}",
        data={"output": output, "rows": len(scored), "tokens": tokens, "salient": salient, "excluded": excluded},
    )
