"""Grading with a reasoning-gym task's own scorer, which needs the problem's `entry`, and so the whole record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from nlft.errors import ConfigError, DataError
from nlft.grade.numbers import last_number
from nlft.grade.numeric import MARKER
from nlft.records import Attempt, Verdict

SHOWN = 200
MADE_BY = "make the problems with `nlft data reasoning-gym`"


def grade_by_task(record: Attempt, *, strict: bool = False) -> Verdict:
    """The verdict of the task's own scorer on the response's final answer; only its full score is correct.

    The final answer is what follows the last `####` on its line. Without a `####` it is, unless `strict`, the last
    number if the standard answer is a number, and the last line otherwise.

    Raises:
        DataError: for a record without an `entry`, which `nlft data reasoning-gym` puts there.
    """
    entry = (record.model_extra or {}).get("entry")
    if not isinstance(entry, Mapping):
        raise DataError("the record has no entry, which the task's scorer needs", remedy=MADE_BY)
    given = _final_answer(record.response, str(entry.get("answer", "")), strict=strict)
    if given is None:
        reason = "no final answer in the response" if record.response.strip() else "the response is empty"
        return Verdict(correct=False, reason=reason)
    correct = score_entry(entry, given) >= 1
    reason = "the task's scorer accepts it" if correct else f"the reference says {entry['answer']}"
    return Verdict(correct=correct, value=given[:SHOWN], extracted=given[:SHOWN], reason=reason)


def score_entry(entry: Mapping[str, Any], answer: str) -> float:
    """What the task's own scorer gives an answer, from 0 to 1.

    Raises:
        DataError: for an entry that lacks a field.
    """
    try:
        scorer = _scorer(entry["task"], json.dumps(entry["config"], sort_keys=True))
        asked = {name: entry[name] for name in ("question", "answer", "metadata")}
    except KeyError as error:
        raise DataError(f"the entry lacks {error}", remedy=MADE_BY) from None
    return float(scorer.score_answer(answer, asked))


def _final_answer(response: str, wanted: str, *, strict: bool) -> str | None:
    _before, mark, after = response.rpartition(MARKER)
    if mark:
        lines = after.strip().splitlines()
        return lines[0].strip() if lines else None
    if strict or not response.strip():
        return None
    if last_number(wanted) is not None and last_number(wanted).text == wanted:  # type: ignore[union-attr]
        number = last_number(response)
        return None if number is None else number.text
    return response.strip().splitlines()[-1].strip()


@lru_cache(maxsize=64)
def _scorer(task: str, config: str) -> Any:
    return reasoning_gym("the task's scorer").create_dataset(task, seed=0, size=1, **json.loads(config))


def reasoning_gym(needed_by: str) -> Any:
    """The package reasoning-gym, which is optional.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import reasoning_gym as library
        import reasoning_gym.factory
    except ImportError:
        raise ConfigError(
            f"{needed_by} needs the package reasoning-gym, which is not installed",
            remedy='pip install "nlft[reasoning-gym]"',
        ) from None
    return library
