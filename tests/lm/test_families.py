"""What is trained is what each family's chat template writes: the table in docs/models.md.

Two origins say what is right: TRL's training templates, whose generation marks say which text is trained, and, for
what TRL marks nothing in, the opening and closing read by hand from the template's rendering.
"""

import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.lm.families import FAMILIES, TEMPLATES, Family

from nlft.cli.app import run as cli
from nlft.lm import LanguageModel, encode_example, encode_prompt
from nlft.lm.config import SamplingSettings, TemplateSettings
from nlft.lm.frame import frame_of
from nlft.lm.generate import generate
from nlft.lm.hf_generate import hf_generate
from nlft.lm.load import closing_id
from nlft.lm.logprobs import path_logprobs
from nlft.lm.template import settle_template
from nlft.prompts import load_prompts
from nlft.records import Judged, Verdict, write_records

SHORT = load_prompts("short")
ANSWER = "It is 4, as 2 + 2 = 4.\n#### 4"
ROW = Judged(
    id="r",
    question="What is 2 + 2?",
    reference="2 + 2 = 4\n#### 4",
    response=ANSWER,
    verdict=Verdict(correct=False, reason="planted"),
    judgment="Nothing is wrong with it.",
)
TABLE = pytest.mark.parametrize("family", FAMILIES, ids=str)


def settled(family: Family) -> Any:
    tokenizer = family.tokenizer()
    chosen = "plain" if family.template is None else None
    settle_template(tokenizer, TemplateSettings(thinking=family.thinking, chat_template=chosen), name=str(family))
    return tokenizer


def ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def rendering(tokenizer: Any, messages: Any, family: Family, **options: Any) -> str:
    if family.template is not None:
        tokenizer.chat_template = family.template
        options["enable_thinking"] = family.thinking == "on"
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))


@TABLE
def test_opening_and_closing_are_those_of_the_table(family: Family) -> None:
    frame = frame_of(settled(family), SHORT.base(ROW.question))
    assert (frame.opening, frame.closing) == (family.opening, family.closing)


@TABLE
def test_prompt_and_response_are_the_templates_rendering(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token by token, from the template as it is shipped, rendered at once with switch and clock set from outside."""
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", FixedClock)
    tokenizer = settled(family)
    example = encode_example(tokenizer, ROW, SHORT)
    messages = frame_of(tokenizer, SHORT.base(ROW.question)).messages
    asked = rendering(tokenizer, [*messages], family, add_generation_prompt=True)
    assert list(example.base.prompt) == ids(tokenizer, asked)
    if family.name.startswith("deepseek"):
        # A finished turn shows nothing of the thought that the generation prompt opens: it is closed, empty.
        whole = asked + CLOSED_THOUGHT + ANSWER + family.closing
        assert tokenizer.decode(example.base.tokens) == whole
        return
    whole = rendering(tokenizer, [*messages, {"role": "assistant", "content": ANSWER}], family)
    if family.closing not in whole[len(asked) :]:
        whole += family.closing  # glm4moe closes an answer with what begins the next turn
    end = whole.rindex(ANSWER) + len(ANSWER + family.closing)
    if family.opening.startswith(("\n</think>", "</think>")):  # a line break that one token writes with the next
        assert tokenizer.decode(example.base.tokens).replace("<think>\n<", "<think><") == whole[:end]
    else:
        assert list(example.base.tokens) == ids(tokenizer, whole[:end])


@TABLE
def test_the_command_shows_that_rendering(family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`nlft data show FILE ROW --model M`, with the trained tokens marked, from a folder of the model."""
    tokenizer = family.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    write_records(tmp_path / "judged.jsonl", [ROW])
    words = ["data", "show", str(tmp_path / "judged.jsonl"), "1", "--model", str(tmp_path), "--prompts", "short"]
    words += ["--thinking", family.thinking, *(["--chat-template", "plain"] if family.template is None else [])]
    assert cli(words) == 0
    example = encode_example(settled(family), ROW, SHORT)
    shown = capsys.readouterr().out
    for path in (example.base, example.standard, example.judge):
        assert path is not None
        assert f"{tokenizer.decode(path.prompt)}⟦{tokenizer.decode(path.response)}⟧" in shown
    assert f"the {len(example.response)} trained are in ⟦ ⟧" in shown


CLOSED_THOUGHT = "\n</think>\n\n"


class FixedClock(datetime.datetime):
    """Says the day that is written where nobody sets another."""

    @classmethod
    def now(cls, tz: Any = None) -> "FixedClock":
        return cls(2024, 7, 26)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.twin], ids=str)
