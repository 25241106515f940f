"""`nlft compare` on what other tools logged, and on graded rows."""

import json
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.evaluate import exact_mcnemar
from nlft.evaluate.logs import compare_runs, read_run

LOGS = Path(__file__).parents[1] / "data" / "logs"
WEAK, STRONG = LOGS / "lm-eval-weak.jsonl", LOGS / "lm-eval-strong.jsonl"


def test_two_runs_of_lm_eval_are_compared_by_each_filter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "compared.json"
    assert run(["compare", str(WEAK), str(STRONG), "-o", str(out)]) == 0
    assert "lm-eval-strong vs lm-eval-weak" in capsys.readouterr().out
    strict, flexible = json.loads(out.read_text(encoding="utf-8"))
    assert (strict["grader"], flexible["grader"]) == ("exact_match,strict", "exact_match,flexible")
    # Counted in the log itself.
    for made, filtered in ((strict, "strict"), (flexible, "flexible")):
        lines = map(json.loads, WEAK.read_text(encoding="utf-8").splitlines())
        right = sum(line["exact_match"] for line in lines if line["filter"] == filtered)
        assert (made["accuracy_a"]["count"], made["accuracy_b"]["count"]) == (right, 8)
        assert (made["only_a"], made["only_b"]) == (0, 8 - right)
        assert made["p_value"] == pytest.approx(exact_mcnemar(0, int(8 - right)))
        assert made["difference"] == pytest.approx(1 - right / 8)


def test_one_measure_can_be_chosen_and_runs_of_inspect_compared() -> None:
    epochs = read_run(LOGS / "inspect-epochs.json")
    (made,) = compare_runs([epochs, epochs], ["a", "b"], "includes")
    assert (made.grader, made.accuracy_a.n, made.only_a, made.only_b, made.p_value) == ("includes", 8, 0, 0, 1.0)


def graded(path: Path, right: str, first: int = 0) -> Path:
    rows = [
        {
            "id": f"{first + number}", "question": f"{first + number} + 1?", "reference": f"#### {first + number + 1}",
            "response": f"#### {first + number + 1 if mark == '+' else 0}",
        }
        for number, mark in enumerate(right)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(["grade", str(path), "-o", str(path)]) == 0
    return path


def test_the_graded_answers_of_two_teachers_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = graded(tmp_path / "a.jsonl", "+--+--"), graded(tmp_path / "b.jsonl", "+-++++")
    assert run(["compare", str(a), str(b), "--grader", "gsm8k-strict"]) == 0
    (line,) = capsys.readouterr().out.splitlines()[-1:]
    assert line.split()[:6] == ["b", "vs", "a", "gsm8k-strict", "83.3", "%"]


def test_what_cannot_be_paired_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = graded(tmp_path / "a.jsonl", "++--"), graded(tmp_path / "b.jsonl", "++--", first=2)
    other, bare = tmp_path / "other.jsonl", tmp_path / "bare.jsonl"
    other.write_text(a.read_text(encoding="utf-8").replace("0 + 1?", "0 + 7?"), encoding="utf-8")
    bare.write_text('{"question": "1 + 1?", "reference": "2", "response": "2"}\n', encoding="utf-8")
    twice = tmp_path / "twice.jsonl"
    twice.write_text(WEAK.read_text(encoding="utf-8") + STRONG.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "eval.json").write_text("{}", encoding="utf-8")
    for pair, code, told in (
        ((a, b), 1, "answered different problems: 2 only in a.jsonl (0, 1), 2 only in b.jsonl (4, 5)"),
        ((a, other), 1, "answered different problems: 1 that differ (0)"),
        ((WEAK, a), 1, "answered different problems: 4 only in lm-eval-weak.jsonl (4, 5, 6, ...), 4 that differ"),
        ((WEAK, twice), 1, "twice.jsonl:17: the sample 0 of the filter strict is already on line 1"),
        ((a, bare), 1, "bare.jsonl:1: bare-0 has no verdict"),
        ((a, tmp_path / "eval.json"), 2, "name their problems differently"),
        ((a, tmp_path / "none.jsonl"), 1, "no such file"),
        ((a, a, "--grader", "gsm8k-stict"), 2, 'did you mean "gsm8k-strict"?'),
    ):
        capsys.readouterr()
        assert run(["compare", *map(str, pair)]) == code
        assert told in capsys.readouterr().err, told
