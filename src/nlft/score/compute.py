"""The score stage: run each row's three paths and store what they say about each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from nlft.core import SaliencySettings
from nlft.errors import DataError
from nlft.lm.encode import EncodedExample, encode_example
from nlft.lm.load import LanguageModel
from nlft.lm.score import score_batch
from nlft.objectives import get_objective
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
    """Score judged rows, in order.

    Args:
        rows: Graded rows; an incorrect one needs its judgment.
        lm: The model whose probabilities count.
        prompts: The text around question, standard answer and judgment.
        settings: The constants for the stored roles and scales.
        model_name: The model's name in the file; by default, its own.

    Raises:
        DataError: for an incorrect row without judgment, an empty response, or a path beyond the context.
    """
    encoded: list[EncodedExample] = []
    for row in rows:
        if not row.verdict.correct and not row.judgment:
            raise DataError(
                f"row {row.id!r} is incorrect and has no judgment", remedy="run `nlft judge`, or remove the row"
            )
        encoded.append(encode_example(lm.tokenizer, row, prompts, context_length=lm.context_length))
    lm.model.eval()
    objective = get_objective("nlft", settings)
    with progress("scoring", len(rows)) as bar:
        for start in range(0, len(rows), ROWS_PER_PASS):
            batch = encoded[start : start + ROWS_PER_PASS]
            with torch.no_grad():
                found = score_batch(lm.model, batch, objective)
            for row, example, paths in zip(rows[start:], batch, found, strict=False):
                if paths.logp_standard is None or paths.hidden_states is None:
                    raise DataError(
                        "these settings skip the judge path, so incorrect rows have no scores",
                        remedy="score with use_judge: true",
                    )
                scores = make_scores(
                    model=model_name or lm.name,
                    token_ids=example.response,
                    pieces=token_pieces(lm.tokenizer, example.response),
                    logp_base=paths.logp_base,
                    logp_standard=paths.logp_standard,
                    logp_judge=paths.logp_judge,
                    hidden_states=paths.hidden_states,
                    settings=settings,
                )
                # Rescore a row that has scores: its old ones are not a field to keep.
                given = row.model_dump()
                given.pop("scores", None)
                yield Scored.model_validate({**given, "scores": scores})
            bar.advance(len(batch))
