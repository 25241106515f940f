"""The settings of `nlft judge`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nlft.answer.config import AskSettings, check_kind
from nlft.config import Idle, NamesFile, refused
from nlft.errors import ConfigError
from nlft.prompts import PromptSetName
from nlft.tasks import TaskSettings


class JudgeSettings(AskSettings, TaskSettings):
    """Who judges, and with which prompt; the model's settings are those of a judge that is a model."""

    judge: Annotated[str, NamesFile(prefixes=("replay:",))] = Field(
        default="rule", description="rule, replay:FILE, openai, local, or self (the student)"
    )
    prompts: PromptSetName = Field(default="paper", description="prompt set: a shipped name, or a YAML file")
    prompt: Literal["known-wrong", "a1"] = Field(
        default="known-wrong",
        description="tell the judge that the response is wrong, or let it decide first (a1: the paper's A.1)",
    )
    contradictions: Literal["reject", "accept"] = Field(
        default="reject",
        description="a wrong response that the judge calls correct: set it aside, or train on it as correct (accept: the "
        "authors' code)",
    )
    rules: Literal["auto", "math", "label", "json", "code"] = Field(
        default="auto", description="rules of the judge `rule`; auto: those of the grader that gave the verdict"
    )
    temperature: float = Field(default=0.0, ge=0, description="sampling temperature; 0 is greedy")
    max_new_tokens: int = Field(default=256, ge=1, description="longest judgment, in tokens")
    retry_failed: Annotated[bool, Idle()] = Field(default=False, description="ask again what failed for good")

    @property
    def kind(self) -> str:
        """ "rule", "replay:FILE", "openai", "local" or "self"."""
        return self.judge

    @classmethod
    def filled(cls, data: dict[str, Any]) -> list[str]:
        """A task sets the rules of the judge `rule` alone."""
        return ["prompts", "rules"] if data.get("judge", "rule") == "rule" else ["prompts"]

    @model_validator(mode="after")
    def _rules_are_used(self) -> Self:
        if self.rules != "auto" and self.judge != "rule":
            raise refused(ConfigError(f'`rules` has no effect with "{self.judge}"', remedy="leave `rules` out"))
        return self

    @field_validator("judge")
    @classmethod
    def _exists(cls, value: str) -> str:
        return check_kind("judge", value, ("rule", "openai", "local", "self"))

    @model_validator(mode="after")
    def _can_contradict(self) -> Self:
        if self.kind == "rule" and self.contradictions == "accept":
            told = "`contradictions` has no effect with the rule, which calls no wrong response correct"
            raise refused(ConfigError(told, remedy="leave it out"))
        return self
