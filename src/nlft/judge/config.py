"""Interim."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nlft.config import Idle
from nlft.judge.factory import JudgeSettings as _JudgeSettings
from nlft.prompts import PromptSetName


class JudgeSettings(_JudgeSettings):
    """Who judges, and with which prompt."""

    prompts: PromptSetName = Field(default="paper", description="prompt set: a shipped name, or a YAML file")
    retry_failed: Annotated[bool, Idle()] = Field(default=False, description="ask again what failed for good")
