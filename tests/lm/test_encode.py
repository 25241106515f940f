"""Three prompts and one response: aligned by construction, and text from data stays text."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import tiny_tokenizer

from nlft.errors import DataError, ModelError
from nlft.lm import encode_example, encode_prompt
from nlft.lm.config import TemplateSettings
from nlft.lm.template import settle_template
from nlft.prompts import available, load_prompts
from nlft.records import Judged, Verdict

TOKENIZER = tiny_tokenizer()
SHORT = load_prompts("short")


def judged(**changes: Any) -> Judged:
    wrong = Verdict(correct=False, reason="no")
    row = {"id": "r", "question": "Q?", "reference": "#### 4", "response": "It is 5.", "judgment": "It is 4."}
    return Judged.model_validate({**row, "verdict": wrong, **changes})


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip), st.sampled_from(available()))
def test_every_path_ends_with_the_same_response(question: str, response: str, prompts: str) -> None:
    row = judged(question=question, response=response)
    example = encode_example(TOKENIZER, row, load_prompts(prompts))
    paths = [example.base, example.standard, example.judge]
    assert all(path is not None and path.response == example.response for path in paths)
    assert example.response[-1] == TOKENIZER.eos_token_id
    assert TOKENIZER.decode(example.response[:-1]) == response


@pytest.mark.parametrize(
    "text", ["{question}", "{0} {{}} %s %(x)s", "{{ messages }}{% for x in y %}", "${HOME} `id` \\n", "<|none|> </s>"]
)
def test_template_syntax_in_data_is_text(text: str) -> None:
    ids = encode_prompt(TOKENIZER, SHORT.judge(text, text))
    assert TOKENIZER.decode(ids).count(text) == 2


@pytest.mark.parametrize("prompts", ["paper", "short", "generic"])
def test_the_paths_share_instruction_and_question(prompts: str) -> None:
    example = encode_example(TOKENIZER, judged(question="How many?"), load_prompts(prompts))
    shared = TOKENIZER.decode(example.base.prompt).split("How many?")[0] + "How many?"
    for path in (example.standard, example.judge):
        assert path is not None
        assert TOKENIZER.decode(path.prompt).startswith(shared)


def test_the_authors_order_puts_what_is_asked_first() -> None:
    example = encode_example(TOKENIZER, judged(), load_prompts("authors"))
    assert example.judge is not None
    assert example.judge.prompt[:30] != example.base.prompt[:30]


def test_what_has_no_judge_path() -> None:
    right = Verdict(correct=True, reason="yes")
    assert encode_example(TOKENIZER, judged(verdict=right), SHORT).judge is None
    assert encode_example(TOKENIZER, judged(judgment=None), SHORT).judge is None


def test_a_template_without_a_system_role_gets_the_instruction_in_the_question() -> None:
    other = tiny_tokenizer()
    other.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    )
    text = other.decode(encode_prompt(other, SHORT.base("Why?")))
    assert text.strip() == f"[user] {SHORT.solve}\n\nWhy?"
    other.chat_template = "{% for m in messages %}{% if m['role'] != 'system' %}[{{ m['role'] }}] {{ m['content'] }}\n{% endif %}{% endfor %}"
    text = other.decode(encode_prompt(other, SHORT.base("Why?")))
    assert text.strip() == f"[user] {SHORT.solve}\n\nWhy?", "passed over in silence"
    other.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(ModelError, match="refuses the conversation: never"):
        encode_prompt(other, SHORT.base("Why?"))
    other.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        encode_prompt(other, SHORT.base("Why?"))
    settle_template(other, TemplateSettings(chat_template="plain"), name="x")
    assert other.decode(encode_prompt(other, SHORT.base("Why?"))) == f"{SHORT.solve}\n\nWhy?\n\n"


def test_an_answer_that_was_cut_off_does_not_teach_to_end_there() -> None:
    ended, cut = (
        encode_example(TOKENIZER, judged(finish_reason=why), SHORT).base.response for why in ("stop", "length")
    )
    assert ended == (*cut, TOKENIZER.eos_token_id)
    assert (
        encode_example(TOKENIZER, judged(finish_reason="length"), SHORT, target="reference").base.response[-1]
        == ended[-1]
    )


def test_weights_of_an_answer_that_was_cut_off_are_those_of_its_text() -> None:
    cut = judged(finish_reason="length")
    count = len(encode_example(TOKENIZER, cut, SHORT).base.response)
    weighed = cut.model_copy(update={"token_weights": [0.5] * count})
    assert encode_example(TOKENIZER, weighed, SHORT).token_weights == (0.5,) * count
    with pytest.raises(DataError, match=rf"must be {count} numbers\n"):
        encode_example(TOKENIZER, cut.model_copy(update={"token_weights": [0.5] * (count - 1)}), SHORT)


def test_an_empty_or_endless_row_is_refused() -> None:
    with pytest.raises(DataError, match="row 'r': the response is empty"):
        encode_example(TOKENIZER, judged(response=" \n"), SHORT)
    with pytest.raises(DataError, match=r"row 'r': \d+ tokens, but the model takes 20"):
        encode_example(TOKENIZER, judged(), SHORT, context_length=20)


def test_a_users_prompts_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "solve: Do it.\nstandard_heading: 'S:'\njudge_heading: 'J:'\njudging: Check.\njudging_wrong: Where?\n",
        encoding="utf-8",
    )
    prompts = load_prompts(str(path))
    assert prompts.name == "mine"
    assert prompts.standard("Q", "R") == [
        {"role": "system", "content": "Do it."},
        {"role": "user", "content": "Q\n\nS:\n\nR"},
    ]
