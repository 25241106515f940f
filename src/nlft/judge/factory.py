"""From settings to a judge: the one home of what the command line and a recipe may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nlft.answer.factory import AnswererSettings, make_answerer
from nlft.config import did_you_mean
from nlft.errors import ConfigError
from nlft.judge.judges import Judge, ModelJudge, ReplayJudge, RuleJudge
from nlft.prompts import PromptSet

__all__ = ["JudgeSettings", "make_judge"]

KINDS = ("rule", "replay:FILE", "openai", "local", "self")


class JudgeSettings(AnswererSettings):
    """Who judges, and how; the fields of the answerer are those of a judge that is a model."""

    judge: str = Field(default="rule", description='"rule", "replay:FILE", "openai", "local" or "self"')
    prompt: Literal["known-wrong", "a1"] = Field(
        default="known-wrong",
        description="tell the judge that the response is wrong, or let it decide first (paper A.1)",
    )
    temperature: float = Field(default=0.0, ge=0, description="of the judge's sampling; 0 is greedy")
    max_new_tokens: int = Field(default=256, ge=1, description="most tokens of a judgment")


def make_judge(settings: JudgeSettings, prompts: PromptSet) -> Judge:
    """The judge that the settings describe. A local model is not loaded before it is needed.

    "self" is the student itself, shown the standard answer: a local judge under the student's own name.

    Raises:
        ConfigError: for an unknown kind, a missing model, or a missing key.
        DataError: for a recording that cannot be read.
    """
    kind = settings.judge
    if kind == "rule":
        return RuleJudge()
    if kind.startswith("replay:"):
        return ReplayJudge(kind.removeprefix("replay:"), correct_mark=prompts.correct_mark)
    if kind not in {"openai", "local", "self"}:
        raise ConfigError(f'there is no judge "{kind}"', remedy=did_you_mean(kind, KINDS))
    answerer = make_answerer(settings.model_copy(update={"answerer": "openai" if kind == "openai" else "local"}))
    name = f"self:{answerer.name}" if kind == "self" else None
    return ModelJudge(answerer, prompts, prompt=settings.prompt, name=name)
