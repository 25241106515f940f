"""What a server of open models is sent: token ids, an adapter by its name, and nothing it has refused."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from nlft.answer import LocalAnswerer, answer, make_answerer
from nlft.answer.config import AnswerSettings
from nlft.answer.server import Endpoint
from nlft.cli.app import run
from nlft.errors import ConfigError, EndpointError
from nlft.evaluate import read_evaluation
from nlft.lm import LanguageModel, SamplingSettings
from nlft.lm.encode import encode_prompt
from nlft.lm.generate import generate
from nlft.prompts import load_prompts
from nlft.provenance import adapter_hash
from nlft.records import Attempt, Problem, read_records, write_records

SHORT = load_prompts("short")
QUICK: dict[str, Any] = {"attempts": 4, "retry_seconds": 20, "timeout": 20.0, "max_new_tokens": 8}
PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlft.answer.limits.FIRST_WAIT", 0.005)
    monkeypatch.setattr("nlft.answer.limits.LONGEST_WAIT", 0.02)


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter, with the tokenizer it was trained with beside it, as `nlft train` leaves it."""
    from peft import LoraConfig, get_peft_model

    from nlft.lm import load_model

    lm = load_model(str(folder), dtype="float32", device="cpu")
    made = tmp_path_factory.mktemp("adapters") / "mine"
    get_peft_model(lm.model, LoraConfig(r=4, init_lora_weights=False)).save_pretrained(made)
    lm.tokenizer.save_pretrained(made)
    return made


def problems(count: int) -> list[Problem]:
    return [Problem(id=str(i), question=f"What is {i} + {i}?", reference="#### 1") for i in range(count)]


def endpoint(*servers: Any, **settings: Any) -> Endpoint:
    given = {**QUICK, "model": "m", "base_url": [server.url for server in servers], **settings}
    return Endpoint(AnswerSettings(**given), SecretStr("none"))


def answered(count: int, *servers: Any, **settings: Any) -> list[Attempt]:
    answers = answer(problems(count), endpoint(*servers, **settings), prompts=SHORT)
    assert len(answers.attempts) == count, [row.failure for row in answers.failed]
    return answers.attempts


def test_completions_are_sent_the_ids_of_training_and_every_way_of_sampling(
    server: Any, folder: Path, lm: LanguageModel
) -> None:
    sampling = {"temperature": 0.7, "top_p": 0.9, "seed": 5, "max_new_tokens": 33}
    (attempt,) = answered(1, server, api="completions", tokenizer=str(folder), **sampling)
    ids = encode_prompt(lm.tokenizer, SHORT.base(problems(1)[0].question))
    assert server.bodies == [
        {"model": "m", "prompt": ids, "temperature": 0.7, "top_p": 0.9, "max_tokens": 33, "seed": 5, **PLAIN,
         "stop_token_ids": sorted(lm.stop_ids)}
    ]  # fmt: skip
    assert server.paths == {"/v1/completions": 1}
    assert attempt.response == server.says(server.bodies[0])


def test_text_is_sent_to_a_server_without_ids(server: Any, folder: Path, lm: LanguageModel) -> None:
    answered(1, server, api="text", tokenizer=str(folder))
    (body,) = server.bodies
    assert body["prompt"] == (
        lm.tokenizer.apply_chat_template(SHORT.base("What is 0 + 0?"), tokenize=False, add_generation_prompt=True)
    )
    assert body["stop"] == ["<|end|>"]


def test_a_server_and_a_local_model_that_read_the_same_ids_write_the_same(
    server: Any, folder: Path, lm: LanguageModel
) -> None:
    """The server is the tiny model itself, told nothing but the request."""
    lock = threading.Lock()

    def says(body: dict[str, Any]) -> str:
        assert body["stop_token_ids"] == sorted(lm.stop_ids)
        sampling = SamplingSettings(temperature=body["temperature"], max_new_tokens=body["max_tokens"])
        with lock:
            (completion,) = generate(lm, [body["prompt"]], sampling)
        return completion.text

    server.says = says
    served = answered(4, server, api="completions", tokenizer=str(folder), temperature=0.0)
    here = answer(problems(4), LocalAnswerer(lm, SamplingSettings(temperature=0, max_new_tokens=8)), prompts=SHORT)
    assert [a.response for a in served] == [a.response for a in here.attempts]


