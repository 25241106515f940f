"""Several servers share the rows; one that dies, refuses or fails is left, and asked again later."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.answer.files import answer_file

from nlft.answer.config import AnswerSettings
from nlft.answer.limits import Gate, Limit, Spending
from nlft.answer.server import Endpoint
from nlft.answer.types import Reply, Request, make_request
from nlft.errors import EndpointError
from nlft.prompts import load_prompts
from nlft.records import Attempt, Problem, read_records, write_records

QUICK: dict[str, Any] = {"attempts": 4, "retry_seconds": 20, "timeout": 20.0}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlft.answer.limits.FIRST_WAIT", 0.005)
    monkeypatch.setattr("nlft.answer.limits.LONGEST_WAIT", 0.02)


@pytest.fixture
def two(make_server: Callable[[], Any]) -> tuple[Any, Any]:
    return make_server(), make_server()


def problems(count: int) -> list[Problem]:
    return [Problem(id=str(i), question=f"Question {i}?", reference="#### 1") for i in range(count)]


def ask(servers: Any, count: int, **settings: Any) -> dict[str, Reply]:
    given = {**QUICK, "model": "m", "base_url": [server.url for server in servers], **settings}
    replies: dict[str, Reply] = {}

    def on_reply(request: Request, reply: Reply) -> None:
        assert request.row.id not in replies, "handed over twice"
        replies[request.row.id] = reply

    prompts = load_prompts("short")
    requests = [make_request({"m": 1}, row, prompts.base(row.question)) for row in problems(count)]
    Endpoint(AnswerSettings(**given), SecretStr("none")).reply(requests, on_reply)
    return replies


def all_answered(replies: dict[str, Reply], count: int, reply_to: Callable[[str], str]) -> bool:
    return len(replies) == count and all(r.text == reply_to(f"Question {i}?") for i, r in replies.items())


def test_they_share_the_rows_and_each_has_a_limit_of_its_own(two: Any, answer_storm: Any) -> None:
    meet = threading.Barrier(4)  # two requests at each of the two, at the same time

    def gate() -> None:
        try:
            meet.wait(2.0)
        except threading.BrokenBarrierError:
            meet.reset()

    for server in two:
        server.serve_gate = gate
    replies = ask(two, 16, concurrency=2)
    assert all_answered(replies, 16, answer_storm[1])
    assert [server.most_under_way for server in two] == [2, 2]
    assert sum(sum(server.served.values()) for server in two) == 16


def test_the_one_with_more_room_is_asked_and_a_pause_holds_back_only_one() -> None:
    async def turns() -> list[int]:
        limits = [Limit(4), Limit(8, start=8)]
        gate = Gate(limits, Spending(AnswerSettings()))
        limits[0].pause(60.0)
        first = [await gate.enter() for _ in range(3)]
        limits[0].resume_at = 0.0
        entered = [*first, *[await gate.enter() for _ in range(3)]]
        return [limits.index(each[0]) for each in entered if each is not None]

    assert asyncio.run(turns()) == [1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("fault", ["cut", "half sent", "503", "500 engine is dead"])
def test_one_that_dies_is_left_and_the_others_do_its_work(
    two: Any, fault: str, answer_storm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    dying = two[0]
    dying.fate = lambda question, attempt: "good" if sum(dying.attempts.values()) <= 6 else fault
    replies = ask(two, 60, concurrency=8)
    assert all_answered(replies, 60, answer_storm[1]), "a dead server costs no row"
    assert sum(dying.served.values()) == 6
    assert sum(dying.attempts.values()) <= 6 + 5 + 8, "no more than until it was left, and what was under way then"
    assert sum("others do its work" in record.message for record in caplog.records) == 1


def test_one_that_hangs_is_left(two: Any, answer_storm: Any) -> None:
    two[0].fate = lambda question, attempt: "hang"
    assert all_answered(ask(two, 40, timeout=0.3), 40, answer_storm[1])
    assert sum(two[0].attempts.values()) <= 5 + 4


@pytest.mark.parametrize(
    "status", ["401 no", "404 no such model", "400 no such thing", "429 insufficient_quota: pay", "405 no"]
)
def test_one_that_is_of_no_use_is_left_and_no_row_fails(two: Any, status: str, answer_storm: Any) -> None:
    two[0].fate = lambda question, attempt: status
    assert all_answered(ask(two, 40), 40, answer_storm[1])
    # Five refusals, and what was under way at the fifth: four at first, and one more for each refusal that came before.
    assert sum(two[0].attempts.values()) <= 5 + 4 + 4


def test_one_that_asks_for_patience_is_given_it_and_the_others_work(two: Any, answer_storm: Any) -> None:
    real = two[0].send
    two[0].fate = lambda question, attempt: "429"
    two[0].send = lambda handler, code, body, headers="", claimed=None: real(
        handler, code, body, "Retry-After: 9\r\n" if code == 429 else ""
    )
    assert all_answered(ask(two, 40), 40, answer_storm[1])
    assert sum(two[0].attempts.values()) <= 4, "what was under way when it first asked"


def test_it_is_asked_again_later_with_one_request(
    two: Any, answer_storm: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nlft.answer.sharing.ASKED_AGAIN", 0.05)
    back, well = two
    well.serve_gate = lambda: asyncio.run(asyncio.sleep(0.05))
    seen: list[int] = []

    def fate(question: str, attempt: int) -> str:
        seen.append(back.under_way)
        return "cut" if len(seen) <= 12 else "good"

    back.fate = fate
    replies = ask(two, 120, concurrency=4)
    assert all_answered(replies, 120, answer_storm[1])
    assert sum(back.served.values()) >= 5, "it works again"
    assert set(seen[9:12]) == {0}, "once left, it is tried with a single request"
    told = Counter(
        word for record in caplog.records for word in ("asked again", "answers again") if word in record.message
    )
    assert told == {"asked again": 1, "answers again": 1}


def test_once_all_are_left_the_run_ends_and_no_row_has_failed(two: Any) -> None:
    two[0].fate = lambda question, attempt: "401 no"
    two[1].fate = lambda question, attempt: "cut"
    with pytest.raises(EndpointError) as caught:
        ask(two, 40, concurrency=4)
    for server in two:
        assert server.url in str(caught.value), "each is named, with what it said"
    assert "refuses the key" in str(caught.value)


def test_a_row_that_all_refuse_has_failed_and_only_it(two: Any) -> None:
    for server in two:
        server.fate = lambda question, attempt: "400 too long" if question == "Question 7?" else "good"
    replies = ask(two, 40)
    assert {i for i, reply in replies.items() if reply.failure} == {"7"}
    assert len(replies) == 40


def test_limits_of_a_run_count_over_all_servers(two: Any) -> None:
    assert len(ask(two, 40, max_requests=7)) == 7
    assert sum(sum(server.attempts.values()) for server in two) == 7


def test_the_journal_is_one(two: Any, tmp_path: Path, answer_storm: Any) -> None:
    """The same rows again, and the servers elsewhere: nothing is asked twice."""
    write_records(tmp_path / "p.jsonl", problems(30))
    for addresses in ([two[0].url, two[1].url], [two[1].url]):
        settings = AnswerSettings(model="m", base_url=addresses, **QUICK)
        endpoint = Endpoint(settings, SecretStr("none"))
        answer_file(tmp_path / "p.jsonl", tmp_path / "a.jsonl", endpoint, prompts=load_prompts("short"))
    rows = list(read_records(tmp_path / "a.jsonl", Attempt))
    assert [row.response for row in rows] == [answer_storm[1](f"Question {i}?") for i in range(30)]
    assert sum(sum(server.attempts.values()) for server in two) == 30


def test_a_storm_at_both_loses_and_doubles_nothing(two: Any, answer_storm: Any) -> None:
    weights = {
        "good": 0.7,
        "429 with ms": 0.06,
        "500": 0.06,
        "503": 0.06,
        "cut": 0.04,
        "broken JSON": 0.04,
        "empty": 0.04,
    }
    for seed, server in enumerate(two):
        server.fate = answer_storm[0](seed, weights)
    assert all_answered(ask(two, 150, attempts=30), 150, answer_storm[1])
