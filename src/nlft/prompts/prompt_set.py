"""A prompt set: the words around question, standard answer and judgment (method §1; paper A.1, A.2)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nlft.config import Config, NamesFile, checked_by, did_you_mean, parse_config
from nlft.errors import ConfigError, DataError
from nlft.files.yaml import read_yaml
from nlft.prompts.context import Context, Message

FOLDER = Path(__file__).parent
ALONE = Context()
_MARKUP = " \t\r#*_`\"'“”‘’.!"


class PromptSet(Config):
    """The text of the three paths and of the judge.

    The default order keeps what the paths share (instruction, question) in front and puts what they
    do not share after the question, so that one computation of the beginning serves all three. With
    `standard_first` or `judge_first` set, as in the authors' order, that text comes before the
    instruction and the paths share nothing.
    """

    name: str
    solve: str = Field(description="the solving instruction (paper A.2); the system message")
    standard_first: str = Field(default="", description="put before the instruction on the standard path")
    judge_first: str = Field(default="", description="put before the instruction on the judge path")
    question_heading: str = Field(default="", description="before the question")
    standard_heading: str = Field(description="between question and standard answer")
    standard_after: str = Field(default="", description="after the standard answer")
    judge_heading: str = Field(description="between question and judgment")
    judge_after: str = Field(default="", description="after the judgment")
    judging: str = Field(description="the judge's instruction, which decides first (paper A.1)")
    judging_wrong: str = Field(description="the judge's instruction where the grade already says wrong")
    system: Literal["join", "replace", "refuse"] = Field(
        default="join",
        description="a row's own system message: joined with the instruction, in its place, or refused",
    )
    answer_heading: str = Field(
        default="The final answer to this problem is:", description="to revise: between question and final answer"
    )
    answer_after: str = Field(
        default="Write the steps that lead to this answer. Do not say that you were given it.",
        description="to revise: after the final answer",
    )
    steps_heading: str = Field(
        default="A solution to this problem begins as follows:",
        description="to revise: between question and first steps of the standard answer",
    )
    steps_after: str = Field(
        default="Write the whole solution, from its first step, in your own words.",
        description="to revise: after the first steps",
    )
    response_heading: str = Field(
        default="Here is a response to this problem:", description="to revise: between question and response"
    )
    judgment_heading: str = Field(
        default="It was judged as follows:", description="to revise: between response and judgment"
    )
    correct_after: str = Field(
        default="Write the correct solution to the problem, without a word about that response or its judgment.",
        description="to revise: after the judgment",
    )
    incorrect: str = Field(
        default="Give an incorrect answer to this problem.",
        description="after the question of a wrong response, for training on verdict prompts",
    )
    correct_mark: str = Field(
        default="the response is correct", description="what a judge says, in any case, of a correct response"
    )

    def base(self, question: str, context: Context = ALONE) -> list[Message]:
        """X_base = ⟨question⟩; what the row's conversation holds besides it stands before it on every path."""
        return _chat(self._instruction(context), self._asked(question), context)

    def standard(self, question: str, reference: str, context: Context = ALONE) -> list[Message]:
        """X_standard = ⟨question, standard answer⟩."""
        system = _join(self.standard_first, self._instruction(context))
        return _chat(system, self._asked(question, self.standard_heading, reference, self.standard_after), context)

    def judge(self, question: str, judgment: str, context: Context = ALONE) -> list[Message]:
        """X_judge = ⟨question, judgment⟩."""
        system = _join(self.judge_first, self._instruction(context))
        return _chat(system, self._asked(question, self.judge_heading, judgment, self.judge_after), context)

    def ask_judgment(
        self, question: str, response: str, reference: str, context: Context = ALONE, *, known_wrong: bool
    ) -> list[Message]:
        """What a judge is asked about a response."""
        before = ("Conversation so far:", context.transcript()) if context.turns else ()
        user = _join(*before, "Problem:", question, "Student's response:", response, "Correct answer:", reference)
        return _chat(self.judging_wrong if known_wrong else self.judging, user)

    def with_answer(self, question: str, answer: str, context: Context = ALONE) -> list[Message]:
        """⟨question, final answer⟩: to answer again knowing where the steps must lead."""
        return _chat(
            self._instruction(context), self._asked(question, self.answer_heading, answer, self.answer_after), context
        )

    def with_steps(self, question: str, steps: str, context: Context = ALONE) -> list[Message]:
        """⟨question, first steps of the standard answer⟩."""
        asked = self._asked(question, self.steps_heading, steps, self.steps_after)
        return _chat(self._instruction(context), asked, context)

    def correct(self, question: str, response: str, judgment: str, context: Context = ALONE) -> list[Message]:
        """⟨question, response, judgment⟩: to correct the response."""
        told = (self.response_heading, response, self.judgment_heading, judgment, self.correct_after)
        return _chat(self._instruction(context), self._asked(question, *told), context)

    def _asked(self, question: str, *more: str) -> str:
        """What the user says: the question under its heading, and what follows it."""
        return _join(self.question_heading, question, *more)

    def _instruction(self, context: Context) -> str:
        """The solving instruction with the row's own system message."""
        if context.system and self.system == "refuse":
            raise DataError(
                f"row {context.row!r}: it has a system message of its own",
                remedy="join it with the instruction (--system join), replace the instruction (--system replace), or "
                "remove the column `system`",
            )
        return context.system or self.solve if self.system == "replace" else _join(context.system, self.solve)

    def ask_incorrect(self, question: str) -> str:
        """The question with the request for an incorrect answer."""
        return _join(question, self.incorrect)


def available() -> list[str]:
    """The names of the prompt sets that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_prompts(name_or_path: str, *, system: str | None = None) -> PromptSet:
    """Load a shipped prompt set by name, or a user's own from a YAML file of the same form.

    Args:
        name_or_path: The name or the file.
        system: What becomes of a row's own system message, if not what the set says.

    Raises:
        ConfigError: for an unknown name, a missing file, or a key that does not belong.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        if name_or_path not in available():
            raise ConfigError(
                f'there is no prompt set "{name_or_path}"',
                remedy=did_you_mean(name_or_path, available()) + " (or give a YAML file)",
            )
        path = FOLDER / f"{name_or_path}.yaml"
    changes = {"system": system} if system is not None else {}
    return parse_config({"name": path.stem, **read_yaml(path), **changes}, PromptSet, file=path)


PromptSetName = Annotated[str, NamesFile(), checked_by(load_prompts)]
"""The type of a setting that names a prompt set: a shipped one, or a YAML file."""


def says_correct(judgment: str, mark: str) -> bool:
    """Whether one of its sentences says exactly what the mark says, in any case, bare of markup.

    Not wherever the mark occurs: "the response is correct up to the second step" finds a fault.

    >>> says_correct("### The response is correct. ###", "the response is correct")
    True
    >>> says_correct("The response is correct in its first step, but then adds 3.", "the response is correct")
    False
    """
    wanted = mark.strip(_MARKUP).casefold()
    sentences = re.split(r"[.!?](?=\s|$|#|\*)|\n", judgment)
    return any(" ".join(sentence.strip(_MARKUP).casefold().split()) == wanted for sentence in sentences)


def _chat(system: str, user: str, context: Context = ALONE) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*messages, *context.turns, {"role": "user", "content": user}, *context.calls]


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
