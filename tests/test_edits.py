"""What a person changed: appended beside the rows, undone, merged, and read by every stage."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from nlft.cli.app import app
from nlft.data import load_problems
from nlft.edits import OF_THE_RESPONSE, Edit, Edits, EditsFile, apply_edit
from nlft.errors import ConfigError, DataError
from nlft.files import content_hash
from nlft.grade import grade
from nlft.judge.step import needs_judgment
from nlft.pipeline.select import RowsSettings, rows_file, select_rows
from nlft.records import Attempt, Judged, Scored, read_numbered, read_records

RESPONSE = "3 + 4 = 8\n#### 8"
MARK = {"start": 8, "end": 9, "text": "8"}


def row(identity: str = "a", *, correct: bool = False, **columns: Any) -> dict[str, Any]:
    given = {
        "id": identity,
        "question": f"What is 3 + 4 ({identity})?",
        "reference": "3 + 4 = 7\n#### 7",
        "response": RESPONSE,
        "verdict": {"correct": correct, "reason": "8 is not 7"},
        "judgment": None if correct else "The step is wrong.",
        "judge": None if correct else "rule",
        "origin": "my own column",
    }
    return given | columns


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row(name)) + "\n" for name in "abc"))
    return path


def change(path: Path, identity: str = "a", **changes: Any) -> None:
    edits = EditsFile(path)
    edits.change(identity, RESPONSE, edits.now(identity).changed(changes, RESPONSE))
    edits.close()


def read(path: Path) -> dict[str, Judged]:
    return {each.id: each for each in read_records(path, Judged)}


def test_a_verdict_and_a_judgment_are_the_persons(judged: Path) -> None:
    before = judged.read_bytes()
    change(judged, correct=True)
    change(judged, "b", judgment="3 + 4 is 7.")
    found = read(judged)
    assert found["a"].verdict.correct
    assert found["a"].grades["person"].correct
    assert (found["a"].judgment, found["a"].judge) == (None, "person")
    assert (found["b"].judgment, found["b"].judge) == ("3 + 4 is 7.", "person")
    assert found["c"] == read_numbered_raw(judged)[2]
    assert judged.read_bytes() == before
    lines = [json.loads(line) for line in (judged.parent / "judged.edits.jsonl").read_text().splitlines()]
    assert [(line["id"], line["version"]) for line in lines] == [("a", 1), ("b", 1)]


def read_numbered_raw(path: Path) -> list[Judged]:
    return [record for _, record in read_numbered(path, Judged, edited=False)]


def test_a_verdict_turned_round_asks_for_a_judgment(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(json.dumps(row(correct=True)) + "\n")
    change(path, correct=False)
    found = read(path)["a"]
    assert (found.verdict.correct, found.judgment, found.judge) == (False, None, "person")
    assert needs_judgment(found)
    change(path, judgment="No.")
    assert not needs_judgment(read(path)["a"])


def test_marks_without_words_are_the_judgment(judged: Path) -> None:
    change(judged, marks=[MARK])
    assert read(judged)["a"].judgment == "The step is wrong."
    assert read(judged)["a"].judge == "rule"
    change(judged, judgment="")
    found = read(judged)["a"]
    assert (found.judgment, found.judge) == ('This is wrong: "8".', "person")
    assert (found.model_extra or {})["marks"] == [MARK]
    change(judged, correct=True)
    assert "marks" not in (read(judged)["a"].model_extra or {})


def test_another_response_drops_all_that_was_said_of_the_old_one() -> None:
    said = {name: f"old {name}" for name in OF_THE_RESPONSE}
    old = row(
        **said | {"verdict": {"correct": False, "reason": "x"}, "token_weights": [1.0], "weights": [], "marks": []}
    )
    made = apply_edit(old, Edit(response="3 + 4 = 7"))
    assert made is not None
    kept = {"id", "question", "reference", "response", "finish_reason", "origin"}
    assert made.keys() == kept
    assert made["finish_reason"] == "stop"
    graded = apply_edit(old, Edit(response="3 + 4 = 7", correct=True))
    assert graded is not None
    assert graded.keys() == kept | {"verdict", "grades", "judgment", "judge"}


def test_what_is_left_after_a_new_response(judged: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a verdict it is no row to train on, but one to grade."""
    change(judged, correct=True)
    change(judged, response="3 + 4 = 7\n#### 7")
    with caplog.at_level(logging.WARNING):
        assert set(read(judged)) == {"b", "c"}
    assert "leaving out 1 edited rows, which have no verdict now" in caplog.text
    attempts = {each.id: each for each in read_records(judged, Attempt)}
    assert attempts["a"].response == "3 + 4 = 7\n#### 7"
    assert [each.verdict.correct for each in grade(attempts.values())] == [True, False, False]
    change(judged, response=RESPONSE)  # as in the file: what is said there holds again
    assert read(judged)["a"] == read_numbered_raw(judged)[0]


