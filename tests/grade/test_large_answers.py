"""Ten million signs, shaped to make a pattern go back and forth, are graded at once.

Quadratic time would be hours here, so a generous deadline on a process tells it from linear, whatever the machine.
"""

import subprocess
import sys
import time

from nlft.grade.code import find_code
from nlft.grade.fields import json_fields
from nlft.grade.label import Labels, label

PIECES = [
    "1", "1 ", "1,", "1.", "1/", "1e", "1 1/", "1,111", "1.111", "a", "é", "-", "$", "#", "####", "#### ", "#### 1",
    "\\frac{1", "\\boxed{", "{", "１", "½", "٫", "1\u00a0", "1.1.1" + "-" * 16_000, "10^", "x 10", "(A", "answer ",
    "A\n", "\n", " ", "1'", "-1", "<<1=1>>",
]  # fmt: skip

SCRIPT = """
import sys
from nlft.grade import grade_response
size, pieces, graders = int(sys.argv[1]), sys.argv[2].split("|"), sys.argv[3].split()
for piece in pieces:
    text = (piece * (size // len(piece) + 1))[:size]
    for grader in graders:
        verdict = grade_response(text, "Z" if grader == "choice" else "#### 18", grader)
        assert not verdict.correct, verdict
    grade_response("18", text + " #### 18")
    grade_response("18", text + " 18")
"""


def run(size: int, pieces: list[str], graders: str) -> None:
    arguments = [sys.executable, "-c", SCRIPT, str(size), "|".join(pieces), graders]
    subprocess.run(arguments, check=True, timeout=300, capture_output=True)


def test_every_grader_on_every_shape() -> None:
    run(300_000, PIECES, "gsm8k-strict gsm8k-flexible number choice exact")


def test_labels_fields_and_code_are_found_in_no_time() -> None:
    """What a model repeats without end: announcements, brackets, beginnings of code."""
    start = time.process_time()
    for piece in ("the answer is refund or the answer is other ", '{"a": [', "[" * 9, "def f(x):\n", "```python\n"):
        text = piece * (300_000 // len(piece))
        assert not label(text, "refund", Labels.of(["refund", "other"])).correct
        assert not json_fields(text, '{"a": 1}').correct
        assert find_code(text) is None
    assert time.process_time() - start < 30


def test_strict_and_flexible_on_ten_million_signs() -> None:
    run(10_000_000, ["1", "1.", "a", "#### ", "½"], "gsm8k-strict gsm8k-flexible")
