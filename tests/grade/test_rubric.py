"""The grader `rubric`: what is asked over real HTTP, in which order, and how its agreement with a person is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Asked
from werkzeug import Response

from nlft.cli.app import run
from nlft.grade.rubric import RubricGrader, kappa
from nlft.records import Attempt

ROW = Attempt(id="a", question="Thank the customer.", reference="Thank you, dear Ana.", response="thx")


def serve(httpserver: HTTPServer, say: Any) -> list[str]:
    """A model that says what `say` makes of the user's message; what it was asked, in order."""
    asked: list[str] = []

    def answer(request: Asked) -> Response:
        messages = request.get_json()["messages"]
        asked.append(messages[-1]["content"])
        choice = {"index": 0, "message": {"role": "assistant", "content": say(asked[-1])}, "finish_reason": "stop"}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return Response(json.dumps(body), content_type="application/json")

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(answer)
    return asked


def rubric(httpserver: HTTPServer, folder: Path, **more: Any) -> Path:
    file = folder / "rubric.yaml"
    content = {"model": "m", "base_url": httpserver.url_for("/v1"), "criteria": ["It is polite."], **more}
    file.write_text(json.dumps(content))
    return file


def test_a_score_with_its_reason_is_kept_and_paid_for_once(httpserver: HTTPServer, tmp_path: Path) -> None:
    asked = serve(httpserver, lambda text: "Too short.\nScore: 3")
    grader = RubricGrader(rubric(httpserver, tmp_path))
    verdict = grader(ROW)
    assert (verdict.correct, verdict.score, verdict.reason) == (False, 0.3, "Too short. Score: 3")
    assert RubricGrader(tmp_path / "rubric.yaml")(ROW) == verdict
    assert len(asked) == 1
    assert RubricGrader(rubric(httpserver, tmp_path, enough=0.3))(ROW).correct


@pytest.mark.parametrize(
    ("say", "score", "correct", "told"),
    [
        (lambda text: "Better: A", 0.5, True, "the order decides"),
        (lambda text: "Better: neither", 0.5, True, "Better: neither"),
        (lambda text: "Better: " + ("B" if text.index("thx") < text.index("Ana") else "A"), 0.0, False, "Better: B"),
        (lambda text: "Better: " + ("A" if text.index("thx") < text.index("Ana") else "B"), 1.0, True, "Better: A"),
        (lambda text: "I cannot say.", None, False, "gave no grade"),
    ],
)
def test_a_comparison_is_made_in_both_orders(
    httpserver: HTTPServer, tmp_path: Path, say: Any, score: float | None, correct: bool, told: str
) -> None:
    asked = serve(httpserver, say)
    verdict = RubricGrader(rubric(httpserver, tmp_path, compare=True))(ROW)
    assert (verdict.score, verdict.correct) == (score, correct)
    assert told in verdict.reason
    assert sorted(text.index("thx") < text.index("Ana") for text in asked) == [False, True]


def test_kappa_is_cohens() -> None:
    """The textbook's case: 20 and 15 alike of 50, 25 and 30 yes: agreement 0.7, chance 0.5."""
    ours = [True] * 20 + [True] * 5 + [False] * 10 + [False] * 15
    theirs = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = kappa(ours, theirs)
    assert (found.agree, found.n) == (35, 50)
    assert found.value == pytest.approx(0.4)
    assert 0.1 < found.low < 0.4 < found.high < 0.7
    assert kappa([True] * 3, [True] * 3).value == 1


def test_the_command_tells_how_far_to_believe_it(
    httpserver: HTTPServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    serve(httpserver, lambda text: "Score: " + ("9" if "please" in text else "2"))
    answers, human = tmp_path / "answers.jsonl", tmp_path / "human.jsonl"
    rows = [{**ROW.model_dump(), "id": str(i), "response": f"{'please' if i % 2 else 'no'} {i}"} for i in range(8)]
    answers.write_text("\n".join(map(json.dumps, rows)))
    judged = [
        {**row, "verdict": {"correct": i % 2 == 1 or i == 0, "reason": "as I see it"}} for i, row in enumerate(rows)
    ]
    human.write_text("\n".join(map(json.dumps, judged)))
    command = ["grade", str(answers), "-o", str(tmp_path / "graded.jsonl"), "--task", "text", "--grader"]
    assert run([*command, f"rubric:{rubric(httpserver, tmp_path)}"]) == 0
    assert "compared with no human verdicts" in capfd.readouterr().out
    other = tmp_path / "other"
    other.mkdir()
    assert run([*command, f"rubric:{rubric(httpserver, other, human=str(human))}"]) == 0
    out = capfd.readouterr().out
    assert "4 correct (50.0%)" in out
    assert "with the human verdicts: 7 of 8 alike, kappa 0.75" in out
    assert run(["grade", str(answers), "-o", str(tmp_path / "graded.jsonl"), "--task", "text"]) == 2
    assert "a rubric needs a file of criteria" in capfd.readouterr().err
