"""The student answers again: what it is shown, which of its answers are kept, and what becomes of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nlft.answer import Journal, LocalAnswerer, Reply, Request
from nlft.answer.types import OnReply, make_request
from nlft.cli.app import run
from nlft.config import parse_config
from nlft.errors import ConfigError
from nlft.files import candidates_path, journal_path
from nlft.grade import grade_one
from nlft.lm.config import SamplingSettings
from nlft.lm.encode import encode_prompt
from nlft.prompts import load_prompts
from nlft.records import Attempt, Judged, Verdict, read_records, write_records
from nlft.revise import BaseLikelihood, Candidate, ReviseSettings, first_steps, refusal, revise_rows
from nlft.revise.checks import closed, in_form
from nlft.revise.ways import Way, ask_again

SHORT = load_prompts("short")
REFERENCE = "Two boxes hold 2 * 6 = 12 pens.\nShe gives 5 away: 12 - 5 = 7.\n#### 7"
SLIP = "Two boxes hold 2 * 6 = 12 pens.\nThen 12 - 5 = 8 are left.\n#### 8"
WORDS = 'The calculation goes wrong at "Then 12 - 5 = 8 are left": 12 - 5 is 7, not 8.'
GOOD = "There are 2 * 6 = 12 pens in the boxes.\n12 - 5 = 7 stay.\n#### 7"


def row(name: str = "a", response: str = SLIP, **fields: Any) -> Judged:
    correct = response.endswith("#### 7")
    verdict = Verdict(correct=correct, reason="made up")
    given = {"question": "Two boxes of 6 pens; she gives 5 away.", "reference": REFERENCE, "topic": "pens", **fields}
    words = None if correct else WORDS
    return Judged(id=name, response=response, verdict=verdict, judgment=words, judge="rule", **given)


class Says:
    """Says the same to every request in a way: by the text that only that way's prompt holds."""

    name, cacheable = "says", True

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = texts, 0

    def settings(self) -> dict[str, Any]:
        return {"answerer": "says"}

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        for request in requests:
            self.asked += 1
            on_reply(request, Reply(self.texts[request.sample % len(self.texts)], "stop"))


class Shortest:
    """Likes short responses."""

    def request(self, row: Attempt) -> Request:
        return make_request({"score": "length"}, row, [{"role": "assistant", "content": row.response}])

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        for request in requests:
            on_reply(request, Reply(repr(-float(len(request.messages[0]["content"])))))


def shown(way: Way, of: Judged) -> str:
    asked = ask_again(of, way, SHORT)
    assert asked is not None
    return "\n".join(message["content"] for message in asked.messages)


def test_each_way_shows_its_part_and_hides_the_rest() -> None:
    for way in ("answer", "stitch"):
        assert "\n\n7\n\n" in shown(way, row())  # type: ignore[arg-type]
        assert "12 - 5 = 7" not in shown(way, row())  # type: ignore[arg-type]
    assert "2 * 6 = 12 pens" in shown("steps", row())
    assert "gives 5 away: 12 - 5" not in shown("steps", row())
    assert "7" not in shown("steps", row())
    told = shown("judgment", row())
    assert SLIP in told
    assert WORDS in told
    assert told.index(SLIP) < told.index(WORDS)
    assert "7" not in shown("stitch-plain", row()), "nothing of the standard answer is shown"


def test_a_row_with_nothing_to_show_is_not_asked() -> None:
    bare = row(reference="#### 7")
    assert ask_again(bare, "steps", SHORT) is None
    assert ask_again(bare, "answer", SHORT) is not None
    right = row(response=GOOD)
    assert [ask_again(right, way, SHORT) for way in ("judgment", "stitch", "stitch-plain")] == [None] * 3  # type: ignore[arg-type]
    at_once = row(response="Then 12 - 5 = 8 are left.\n#### 8")
    assert ask_again(at_once, "stitch", SHORT) is None, "nothing comes before its first error"


def test_the_first_half_of_the_steps() -> None:
    assert first_steps("a\nb\nc\nd\n#### 1") == "a\nb"
    assert first_steps("a\nb\nc\n#### 1") == "a"
    assert first_steps("a\n#### 1") == ""
    assert first_steps("One is 1. Two is 2. So 3.\n#### 3") == "One is 1."


