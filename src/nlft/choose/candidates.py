"""The candidates, and which of them a file of rows allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nlft.records import Judged

# The student is trained on all rows first and then answers the wrong ones again; what is right joins the correct rows.
SAMPLED = {"first": "all", "samples": 8, "temperature": 0.7}
CANDIDATES: dict[str, dict[str, Any]] = {
    "sft-response": {"train": {"objective": "sft"}},
    "sft-correct": {"train": {"objective": "sft"}, "rows": "correct"},
    "sft-mixed": {"train": {"objective": "sft"}, "rows": "correct-or-reference"},
    "sft-reference": {"train": {"objective": "sft"}, "rows": "reference"},
    "sft-both": {"train": {"objective": "sft"}, "rows": "both"},
    "resample": {"train": {"objective": "sft"}, "revise": {**SAMPLED, "ways": ["question"]}},
    "revise": {"train": {"objective": "sft"}, "revise": {**SAMPLED, "ways": ["correction", "judgment"]}},
    "nlft-paper": {"train": {"objective": "nlft", "preset": "paper"}},
    "nlft-paper-unmarked": {"train": {"objective": "nlft", "preset": "paper", "marks": "ignore"}},
    "nlft-authors": {"train": {"objective": "nlft", "preset": "authors"}},
    "cut": {"train": {"objective": "cut"}},
    "first-error": {"train": {"objective": "first-error"}},
}
"""Each as a method of an experiment (`nlft.pipeline.experiment.Method`)."""


def is_plain(name: str) -> bool:
    """Whether a candidate is plain SFT."""
    return name.startswith("sft-")


def obstacle(name: str, parts: Sequence[Sequence[Judged]]) -> str | None:
    """Why the rows do not allow a candidate, or make it the same as another; None if they do.

    Args:
        name: The candidate.
        parts: The training rows of each fold.
    """

    def everywhere(true: Callable[[Judged], object]) -> bool:
        return all(any(true(row) for row in part) for part in parts)

    wrong = any(not row.verdict.correct for part in parts for row in part)
    if name == "sft-correct" and not everywhere(lambda row: row.verdict.correct):
        return "too few responses are correct"
    if name in ("sft-correct", "sft-mixed") and not wrong:
        return "every response is correct, so it is the same as sft-response"
    if name in ("sft-reference", "sft-both") and all(row.response == row.reference for part in parts for row in part):
        return "every response is the standard answer, so it is the same as sft-response"
    if name in ("cut", "first-error", "revise", "resample") and not wrong:
        return "every response is correct, so there is no error to learn from"
    if name == "resample":
        return None
    if name == "nlft-paper-unmarked" and not everywhere(_is_marked):
        return "too few wrong responses have words that a person marked, so it is the same as nlft-paper"
    if not is_plain(name) and wrong and not everywhere(lambda row: not row.verdict.correct and row.judgment):
        return "too few wrong responses have a judgment; `nlft judge` writes them"
    return None


def _is_marked(row: Judged) -> bool:
    return not row.verdict.correct and bool((row.model_extra or {}).get("marks"))
