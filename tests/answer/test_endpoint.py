from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from tests.lm.families import FAMILIES

from nlft.answer import answer
from nlft.answer.config import AnswerSettings
from nlft.answer.factory import read_key
from nlft.answer.limits import Gate, Limit, Spending, estimate, estimate_tokens
from nlft.answer.response import NO_KEY, Retry, read_completion, redact, without_password
from nlft.answer.server import Endpoint, run_async
from nlft.answer.types import Reply, Request, make_request
from nlft.errors import ConfigError, DataError, EndpointError
from nlft.prompts import load_prompts
from nlft.records import Problem

KEY = "sk-verysecretkey0123456789"
QUICK: dict[str, Any] = {"attempts": 4, "retry_seconds": 20}
UNLIMITED = Spending(AnswerSettings())


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlft.answer.limits.FIRST_WAIT", 0.005)
    monkeypatch.setattr("nlft.answer.limits.LONGEST_WAIT", 0.02)


def endpoint_at(server: Any, key: str = KEY, **settings: Any) -> Endpoint:
    return Endpoint(AnswerSettings(model="m", base_url=server.url, **settings), SecretStr(key))


def requests(count: int) -> list[Request]:
    prompts = load_prompts("short")
    rows = [Problem(id=str(i), question=f"Question {i}?", reference="#### 1") for i in range(count)]
    return [make_request({"m": 1}, row, prompts.base(row.question)) for row in rows]


def ask(server: Any, count: int = 1, key: str = KEY, **settings: Any) -> tuple[dict[str, Reply], Endpoint]:
    endpoint = endpoint_at(server, key, **{**QUICK, "timeout": 20.0, **settings})
    replies: dict[str, Reply] = {}

    def on_reply(request: Request, reply: Reply) -> None:
        assert request.row.id not in replies
        replies[request.row.id] = reply

    endpoint.reply(requests(count), on_reply)
    return replies, endpoint


def after(first: str, times: int = 1) -> Any:
    """The first `times` attempts end so, the next one well."""
    return lambda question, attempt: first if attempt <= times else "good"


@pytest.mark.parametrize(
    "fault",
    ["429", "429 with Retry-After", "429 with ms", "408", "409", "500", "502", "503", "hang", "cut", "half sent",
     "broken JSON", "empty", 'raw {"choices": []}', "raw []", 'raw {"choices": [{"message": {"content": null}}]}',
     'raw {"choices": [{"message": {"content": [1]}}]}', "raw \x00",
     'raw {"choices": [{"message": {"content": " "}}]}'],
)  # fmt: skip
def test_what_passes_by_itself_is_asked_again(server: Any, answer_storm: Any, fault: str) -> None:
    server.fate = after(fault, 2)
    replies, _ = ask(server, timeout=0.5 if fault == "hang" else 20.0)
    assert replies["0"].text == answer_storm[1]("Question 0?")
    assert replies["0"].finish_reason == "stop"
    assert replies["0"].requests == 3
    assert server.attempts["Question 0?"] == 3


def test_signs_that_trip_decoders_come_through_unaltered(server: Any) -> None:
    for content in ("half a sign \ud83d", "\u2028 \x00 \x1b[31m", "é ½ 😀"):
        body = json.dumps({"choices": [{"message": {"content": content}}]})
        server.fate = lambda question, attempt, body=body: f"raw {body}"
        assert ask(server)[0]["0"].text == content


def test_bytes_that_are_no_utf8_are_asked_for_again_not_replaced() -> None:
    body = json.dumps({"choices": [{"message": {"content": "x"}}]}).encode().replace(b'"x"', b'"\xff"')
    assert read_completion(body) == Retry("the body is broken JSON", overload=False)


@pytest.mark.parametrize("status", ["400 bad thing", "413 too long", "422 no such field"])
def test_other_refusals_fail_the_row_at_once_and_only_it(server: Any, status: str) -> None:
    server.fate = lambda question, attempt: status if question == "Question 1?" else "good"
    replies, _ = ask(server, 3)
    assert replies["1"].failure == f"HTTP {status.replace(' ', ': ', 1)}"
    assert server.attempts["Question 1?"] == 1
    assert replies["0"].failure is None
    assert replies["2"].failure is None


def test_refusing_every_row_in_the_same_words_ends_the_run_and_fails_none(server: Any) -> None:
    server.fate = lambda question, attempt: "400 no such model here"
    replies: list[str] = []
    endpoint = endpoint_at(server, **QUICK, concurrency=4)
    with pytest.raises(EndpointError, match="refuses every request"):
        endpoint.reply(requests(60), lambda request, reply: replies.append(request.row.id))
    assert replies == []
    assert len(server.attempts) < 12