def test_what_decides_the_ids_decides_the_key(folder: Path, server: Any, tmp_path: Path) -> None:
    (tmp_path / "other.jinja").write_text("{% for m in messages %}[{{ m['content'] }}<|end|>{% endfor %}")
    ways: list[dict[str, Any]] = [
        {},
        {"api": "completions"},
        {"api": "text"},
        {"api": "completions", "chat_template": str(tmp_path / "other.jinja")},
        {"extra_body": {"top_k": 5}},
    ]
    keys = [endpoint(server, **way, **({"tokenizer": str(folder)} if "api" in way else {})).settings() for way in ways]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(ways)
    assert str(folder) not in json.dumps(keys), "where the tokenizer is decides nothing"


def test_a_tokenizer_that_is_not_found_is_told_before_anything_is_sent(server: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="writes what the server is sent") as caught:
        endpoint(server, api="completions", model=str(tmp_path / "served")).settings()
    assert "--tokenizer" in str(caught.value.remedy)
    assert not server.bodies


def test_a_server_without_ids_says_so_and_the_remedy_is_told(server: Any, folder: Path) -> None:
    server.fate = lambda question, attempt: "400 prompt must be a string."
    with pytest.raises(EndpointError, match="takes no token ids") as caught:
        answered(1, server, api="completions", tokenizer=str(folder))
    assert "--api text" in str(caught.value.remedy)


def refusing(server: Any, message: Callable[[set[str]], str], *names: str) -> None:
    """Let the server refuse these fields of a request, as it names them."""

    def fate(question: str, attempt: int) -> str:
        found = set(names) & (server.bodies[-1].keys() if server.bodies else set())
        return f"400 {message(found)}" if found else "good"

    original = server.handle

    def handle(handler: Any) -> None:  # one at a time, so that the last body is the one to decide on
        with turn:
            length = int(handler.headers["Content-Length"])
            raw = handler.rfile.peek(length)[:length]
            server.bodies.append(json.loads(raw))
            original(handler)
            server.bodies.pop(-2)

    turn = threading.Lock()
    server.fate, server.handle = fate, handle


@pytest.mark.parametrize(
    "message",
    [
        lambda found: f"Unsupported value: '{min(found)}' does not support 0.6 with this model. Only the default (1)",
        lambda found: f"Unrecognized request argument supplied: {min(found)}",
        lambda found: f"Unexpected fields in the request: {found}",
        lambda found: json.dumps([{"loc": ["body", name], "msg": "Extra inputs are not permitted"} for name in found]),
    ],
)
def test_a_refused_field_is_left_out_from_then_on_with_one_line(
    server: Any, message: Callable[[set[str]], str], caplog: pytest.LogCaptureFixture
) -> None:
    refusing(server, message, "temperature", "top_p")
    made = endpoint(server)
    assert len(answer(problems(12), made, prompts=SHORT).attempts) == 12
    assert answer(problems(1), made, prompts=SHORT).attempts
    with_them = [body for body in server.bodies if {"temperature", "top_p"} & body.keys()]
    assert 1 <= len(with_them) <= 8, "no more than were under way when it first refused"
    assert {"temperature", "top_p"}.isdisjoint(server.bodies[-1])
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    told = [line.partition("does not take ")[2].partition(": it is asked")[0] for line in lines]
    assert sum("temperature" in line for line in told) == 1 == sum("top_p" in line for line in told)


def test_what_the_user_adds_is_sent_and_never_left_out(server: Any) -> None:
    server.fate = lambda question, attempt: "400 Unknown parameter: 'top_k'"
    with pytest.raises(EndpointError, match="refuses every request"):
        answered(5, server, extra_body={"top_k": 7, "chat_template_kwargs": {"a": 1}})
    assert {body["top_k"] for body in server.bodies} == {7}
    assert server.bodies[0]["chat_template_kwargs"] == {"a": 1}


