"""What a kind of task needs: its prompts, its grader, and the rules of the judge `rule`.

Commands and recipes take a task by name (`--task label`, `task: label`); it fills the settings that are not given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nlft.config import Config, Idle

TaskName = Literal["math", "label", "json", "code", "text"]
Rules = Literal["math", "label", "json", "code"]


@dataclass(frozen=True)
class Task:
    """A kind of task.

    Attributes:
        prompts: The prompt set.
        grader: Who decides what is correct; None leaves each stage its default (GSM8K's graders).
        rules: The rules of the judge `rule`; None where no rule can say what is wrong.
    """

    prompts: str
    grader: str | None
    rules: Rules | None


TASKS: dict[TaskName, Task] = {
    "math": Task("paper", None, "math"),
    "label": Task("label", "label", "label"),
    "json": Task("json", "json", "json"),
    "code": Task("code", "code", "code"),
    "text": Task("text", "rubric", None),
}

# What the two counts of an evaluation and the share in the required format are called, by grader.
COLUMNS: dict[str, tuple[str, str, str]] = {
    "label": ("right and alone", "right", "label alone"),
    "json": ("right and alone", "right", "JSON alone"),
    "code": ("right and alone", "right", "code alone"),
}
USUAL = ("strict", "flexible", "in format")

# The rules that fit the verdicts of a grader, by its name without a file.
RULES_OF: dict[str, Rules] = {
    **dict.fromkeys(
        ("gsm8k-strict", "gsm8k-flexible", "number", "math", "reasoning-gym", "choice", "exact", "authors"), "math"
    ),
    "label": "label",
    "json": "json",
    "code": "code",
}


def columns_of(grader: str | None) -> tuple[str, str, str]:
    """The names of an evaluation's columns under this grader, such as "label:labels.yaml".

    >>> columns_of("json"), columns_of(None)
    (('right and alone', 'right', 'JSON alone'), ('strict', 'flexible', 'in format'))
    """
    return USUAL if grader is None or grader.startswith("code:") else COLUMNS.get(grader.partition(":")[0], USUAL)


def rules_of(grader: str) -> Rules | None:
    """The rules for the verdicts of a grader; None for graders of one's own and rubrics.

    >>> rules_of("label:labels.yaml"), rules_of("code:mine.py")
    ('label', None)
    """
    return None if grader.startswith("code:") else RULES_OF.get(grader.partition(":")[0])


class TaskSettings(Config):
    """The base of settings that a task fills."""

    task: Annotated[TaskName | None, Idle()] = Field(
        default=None,
        description="kind of task, which sets prompts and grader that are not given: math, label (classification), json "
        "(extraction), code (Python functions), or text (free text, by rubric)",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_from_task(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("task") not in TASKS:
            return data
        task = TASKS[data["task"]]
        own = {name: getattr(task, name) for name in cls.filled(data)}
        return {**{name: value for name, value in own.items() if value is not None}, **data}

    @classmethod
    def filled(cls, data: dict[str, Any]) -> list[str]:
        """The settings that a task fills, given the others."""
        return [name for name in ("prompts", "grader", "rules") if name in cls.model_fields]