def test_undo_goes_back_step_by_step_even_after_a_restart(judged: Path) -> None:
    change(judged, judgment="one")
    change(judged, marks=[MARK])
    change(judged, skip=True)
    assert "a" not in read(judged)
    for words, marks in (("one", [MARK]), ("one", None), ("The step is wrong.", None)):
        edits = EditsFile(judged)
        assert "a" in edits
        edits.undo("a", RESPONSE)
        edits.close()
        found = read(judged)["a"]
        assert (found.judgment, (found.model_extra or {}).get("marks")) == (words, marks)
    edits = EditsFile(judged)
    assert "a" not in edits
    assert edits.version("a") == 6
    assert len(edits) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": True},
        {"correct": 1},
        {"correct": "yes"},
        {"response": " "},
        {"judgment": "\ud800"},
        {"marks": [{"start": 0, "end": 1, "text": "8"}]},
        {"marks": [{"start": 8, "end": 99, "text": "8"}]},
        {"marks": [MARK, MARK]},
        {"marks": "8"},
        {"response": "another", "marks": [MARK]},
    ],
)
def test_what_cannot_stand_in_a_row_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, ValueError)):
        Edit().changed(changes, RESPONSE)


def test_edits_of_another_response_are_not_applied(judged: Path) -> None:
    change(judged, correct=True)
    judged.write_text(json.dumps(row(response="something else")) + "\n")
    with pytest.raises(DataError, match="of another response") as refused:
        read(judged)
    assert refused.value.file == judged.parent / "judged.edits.jsonl"


def test_a_torn_last_line_is_passed_over_and_a_damaged_one_refused(judged: Path) -> None:
    change(judged, correct=True)
    edits = judged.parent / "judged.edits.jsonl"
    whole = edits.read_bytes()
    edits.write_bytes(whole + b'{"id": "b", "versi')
    assert read(judged)["a"].verdict.correct
    assert edits.read_bytes() != whole  # a reader leaves it: another process may be writing it
    EditsFile(judged)
    assert edits.read_bytes() == whole
    edits.write_bytes(b'{"id": "b"}\n' + whole)
    with pytest.raises(DataError, match="this line is no edit") as refused:
        Edits.of(judged)
    assert refused.value.line == 1


def test_apply_edits_merges(judged: Path, tmp_path: Path) -> None:
    runner, out = CliRunner(), tmp_path / "merged.jsonl"
    result = runner.invoke(app, ["data", "apply-edits", str(judged), "-o", str(out)])
    assert isinstance(result.exception, DataError)
    change(judged, correct=True)
    change(judged, "b", skip=True)
    change(judged, "c", response="3 + 4 = 7")
    result = runner.invoke(app, ["data", "apply-edits", str(judged), "-o", str(out)])
    assert result.exit_code == 0
    assert "2 rows, 2 of them edited, 1 skipped" in result.stdout
    assert "1 have a new response without a verdict" in result.stdout
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [each["id"] for each in rows] == ["a", "c"]
    assert rows[0]["origin"] == "my own column"
    assert "verdict" not in rows[1]
    assert isinstance(
        runner.invoke(app, ["data", "apply-edits", str(judged), "-o", str(judged)]).exception, ConfigError
    )


def test_every_reader_reads_both_files(judged: Path, tmp_path: Path) -> None:
    """The pipeline's first step, its choice of rows, and what tells it that a step is to be run again."""
    before = content_hash(judged)
    change(judged, correct=True)
    change(judged, "b", skip=True)
    assert content_hash(judged) != before
    problems = list(load_problems(judged))
    assert [each.id for each in problems] == ["a", "c"]
    assert sorted(each.id for each in load_problems(judged, n=2, seed=0)) == ["a", "c"]
    # What a person said of the response stands, whatever a grader says.
    graded = list(grade(each for each in problems if isinstance(each, Attempt)))
    assert [each.verdict.correct for each in graded] == [True, False]
    assert graded[0].verdict.reason == "a person's verdict"
    assert not graded[0].grades["gsm8k-flexible"].correct
    rows_file(RowsSettings(rows="correct"), judged, tmp_path / "rows.jsonl")
    assert [each.id for each in read_records(tmp_path / "rows.jsonl", Judged)] == ["a"]


def test_a_standard_answer_in_place_of_a_response_keeps_nothing_of_it() -> None:
    wrong = Judged.model_validate(row(token_weights=[1.0], weights=[{"text": "8", "weight": -1}], marks=[MARK]))
    for which in ("correct-or-reference", "reference"):
        (made,) = select_rows([wrong], which)
        assert made.response == wrong.reference
        assert made.verdict.correct
        assert not {"token_weights", "weights", "marks", "scores"} & (made.model_extra or {}).keys()
        assert (made.model_extra or {})["origin"] == "my own column"


def test_scores_go_with_the_words_they_were_computed_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scores = {"version": 1, "model": "m", "token_ids": [], "pieces": [], "logp_base": [], "logp_standard": []}
    sketch = {"rank": 0, "steps": [], "codes": "", "band": 0, "corrections": ""}
    empty = {"logp_judge": [], "salient": [], "cluster": [], "scale": [], "excluded": False, "settings": {}}
    path = tmp_path / "scored.jsonl"
    line = json.dumps(row(scores=scores | empty | {"sketch": sketch})) + "\n"
    path.write_text(line + line.replace('"a"', '"b"'))
    change(path, marks=[MARK])
    assert [each.id for each in read_records(path, Scored)] == ["a", "b"]
    change(path, judgment="other words")
    with caplog.at_level(logging.WARNING):
        assert [each.id for each in read_records(path, Scored)] == ["b"]
    assert "`nlft score` computes them anew" in caplog.text
    assert len(read(path)) == 2