@pytest.mark.parametrize(
    ("response", "reply", "whole"),
    [
        (SLIP, "So 12 - 5 = 7.", "Two boxes hold 2 * 6 = 12 pens.\nSo 12 - 5 = 7."),
        ("Two boxes: 2 * 6 = 12. Then 12 - 5 = 8 are left. #### 8", " So 7.", "Two boxes: 2 * 6 = 12. So 7."),
        ("Two boxes: 2 * 6 = 12. Then 12 - 5 = 8 are left. #### 8", "So 7.", "Two boxes: 2 * 6 = 12. So 7."),
    ],
)
def test_a_stitched_response_is_its_own_beginning_and_the_reply(response: str, reply: str, whole: str) -> None:
    asked = ask_again(row(response=response), "stitch", SHORT)
    assert asked is not None
    assert asked.response(reply) == whole
    assert asked.messages[-1]["role"] == "assistant"
    assert asked.messages[-1]["content"] == asked.beginning.rstrip(" ")


def test_the_model_continues_the_assistants_last_message(lm: Any) -> None:
    messages = SHORT.base("What?")
    begun = [*messages, {"role": "assistant", "content": "Two boxes"}]
    expected = encode_prompt(lm.tokenizer, messages) + lm.tokenizer("Two boxes").input_ids
    assert encode_prompt(lm.tokenizer, begun) == expected  # type: ignore[arg-type]


REFUSED = [
    (GOOD, None),
    ("Two boxes: 12 * 1 = 12 pens, and then 12 - 5 = 8.\nNo: she has 7.\n#### 7", "false equation"),
    ("Two boxes of 6 and 5 fewer: she has 8 pens left.\n#### 8", "wrong"),
    ("12 - 5 = 7\n#### 7", "too short"),
    ("First think about the pens that are in the two boxes and then take away. She has 7 pens.\n#### 7", "underived"),
    ("The number of pens is 7, which is easy to see: she has 2 * 6 = 12 and 12 - 5 = 7.\n#### 7", "answer first"),
    ("The correct solution to the problem is 2 * 6 = 12 pens, and then it is 12 - 5 = 7.\n#### 7", "leak"),
    ("You are correct. She has 2 * 6 = 12 pens, and then it is 12 - 5 = 7.\n#### 7", "leak"),
    ("As the judgment says, she has 2 * 6 = 12 pens, and then it is 12 - 5 = 7.\n#### 7", "leak"),
    (REFERENCE, "copy"),
    (REFERENCE.replace("\n", " \n "), "copy"),
]


@pytest.mark.parametrize(("response", "reason"), REFUSED)
def test_why_an_answer_is_refused(response: str, reason: str | None) -> None:
    of = row()
    attempt = Attempt(id="a", question=of.question, reference=REFERENCE, response=response, finish_reason="stop")
    assert refusal(grade_one(attempt)) == reason
    assert refusal(grade_one(attempt.model_copy(update={"finish_reason": "length"}))) == "cut off"


def test_what_a_standard_answer_does_not_show_is_not_demanded() -> None:
    def why(reference: str, response: str, question: str = "Which?") -> str | None:
        return refusal(grade_one(Attempt(id="a", question=question, reference=reference, response=response)))

    told = "Counting the letter from the left gives one, two, three.\n#### 3"
    assert why("b, b and b.\n#### 3", told) is None, "the standard answer has no equation either"
    assert why("#### 3", told) == "underived", "a bare answer must be worked out"
    assert why("#### 3", "1 + 2 = 3\n#### 3") is None
    first = "Of the 3 pens 1 + 2 = 3 are left.\n#### 3"
    assert why("#### 3", first) == "answer first"
    assert why("#### 3", first, question="She has 3 pens.") is None, "the question states the number"


def test_idle_talk_after_the_answer_goes_and_the_form_is_mended() -> None:
    assert closed("a = b\n#### 7\n#### 7\n#### 7", "length") == ("a = b\n#### 7", "stop")
    assert closed("a\n#### 7", "length") == ("a\n#### 7", "length"), "the number itself may be cut off"
    assert closed("####\nShe has 7.", "stop") == ("####\nShe has 7.", "stop")
    assert in_form("a\n#### 7", "7") == "a\n#### 7"
    assert in_form("#### Solution:\na\nThe answer is 7.", "7") == "a\nThe answer is 7.\n#### 7"
    assert in_form("a is 7\n####", "7") == "a is 7\n#### 7"


