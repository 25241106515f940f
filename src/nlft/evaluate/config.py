"""The settings of an evaluation."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from nlft.answer.config import AnswererSettings
from nlft.grade.config import GraderName
from nlft.prompts import PromptSetName

__all__ = ["EvaluateSettings"]


class EvaluateSettings(AnswererSettings):
    """Who answers, and how the answers are graded."""

    prompts: PromptSetName = Field(default="paper", description="prompt set: a shipped name, or a YAML file")
    greedy: bool = Field(default=False, description="take the likeliest token each time (temperature 0)")
    n: int | None = Field(default=None, ge=1, description="evaluate on the first n problems only")
    grader: GraderName | None = Field(
        default=None,
        description="grader for both counts: number, choice, exact, math, or code:FILE.py; GSM8K's strict and "
        "flexible if not given",
    )

    @model_validator(mode="before")
    @classmethod
    def _greedy_is_cold(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("greedy") is True:
            if data.get("temperature") not in (None, 0, 0.0):
                raise ValueError("greedy takes no temperature; leave one of the two out")
            return {**data, "temperature": 0.0}
        return data
