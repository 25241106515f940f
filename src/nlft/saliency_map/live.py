"""Scoring of new text while the page is served."""

from __future__ import annotations

from collections.abc import Callable

from nlft.core import SaliencySettings
from nlft.lm.load import LanguageModel
from nlft.prompts import PromptSet
from nlft.records import Judged, Scored
from nlft.score import score


def scorer_like(row: Scored, lm: LanguageModel, prompts: PromptSet) -> Callable[[Judged], Scored]:
    """A function that scores one record with `lm`, under the settings that the first row was scored with."""
    settings = SaliencySettings.from_mapping(row.scores.settings)

    def score_one(record: Judged) -> Scored:
        return next(score([record], lm, prompts, settings))

    return score_one
