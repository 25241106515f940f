"""Interim."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nlft.answer.factory import AnswererSettings
from nlft.config import Idle
from nlft.prompts import PromptSetName


class AnswerSettings(AnswererSettings):
    """Who answers, how often, and with which prompt."""

    prompts: PromptSetName = Field(default="paper", description="prompt set: a shipped name, or a YAML file")
    samples: int = Field(default=1, ge=1, description="answers per problem; more than one need a temperature")
    retry_failed: Annotated[bool, Idle()] = Field(default=False, description="ask again what failed for good")
