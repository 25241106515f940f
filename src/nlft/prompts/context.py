"""What a row's conversation holds besides its question: a system message, earlier turns, tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Self, TypedDict

from nlft.errors import DataError
from nlft.records import Problem

SYSTEM, EARLIER, CALLS, TOOLS = "system", "earlier_turns", "tool_turns", "tools"
AROUND = (SYSTEM, EARLIER, CALLS, TOOLS)
"""The columns of a row that hold them."""


class Message(TypedDict):
    """One chat message, as `tokenizer.apply_chat_template` takes it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]


@dataclass(frozen=True)
class Context:
    """The conversation around a question.

    Attributes:
        system: The row's own system message.
        turns: What was said before the question, from a user's turn to an assistant's.
        calls: What came between question and answer: the assistant's calls of tools, and their results.
        tools: JSON schemas of the functions the assistant may call.
        row: The row's id, for messages.
    """

    system: str = ""
    turns: tuple[Message, ...] = ()
    calls: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    row: str = field(default="", compare=False)

    @classmethod
    def of(cls, record: Problem) -> Self:
        """The context in a record's columns `system`, `earlier_turns`, `tool_turns` and `tools`.

        Raises:
            DataError: for a column that holds something else.
        """
        row = record.model_extra or {}
        system, turns, calls, tools = (row.get(column) for column in AROUND)
        if not isinstance(system, str | None):
            raise _unfit(record, SYSTEM, "a system message, as text")
        for column, said in ((EARLIER, turns), (CALLS, calls)):
            if said is not None and not (isinstance(said, list) and all(map(_is_message, said))):
                raise _unfit(record, column, 'messages such as {"role": "user", "content": "..."}')
        if turns and [turns[0]["role"], turns[-1]["role"]] != ["user", "assistant"]:
            raise _unfit(record, EARLIER, "turns that begin with the user's and end with the assistant's")
        if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
            raise _unfit(record, TOOLS, "JSON schemas of functions")
        return cls(system or "", tuple(turns or ()), tuple(calls or ()), tuple(tools or ()), record.id)

    def transcript(self) -> str:
        """The earlier turns as text, for whoever judges the answer to the last one."""
        return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in self.turns)


def _is_message(turn: object) -> bool:
    return (
        isinstance(turn, Mapping)
        and turn.get("role") in ("user", "assistant", "tool")
        and isinstance(turn.get("content"), str)
    )


def _unfit(record: Problem, column: str, wanted: str) -> DataError:
    return DataError(
        f"row {record.id!r}: the column `{column}` does not hold {wanted}", remedy="correct, rename or remove it"
    )
