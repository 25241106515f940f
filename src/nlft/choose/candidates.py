"""The candidates, and which of them a file of rows allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlft.records import Judged

__all__ = ["CANDIDATES", "is_plain", "obstacle"]

CANDIDATES: dict[str, dict[str, Any]] = {
    "sft-response": {"train": {"objective": "sft"}},
    "sft-correct": {"train": {"objective": "sft"}, "rows": "correct"},
    "sft-mixed": {"train": {"objective": "sft"}, "rows": "correct-or-reference"},
    "sft-reference": {"train": {"objective": "sft"}, "rows": "reference"},
    "sft-both": {"train": {"objective": "sft"}, "rows": "both"},
    "nlft-paper": {"train": {"objective": "nlft", "preset": "paper"}},
    "nlft-authors": {"train": {"objective": "nlft", "preset": "authors"}},
    "cut": {"train": {"objective": "cut"}},
    "first-error": {"train": {"objective": "first-error"}},
}
"""Each as a method of an experiment (`nlft.pipeline.experiment.Method`)."""

WORDS = ("cut", "first-error")  # plain SFT, but for what they do with a judgment


def is_plain(name: str) -> bool:
    """Whether a candidate is plain SFT."""
    return name.startswith("sft-")


def obstacle(name: str, rows: Sequence[Judged], folds: int) -> str | None:
    """Why these rows do not allow a candidate, or make it the same as another; None if they do."""
    wrong = [row for row in rows if not row.verdict.correct]
    judged = sum(bool(row.judgment) for row in wrong)
    right = len(rows) - len(wrong)
    if name == "sft-correct" and right < folds:
        return f"{right} of {len(rows)} responses are correct"
    if name in ("sft-correct", "sft-mixed") and not wrong:
        return "every response is correct, so it is the same as sft-response"
    if name in ("sft-reference", "sft-both") and all(row.response == row.reference for row in rows):
        return "every response is the standard answer, so it is the same as sft-response"
    if name in WORDS and not wrong:
        return "every response is correct, so there is no error to learn from"
    if not is_plain(name) and wrong and judged < folds:
        return f"{judged} of {len(wrong)} wrong responses have a judgment (`nlft judge` writes them)"
    return None