def test_the_likeliest_answer_that_passes_replaces_a_wrong_response() -> None:
    long = GOOD.replace("There are", "As everybody can see, there are")
    right = row("b", response=GOOD, question="Another?")
    journal = Journal()
    who = Says(long, SLIP, GOOD.replace("#### 7", "So it is 7."), "no")
    found = revise_rows([row(), right], who, prompts=SHORT, ways=["answer"], likelihood=Shortest(), journal=journal)
    assert (found.wanted, found.revised, who.asked) == (1, 1, 4)
    revised, other = found.rows
    assert other == right, "a right response stays as it is"
    assert revised.response == GOOD.replace("#### 7", "So it is 7.\n#### 7"), "the shorter one, its form mended"
    assert (revised.verdict.correct, revised.judgment, revised.judge, revised.finish_reason) == (
        True,
        None,
        None,
        "stop",
    )
    extra = revised.model_extra or {}
    assert (extra["former_response"], extra["former_judgment"], extra["revised"]) == (SLIP, WORDS, "answer")
    assert extra["topic"] == "pens"
    assert [c.refusal for c in found.candidates] == [None, "wrong", None, "wrong"]
    assert [c.logp for c in found.candidates] == [-float(len(long)), None, -float(len(revised.response)), None]
    assert [c.id for c in found.candidates] == [f"a@answer#{k}" for k in range(4)]
    again = Says("never asked")
    assert revise_rows(
        [row(), right], again, prompts=SHORT, ways=["answer"], likelihood=Shortest(), journal=journal
    ) == (type(found)(found.rows, found.candidates, 1, 0, again_usage(4)))
    assert again.asked == 0
    told = found.report()
    assert "answer             1        4     2 (50%)              1       1  wrong 2" in told
    assert "1 of 1 rows revised, 0 have the standard answer" in told


def again_usage(resumed: int) -> Any:
    from nlft.answer.types import Usage

    return Usage(resumed=resumed)


def test_without_a_good_answer_it_is_the_standard_answer() -> None:
    found = revise_rows([row()], Says("no"), prompts=SHORT)
    assert (found.revised, found.rows[0].response) == (0, REFERENCE)
    assert (found.rows[0].model_extra or {})["revised"] == "reference"
    assert found.rows[0].verdict.correct
    assert len(found.candidates) == 3 * 4
    kept = revise_rows([row(response=GOOD)], Says("no"), prompts=SHORT, which="all")
    assert kept.rows[0].response == GOOD, "a right response needs no standard answer"
    other = GOOD.replace("There are", "I count")
    assert revise_rows([row(response=GOOD)], Says(other), prompts=SHORT, which="all").rows[0].response == other


@pytest.mark.parametrize(
    ("otherwise", "reference", "kept"),
    [
        ("auto", REFERENCE, True),
        ("auto", "#### 7", False),
        ("reference", "#### 7", True),
        ("leave-out", REFERENCE, False),
    ],
)
def test_a_bare_standard_answer_is_trained_on_only_by_choice(otherwise: str, reference: str, kept: bool) -> None:
    rows = [row("a", GOOD, reference=reference), row("b", reference=reference)]
    found = revise_rows(rows, Says("no"), prompts=SHORT, otherwise=otherwise)
    assert [each.response for each in found.rows] == [GOOD, reference] if kept else [GOOD]
    assert found.left_out == (not kept)


def test_a_correction_is_continued_from_the_step_that_the_judgment_names() -> None:
    words = 'The step "Then 12 - 5 = 8 are left." is wrong. It should be "Then 12 - 5 = 7 are left.".'
    asked = ask_again(row().model_copy(update={"judgment": words}), "correction", SHORT)
    assert asked is not None
    begun = "Two boxes hold 2 * 6 = 12 pens.\nThen 12 - 5 = 7 are left."
    assert (asked.beginning, asked.messages[-1]) == (begun, {"role": "assistant", "content": begun})
    assert list(asked.messages[:-1]) == SHORT.base(row().question), "nothing else is shown"
    assert ask_again(row(), "correction", SHORT) is None, "this judgment says nothing of what should be there"
    plain = ask_again(row(), "question", SHORT)
    assert plain is not None
    assert list(plain.messages) == SHORT.base(row().question)


