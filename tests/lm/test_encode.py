"""Three prompts and one response: aligned by construction, and text from data stays text."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lm.families import FAMILIES
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


def test_the_authors_form_has_a2_inside_all_three_paths() -> None:
    authors, paper = load_prompts("authors"), load_prompts("paper")
    assert authors.solve == f"### Instruction\n\n{paper.solve}"
    assert authors.judging == paper.judging
    base, standard, judge = authors.base("Q?"), authors.standard("Q?", "S"), authors.judge("Q?", "J")
    assert [path[-1]["content"] for path in (base, standard, judge)] == [
        "### Question\n\nQ?",
        "### Question\n\nQ?\n\n### Standard Answer\n\nS",
        "### Question\n\nQ?\n\n### Judgment\n\nJ",
    ]
    assert [path[0]["content"].partition(authors.solve)[::2] for path in (base, standard, judge)] == [
        ("", ""),
        (f"{authors.standard_first}\n\n", ""),
        (f"{authors.judge_first}\n\n", ""),
    ]


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


TURNS = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


@pytest.mark.parametrize(
    ("system", "said"),
    [("join", f"Be brief.\n\n{SHORT.solve}"), ("replace", "Be brief."), (None, f"Be brief.\n\n{SHORT.solve}")],
)
def test_a_rows_own_system_message_is_used(system: str | None, said: str) -> None:
    prompts = load_prompts("short", system=system)
    example = encode_example(TOKENIZER, judged(system="Be brief."), prompts)
    for path in (example.base, example.standard, example.judge):
        assert path is not None
        assert TOKENIZER.decode(path.prompt).startswith(f"<|system|>{said}<|end|><|user|>Q?")
    alone = encode_example(TOKENIZER, judged(), prompts)
    assert TOKENIZER.decode(alone.base.prompt).startswith(f"<|system|>{SHORT.solve}<|end|>")


def test_or_it_is_refused_aloud() -> None:
    prompts = load_prompts("short", system="refuse")
    assert encode_example(TOKENIZER, judged(), prompts).base
    with pytest.raises(DataError, match=r"row 'r': it has a system message of its own[\s\S]*--system join"):
        encode_example(TOKENIZER, judged(system="Be brief."), prompts)


def test_earlier_turns_are_context_and_only_the_last_is_trained() -> None:
    example = encode_example(TOKENIZER, judged(earlier_turns=TURNS), SHORT)
    assert example.response == encode_example(TOKENIZER, judged(), SHORT).response
    before = f"<|system|>{SHORT.solve}<|end|><|user|>Hi.<|end|><|assistant|>Hello.<|end|><|user|>Q?"
    for path in (example.base, example.standard, example.judge):
        assert path is not None
        assert TOKENIZER.decode(path.prompt).startswith(before)


@pytest.mark.parametrize("name", ["qwen2_5", "llama3_1", "qwen3-off"])
def test_tools_and_their_calls_are_text_of_the_template(name: str) -> None:
    family = next(family for family in FAMILIES if str(family) == name)
    tokenizer = family.tokenizer()
    settle_template(tokenizer, TemplateSettings(thinking=family.thinking), name=name)
    add = {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {}}}
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}
    calls = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "four", "name": "add"},
    ]
    row = judged(tools=[{"type": "function", "function": add}], tool_turns=calls)
    example = encode_example(tokenizer, row, SHORT)
    text = tokenizer.decode(example.base.prompt)
    places = [text.index(words) for words in ("Add.", "Q?", '{"name": "add", "', "four")]
    assert places[1] < text.rindex("add") < places[3], text
    assert "Add." in text
    assert tokenizer.decode(example.response) == "It is 5." + family.closing
    for path in (example.base, example.standard, example.judge):
        assert path is not None
        assert path.response == example.response
        assert "four" in tokenizer.decode(path.prompt)


@pytest.mark.parametrize(
    "columns",
    [{"system": 3}, {"earlier_turns": "biology"}, {"earlier_turns": TURNS[:1]}, {"tools": "[]"}, {"tool_turns": [{}]}],
)
def test_columns_that_hold_something_else_are_refused(columns: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=rf"row 'r': the column `{next(iter(columns))}` does not hold"):
        encode_example(TOKENIZER, judged(**columns), SHORT)


def test_a_thought_in_a_response_is_not_trained_on_by_accident() -> None:
    family = next(family for family in FAMILIES if family.name == "qwen3")
    with pytest.raises(DataError, match=r"row 'r': the chat template does not write the response as it is"):
        encode_example(family.tokenizer(), judged(response="<think>\nHm.\n</think>\n\nIt is 5."), SHORT)


def test_white_space_that_the_template_strips_is_not_trained() -> None:
    llama, qwen = (next(f for f in FAMILIES if f.name == name).tokenizer() for name in ("llama3", "qwen2_5"))
    row = judged(response=" It is 5.\n")
    assert llama.decode(encode_example(llama, row, SHORT).response) == "It is 5.<|eot_id|>"
    assert qwen.decode(encode_example(qwen, row, SHORT).response) == " It is 5.\n<|im_end|>"


def test_weights_are_of_the_text_and_what_the_template_adds_weighs_one() -> None:
    tokenizer = next(f for f in FAMILIES if f.name == "gptoss").tokenizer()
    plain = encode_example(tokenizer, judged(), SHORT).response
    text = len(tokenizer("It is 5.", add_special_tokens=False).input_ids)
    opening = len(plain) - text - 1
    assert opening > 1
    weighed = encode_example(tokenizer, judged(token_weights=[0.5] * text), SHORT)
    assert weighed.token_weights == (*[1.0] * opening, *[0.5] * text, 1.0)
    weighed = encode_example(tokenizer, judged(token_weights=[0.5] * text + [0.25]), SHORT)
    assert weighed.token_weights == (*[1.0] * opening, *[0.5] * text, 0.25)


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
