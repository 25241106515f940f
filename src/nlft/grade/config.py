"""The settings of grading."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from nlft.config import NamesFile, checked_by, refused
from nlft.errors import ConfigError
from nlft.grade.graders import FILES, get_grader, gives_credit
from nlft.tasks import TaskSettings

GraderName = Annotated[str, NamesFile(prefixes=FILES), checked_by(get_grader)]
"""A grader's name, with its file where it takes one."""
OptionalGraderName = Annotated[str | None, NamesFile(prefixes=FILES), checked_by(get_grader)]


class CreditSettings(TaskSettings):
    """How much of the full credit makes a response correct."""

    threshold: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="score from which on a response is correct, for graders that give partial credit (label with several "
        "labels, json, your own); full credit by default",
    )

    @model_validator(mode="after")
    def _has_credit(self) -> Self:
        grader = getattr(self, "grader", None)
        if self.threshold is not None and (grader is None or not gives_credit(grader)):
            told = f"`threshold` has no effect with the grader {grader or 'of GSM8K'}, which gives no partial credit"
            raise refused(ConfigError(told, remedy="remove threshold, or choose another grader"))
        return self


class GradeSettings(CreditSettings):
    """Who decides whether a response is correct."""

    grader: GraderName = Field(
        default="gsm8k-flexible",
        description="grader that decides: gsm8k-strict, gsm8k-flexible, number, authors, choice, exact, math, "
        "reasoning-gym, label, label:FILE.yaml, json, json:SCHEMA.json, code (tests), rubric:FILE.yaml, or code:FILE.py (your own)",
    )
