"""The settings of asking: what is refused, what decides a reply, and what the key of a request is made from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nlft.answer import Answerer, LocalAnswerer, make_answerer
from nlft.answer.config import AnswerSettings, ServerSettings
from nlft.answer.server import Endpoint
from nlft.config import Config, parse_config
from nlft.errors import ConfigError
from nlft.judge import JudgeSettings

URL = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (AnswerSettings, {"answerer": "opnai"}, 'did you mean "openai"?'),
        (AnswerSettings, {"base_url": "localhost:1"}, "http://"),
        (AnswerSettings, {"base_url": URL, "max_cost": 1.0}, "prices"),
        (AnswerSettings, {"base_url": [URL, f"{URL}/"]}, "given twice"),
        (AnswerSettings, {"base_url": []}, "base_url"),
        (AnswerSettings, {"base_url": [URL, "localhost:1"]}, "http://"),
        (AnswerSettings, {"api": "completions"}, '`api` has no effect with "local"'),
        (AnswerSettings, {"extra_body": {"top_k": 1}}, '`extra_body` has no effect with "local"'),
        (AnswerSettings, {"base_url": URL, "tokenizer": "m"}, "`tokenizer` has no effect"),
        (AnswerSettings, {"base_url": URL, "extra_body": {"max_tokens": 1}}, "`max_new_tokens` decides"),
        (AnswerSettings, {"answerer": "local", "base_url": URL}, '`base_url` has no effect with "local"'),
        (AnswerSettings, {"max_requests": 3}, '`max_requests` has no effect with "local"'),
        (AnswerSettings, {"base_url": URL, "dtype": "float32"}, '`dtype` has no effect with "openai"'),
        (AnswerSettings, {"base_url": URL, "batch_size": 2}, '`batch_size` has no effect with "openai"'),
        (AnswerSettings, {"answerer": "replay:f", "adapter": "a"}, '`adapter` has no effect with "replay:f"'),
        (AnswerSettings, {"answerer": "replay:f", "model": "m"}, '`model` has no effect with "replay:f"'),
        (
            AnswerSettings,
            {"base_url": URL, "template_date": "2025-01-01"},
            '`template_date` has no effect with "openai"',
        ),
        (AnswerSettings, {"answerer": "replay:f", "thinking": "on"}, '`thinking` has no effect with "replay:f"'),
        (AnswerSettings, {"template_date": "soon"}, "template_date"),
        (JudgeSettings, {"judge": "rule", "chat_template": "m"}, '`chat_template` has no effect with "rule"'),
        (JudgeSettings, {"judge": "rul"}, 'did you mean "rule"?'),
        (JudgeSettings, {"model": "m"}, '`model` has no effect with "rule"'),
        (JudgeSettings, {"judge": "self", "base_url": URL}, '`base_url` has no effect with "self"'),
        (JudgeSettings, {"judge": "replay:f", "concurrency": 2}, '`concurrency` has no effect with "replay:f"'),
    ],
)
def test_what_is_wrong_or_would_be_ignored_is_refused(kind: type[Config], given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(given, kind)
    assert words in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (AnswerSettings, {"model": "m", "adapter": "a", "batch_size": 2, "dtype": "float32"}),
        (
            AnswerSettings,
            {"model": "m", "base_url": [URL], "adapter": "a", "seed": 3, "concurrency": 2, "batch_size": 32},
        ),
        (AnswerSettings, {"answerer": "replay:f", "seed": 3, "temperature": 0.0, "max_new_tokens": 5}),
        (JudgeSettings, {"judge": "rule", "max_new_tokens": 128, "prompt": "a1"}),
        (JudgeSettings, {"judge": "self", "model": "m", "adapter": "a"}),
    ],
)
def test_what_sections_share_is_accepted(kind: type[Config], given: dict[str, Any]) -> None:
    settings = parse_config(given, kind)
    assert settings.model_dump(exclude_unset=True) == given


def test_one_address_or_several() -> None:
    assert AnswerSettings(base_url=URL).base_url == [URL]  # type: ignore[arg-type]
    for two in ([URL, "https://x/v1"], f"{URL},https://x/v1"):
        assert AnswerSettings(base_url=two).base_url == [URL, "https://x/v1"]  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [AnswerSettings(), AnswerSettings(base_url=URL), JudgeSettings(judge="self")])
def test_a_model_is_needed_only_once_it_is_asked(settings: Any) -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        make_answerer(settings)


def test_defaults_of_answers_and_judgments() -> None:
    assert (AnswerSettings().temperature, AnswerSettings().max_new_tokens) == (0.6, 512)
    assert (JudgeSettings().temperature, JudgeSettings().max_new_tokens) == (0.0, 256)
    assert (JudgeSettings().judge, JudgeSettings().prompt) == ("rule", "known-wrong")


def test_the_environment_names_the_server_where_the_settings_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", URL)
    made = make_answerer(AnswerSettings(answerer="openai", model="m"))
    assert isinstance(made, Endpoint)
    assert made.asked.base_url == [URL]
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:9")
    with pytest.raises(ConfigError, match="http://"):
        make_answerer(AnswerSettings(answerer="openai", model="m"))


def test_nothing_about_the_server_decides_a_reply() -> None:
    identity = AnswerSettings(model="m", base_url=URL).identity()
    assert not identity.keys() & set(ServerSettings.model_fields)
    assert {"model", "temperature", "top_p", "max_new_tokens", "seed", "prompts", "samples"} <= identity.keys()


def test_the_key_of_a_servers_requests_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies were paid for under these settings: another form would ask for all of them again."""
    made: Answerer = make_answerer(AnswerSettings(model="m", base_url=URL, seed=4, temperature=0.5))
    assert made.settings() == {
        "answerer": "openai", "model": "m", "temperature": 0.5, "top_p": 1.0, "max_new_tokens": 512, "seed": 4,
    }  # fmt: skip


def test_the_key_of_a_local_models_requests_depends_on_weights_and_not_on_their_place(tmp_path: Path) -> None:
    settings = AnswerSettings(model="m", batch_size=3)
    keys = []
    for folder, weights in (("here", b"1"), ("there", b"1"), ("other", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_bytes(weights)
        keys.append(LocalAnswerer(str(tmp_path / folder), settings, load=settings).settings())
    assert keys[0] == keys[1] != keys[2]
    assert "batch_size" not in keys[0]


def test_the_settings_load_nothing_heavy() -> None:
    code = (
        "import sys, nlft.answer.config, nlft.judge.config\n"
        "print([name for name in ('torch', 'openai', 'transformers', 'numpy') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
