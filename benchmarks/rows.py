"""The rows every benchmark uses: 100 GSM8K training problems with a real teacher's responses and judgments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlft.lm import EncodedExample, encode_example
from nlft.prompts import load_prompts
from nlft.records import Judged, read_records

ROWS = Path(__file__).parent / "rows.jsonl"
BATCH = 4


def judged() -> list[Judged]:
    """All 100, in the file's order."""
    return list(read_records(ROWS, Judged))


def batches(count: int) -> list[list[Judged]]:
    """Batches of four, half of each incorrect."""
    rows = judged()
    right, wrong = ([row for row in rows if row.verdict.correct is correct] for correct in (True, False))
    half = BATCH // 2
    return [right[i * half : (i + 1) * half] + wrong[i * half : (i + 1) * half] for i in range(count)]


def encoded(tokenizer: Any, rows: list[Judged], prompts: str) -> list[EncodedExample]:
    """With a prompt set's words around them."""
    chosen = load_prompts(prompts)
    return [encode_example(tokenizer, row, chosen) for row in rows]