def test_rows_of_one_question_ask_once_and_do_not_repeat_a_response() -> None:
    who = Says(GOOD)
    three = [row("a#0"), row("a#1"), row("a#2", response=GOOD), row("b", question="Another?")]
    found = revise_rows(three, who, prompts=SHORT, ways=["answer"], samples=2)
    assert who.asked == 4
    assert [r.id for r in found.rows] == ["a#0", "a#2", "b"]
    assert found.repeats == 1


def test_the_score_is_the_mean_log_probability_under_the_base_prompt(lm: Any) -> None:
    import torch

    student = LocalAnswerer(lm, SamplingSettings())
    likelihood = BaseLikelihood(student, SHORT)
    rows = [Attempt(id=t, question="What?", reference="#### 1", response=t) for t in ("one", "two three", "3" * 20)]
    requests = [likelihood.request(each) for each in rows]
    assert len({request.key for request in requests}) == 3
    scores: dict[str, float] = {}
    likelihood.reply(requests, lambda request, reply: scores.__setitem__(request.row.id, float(reply.text)))
    for each in rows:
        prompt = encode_prompt(lm.tokenizer, SHORT.base("What?"))
        ids = [*lm.tokenizer(each.response).input_ids, lm.tokenizer.eos_token_id]
        with torch.no_grad():
            logp = lm.model(torch.tensor([prompt + ids])).logits[0].float().log_softmax(-1)
        naive = sum(logp[len(prompt) + k - 1, token].item() for k, token in enumerate(ids)) / len(ids)
        assert scores[each.id] == pytest.approx(naive, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ways": ["answer", "answer"]}, "named twice"),
        ({"ways": "answer,step"}, "steps"),
        ({"ways": 3}, "list"),
        ({"ways": []}, "at least 1"),
        ({"temperature": 0}, "greedy samples are all the same"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"model": "m", **settings}, ReviseSettings)
    assert message in str(refused.value)


def test_the_command_resumes_where_it_was_broken_off(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "grader.py").write_text("def grade(response, reference):\n    return len(response) % 2 == 0\n")
    rows = [row(name, question=f"{name}?", reference="yes", response="no") for name in "abc"]
    write_records(tmp_path / "judged.jsonl", rows)
    output = tmp_path / "revised.jsonl"
    command = ["revise", str(tmp_path / "judged.jsonl"), "-o", str(output), "-m", str(folder), "--prompts", "short"]
    command += [
        "--temperature",
        "1",
        "--max-new-tokens",
        "8",
        "--dtype",
        "float32",
        "--device",
        "cpu",
        "--shortest",
        "0",
    ]
    command += [
        "--ways",
        "answer,judgment",
        "--otherwise",
        "reference",
        "--samples",
        "3",
        "--grader",
        f"code:{tmp_path / 'grader.py'}",
    ]
    assert run([*command, "--dry-run"]) == 0
    assert "would ask for 18 answers, for 3 rows in 2 ways" in capsys.readouterr().out
    assert run(command) == 0
    capsys.readouterr()
    before, candidates = output.read_bytes(), list(read_records(candidates_path(output), Candidate))
    assert len(candidates) == 18
    for each in read_records(output, Judged):
        mine = [c for c in candidates if c.row == each.id and c.refusal is None]
        best = max(mine, key=lambda c: c.logp or 0.0).response if mine else "yes"
        assert each.response == best
    lines = journal_path(output).read_text().splitlines(keepends=True)
    journal_path(output).write_text("".join(lines[:5]))  # as if killed
    output.unlink()
    assert run([*command, "--dry-run"]) == 0
    assert "would ask for 13 answers" in capsys.readouterr().out
    assert run(command) == 0
    assert output.read_bytes() == before
    assert list(read_records(candidates_path(output), Candidate)) == candidates