def test_a_few_rows_that_are_all_refused_have_failed(server: Any) -> None:
    server.fate = lambda question, attempt: "400 bad thing"
    replies, _ = ask(server, 3)
    assert [reply.failure for reply in replies.values()] == ["HTTP 400: bad thing"] * 3


def test_a_row_that_always_fails_is_given_up_with_its_reason(server: Any) -> None:
    server.fate = lambda question, attempt: "500 boom" if question == "Question 1?" else "good"
    replies, _ = ask(server, 3)
    assert replies["1"].failure == "given up after 4 requests: HTTP 500: boom"
    assert server.attempts["Question 1?"] == QUICK["attempts"]


def test_being_told_to_slow_down_is_not_counted_against_the_row(server: Any) -> None:
    server.fate = after("429 with ms", QUICK["attempts"] + 3)
    replies, _ = ask(server)
    assert replies["0"].failure is None
    assert replies["0"].requests == QUICK["attempts"] + 4


@pytest.mark.parametrize("status", ["401 Incorrect API key provided: " + KEY, "403 no", "404 no such model"])
def test_a_refusal_of_key_or_model_ends_the_run_and_fails_no_row(server: Any, status: str) -> None:
    server.fate = lambda question, attempt: status
    with pytest.raises(EndpointError) as caught:
        ask(server, 40)
    assert sum(server.attempts.values()) <= 4, "no more than were under way"
    assert f"HTTP {status[:3]}" in str(caught.value)


def test_a_used_up_quota_ends_the_run(server: Any) -> None:
    server.fate = lambda question, attempt: "429 insufficient_quota: pay"
    with pytest.raises(EndpointError, match="quota"):
        ask(server, 10)


def test_replies_under_way_are_kept_when_another_row_ends_the_run(server: Any) -> None:
    refused = threading.Event()

    def fate(question: str, attempt: int) -> str:
        if question == "Question 0?":
            refused.set()
            return "401 no"
        return "good"

    def slowly() -> None:  # the good reply is sent only after the refusal
        refused.wait(5)
        asyncio.run(asyncio.sleep(0.1))

    server.fate, server.serve_gate = fate, slowly
    endpoint = endpoint_at(server, **QUICK, timeout=5)
    replies: list[str] = []
    with pytest.raises(EndpointError):
        endpoint.reply(requests(3), lambda request, reply: replies.append(request.row.id))
    assert sorted(replies) == ["1", "2"]


def test_a_dead_server_ends_the_run_instead_of_failing_every_row(server: Any) -> None:
    server.fate = lambda question, attempt: "cut"
    replies: list[str] = []
    endpoint = endpoint_at(server, **QUICK, concurrency=8)
    with pytest.raises(EndpointError, match="does not answer"):
        endpoint.reply(requests(60), lambda request, reply: replies.append(request.row.id))
    assert replies == []
    assert len(server.attempts) < 60


def test_a_server_that_asks_for_more_patience_than_the_budget_ends_the_run(server: Any) -> None:
    real = server.send
    server.fate = lambda question, attempt: "429"
    server.send = lambda handler, code, body, headers="", claimed=None: real(handler, code, body, "Retry-After: 99\r\n")
    with pytest.raises(EndpointError, match="wait 99 s"):
        ask(server, 2)


def test_an_echoed_key_shows_up_nowhere(server: Any, capfd: pytest.CaptureFixture[str]) -> None:
    server.fate = lambda question, attempt: f"400 your key {KEY} and Bearer abcdefgh12345 are odd"
    replies, endpoint = ask(server)
    assert replies["0"].failure == "HTTP 400: your key [key] and [key] are odd"
    server.fate = lambda question, attempt: "raw " + json.dumps({"choices": [{"message": {"content": f"I saw {KEY}"}}]})
    assert ask(server)[0]["0"].text == "I saw [key]"
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in repr(endpoint) + str(vars(endpoint)) + "".join(capfd.readouterr())


@pytest.mark.parametrize("key", [KEY, "0123-an-odd-key-of-a-local-server"])
def test_every_key_is_struck_out_of_replies_whatever_it_looks_like(server: Any, key: str) -> None:
    server.fate = lambda question, attempt: (
        "raw " + json.dumps({"choices": [{"message": {"content": f"no {key}, no"}}]})
    )
    assert ask(server, key=key)[0]["0"].text == "no [key], no"


@pytest.mark.parametrize("key", [KEY, "0123-an-odd-key-of-a-local-server"])
def test_every_key_is_struck_out_of_messages_whatever_it_looks_like(key: str) -> None:
    assert redact(f"no {key}, no", SecretStr(key)) == "no [key], no"


def test_a_server_without_a_key_gets_a_made_up_one_and_replies_stay_unaltered(server: Any, answer_storm: Any) -> None:
    replies, _ = ask(server, key=NO_KEY)
    assert replies["0"].text == answer_storm[1]("Question 0?")
    assert server.keys == {f"Bearer {NO_KEY}"}


