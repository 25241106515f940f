"""From settings to a judge."""

from __future__ import annotations

from nlft.answer.factory import make_answerer
from nlft.judge.config import JudgeSettings
from nlft.judge.judges import Judge, ModelJudge, ReplayJudge, RuleJudge
from nlft.prompts import PromptSet


def make_judge(settings: JudgeSettings, prompts: PromptSet) -> Judge:
    """The judge that the settings describe. A local model is loaded only when it is needed.

    "self" is the student itself, shown the standard answer: a local judge under the student's own name.

    Raises:
        ConfigError: for a missing model, key or adapter folder.
        DataError: for a recording that cannot be read.
    """
    if settings.kind == "rule":
        return RuleJudge(settings.rules)
    if settings.kind.startswith("replay:"):
        return ReplayJudge(settings.kind.removeprefix("replay:"), correct_mark=prompts.correct_mark)
    answerer = make_answerer(settings)
    name = f"self:{answerer.name}" if settings.kind == "self" else None
    return ModelJudge(answerer, prompts, prompt=settings.prompt, name=name)
