"""A key goes where it belongs: a recipe or rubric of somebody else cannot have it sent to a server of its own."""

from pathlib import Path

import pytest
from tests.tiny import tiny_rows

from nlft.answer.config import ServerSettings
from nlft.answer.factory import refuse_to_send_key
from nlft.cli.app import run
from nlft.errors import ConfigError
from nlft.grade import get_grader

ELSEWHERE = "https://collector.example/v1"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecretkey0123456789")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.mark.parametrize(
    "address",
    [
        ELSEWHERE,
        "http://api.openai.com/v1",  # unencrypted
        "https://api.openai.com.collector.example/v1",
        "https://api.openai.com@collector.example/v1",
        "https://api.openai.com:8443/v1",
        "http://127.0.0.1.collector.example/v1",
        "http://localhost@collector.example/v1",
        "http://10.0.0.7:8000/v1",
    ],
)
def test_a_key_does_not_go_elsewhere(address: str) -> None:
    with pytest.raises(ConfigError, match="would send your key") as caught:
        refuse_to_send_key(ServerSettings(base_url=["http://localhost:1/v1", address]), "the step answer")
    assert "OPENAI_BASE_URL" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    "address",
    ["https://api.openai.com/v1", "http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", "http://LOCALHOST:1/v1"],
)
def test_it_goes_home_and_to_this_machine(address: str) -> None:
    refuse_to_send_key(ServerSettings(base_url=[address]), "the step answer")


def test_the_user_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://node1:8000/v1,{ELSEWHERE}")
    refuse_to_send_key(ServerSettings(base_url=[ELSEWHERE]), "the step answer")
    refuse_to_send_key(ServerSettings(base_url=["http://node1:8000/v1/"]), "the step answer")
    with pytest.raises(ConfigError):
        refuse_to_send_key(ServerSettings(base_url=["http://node2:8000/v1"]), "the step answer")


def test_without_a_key_there_is_nothing_to_send(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    refuse_to_send_key(ServerSettings(base_url=[ELSEWHERE]), "the step answer")
    with pytest.raises(ConfigError):  # a file that the recipe names may hold any secret of yours
        refuse_to_send_key(
            ServerSettings(base_url=[ELSEWHERE], api_key_file=str(tmp_path / "token")), "the step answer"
        )


@pytest.mark.parametrize("section", ["answer", "judge", "evaluate"])
def test_a_recipe_is_refused_before_anything_runs(
    section: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tiny_rows(tmp_path / "rows.jsonl", 2, answered=True)
    given = {"answer": "null", "judge": "{judge: rule}", "evaluate": "{}"}
    given[section] = f"{{model: m, base_url: {ELSEWHERE}{', judge: openai' if section == 'judge' else ''}}}"
    if section == "evaluate":
        given[section] = f"{{base_url: {ELSEWHERE}}}"
    lines = [f"{name}: {text}" for name, text in given.items()]
    recipe = tmp_path / "recipe.yaml"
    text = "\n".join(
        ["name: r", f"output: {tmp_path / 'out'}", f"model: {tmp_path}", f"data: {{source: {rows}}}", *lines]
    )
    recipe.write_text(text + f"\ntrain: {{}}\ntest: {{source: {rows}}}\n", encoding="utf-8")
    assert run(["run", str(recipe)]) == 2
    err = capsys.readouterr().err
    assert f"would send your key to {ELSEWHERE}" in err
    assert "sk-" not in err
    assert not (tmp_path / "out" / "problems.jsonl").exists()


def test_a_rubric_is_refused(tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(f"criteria: [It is polite.]\nmodel: m\nbase_url: {ELSEWHERE}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="the rubric would send your key"):
        get_grader(f"rubric:{rubric}")


def test_what_the_user_types_is_the_users_choice(tmp_path: Path) -> None:
    """`--base-url` on the command line: nobody asks, whatever the host; nothing is sent by a dry run."""
    rows = tiny_rows(tmp_path / "rows.jsonl", 2, answered=False)
    words = ["answer", str(rows), "-o", str(tmp_path / "a.jsonl"), "--model", "m", "--base-url", ELSEWHERE, "--dry-run"]
    assert run(words) == 0
