"""From chats and preference pairs to a question, its answer, and what was said before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nlft.errors import DataError
from nlft.prompts import CALLS, EARLIER, SYSTEM

Row = dict[str, Any]

ROLES = {
    "user": {"user", "human"},
    "assistant": {"assistant", "gpt", "model", "chatgpt", "bing", "bard"},
    "tool": {"tool", "observation", "function", "ipython"},
    "system": {"system", "developer"},
}
THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def preference_pair(prompt: Any, chosen: Any, rejected: Any) -> Row:
    """A preference pair: what was chosen is the reference, what was rejected the response to learn from."""
    if isinstance(chosen, str) and isinstance(rejected, str) and isinstance(prompt, str | list):
        if isinstance(prompt, list):
            chosen = [{"role": "assistant", "content": chosen}]
        return {"question": prompt, "reference": chosen, "response": rejected}
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise DataError(
            "this is no preference pair: it has no prompt, or chosen and rejected are not both text or both messages",
            remedy='give "prompt", "chosen" and "rejected"',
        )
    if len(chosen) == 1:  # else both hold the whole conversation
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or [])
        chosen, rejected = [*asked, *chosen], [*asked, *rejected]
    if chosen[:-1] != rejected[:-1] or not rejected or _role(rejected[-1]) != "assistant":
        raise DataError(
            "chosen and rejected differ in more than the assistant's last turn", remedy="remove the row, or shorten it"
        )
    return {"messages": chosen, "response": _message(rejected[-1])["content"]}


def exchange(turns: Any, first_exchange: bool) -> Row:
    """The last exchange: what the user asks is the question, what the assistant says the reference.

    What comes before is its context: a system message, earlier turns, and calls of tools with their results.
    """
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise DataError("there is no list of messages", remedy='give "messages": [{"role": ..., "content": ...}, ...]')
    talk = [_message(turn) for turn in turns]
    system = [talk.pop(0)["content"]] if talk and talk[0]["role"] == "system" else []
    talk = talk[:2] if first_exchange else talk
    roles = [turn["role"] for turn in talk]
    if not set(roles) <= {"user", "assistant", "tool"} or roles[-1:] != ["assistant"] or roles[:1] != ["user"]:
        raise DataError(
            "the chat is not a user's turn and an assistant's, or several of them, with a system message at most at its "
            "beginning",
            remedy="correct the roles of the messages",
        )
    answer = talk[-1]
    if "tool_calls" in answer:
        raise DataError("the chat ends with a call of a tool, not with an answer", remedy="remove the last turn")
    asked = len(roles) - 1 - roles[::-1].index("user")
    earlier, calls = talk[:asked], talk[asked + 1 : -1]
    row: Row = {"question": talk[asked]["content"], "reference": answer["content"]}
    thoughts = [turns[len(system) + len(talk) - 1].get(name) for name in THOUGHTS]
    for column, value in ((EARLIER, earlier), (CALLS, calls), (SYSTEM, "".join(system))):
        row |= {column: value} if value else {}
    return row | ({"reference_thoughts": text} if (text := next(filter(None, thoughts), None)) else {})


def _message(turn: Mapping[str, Any]) -> Row:
    """A turn as chat templates take it: the arguments of calls as objects, no thoughts."""
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text")) for part in content)
    message: Row = {"role": _role(turn), "content": "" if content is None and turn.get("tool_calls") else content}
    if not isinstance(message["content"], str):
        raise DataError(f"a message of the {message['role'] or 'chat'} holds no text", remedy="correct the row")
    if turn.get("tool_calls"):
        message["tool_calls"] = [_call(call) for call in turn["tool_calls"]]
    return message | {name: turn[name] for name in ("tool_call_id", "name") if turn.get(name)}


def _call(call: Any) -> Row:
    function = dict(call.get("function", call)) if isinstance(call, Mapping) else {}
    if not isinstance(function.get("name"), str):
        raise DataError("a call of a tool names no function", remedy="correct the row")
    if isinstance(function.get("arguments"), str):
        function["arguments"] = parsed(function["arguments"], "arguments")
    return {**({"id": call["id"]} if call.get("id") else {}), "type": "function", "function": function}


def parsed(text: str, what: str) -> Any:
    """JSON inside a string, as some data sets hold tools and arguments."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"the {what} are no JSON", remedy="correct the row") from None


def _role(turn: Mapping[str, Any]) -> str:
    role = str(turn.get("role", turn.get("from", ""))).lower()
    return next((ours for ours, theirs in ROLES.items() if role in theirs), role)
