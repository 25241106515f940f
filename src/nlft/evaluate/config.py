"""The settings of an evaluation."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from nlft.answer.config import AnswererSettings
from nlft.grade.config import CreditSettings, OptionalGraderName
from nlft.lm.config import ChatSettings


class EvaluateSettings(AnswererSettings, ChatSettings, CreditSettings):
    """Who answers, and how the answers are graded."""

    greedy: bool = Field(
        default=False, description="greedy decoding: always pick the likeliest token (same as temperature 0)"
    )
    n: int | None = Field(default=None, ge=1, description="evaluate only on the first n problems")
    grader: OptionalGraderName = Field(
        default=None,
        description="one grader for both counts (number, authors, choice, exact, math, code:FILE.py), or one with a strict form of "
        "its own (label, json, reasoning-gym); by default, GSM8K's strict and flexible",
    )

    @model_validator(mode="before")
    @classmethod
    def _greedy_is_cold(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("greedy") is True:
            if data.get("temperature") not in (None, 0, 0.0):
                raise ValueError("greedy and temperature exclude each other; remove one")
            return {**data, "temperature": 0.0}
        return data
