"""The answer stage with a recording and with answerers of the tests' own; files, ids, failures, the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.answer.files import answer_file
from typer.testing import CliRunner

from nlft.answer import Journal, LocalAnswerer, ReplayAnswerer, Reply, Request, answer
from nlft.answer.types import OnReply, make_request
from nlft.cli.app import run
from nlft.errors import ConfigError, DataError
from nlft.files import failed_path, journal_path
from nlft.prompts import load_prompts
from nlft.records import Attempt, Problem, read_records, write_records
from tiny import tiny_model

SHORT = load_prompts("short")


class Counting:
    """Answers by counting up; fails where told to."""

    name, cacheable = "counting", True

    def __init__(self, fails: Sequence[str] = (), stop_after: int | None = None) -> None:
        self.fails, self.stop_after = set(fails), stop_after
        self.asked: list[tuple[str, int]] = []

    def settings(self) -> dict[str, Any]:
        return {"answerer": "counting"}

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        for number, request in enumerate(reversed(requests)):  # an order of its own: the output must not care
            if self.stop_after is not None and number >= self.stop_after:
                return
            self.asked.append((request.row.id, request.sample))
            failed = request.row.id in self.fails
            on_reply(
                request, Reply(failure="no luck") if failed else Reply(f"{request.row.id}/{request.sample}", "stop")
            )


def problems(count: int = 3, **extra: Any) -> list[Problem]:
    return [Problem(id=f"p{i}", question=f"{i}?", reference=f"#### {i}", **extra) for i in range(count)]


def test_attempts_stand_in_input_order_with_all_fields() -> None:
    answers = answer(problems(topic="sums"), Counting(), prompts=SHORT)
    assert [(a.id, a.response, a.finish_reason) for a in answers.attempts] == [
        ("p0", "p0/0", "stop"), ("p1", "p1/0", "stop"), ("p2", "p2/0", "stop"),
    ]  # fmt: skip
    assert answers.attempts[0].model_extra == {"topic": "sums", "answerer": "counting"}


def test_what_was_said_of_an_earlier_response_goes_with_it() -> None:
    old = problems(response="7", verdict={"correct": False}, judgment="It is 0.", judge="rule", topic="sums")
    for attempt in answer(old, Counting(), prompts=SHORT).attempts:
        assert attempt.model_extra == {"topic": "sums", "answerer": "counting"}


def test_several_samples_get_ids_of_their_own() -> None:
    answers = answer(problems(2), Counting(), prompts=SHORT, samples=2)
    assert [a.id for a in answers.attempts] == ["p0#0", "p0#1", "p1#0", "p1#1"]
    assert [a.response for a in answers.attempts] == ["p0/0", "p0/1", "p1/0", "p1/1"]
    assert answers.attempts[3].model_extra == {"problem": "p1", "sample": 1, "answerer": "counting"}


def test_the_same_question_twice_is_asked_once() -> None:
    twin = Problem(id="twin", question="0?", reference="#### 0")
    who = Counting()
    answers = answer([*problems(1), twin], who, prompts=SHORT)
    assert len(who.asked) == 1
    assert answers.attempts[0].response == answers.attempts[1].response


@pytest.mark.parametrize("change", ["settings", "question", "prompts", "sample"])
def test_the_key_changes_with_everything_that_decides_the_reply(change: str) -> None:
    row, other = problems(2)
    settings: dict[str, Any] = {"model": "m", "seed": 0}
    key = make_request(settings, row, SHORT.base(row.question)).key
    changed = {
        "settings": make_request({**settings, "seed": 1}, row, SHORT.base(row.question)),
        "question": make_request(settings, row, SHORT.base(other.question)),
        "prompts": make_request(settings, row, load_prompts("paper").base(row.question)),
        "sample": make_request(settings, row, SHORT.base(row.question), 1),
    }[change].key
    assert changed != key
    assert make_request(settings, other, SHORT.base(row.question)).key == key, "the id decides nothing"


def test_failed_rows_are_named_and_only_taken_up_again_when_told_to(tmp_path: Path) -> None:
    source, output = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    write_records(source, problems())
    first = answer_file(source, output, Counting(fails=["p1"]), prompts=SHORT)
    assert [row.id for row in first.failed] == ["p1"]
    assert [row["failure"] for row in rows(failed_path(output))] == ["no luck"]
    assert [row["id"] for row in rows(output)] == ["p0", "p2"]

    again = Counting()
    assert len(answer_file(source, output, again, prompts=SHORT).failed) == 1
    assert again.asked == []

    answers = answer_file(source, output, again, prompts=SHORT, retry_failed=True)
    assert again.asked == [("p1", 0)]
    assert not answers.failed
    assert not failed_path(output).exists()
    assert [row["id"] for row in rows(output)] == ["p0", "p1", "p2"]


def test_an_empty_reply_is_a_failure() -> None:
    class Silent(Counting):
        def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
            for request in requests:
                on_reply(request, Reply(" \n", "stop"))

    answers = answer(problems(1), Silent(), prompts=SHORT)
    assert answers.failed[0].failure == "the reply is empty"


def test_an_evaluation_takes_an_empty_reply_as_an_answer() -> None:
    class Silent(Counting):
        def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
            for request in requests:
                on_reply(request, Reply("", "stop"))

    answers = answer(problems(1), Silent(), prompts=SHORT, keep_empty=True)
    assert [attempt.response for attempt in answers.attempts] == [""]
    assert not answers.failed


def test_replies_stand_in_order_and_those_of_the_journal_are_counted() -> None:
    journal, told = Journal(), []
    answer(problems(1), Counting(), prompts=SHORT, journal=journal)
    answers = answer(
        problems(4),
        Counting(fails=["p2"], stop_after=2),
        prompts=SHORT,
        journal=journal,
        on_answer=lambda request, reply: told.append((request.row.id, request.key in journal)),
    )
    assert [reply and (reply.text or reply.failure) for reply in answers.replies] == ["p0/0", None, "no luck", "p3/0"]
    assert told == [("p3", True), ("p2", True)]
    assert (answers.usage.resumed, answers.unanswered) == (1, 1)


def test_a_reply_with_half_a_character_fails_its_row_alone(tmp_path: Path) -> None:
    class Halving(Counting):
        def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
            for request in requests:
                on_reply(request, Reply("half \ud83d" if request.row.id == "p1" else "whole", "stop"))

    source, output = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    write_records(source, problems())
    answers = answer_file(source, output, Halving(), prompts=SHORT)
    assert [row["response"] for row in rows(output)] == ["whole", "whole"]
    assert "lone surrogate" in answers.failed[0].failure
    assert "half \\ud83d" in journal_path(output).read_text(), "what was paid for is kept"


def test_what_a_limit_left_is_counted_and_asked_next_time(tmp_path: Path) -> None:
    source, output = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    write_records(source, problems(5))
    assert answer_file(source, output, Counting(stop_after=2), prompts=SHORT).unanswered == 3
    assert len(rows(output)) == 2
    who = Counting()
    assert answer_file(source, output, who, prompts=SHORT).unanswered == 0
    assert len(who.asked) == 3
    assert len(rows(output)) == 5


def test_input_and_output_must_differ(tmp_path: Path) -> None:
    write_records(tmp_path / "p.jsonl", problems())
    with pytest.raises(ConfigError, match="same file"):
        answer_file(tmp_path / "p.jsonl", tmp_path / "." / "p.jsonl", Counting(), prompts=SHORT)


def test_a_recording_is_found_by_its_question_and_never_by_its_id(tmp_path: Path) -> None:
    recorded = [
        Attempt(id="p1", question="0?", reference="#### 0", response="zero", finish_reason="stop"),
        Attempt(id="p0", question="0?", reference="#### 0", response="nought"),
    ]
    write_records(tmp_path / "r.jsonl", recorded)
    replay = ReplayAnswerer(tmp_path / "r.jsonl")
    answers = answer(problems(2), replay, prompts=SHORT)
    assert [(a.id, a.response) for a in answers.attempts] == [("p0", "zero")]
    assert answers.failed[0].failure == "r.jsonl holds no answer to this question"
    both = answer(problems(1), replay, prompts=SHORT, samples=3)
    assert [a.response for a in both.attempts] == ["zero", "nought"]
    assert both.failed[0].failure == "r.jsonl holds no answer number 3 to this question"


def test_a_recording_without_responses_is_refused(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl", problems())
    with pytest.raises(DataError, match="response"):
        ReplayAnswerer(tmp_path / "r.jsonl")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), max_position_embeddings=1500)


def local(model: Path, **sampling: Any) -> LocalAnswerer:
    from nlft.lm.config import LoadSettings, SamplingSettings

    settings = SamplingSettings(temperature=1.0, max_new_tokens=12, **sampling)
    return LocalAnswerer(str(model), settings, load=LoadSettings(device="cpu", dtype="float32"))


def test_a_local_model_answers_the_same_whatever_its_batch_and_wherever_it_was_broken_off(model: Path) -> None:
    whole = answer(problems(5), local(model, batch_size=4), prompts=SHORT, samples=2)
    assert len({a.response for a in whole.attempts}) > 5, "samples and problems must differ"
    single = answer(problems(5), local(model, batch_size=1), prompts=SHORT, samples=2)
    assert single.attempts == whole.attempts
    journal = Journal()
    answer(problems(5)[3:], local(model), prompts=SHORT, samples=2, journal=journal)
    resumed = answer(problems(5), local(model), prompts=SHORT, samples=2, journal=journal)
    assert resumed.attempts == whole.attempts
    other = answer(problems(5), local(model, seed=1), prompts=SHORT, samples=2)
    assert other.attempts != whole.attempts


def test_a_row_too_long_for_the_model_fails_alone(model: Path) -> None:
    long = Problem(id="long", question="x" * 2000, reference="#### 1")
    answers = answer([*problems(1), long], local(model), prompts=SHORT)
    assert [a.id for a in answers.attempts] == ["p0"]
    assert "the model takes 1500" in answers.failed[0].failure


def test_weights_trained_anew_under_the_same_path_are_another_model(model: Path, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", seed=1)
    before = local(folder).settings()
    assert local(folder).settings() == before
    tiny_model(tmp_path / "m", seed=2)
    assert local(folder).settings() != before


def test_the_command_with_a_local_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(tmp_path / "p.jsonl", problems())
    output = tmp_path / "a.jsonl"
    command = ["answer", str(tmp_path / "p.jsonl"), "-o", str(output), "--model", str(model), "--max-new-tokens", "20"]
    command += ["--prompts", "short", "--device", "cpu"]
    code = run(command)  # a model of random weights may say nothing to a problem, which is then a failure
    answered = rows(output)
    failed = rows(failed_path(output)) if code == 3 else []
    assert len(answered) + len(failed) == 3
    assert answered
    out = capsys.readouterr().out
    assert f"{len(answered)} answers by {Path(model).name}" in out
    cut = sum(row["finish_reason"] == "length" for row in answered)
    assert cut
    assert f"{cut} of them were cut off at 20 tokens" in out
    first, journal = output.read_bytes(), journal_path(output).read_bytes()
    assert journal.count(b"\n") == 3
    assert run(command) == code
    assert output.read_bytes() == first
    assert journal_path(output).read_bytes() == journal


def test_the_command_with_a_recording_ends_in_3_where_rows_failed(tmp_path: Path) -> None:
    write_records(tmp_path / "p.jsonl", problems(2))
    write_records(tmp_path / "r.jsonl", [Attempt(id="x", question="0?", reference="#### 0", response="zero")])
    ended = subprocess.run(
        [sys.executable, "-m", "nlft", "answer", "p.jsonl", "-o", "a.jsonl", "--answerer", "replay:r.jsonl"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 3
    assert ended.stdout == "a.jsonl: 1 answers by replay:r.jsonl\n"
    assert "1 rows failed for good; a.failed.jsonl has them, with the reasons" in ended.stderr


def test_a_dry_run_sends_nothing_and_says_what_it_would_cost(server: Any, tmp_path: Path, capsys: Any) -> None:
    write_records(tmp_path / "p.jsonl", problems(4))
    command = [
        "answer", str(tmp_path / "p.jsonl"), "-o", str(tmp_path / "a.jsonl"), "--base-url", server.url, "--model", "m",
        "--max-new-tokens", "100", "--price-in", "1", "--price-out", "10",
    ]  # fmt: skip
    assert run([*command, "--dry-run"]) == 0
    assert "would send 4 requests (0 of 4 rows need none)" in capsys.readouterr().out
    assert run([*command, "--max-requests", "3"]) == 4
    told = capsys.readouterr()
    assert "3 requests: 33 tokens read, 21 written, cost 0.0002" in told.out
    assert "stopped at the limit: 1 rows were not asked" in told.err
    assert run([*command, "--dry-run"]) == 0
    assert "would send 1 requests (3 of 4 rows need none)" in capsys.readouterr().out
    assert sum(server.attempts.values()) == 3


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--answerer", "opnai"], 2, 'did you mean "openai"?'),
        ([], 2, "needs a model"),
        (["--model", "m", "--base-url", "localhost:1"], 2, "http://"),
        (["--model", "m", "--answerer", "openai"], 2, "OPENAI_API_KEY"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--max-cost", "1"], 2, "prices"),
        (["--model", "m", "--max-new-token", "3"], 2, "--max-new-tokens"),
        (["--model", "m", "--adapter", "nowhere"], 2, "no such adapter"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--adapter", "."], 2, "holds no adapter"),
        (["--model", "m", "--max-requests", "3"], 2, "`max_requests` has no effect"),
        (["--answerer", "replay:nowhere.jsonl"], 1, "no such file"),
        (["--model", "m", "--prompts", "papr"], 2, 'did you mean "paper"?'),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--api-key-file", "nokey"], 2, "cannot be read"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_loaded(
    options: list[str], code: int, words: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    write_records("p.jsonl", problems())
    assert run(["answer", "p.jsonl", "-o", "a.jsonl", *options]) == code
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl"]


def test_help_names_every_option() -> None:
    from nlft.cli.app import app

    shown = CliRunner().invoke(app, ["answer", "--help"]).output
    assert "--max-cost" in shown


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_output_of_a_calm_run_can_be_read_again(tmp_path: Path) -> None:
    write_records(tmp_path / "p.jsonl", problems())
    answer_file(tmp_path / "p.jsonl", tmp_path / "a.jsonl", Counting(), prompts=SHORT)
    assert [row.response for row in read_records(tmp_path / "a.jsonl", Attempt)] == ["p0/0", "p1/0", "p2/0"]
