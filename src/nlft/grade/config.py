"""The settings of grading."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nlft.config import Config, NamesFile, checked_by
from nlft.grade.graders import get_grader

__all__ = ["GradeSettings", "GraderName"]

GraderName = Annotated[str, NamesFile(prefixes=("code:",)), checked_by(get_grader)]
"""A grader's name, or `code:FILE.py`."""


class GradeSettings(Config):
    """Who decides whether a response is correct."""

    grader: GraderName = Field(
        default="gsm8k-flexible",
        description="grader that decides: gsm8k-strict, gsm8k-flexible, number, authors, choice, exact, math, "
        "reasoning-gym, or code:FILE.py",
    )
