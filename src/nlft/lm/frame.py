"""What a chat template writes around a response: what stands before it, what opens it and what closes it.

Nothing here is known of any family. A conversation is rendered with a placeholder for the response, once up to the
point where generation begins and once to its end, and the rest is read off the two texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlft.errors import ModelError
from nlft.prompts import Message

RESPONSE, THOUGHT, NEXT = "nlft0response", "nlft0thought", "nlft0question"
# A turn that the generation prompt begins with an open thought, as in `<｜Assistant｜><think>`.
_OPEN_THOUGHT = re.compile(r"<(?P<tag>\w+)>\s*$")
_MARK = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


@dataclass(frozen=True)
class Frame:
    """A conversation as the template writes it, around a response that is still to come.

    Attributes:
        prompt: All up to where generation begins.
        opening: What the model writes before the response, such as an empty thought; trained.
        closing: What ends the response, up to and including the token that stops generation; trained.
        messages: The conversation as the template takes it: a system message it has no place for is part of the
            first question.
    """

    prompt: str
    opening: str
    closing: str
    messages: tuple[Message, ...]


def frame_of(tokenizer: Any, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> Frame:
    """What the template writes around the response to a conversation.

    Raises:
        ModelError: for a conversation that the template refuses, or a turn whose beginning or end cannot be read.
    """
    taken, prompt = _prompt(tokenizer, messages, tools)
    answer: Message = {"role": "assistant", "content": RESPONSE}
    before, after = _split(_render(tokenizer, [*taken, answer], tools), RESPONSE)
    return Frame(prompt, _opening(prompt, before), _closing(tokenizer, [*taken, answer], after, tools), tuple(taken))


def cue_of(tokenizer: Any) -> str:
    """What stands between a question and where generation begins, such as an open thought."""
    return frame_of(tokenizer, [{"role": "user", "content": NEXT}]).prompt.rpartition(NEXT)[2]


def written(tokenizer: Any, response: str) -> str:
    """A response as the template writes it; some strip the white space around it.

    Raises:
        ModelError: if the template changes more than that, as those do that move or drop a thought.
    """
    question: Message = {"role": "user", "content": NEXT}
    texts = [
        _render(tokenizer, [question, {"role": "assistant", "content": text}], None) for text in (RESPONSE, response)
    ]
    before, after = _split(texts[0], RESPONSE)
    middle = texts[1][len(before) : len(texts[1]) - len(after)]
    if before + middle + after != texts[1] or middle.strip() != response.strip():
        raise ModelError(
            "the chat template does not write the response as it is (it moves or drops a part, such as a thought)",
            remedy="keep thoughts apart from the response, in a column of their own",
        )
    return middle


def with_thought(tokenizer: Any) -> tuple[str, str] | None:
    """What the template writes before a thought, and between thought and response; None if it writes no thought."""
    turns = [
        {"role": "user", "content": NEXT},
        {"role": "assistant", "content": RESPONSE, "reasoning_content": THOUGHT},
    ]
    before = _split(_render(tokenizer, turns, None), RESPONSE)[0]
    head, found, between = before.rpartition(THOUGHT)
    return (head, between) if found else None


def _prompt(tokenizer: Any, messages: Sequence[Message], tools: Sequence[Any] | None) -> tuple[list[Message], str]:
    """The messages as the template takes them, and their text up to where generation begins."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError("the tokenizer has no chat template", remedy="name one with --chat-template")
    merged = without_system(messages)
    if merged != list(messages):
        try:
            text = _render(tokenizer, messages, tools, generate=True)
        except ModelError:
            pass  # it has no system role
        else:
            if messages[0]["content"].strip() in text:
                return list(messages), text
    return merged, _render(tokenizer, merged, tools, generate=True)


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The system text moved into the first user turn."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    user: Message = {**messages[1], "content": messages[0]["content"] + "\n\n" + messages[1]["content"]}
    return [user, *messages[2:]]


def _render(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, *, generate: bool = False
) -> str:
    try:
        text = tokenizer.apply_chat_template(
            list(messages), tools=list(tools) if tools else None, add_generation_prompt=generate, tokenize=False
        )
    except Exception as error:  # jinja2.TemplateError, or anything else the template raised
        raise ModelError(f"the chat template refuses the conversation: {error}") from error
    return str(text)


def _split(text: str, placeholder: str) -> tuple[str, str]:
    before, found, after = text.rpartition(placeholder)
    if not found:
        raise ModelError("the chat template does not write the response", remedy="choose another with --chat-template")
    return before, after


def _opening(prompt: str, before: str) -> str:
    """What the finished turn holds between the generation prompt and the response."""
    if before.startswith(prompt):
        return before[len(prompt) :]
    if before.startswith(prompt.rstrip()):
        return before[len(prompt.rstrip()) :].lstrip()
    if prompt.startswith(before.rstrip()):
        # The generation prompt opens a thought of which nothing is left in a finished turn: it is closed, empty.
        thought = _OPEN_THOUGHT.search(prompt[len(before.rstrip()) :])
        return f"\n</{thought['tag']}>\n\n" if thought else ""
    raise ModelError(
        "the chat template's generation prompt is not how it begins an answer",
        remedy="choose another with --chat-template",
    )


def _closing(tokenizer: Any, answered: list[Message], after: str, tools: Sequence[Any] | None) -> str:
    """The text from the end of the response to the token that stops generation."""
    if found := _to_first_token(tokenizer, after):
        return found
    mark = _MARK.match(after.strip())
    if mark is not None:
        raise ModelError(
            f"the chat template closes an answer with {mark.group()}, which is no token of this tokenizer",
            remedy="choose a template made for this tokenizer",
        )
    if not after.strip():
        # Some close an answer only by what begins the next turn.
        turn: Message = {"role": "user", "content": NEXT}
        try:
            following = _render(tokenizer, [*answered, turn], tools)
        except ModelError:
            following = ""
        between = following.rpartition(RESPONSE)[2].partition(NEXT)[0]
        if found := _to_first_token(tokenizer, between):
            return found
    return str(tokenizer.eos_token)


def _to_first_token(tokenizer: Any, text: str) -> str:
    """The text up to and including the first mark that is a token of its own."""
    marks = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
    found = [(text.find(mark), -len(mark), mark) for mark in marks if mark.strip() and mark in text]
    place, _, mark = min(found, default=(0, 0, ""))
    return text[:place] + mark
