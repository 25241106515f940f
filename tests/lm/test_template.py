"""Which chat template is used, and what is written into it so that it says the same everywhere."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from tests.lm.families import FAMILIES, SMOLLM2, Family, build
from tests.tiny import tiny_model, tiny_rows, tiny_tokenizer

from nlft.cli.app import run
from nlft.errors import ConfigError, ModelError
from nlft.lm import encode_prompt, load_tokenizer
from nlft.lm.config import ChatSettings, TemplateSettings
from nlft.lm.frame import frame_of
from nlft.lm.template import settle_template
from nlft.lm.thoughts import answer_marks

HI: Any = [{"role": "user", "content": "Hi"}]
BY_NAME = {str(family): family for family in FAMILIES}


def settled(family: Family, **settings: Any) -> Any:
    tokenizer = family.tokenizer()
    settle_template(tokenizer, TemplateSettings(**settings), name=str(family))
    return tokenizer


def prompt(tokenizer: Any) -> str:
    return frame_of(tokenizer, HI).prompt


def test_auto_does_not_think() -> None:
    qwen = BY_NAME["qwen3-off"]
    off, auto, on = (prompt(settled(qwen, thinking=choice)) for choice in ("off", "auto", "on"))
    assert off == auto == on + "<think>\n\n</think>\n\n"


@pytest.mark.parametrize("name", ["qwen3-off", "glm4moe-off", "gemma4", "qwen3_5_think-on"])
@pytest.mark.parametrize("thinking", ["on", "off"])
def test_the_switch_in_the_text_does_what_the_keyword_does(name: str, thinking: Any) -> None:
    """Also what the first words of a template are: its white space is not eaten."""
    raw, family = BY_NAME[name].tokenizer(), BY_NAME[name]
    for add in (True, False):
        told = raw.apply_chat_template(HI, tokenize=False, add_generation_prompt=add, enable_thinking=thinking == "on")
        tokenizer = settled(family, thinking=thinking)
        assert tokenizer.apply_chat_template(HI, tokenize=False, add_generation_prompt=add) == told
        # Whoever serves the model may still decide otherwise.
        other = raw.apply_chat_template(HI, tokenize=False, add_generation_prompt=add, enable_thinking=thinking != "on")
        said = tokenizer.apply_chat_template(
            HI, tokenize=False, add_generation_prompt=add, enable_thinking=thinking != "on"
        )
        assert said == other


def test_a_settled_template_keeps_what_it_says_unless_told_otherwise() -> None:
    tokenizer = settled(BY_NAME["qwen3-off"], thinking="on")
    first = tokenizer.chat_template
    settle_template(tokenizer, TemplateSettings(), name="x")
    assert tokenizer.chat_template == first
    settle_template(tokenizer, TemplateSettings(thinking="off"), name="x")
    assert tokenizer.chat_template == settled(BY_NAME["qwen3-off"], thinking="off").chat_template


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("llama3_1", "Today Date: 26 Jul 2024", "Today Date: 01 Feb 2026"),
        ("llama3_2", "Today Date: 26 Jul 2024", "Today Date: 01 Feb 2026"),
        ("gptoss", "Current date: 2024-07-26", "Current date: 2026-02-01"),
    ],
)
def test_dates_are_fixed(name: str, first: str, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            raise AssertionError("the template reads the clock")

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
    assert first in prompt(settled(BY_NAME[name]))
    assert second in prompt(settled(BY_NAME[name], template_date="2026-02-01"))


def test_what_says_how_a_model_is_spoken_to_decides_a_result(tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text(SMOLLM2, encoding="utf-8")
    changes = [{"thinking": "on"}, {"template_date": "2026-02-01"}, {"system": "replace"}, {"chat_template": "plain"}]
    made = [ChatSettings.model_validate(each).identity() for each in [{}, *changes, {"chat_template": str(template)}]]
    assert len({json.dumps(each, sort_keys=True) for each in made}) == 6
    template.write_text(SMOLLM2 + " ", encoding="utf-8")
    assert ChatSettings(chat_template=str(template)).identity() != made[-1]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("qwen2_5", {"thinking": "on"}, "no switch for it"),
        ("deepseekv3", {"thinking": "off"}, "no switch for it"),
        ("qwen2_5", {"template_date": "2026-02-01"}, "writes no date"),
        ("plain", {}, "has no chat template, as a base model's has none"),
        ("plain", {"chat_template": "nowhere.jinja"}, "no such chat template"),
    ],
)
def test_what_is_missing_or_has_no_effect_is_refused(name: str, settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settled(BY_NAME[name], **settings)


def test_a_clock_that_cannot_be_stopped_is_refused() -> None:
    tokenizer = build("{{ strftime_now(form) }}")
    with pytest.raises(ConfigError, match="cannot be fixed"):
        settle_template(tokenizer, TemplateSettings(), name="x")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base model: no template, but the tokens of its Instruct sibling."""
    folder = tiny_model(tmp_path / "base")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    (folder / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(folder)
    return folder


def test_a_base_model_takes_a_template_from_a_file_or_its_sibling(base: Path, tmp_path: Path) -> None:
    sibling = tiny_model(tmp_path / "instruct")
    (tmp_path / "t.jinja").write_text(tiny_tokenizer().chat_template, encoding="utf-8")
    adapter = tmp_path / "adapter"  # a tokenizer, but no model
    load_tokenizer(str(sibling)).save_pretrained(adapter)
    with pytest.raises(
        ConfigError, match=r"no chat template[\s\S]*--chat-template: a Jinja file, the model's Instruct"
    ):
        load_tokenizer(str(base))
    for chosen in (sibling, tmp_path / "t.jinja", adapter):
        tokenizer = load_tokenizer(str(base), template=TemplateSettings(chat_template=str(chosen)))
        assert tokenizer.decode(encode_prompt(tokenizer, HI)) == "<|user|>Hi<|end|><|assistant|>"
    with pytest.raises(ConfigError, match="has no chat template either"):
        load_tokenizer(str(base), template=TemplateSettings(chat_template=str(base)))
    plain = load_tokenizer(str(base), template=TemplateSettings(chat_template="plain"))
    frame = frame_of(plain, HI)
    assert (frame.prompt, frame.opening, frame.closing) == ("Hi\n\n", "", "<|end|>")


def test_a_template_made_for_other_tokens_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text(SMOLLM2, encoding="utf-8")
    tokenizer = load_tokenizer(str(base), template=TemplateSettings(chat_template=str(tmp_path / "t.jinja")))
    with pytest.raises(ModelError, match=r"<\|im_end\|>, which is no token of this tokenizer"):
        frame_of(tokenizer, HI)


@pytest.mark.parametrize("verb", ["train", "score", "evaluate", "answer", "show"])
def test_every_verb_says_that_a_base_model_has_no_template(
    verb: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = {"verdict": {"correct": True, "reason": "planted"}, "judgment": None}
    path = tiny_rows(tmp_path / "rows.jsonl", 2, answered=True)
    path.write_text("".join(json.dumps(json.loads(x) | judged) + "\n" for x in path.read_text().splitlines()))
    words = ["data", "show", str(path), "1"] if verb == "show" else [verb, str(path), "-o", str(tmp_path / "out.json")]
    code = run([*words, "--model", str(base), *([] if verb == "show" else ["--device", "cpu"])])
    assert code == 2
    assert "--chat-template" in capsys.readouterr().err
    if verb == "show":
        assert run([*words, "--model", str(base), "--chat-template", "plain"]) == 0
        assert "#### 3<|end|>⟧" in capsys.readouterr().out
        assert run([*words, "--chat-template", "plain"]) == 2
        assert "--chat-template has no effect without a model" in capsys.readouterr().err


ANSWERS = {
    "qwen3-on": [
        ("<think>\n2 and 2\n</think>\n\n4", "2 and 2", "4"),
        ("<think>\n\n</think>\n\n4", "", "4"),
        ("<think>\n2 and", "2 and", ""),
        ("4", "", "4"),
    ],
    "qwen3-off": [("4", "", "4"), ("a </think> b", "a", " b")],
    "deepseek_r1_distill": [("2 and 2\n</think>\n\n4", "2 and 2", "4"), ("2 and", "2 and", "")],
    "glm4moe-on": [("\n<think>2 and 2</think>\n4", "2 and 2", "4"), ("\n<think></think>\n4", "", "4")],
    "gptoss": [
        ("<|channel|>analysis<|message|>2 and 2<|end|><|start|>assistant<|channel|>final<|message|>4", "2 and 2", "4"),
        ("<|channel|>final<|message|>4", "", "4"),
        ("<|channel|>analysis<|message|>2 and", "2 and", ""),
    ],
    "qwen2_5": [("<think>2 and 2</think>4", "", "<think>2 and 2</think>4")],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_thoughts_are_kept_apart_from_the_answer(name: str) -> None:
    marks = answer_marks(settled(BY_NAME[name], thinking=BY_NAME[name].thinking))
    for generated, thoughts, answer in ANSWERS[name]:
        assert marks.split(generated) == (thoughts, answer)
