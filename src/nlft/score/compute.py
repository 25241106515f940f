"""The score stage: run each row's three paths and store what they say about each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nlft import processes
from nlft.core import SaliencySettings
from nlft.errors import DataError
from nlft.lm.encode import EncodedExample, encode_example
from nlft.lm.load import LanguageModel
from nlft.lm.score import score_batch
from nlft.objectives import Example, get_objective
from nlft.progress import progress
from nlft.prompts import PromptSet
from nlft.records import Judged, Scored
from nlft.score.pieces import token_pieces
from nlft.score.schema import make_scores

# Rows in one pass: they share the instruction, and their number bounds the memory.
ROWS_PER_PASS = 8


def score(
    rows: Sequence[Judged],
    lm: LanguageModel,
    prompts: PromptSet,
    settings: SaliencySettings,
    *,
    model_name: str | None = None,
) -> Iterator[Scored]:
    """Score judged rows, in order; several processes share the work, and each yields all rows.

    Args:
        rows: Graded rows; an incorrect one needs its judgment.
        lm: The model whose probabilities count.
        prompts: The text around question, standard answer and judgment.
        settings: The constants for the stored roles and scales.
        model_name: The model's name in the file; by default, its own.

    Raises:
        DataError: for an incorrect row without judgment, an empty response, or a path beyond the context.
    """
    pairs: list[tuple[Judged, EncodedExample]] = []
    for row in rows:
        if not row.verdict.correct and not row.judgment:
            raise DataError(
                f"row {row.id!r} is incorrect and has no judgment", remedy="run `nlft judge`, or remove the row"
            )
        pairs.append((row, encode_example(lm.tokenizer, row, prompts, context_length=lm.context_length)))
    lm.model.eval()
    objective = get_objective("nlft", settings)

    def scored(batch: list[tuple[Judged, EncodedExample]]) -> list[Scored]:
        with torch.no_grad():
            found = score_batch(lm.model, [example for _, example in batch], objective)
        return [
            _record(row, example, paths, lm.tokenizer, settings, model_name or lm.name)
            for (row, example), paths in zip(batch, found, strict=True)
        ]

    with progress("scoring", len(rows)) as bar:
        batches = [pairs[start : start + ROWS_PER_PASS] for start in range(0, len(pairs), ROWS_PER_PASS)]
        for records in processes.deal(batches, scored):
            yield from records
            bar.advance(len(records))


def _record(
    row: Judged, example: EncodedExample, paths: Example, tokenizer: Any, settings: SaliencySettings, model: str
) -> Scored:
    if paths.logp_standard is None or paths.hidden_states is None:
        raise DataError(
            "these settings skip the judge path, so incorrect rows have no scores",
            remedy="score with use_judge: true",
        )
    scores = make_scores(
        model=model,
        token_ids=example.response,
        pieces=token_pieces(tokenizer, example.response),
        logp_base=paths.logp_base,
        logp_standard=paths.logp_standard,
        logp_judge=paths.logp_judge,
        hidden_states=paths.hidden_states,
        settings=settings,
        marks=example.marks,
        weights=example.span_weights,
    )
    # Rescore a row that has scores: its old ones are not a field to keep.
    given = row.model_dump()
    given.pop("scores", None)
    return Scored.model_validate({**given, "scores": scores})