def test_an_adapter_is_loaded_asked_for_by_its_hash_and_unloaded(make_server: Any, adapter: Path) -> None:
    servers = make_server(), make_server()
    name = f"nlft-{adapter_hash(adapter)[:16]}"
    for each in servers:
        each.models = ["m"]
    made = endpoint(*servers, adapter=str(adapter))
    assert len(answer(problems(30), made, prompts=SHORT).attempts) == 30
    for each in servers:
        assert each.adapters == [
            ("load_lora_adapter", {"lora_name": name, "lora_path": str(adapter.resolve())}),
            ("unload_lora_adapter", {"lora_name": name}),
        ]
        assert each.models == ["m"]
        assert {body["model"] for body in each.bodies} == {name}
    assert made.settings()["adapter"] == adapter_hash(adapter)
    assert made.settings() != endpoint(*servers).settings()
    assert made.name == "m+mine"


@pytest.mark.parametrize(("owner", "asked"), [("vllm", "{}"), ("sglang", "m:{}")])
def test_an_adapter_that_the_server_was_started_with_stays(server: Any, adapter: Path, owner: str, asked: str) -> None:
    name = f"nlft-{adapter_hash(adapter)[:16]}"
    server.models, server.owner = ["m", name, asked.format(name)], owner
    answered(3, server, adapter=str(adapter))
    assert server.adapters == []
    assert {body["model"] for body in server.bodies} == {asked.format(name)}


@pytest.mark.parametrize("models", [None, ["m"]])
def test_a_server_that_takes_no_adapter_gives_no_answer_of_the_base_model(
    server: Any, adapter: Path, models: list[str] | None
) -> None:
    server.models, server.adapters = models, None
    with pytest.raises(EndpointError, match="does not load the adapter") as caught:
        answered(3, server, adapter=str(adapter))
    remedy = str(caught.value.remedy)
    assert f"vllm serve m --enable-lora --max-lora-rank 8 --lora-modules nlft-{adapter_hash(adapter)[:16]}=" in remedy
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in remedy
    assert not server.bodies


def test_a_server_that_was_started_anew_is_told_of_the_adapter_again(server: Any, adapter: Path) -> None:
    server.models = ["m"]
    once = iter([True])

    def forget() -> None:  # requests are answered side by side, so none may see just five
        if sum(server.served.values()) >= 5 and next(once, False):
            server.models = ["m"]

    server.serve_gate = forget
    answered(40, server, adapter=str(adapter))
    assert [verb for verb, _ in server.adapters].count("load_lora_adapter") == 2
    assert server.models == ["m"], "and it is unloaded at the end"


def test_openai_itself_takes_no_adapter(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="takes no adapter"):
        make_answerer(AnswerSettings(answerer="openai", model="m", adapter=str(adapter)))


def test_the_command_line_with_all_of_it(make_server: Any, adapter: Path, tmp_path: Path) -> None:
    """Two servers, token ids by the adapter's own tokenizer, a further field; an evaluation that keeps an empty answer."""
    servers = make_server(), make_server()
    write_records(tmp_path / "p.jsonl", problems(6))
    for each in servers:
        each.models = ["m"]
        each.says = lambda body: "" if body["prompt"] == empty else "#### 1"
    from nlft.lm.load import load_tokenizer

    tokenizer = load_tokenizer(str(adapter))
    empty = encode_prompt(tokenizer, SHORT.base(problems(6)[4].question))
    line = ["evaluate", str(tmp_path / "p.jsonl"), "-o", str(tmp_path / "e.json"), "--model", "m"]
    line += ["--prompts", "short", "--greedy", "--adapter", str(adapter), "--api", "completions", "--attempts", "2"]
    line += [word for each in servers for word in ("--base-url", each.url)] + ["--extra-body", "priority=2"]
    assert run(line) == 0
    bodies = [body for each in servers for body in each.bodies]
    assert {tuple(body["prompt"]) for body in bodies} == {
        tuple(encode_prompt(tokenizer, SHORT.base(problem.question))) for problem in problems(6)
    }
    assert {(body["temperature"], body["priority"]) for body in bodies} == {(0.0, 2)}
    result = read_evaluation(tmp_path / "e.json")
    assert (result.strict.count, result.n) == (5, 6)
    assert result.adapter_hash == adapter_hash(adapter)
    assert [row.response for row in result.rows] == ["#### 1"] * 4 + ["", "#### 1"]
    assert len(list(read_records(tmp_path / "p.jsonl", Problem))) == 6
