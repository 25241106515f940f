"""The rows every benchmark uses: 100 GSM8K training problems with a real teacher's responses and judgments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlft.lm import EncodedExample, encode_example
from nlft.prompts import load_prompts
from nlft.records import Judged, read_records

ROWS = Path(__file__).parents[1] / "recipes" / "gsm8k-100.jsonl"
BATCH = 4


def judged() -> list[Judged]:
    """All 100, in the file's order."""
    return list(read_records(ROWS, Judged))


def batches(count: int, size: int = BATCH) -> list[list[Judged]]:
    """Batches of four, or another size, half of each incorrect; of an odd one, the smaller half is correct."""
    rows = judged()
    right, wrong = ([row for row in rows if row.verdict.correct is correct] for correct in (True, False))
    first, second = size // 2, size - size // 2
    return [right[i * first : (i + 1) * first] + wrong[i * second : (i + 1) * second] for i in range(count)]


def encoded(tokenizer: Any, rows: list[Judged], prompts: str) -> list[EncodedExample]:
    """With a prompt set's words around them."""
    chosen = load_prompts(prompts)
    return [encode_example(tokenizer, row, chosen) for row in rows]
