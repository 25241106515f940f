"""The column `token_weights` of the objectives `first-error` and `clipped-ratio`: where each wrong row goes wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nlft.records import Judged
from nlft.spans import column_spans, marked_tokens
from nlft.steps.first_error import Located, locate_first_error


def with_step_weights(
    rows: Iterable[Judged], tokenizer: Any, *, narrow: bool = False, after: float = 0.0, marks: bool = True
) -> list[Judged]:
    """The rows, each wrong one with a column `token_weights` for this tokenizer; correct rows are unchanged.

    Args:
        rows: Judged rows.
        tokenizer: The student's; it must be a fast one, which gives each token's characters.
        narrow: See `nlft.steps.first_error.locate_first_error`.
        after: The weight of what follows the wrong step, including the answer; 1 trains on it, which suits an error
            that is carried through correctly.
        marks: Take the words that a person marked, rather than the quoted step, as what is wrong.
    """
    return [row if row.verdict.correct else _weighed(row, tokenizer, narrow, after, marks) for row in rows]


def signed_weights(located: Located, spans: Iterable[tuple[int, int]], after: float = 0.0) -> list[float]:
    """One weight per token, from its span of characters.

    1 if the token ends within the agreed part or lies in the closing form; -1 if it touches the wrong step; otherwise
    `after`, or 0 without a wrong step. A token that touches both the agreed part and the wrong step belongs to the
    step; one with a part of the closing form and a part of the answer belongs to neither.
    """
    weights = []
    for start, end in spans:
        if located.wrong is not None and start < located.wrong[1] and end > located.wrong[0]:
            weights.append(-1.0)
        elif end <= located.agreed or (
            located.closing is not None and located.closing[0] <= start and end <= located.closing[1]
        ):
            weights.append(1.0)
        else:
            weights.append(after if located.wrong is not None else 0.0)
    return weights


def _weighed(row: Judged, tokenizer: Any, narrow: bool, after: float, use_marks: bool) -> Judged:
    encoded = tokenizer(row.response, add_special_tokens=False, return_offsets_mapping=True)
    located, places = locate_first_error(row, narrow=narrow), encoded["offset_mapping"]
    marks = column_spans(row.model_extra or {}, "marks", row.response) if use_marks else []
    if marks:
        located = located._replace(agreed=marks[0].start, wrong=marks[0][:2])
    weights = signed_weights(located, places, after)
    for place, marked in enumerate(marked_tokens(marks, places, row.response)):
        weights[place] = -1.0 if marked else weights[place]
    ended = row.finish_reason != "length"  # the end of turn is part of the closing form
    return row.model_copy(update={"token_weights": [*weights, *[1.0] * ended]})