def test_the_trained_span_is_the_one_trl_marks(family: Family) -> None:
    tokenizer = settled(family)
    frame = frame_of(tokenizer, SHORT.base(ROW.question))
    response = tokenizer.decode(encode_example(tokenizer, ROW, SHORT).response)
    twin = (TEMPLATES / f"{family.twin}.jinja").read_text(encoding="utf-8")
    said = [*frame.messages, {"role": "assistant", "content": family.thought + ANSWER}]
    marked = tokenizer.apply_chat_template(
        said,
        chat_template=twin,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        enable_thinking=family.thinking == "on",
    )
    mask = marked["assistant_masks"]
    span = tokenizer.decode([token for token, wanted in zip(marked["input_ids"], mask, strict=True) if wanted])
    assert span.startswith(family.cue + response)
    assert span.removeprefix(family.cue + response).strip() == family.beyond
    assert frame.prompt.endswith(family.cue)


@TABLE
def test_the_response_is_the_same_on_every_path_and_bos_comes_once(family: Family) -> None:
    tokenizer = settled(family)
    example = encode_example(tokenizer, ROW, SHORT)
    paths = [example.base, example.standard, example.judge]
    assert all(path is not None and path.response == example.response for path in paths)
    assert example.response[-1] == closing_id(tokenizer) == tokenizer.convert_tokens_to_ids(family.closing)
    for path in paths:
        assert path is not None
        bos = [place for place, token in enumerate(path.tokens) if token == tokenizer.bos_token_id]
        assert bos in ([], [0])
        assert bool(bos) == (family.bos is not None and "bos_token" in (family.template or "bos_token"))


@TABLE
def test_a_model_that_learnt_to_stop_does(family: Family) -> None:
    """Trained on one row until it knows it; with padding by the very token that ends texts."""
    tokenizer = settled(family)
    tokenizer.pad_token = tokenizer.eos_token
    example = encode_example(tokenizer, ROW, SHORT)
    assert example.response == encode_example(settled(family), ROW, SHORT).response
    lm = LanguageModel(learnt(example, len(tokenizer)), tokenizer, "tiny")
    prompts = [list(example.base.prompt), encode_prompt(tokenizer, [{"role": "user", "content": "Hi"}])]
    settings = SamplingSettings(temperature=0, max_new_tokens=len(example.response) + 20)
    for way in (generate(lm, prompts, settings), hf_generate(lm, prompts, settings, range(2))):
        done = {completion.index: completion for completion in way}[0]
        assert (done.text, done.finish_reason, done.thoughts) == (ANSWER, "stop", "")
        assert done.stop_id == closing_id(tokenizer)
        assert (*done.token_ids, done.stop_id) == example.response


@TABLE
def test_an_answer_that_is_continued_has_its_opening_behind_it(family: Family) -> None:
    tokenizer = settled(family)
    question, begun = SHORT.base(ROW.question), len(ANSWER) // 2
    prompt = encode_prompt(tokenizer, [*question, {"role": "assistant", "content": ANSWER[:begun]}])
    whole = frame_of(tokenizer, question).prompt + family.opening + ANSWER[:begun]
    assert tokenizer.decode(prompt) == tokenizer.decode(ids(tokenizer, whole))
    lm = LanguageModel(None, tokenizer, "none")
    assert lm.read(ids(tokenizer, "x = 4"), prompt)[0] == ""
    assert lm.read(ids(tokenizer, "x = 4"), prompt)[1].strip() == "x = 4"
    alone = encode_prompt(tokenizer, question)
    assert lm.read(ids(tokenizer, family.opening + "x = 4"), alone)[1].strip() == "x = 4"


def learnt(example: Any, vocabulary: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, bos_token_id=None, eos_token_id=None, pad_token_id=None, initializer_range=0.1,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(200):
        loss = -path_logprobs(model, [example.base])[0][0].logp.mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    return model.eval()


def test_the_docs_show_this_table() -> None:
    lines = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    shown = [tuple(row[1:]) for row in cells if len(row) == 5][2:]

    def code(text: str) -> str:
        return "`" + text.replace("\n", "\\n").replace("|", "\\|") + "`" if text else ""

    assert shown == [
        (
            "" if family.thinking == "auto" else family.thinking,
            code(family.opening),
            code(family.closing),
            "TRL, rendering" if family.twin else "rendering",
        )
        for family in FAMILIES
    ]
