"""The answer stage from file to file, by one who answers."""

from pathlib import Path
from typing import Any

from nlft.answer import Answers, step
from nlft.answer.types import Answerer


def answer_file(problems: Path, output: Path, who: Answerer, **how: Any) -> Answers:
    return step.answer_file(problems, output, [who], cacheable=who.cacheable, **how)[who.name]
