"""Three prompts and one response, as token ids that are aligned by construction.

The response is tokenised once; the same ids follow each prompt, so y_t is the same token on every
path. Prompts go through the model's own chat template with the generation prompt, and what the template
writes around a response is trained with it: `nlft.lm.frame` reads it off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlft.errors import DataError, ModelError
from nlft.lm.frame import NEXT, Frame, cue_of, frame_of, written
from nlft.lm.pack import TokenPath
from nlft.prompts import Context, Message, PromptSet
from nlft.records import Judged
from nlft.spans import column_spans, marked_tokens, token_weights


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
    span_weights: tuple[float, ...] | None = None
    marks: tuple[bool, ...] | None = None

    @property
    def response(self) -> tuple[int, ...]:
        """The response's ids, including what the template writes around it, to the token that ends the turn."""
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


@dataclass(frozen=True)
class EncodedResponse:
    """A response's ids, with those that the template writes before and after it."""

    opening: tuple[int, ...]
    text: tuple[int, ...]
    closing: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them: what is trained."""
        return self.opening + self.text + self.closing


def encode_prompt(tokenizer: Any, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> list[int]:
    """The ids of a conversation through the chat template, including the generation prompt.

    A last message of the assistant is the beginning of its response, which is to be continued. If a template rejects or
    silently ignores a system role, the system text goes at the start of the user's first turn.

    Raises:
        ModelError: if there is no template, or it rejects the conversation for another reason.
    """
    if messages and messages[-1]["role"] == "assistant":
        frame = frame_of(tokenizer, messages[:-1], tools)
        opening, beginning = _after_cue(tokenizer, frame.opening, messages[-1]["content"])
        return _ids(tokenizer, frame.prompt) + opening + beginning
    return _ids(tokenizer, frame_of(tokenizer, messages, tools).prompt)


def encode_response(
    tokenizer: Any, response: str, frame: Frame | None = None, *, ended: bool = True
) -> EncodedResponse:
    """The ids of a response as the template writes it.

    Args:
        tokenizer: With its chat template.
        response: The text.
        frame: The conversation around it; one question by default.
        ended: Whether the response ends; one that was cut off has no closing.

    Raises:
        ModelError: if the template does not write this response as it is.
    """
    frame = frame or frame_of(tokenizer, [{"role": "user", "content": NEXT}])
    text = written(tokenizer, response)
    opening, body = _after_cue(tokenizer, frame.opening, text)
    closing = _continued(tokenizer, text[-1:], frame.closing) if ended else []
    return EncodedResponse(tuple(opening), tuple(body), tuple(closing))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def _after_cue(tokenizer: Any, opening: str, text: str) -> tuple[list[int], list[int]]:
    """The ids of an opening and of the response it opens.

    Many tokenizers begin a text otherwise than they continue one, so each part is tokenised as a continuation: of what
    stands between question and response, which is the same on every path.
    """
    cue = cue_of(tokenizer)
    return _continued(tokenizer, cue, opening), _continued(tokenizer, cue + opening, text)


def _continued(tokenizer: Any, before: str, text: str) -> list[int]:
    """The ids of a text that follows another; where a token would span both, those of the text alone."""
    head, both = _ids(tokenizer, before), _ids(tokenizer, before + text)
    return both[len(head) :] if both[: len(head)] == head else _ids(tokenizer, text)


def encode_example(
    tokenizer: Any,
    record: Judged,
    prompts: PromptSet,
    *,
    context_length: int | None = None,
    target: str = "response",
    partial_tokens: str = "share",
) -> EncodedExample:
    """Encode a judged record's paths.

    Args:
        tokenizer: With the chat template of the model.
        record: A correct response needs no judgment; an incorrect one without has no judge path.
        prompts: The text around question, standard answer and judgment.
        context_length: The longest path allowed, in tokens.
        target: "response", or "reference" to train on the standard answer instead (the SFT of the paper's
            comparison).
        partial_tokens: "share" or "refuse" a weight that ends inside a token (`nlft.spans.token_weights`).

    Raises:
        DataError: for a response that is empty, or a path longer than the context.
    """
    text = record.reference if target == "reference" else record.response
    if not text.strip():
        raise DataError(f"row {record.id!r}: the response is empty", remedy="remove the row, or answer it again")
    # Do not train the model to end in the middle of a sentence.
    ended = target == "reference" or record.finish_reason != "length"
    around = Context.of(record)
    judgment = None if record.verdict.correct else record.judgment
    preferred = (record.model_extra or {}).get("preferred") if target == "response" else None
    messages = {
        "base": prompts.base(record.question, around),
        "standard": prompts.standard(record.question, record.reference, around),
    }
    if judgment:
        messages["judge"] = prompts.judge(record.question, judgment, around)
    try:
        frames = {name: frame_of(tokenizer, each, around.tools) for name, each in messages.items()}
        response = encode_response(tokenizer, text, frames["base"], ended=ended)
    except ModelError as error:
        raise DataError(f"row {record.id!r}: {error.message}", remedy=error.remedy) from error
    spans = _spans(tokenizer, record, frames["base"], response, partial_tokens) if target == "response" else {}
    paths = {name: TokenPath(tuple(_ids(tokenizer, each.prompt)), response.ids) for name, each in frames.items()}
    example = EncodedExample(
        id=record.id,
        correct=target == "reference" or record.verdict.correct,
        base=paths["base"],
        standard=paths["standard"],
        judge=paths.get("judge"),
        token_weights=_token_weights(record, response) if target == "response" else None,
        preferred=_preferred(tokenizer, record, frames["base"], preferred) if preferred is not None else None,
        **spans,
    )
    if context_length is not None and example.longest > context_length:
        raise DataError(
            f"row {record.id!r}: {example.longest} tokens, but the model takes {context_length}",
            remedy="remove the row, shorten it, or choose shorter prompts",
        )
    return example


def _spans(
    tokenizer: Any, record: Judged, frame: Frame, response: EncodedResponse, partial: str
) -> dict[str, tuple[Any, ...]]:
    """The columns `weights` and `marks`, one value a token; what the template writes around the text weighs 1, unmarked."""
    row, found = record.model_extra or {}, {}
    try:
        weights = column_spans(row, "weights", record.response)
        marks = [] if record.verdict.correct else column_spans(row, "marks", record.response)
        if weights or marks:
            places = _places(tokenizer, record.response, frame)
            before, after = len(response.opening), len(response.closing)
        if weights:
            values = token_weights(weights, places, record.response, partial=partial)
            found["span_weights"] = (*[1.0] * before, *values, *[1.0] * after)
        if marks:
            marked = marked_tokens(marks, places, record.response)
            found["marks"] = (*[False] * before, *marked, *[False] * after)
    except DataError as error:
        raise DataError(f"row {record.id!r}: {error.message}", remedy=error.remedy) from None
    return found


def _places(tokenizer: Any, response: str, frame: Frame) -> list[tuple[int, int]]:
    """Start and end of each token of the text, in characters of the response, without gaps between them."""
    if not getattr(tokenizer, "is_fast", False):
        raise DataError("this tokenizer does not say which characters a token holds", remedy="use a fast tokenizer")
    text = written(tokenizer, response)
    before = cue_of(tokenizer) + frame.opening

    def offsets(whole: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        return list(encoded.input_ids), list(encoded.offset_mapping)

    head = _ids(tokenizer, before)
    ids, spans = offsets(before + text)
    if ids[: len(head)] == head:
        begin, spans = len(before), spans[len(head) :]
    else:
        begin, spans = 0, offsets(text)[1]
    # The template may strip the white space around a response; some tokenizers leave out that before a word.
    begin -= len(response) - len(response.lstrip()) - (len(text) - len(text.lstrip()))
    places, last = [], 0
    for start, end in spans:
        start, end = min(max(start - begin, 0), last), min(max(end - begin, last), len(response))
        places.append((start, end))
        last = end
    return places


def _preferred(tokenizer: Any, record: Judged, frame: Frame, text: object) -> TokenPath:
    """The column `preferred`, a right response, under the base prompt."""
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"row {record.id!r}: preferred must be a response", remedy="give text, or leave the column out")
    return TokenPath(tuple(_ids(tokenizer, frame.prompt)), encode_response(tokenizer, text, frame).ids)


def _token_weights(record: Judged, response: EncodedResponse) -> tuple[float, ...] | None:
    """The user's column `token_weights`, one a token of the text; what the template writes around it weighs 1.

    The column may include the token that ends the turn.
    """
    column = (record.model_extra or {}).get("token_weights")
    if column is None:
        return None
    numbers = isinstance(column, list) and all(
        isinstance(w, int | float) and not isinstance(w, bool) and math.isfinite(w) for w in column
    )
    text, ended = len(response.text), bool(response.closing)
    if not numbers or len(column) not in (text, text + ended):
        more = f" (or {text + ended} with the end-of-turn token)" if ended else ""
        raise DataError(
            f"row {record.id!r}: token_weights must be {text} numbers{more}",
            remedy="one finite number for each token of the response",
        )
    weights = [1.0] * len(response.ids)
    start = len(response.opening)
    weights[start : start + text] = map(float, column[:text])
    if len(column) > text:
        weights[-1] = float(column[-1])
    return tuple(weights)
