"""Three prompts and one response, as token ids that are aligned by construction.

The response is tokenised once; the same ids follow each prompt, so y_t is the same token on every
path. Prompts go through the model's own chat template with the generation prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlft.errors import DataError, ModelError
from nlft.lm.pack import TokenPath
from nlft.prompts import Message, PromptSet
from nlft.records import Judged


@dataclass(frozen=True)
class EncodedExample:
    """One example as ids: `standard`, `judge` and `preferred` are None if not available."""

    id: str
    correct: bool
    base: TokenPath
    standard: TokenPath | None
    judge: TokenPath | None
    token_weights: tuple[float, ...] | None = None
    preferred: TokenPath | None = None

    @property
    def response(self) -> tuple[int, ...]:
        """The response's ids, including the end-of-turn token."""
        return self.base.response

    @property
    def longest(self) -> int:
        """The length of its longest path, in tokens."""
        paths = (self.base, self.standard, self.judge, self.preferred)
        return max(len(path.tokens) for path in paths if path is not None)

    @property
    def fork(self) -> int:
        """How many tokens the response and the right one it is paired with share at their beginning."""
        pair = (self.response, self.preferred.response if self.preferred is not None else ())
        return next(
            (place for place, (one, other) in enumerate(zip(*pair, strict=False)) if one != other), min(map(len, pair))
        )


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The ids of a conversation through the chat template, including the generation prompt.

    A last message of the assistant is the beginning of its response, which is to be continued. If a template rejects or silently ignores a system role, the system text goes at the start of
    the user's turn; without any template, blank lines separate the texts.

    Raises:
        ModelError: if the template rejects the conversation for another reason.
    """
    if messages and messages[-1]["role"] == "assistant":
        beginning = list(tokenizer(messages[-1]["content"], add_special_tokens=False).input_ids)
        return encode_prompt(tokenizer, messages[:-1]) + beginning
    if getattr(tokenizer, "chat_template", None) is None:
        text = "\n\n".join(message["content"] for message in messages) + "\n\n"
        return list(tokenizer(text).input_ids)
    merged = _without_system(messages)
    try:
        if merged == list(messages) or _says_system(tokenizer, messages):
            return _through_template(tokenizer, messages)
    except Exception as error:  # jinja2.TemplateError, or anything else the template raised
        if merged == list(messages):
            raise ModelError(f"the chat template refuses the conversation: {error}") from error
    try:
        return _through_template(tokenizer, merged)
    except Exception as again:
        raise ModelError(f"the chat template refuses the conversation: {again}") from again


def _through_template(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    ids = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=True, return_dict=False)
    return list(ids)


def _says_system(tokenizer: Any, messages: Sequence[Message]) -> bool:
    """Whether the system text is part of what the template makes of the conversation."""
    text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    return messages[0]["content"].strip() in text


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The system text moved into the first user turn."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    user: Message = {"role": "user", "content": messages[0]["content"] + "\n\n" + messages[1]["content"]}
    return [user, *messages[2:]]


def encode_response(tokenizer: Any, response: str, *, ended: bool = True) -> list[int]:
    """The ids of a response; with the end-of-turn token, trained like any other, unless it was cut off."""
    ids = list(tokenizer(response, add_special_tokens=False).input_ids)
    return [*ids, tokenizer.eos_token_id] if ended else ids


def encode_example(
    tokenizer: Any, record: Judged, prompts: PromptSet, *, context_length: int | None = None, target: str = "response"
) -> EncodedExample:
    """Encode a judged record's paths.

    Args:
        tokenizer: With the chat template of the model.
        record: A correct response needs no judgment; an incorrect one without has no judge path.
        prompts: The text around question, standard answer and judgment.
        context_length: The longest path allowed, in tokens.
        target: "response", or "reference" to train on the standard answer instead (the SFT of the paper's
            comparison).

    Raises:
        DataError: for a response that is empty, or a path longer than the context.
    """
    text = record.reference if target == "reference" else record.response
    if not text.strip():
        raise DataError(f"row {record.id!r}: the response is empty", remedy="remove the row, or answer it again")
    # Do not train the model to end in the middle of a sentence.
    ended = target == "reference" or record.finish_reason != "length"
    response = tuple(encode_response(tokenizer, text, ended=ended))

    def path(messages: list[Message]) -> TokenPath:
        return TokenPath(tuple(encode_prompt(tokenizer, messages)), response)

    judgment = None if record.verdict.correct else record.judgment
    preferred = (record.model_extra or {}).get("preferred") if target == "response" else None
    example = EncodedExample(
        id=record.id,
        correct=target == "reference" or record.verdict.correct,
        base=path(prompts.base(record.question)),
        standard=path(prompts.standard(record.question, record.reference)),
        judge=path(prompts.judge(record.question, judgment)) if judgment else None,
        token_weights=_token_weights(record, len(response), ended=ended) if target == "response" else None,
        preferred=_preferred(tokenizer, record, prompts, preferred) if preferred is not None else None,
    )
    if context_length is not None and example.longest > context_length:
        raise DataError(
            f"row {record.id!r}: {example.longest} tokens, but the model takes {context_length}",
            remedy="remove the row, shorten it, or choose shorter prompts",
        )
    return example


def _preferred(tokenizer: Any, record: Judged, prompts: PromptSet, text: object) -> TokenPath:
    """The column `preferred`, a right response, under the base prompt."""
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"row {record.id!r}: preferred must be a response", remedy="give text, or leave the column out")
    response = tuple(encode_response(tokenizer, text))
    return TokenPath(tuple(encode_prompt(tokenizer, prompts.base(record.question))), response)


def _token_weights(record: Judged, count: int, *, ended: bool) -> tuple[float, ...] | None:
    """The user's column `token_weights`; a missing weight for the end-of-turn token is 1."""
    column = (record.model_extra or {}).get("token_weights")
    if column is None:
        return None
    numbers = isinstance(column, list) and all(
        isinstance(w, int | float) and not isinstance(w, bool) and math.isfinite(w) for w in column
    )
    text = count - ended
    if not numbers or len(column) not in (text, count):
        more = f" (or {count} with the end-of-turn token)" if ended else ""
        raise DataError(
            f"row {record.id!r}: token_weights must be {text} numbers{more}",
            remedy="one finite number for each token of the response",
        )
    return (*(float(w) for w in column), *[1.0] * (count - len(column)))