def test_what_is_sent(server: Any) -> None:
    row = requests(1)[0].row
    messages = load_prompts("short").base(row.question)
    endpoint = endpoint_at(server, "k", temperature=0.7, top_p=0.9, seed=5, max_new_tokens=33)
    endpoint.reply([make_request({}, row, messages, sample=2)], lambda request, reply: None)
    assert server.bodies == [
        {"model": "m", "messages": messages, "temperature": 0.7, "top_p": 0.9, "max_tokens": 33, "seed": 7}
    ]


def test_what_a_server_is_told_of_template_and_tools(server: Any, tmp_path: Any) -> None:
    """The token with which the model learnt to end, beside the server's own; only what the settings ask for."""
    family = next(family for family in FAMILIES if family.name == "gemma")
    family.tokenizer().save_pretrained(tmp_path)  # as an adapter's folder holds it
    row = requests(1)[0].row
    tools = [{"type": "function", "function": {"name": "add"}}]
    endpoint = endpoint_at(server, "k", thinking="off", chat_template=str(tmp_path))
    endpoint.reply([make_request({}, row, load_prompts("short").base(row.question), 0, tools)], lambda *_: None)
    (body,) = server.bodies
    stop = family.tokenizer().convert_tokens_to_ids("<end_of_turn>")
    assert (body["stop"], body["stop_token_ids"]) == (["<end_of_turn>"], [stop])
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["tools"] == tools
    assert endpoint.settings()["extra_body"]["stop_token_ids"] == [stop]
    for alone in ("plain", str(tmp_path / "chat_template.jinja")):
        with pytest.raises(ConfigError, match="sent the token that ends an answer"):
            endpoint_at(server, "k", chat_template=alone)


@pytest.mark.parametrize(
    ("message", "thoughts", "text"),
    [
        ({"content": "4", "reasoning_content": "2 and 2"}, "2 and 2", "4"),
        ({"content": "4", "reasoning": "2 and 2"}, "2 and 2", "4"),
        ({"content": "<think>\n2 and 2\n</think>\n\n4"}, "2 and 2", "4"),
        ({"content": "2 and 2</think>4"}, "2 and 2", "4"),
        ({"content": "a <think> b </think>"}, "", "a <think> b </think>"),
    ],
)
def test_thoughts_are_kept_apart_from_the_answer(server: Any, message: Any, thoughts: str, text: str) -> None:
    server.fate = lambda question, attempt: "raw " + json.dumps({"choices": [{"message": message}]})
    problem = requests(1)[0].row
    answers = answer([problem], endpoint_at(server, KEY), prompts=load_prompts("short"))
    (attempt,) = answers.attempts
    assert attempt.response == text
    assert (attempt.model_extra or {}).get("thoughts", "") == thoughts
    again = answer([attempt], endpoint_at(server, KEY), prompts=load_prompts("short"))
    assert (again.attempts[0].model_extra or {}).get("thoughts", "") == thoughts


def test_a_thought_without_an_end_is_no_answer() -> None:
    body = {"choices": [{"message": {"content": "<think>2 and"}, "finish_reason": "length"}]}
    assert isinstance(read_completion(json.dumps(body).encode()), Retry)


