"""Training rows that use wrong responses in other ways than by weights of their tokens; each trains by likelihood.

A row's `question` is what the student is asked, so a changed question is a changed prompt.
"""

from __future__ import annotations

from collections.abc import Iterable

from nlft.edits import without_response
from nlft.prompts import PromptSet
from nlft.records import Judged, Verdict

RIGHT = Verdict(correct=True, reason="the answer to a request for a correction")


def verdict_prompts(rows: Iterable[Judged], prompts: PromptSet, *, swapped: bool = False) -> list[Judged]:
    """All rows, the wrong ones under a prompt that asks for an incorrect answer; train them with `sft`.

    Args:
        rows: Graded or judged rows.
        prompts: Its `incorrect` is the request.
        swapped: The control: the right rows have that prompt, and the wrong ones the plain prompt.

    Source: negative-aware training, arXiv 2402.11651.
    """
    return [
        row
        if row.verdict.correct is not swapped
        else row.model_copy(update={"question": prompts.ask_incorrect(row.question)})
        for row in rows
    ]


def corrections(rows: Iterable[Judged], prompts: PromptSet) -> list[Judged]:
    """For each wrong, judged response the row ⟨question, response, judgment⟩ → standard answer, under an id of its own.

    A revised row (see `nlft.revise.revise_rows`) gives its former response, and its new one as the answer.

    Source: learning from mistakes (LEMA), arXiv 2310.20689.
    """
    made = []
    for row in rows:
        wrong, judgment, right = _sides(row)
        if wrong and judgment:
            asked = prompts.correct(row.question, wrong, judgment)[-1]["content"]
            changes = {"id": f"{row.id}#correction", "question": asked, "response": right, "finish_reason": "stop"}
            made.append(Judged.model_validate({**without_response(dict(row)), **changes, **_as_right()}))
    return made


def pairs(rows: Iterable[Judged]) -> list[Judged]:
    """The rows for the objective `pairs`: each wrong response with a right one in the column `preferred`.

    A wrong row is paired with the standard answer, a revised one's former response with its new one; after `stitch` the
    two part at the first error. Right rows stay as they are.
    """
    made = []
    for row in rows:
        wrong, judgment, right = _sides(row)
        if wrong is not None:
            verdict = Verdict(correct=False, reason="the former response of a revised row")
            if row.verdict.correct:
                ended = (row.model_extra or {}).get("former_finish_reason")
                said = {"response": wrong, "verdict": verdict, "finish_reason": ended}
                row = Judged.model_validate({**without_response(dict(row)), **said})
            row = row.model_copy(update={"judgment": judgment, "preferred": right})
        made.append(row)
    return made


def _sides(row: Judged) -> tuple[str | None, str | None, str]:
    """The wrong response, its judgment, and the right response; (None, None, response) without a wrong one."""
    if not row.verdict.correct:
        return row.response, row.judgment, row.reference
    former = (row.model_extra or {}).get("former_response")
    words = (row.model_extra or {}).get("former_judgment")
    if not isinstance(former, str) or not isinstance(words, str):
        return None, None, row.response
    return former, words, row.response


def _as_right() -> dict[str, object]:
    return {"verdict": RIGHT, "grades": {}, "judgment": None, "judge": None}