def test_a_call_of_a_tool_fails_the_row_with_the_reason() -> None:
    body = {"choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "add"}}]}}]}
    reply = read_completion(json.dumps(body).encode())
    assert isinstance(reply, Reply)
    assert "calls a tool" in str(reply.failure)


def test_the_newer_name_of_the_length_limit_is_used_where_the_server_asks_for_it(server: Any) -> None:
    def fate(question: str, attempt: int) -> str:
        old = "max_tokens" in server.bodies[-1] if server.bodies else True
        return "400 Unsupported parameter: max_tokens. Use max_completion_tokens instead." if old else "good"

    def handle(handler: Any) -> None:  # the fate must see the body that it decides on
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        server.attempts[body["messages"][-1]["content"]] += 1
        old = "max_tokens" in body
        server.answer(handler, body["messages"][-1]["content"], fate("", 1) if old else "good")

    server.handle = handle
    replies, _ = ask(server, 6)
    assert all(reply.failure is None for reply in replies.values())


def test_no_more_requests_than_allowed(server: Any) -> None:
    replies, endpoint = ask(server, 20, max_requests=7)
    assert sum(server.attempts.values()) == 7 == len(replies)
    assert endpoint.spending.requests == 7


def test_retries_count_as_requests(server: Any) -> None:
    server.fate = after("500", 1)
    ask(server, 20, max_requests=7, concurrency=2)
    assert sum(server.attempts.values()) == 7


def test_cost_stays_below_its_limit_and_is_counted_by_what_the_server_says(server: Any) -> None:
    worst = estimate_tokens(requests(1)[0].messages) + 20
    most = 18 * 5 + worst  # one unit of money a token: a reply costs 11 + 7 = 18
    replies, endpoint = ask(server, 50, max_cost=most, price_in=1e6, price_out=1e6, max_new_tokens=20)
    assert endpoint.spending.cost == 18 * len(replies) <= most
    assert len(replies) >= 5
    assert not endpoint.spending.fits(worst)


def test_a_limit_on_cost_needs_prices() -> None:
    with pytest.raises(ValidationError, match="prices"):
        AnswerSettings(model="m", base_url="http://127.0.0.1:9/v1", max_cost=1.0)


def test_the_estimate_counts_tools_and_their_calls() -> None:
    asked: Any = [{"role": "user", "content": "2 + 2?"}]
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds two numbers."}}]
    alone, offered = estimate_tokens(asked), estimate_tokens(asked, tools)
    assert offered > alone + 15
    assert estimate_tokens([{**asked[0], "tool_calls": tools}]) > alone + 15


def test_the_estimate_counts_tokens_generously() -> None:
    priced = AnswerSettings(model="m", base_url="http://x/v1", max_new_tokens=100, price_in=2.0, price_out=3.0)
    guess = estimate(requests(3), priced)
    assert guess.requests == 3
    assert guess.most_completion_tokens == 300
    assert guess.cost == pytest.approx((guess.prompt_tokens * 2.0 + 900) / 1e6)
    size = sum(len(message["content"]) for message in requests(1)[0].messages)
    assert size / 4 <= guess.prompt_tokens / 3 <= size / 4 + 12


def test_tokens_of_empty_replies_are_counted_too(server: Any) -> None:
    server.fate = after("empty", 2)
    replies, _ = ask(server)
    assert (replies["0"].prompt_tokens, replies["0"].completion_tokens) == (33, 21)


def test_never_more_under_way_than_allowed_and_less_after_complaints(server: Any) -> None:
    ask(server, 60, concurrency=5)
    assert server.most_under_way <= 5
    limit = Limit(32, start=8)
    limit.complained(sent_at=1.0)
    limit.complained(sent_at=1.0)
    assert limit.limit == 4.0, "requests that were under way together are one complaint"
    limit.complained(sent_at=float("inf"))
    assert limit.limit == 2.0
    for _ in range(2):
        limit.went_well()
    assert 2.8 < limit.limit < 3.0, "about one more a round"
    for _ in range(20):
        limit.complained(sent_at=float("inf"))
    assert limit.limit == 1.0


def test_it_grows_while_nobody_complains() -> None:
    limit = Limit(10, start=4)
    for _ in range(20):
        limit.went_well()
    assert limit.limit == 10.0


def test_nothing_is_sent_during_a_pause() -> None:
    async def slots() -> list[str]:
        limit, order = Limit(4), []
        gate = Gate([limit], UNLIMITED)

        async def one(name: str) -> None:
            await gate.enter()
            order.append(name)
            await gate.leave(limit)

        limit.pause(0.05)
        task = asyncio.create_task(one("sent"))
        await asyncio.sleep(0.01)
        order.append("still paused")
        await task
        return order

    assert asyncio.run(slots()) == ["still paused", "sent"]


def test_it_runs_inside_a_running_loop_as_in_a_notebook() -> None:
    async def inner() -> int:
        return 7

    async def outer() -> int:
        return run_async(inner())

    assert asyncio.run(outer()) == 7


def test_an_error_of_the_journal_comes_out_as_it_is(server: Any) -> None:
    def full(request: Request, reply: Reply) -> None:
        raise DataError("the disk is full")

    endpoint = endpoint_at(server, **QUICK)
    with pytest.raises(DataError, match="the disk is full"):
        endpoint.reply(requests(3), full)


def test_keys_come_from_the_environment_or_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-env")
    assert read_key(needed=True).get_secret_value() == "from-env"
    file = tmp_path / "key"
    file.write_text(f" {KEY}\n")
    assert read_key(file, needed=True).get_secret_value() == KEY
    file.write_text("two words")
    with pytest.raises(ConfigError, match="one key"):
        read_key(file, needed=True)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert read_key(needed=False).get_secret_value() == NO_KEY
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        read_key(needed=True)
    monkeypatch.setenv("OPENAI_API_KEY", "a\nb")
    with pytest.raises(ConfigError) as caught:
        read_key(needed=True)
    assert "a\nb" not in str(caught.value)


def test_addresses_are_shown_without_password() -> None:
    assert without_password("http://me:pass@host:1/v1?key=k") == "http://host:1/v1"
