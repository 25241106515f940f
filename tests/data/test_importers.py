"""Every file format and schema, read into our records."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.data import hold_out, load_problems
from nlft.data.schemas import SCHEMAS
from nlft.errors import ConfigError, DataError
from nlft.prompts import Context
from nlft.records import Attempt, Graded, Judged, Problem

Q, A = "How many {legs}, in all?\n", "2 * 4 = 8\n#### 8"
PROBLEM = Problem(id="in-0", question=Q, reference=A)

SCHEMA_ROWS: dict[str, dict[str, Any]] = {
    "nlft": {"question": Q, "reference": A},
    "gsm8k": {"question": Q, "answer": A},
    "math": {"problem": Q, "solution": A},
    "prompt-completion": {"prompt": Q, "completion": A},
    "prompt-completion, as messages": {
        "prompt": [{"role": "user", "content": Q}],
        "completion": [{"role": "assistant", "content": A}],
    },
    "alpaca": {"instruction": Q, "input": "", "output": A},
    "alpaca without input": {"instruction": Q, "output": A},
    "messages": {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]},
    "sharegpt": {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
}


@pytest.mark.parametrize("name", SCHEMA_ROWS)
@pytest.mark.parametrize("container", ["jsonl", "json", "parquet"])
def test_schemas_are_told_from_the_columns(tmp_path: Path, name: str, container: str) -> None:
    path = tmp_path / f"in.{container}"
    rows = [SCHEMA_ROWS[name], SCHEMA_ROWS[name]]
    if container == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif container == "json":
        path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pytest.importorskip("pyarrow").Table.from_pylist(rows)
        parquet.write_table(table, path)
    records = list(load_problems(path))
    assert [(record.id, record.question, record.reference) for record in records] == [
        (f"in-{row}", Q, A) for row in range(2)
    ]
    assert all(type(record) is Problem and not record.model_extra for record in records)


@pytest.mark.parametrize(("number", "text"), [(4, "4"), (-2.5, "-2.5")])
def test_a_number_will_do_as_a_reference(jsonl: Callable, number: float, text: str) -> None:
    (record,) = load_problems(jsonl("in.jsonl", [{"question": Q, "answer": number}]))
    assert record.reference == text
    with pytest.raises(DataError, match="valid string"):
        list(load_problems(jsonl("in.jsonl", [{"question": Q, "answer": True}])))


def test_the_remedy_names_the_likely_columns(jsonl: Callable) -> None:
    row = {"Query": Q, "ANSWER": A, "n": 1}
    with pytest.raises(DataError, match="--map question=Query --map reference=ANSWER"):
        list(load_problems(jsonl("in.jsonl", [row])))
    (record,) = load_problems(jsonl("in.jsonl", [row]), columns={"question": "Query", "reference": "ANSWER"})
    assert record.question == Q


def test_an_alpaca_input_follows_the_instruction(jsonl: Callable) -> None:
    (record,) = load_problems(jsonl("in.jsonl", [{"instruction": "Add.", "input": "1, 2", "output": "3"}]))
    assert record.question == "Add.\n\n1, 2"


def test_a_system_message_is_kept_beside(jsonl: Callable) -> None:
    said = [{"role": "system", "content": "Be short."}, *SCHEMA_ROWS["messages"]["messages"]]
    (record,) = load_problems(jsonl("in.jsonl", [{"messages": said}]))
    assert (record.question, record.model_extra) == (Q, {"system": "Be short."})


HELLO = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


def test_a_longer_chat_gives_its_last_turn_with_the_earlier_ones_as_context(jsonl: Callable) -> None:
    path = jsonl("in.jsonl", [{"messages": HELLO + SCHEMA_ROWS["messages"]["messages"]}])
    (record,) = load_problems(path)
    assert (record.question, record.reference, record.model_extra) == (Q, A, {"earlier_turns": HELLO})
    (record,) = load_problems(path, first_exchange=True)
    assert (record.question, record.reference, record.model_extra) == ("Hi.", "Hello.", {})


def test_a_longer_pair_of_messages_is_no_different(jsonl: Callable) -> None:
    pair = SCHEMA_ROWS["prompt-completion, as messages"]
    path = jsonl("in.jsonl", [{"prompt": HELLO + pair["prompt"], "completion": pair["completion"]}])
    (record,) = load_problems(path)
    assert (record.question, record.reference, record.model_extra) == (Q, A, {"earlier_turns": HELLO})
    unanswered = jsonl("in.jsonl", [{"prompt": pair["prompt"] + pair["completion"], "completion": pair["prompt"]}])
    with pytest.raises(DataError, match=r"in.jsonl:1: the chat is not a user's turn and an assistant's"):
        list(load_problems(unanswered))
    assert list(load_problems(unanswered, first_exchange=True)) == [PROBLEM]


def test_calls_of_tools_stand_between_question_and_answer(jsonl: Callable) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
    said = [
        *HELLO,
        {"role": "user", "content": Q},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
        {"role": "assistant", "content": A, "reasoning_content": "It is easy."},
    ]
    (record,) = load_problems(jsonl("in.jsonl", [{"messages": said, "tools": json.dumps(tools)}]))
    assert (record.question, record.reference) == (Q, A)
    context = Context.of(record)
    assert (list(context.turns), list(context.tools)) == (HELLO, tools)
    assert [turn["role"] for turn in context.calls] == ["assistant", "tool"]
    assert context.calls[0]["tool_calls"][0]["function"]["arguments"] == {"a": 2, "b": 2}
    assert record.reference_thoughts == "It is easy."
    with pytest.raises(DataError, match="ends with a call of a tool"):
        list(load_problems(jsonl("in.jsonl", [{"messages": said[:4]}])))


@pytest.mark.parametrize("form", ["text", "answers", "conversations", "without a prompt"])
def test_a_preference_pair_is_a_reference_and_a_response(jsonl: Callable, form: str) -> None:
    asked, chosen, rejected = (
        {"role": role, "content": text} for role, text in (("user", Q), ("assistant", A), ("assistant", "No idea."))
    )
    row = {
        "text": {"prompt": Q, "chosen": A, "rejected": "No idea."},
        "answers": {"prompt": [*HELLO, asked], "chosen": [chosen], "rejected": [rejected]},
        "conversations": {"prompt": Q, "chosen": [*HELLO, asked, chosen], "rejected": [*HELLO, asked, rejected]},
        "without a prompt": {"chosen": [*HELLO, asked, chosen], "rejected": [*HELLO, asked, rejected]},
    }[form]
    (record,) = load_problems(jsonl("in.jsonl", [row]))
    assert isinstance(record, Attempt)
    assert (record.question, record.reference, record.response) == (Q, A, "No idea.")
    assert record.model_extra == ({} if form == "text" else {"earlier_turns": HELLO})


def test_pairs_that_are_none_are_refused(jsonl: Callable) -> None:
    for row in ({"chosen": A, "rejected": "x"}, {"prompt": Q, "chosen": A, "rejected": [{"role": "user"}]}):
        with pytest.raises(DataError, match="no preference pair"):
            list(load_problems(jsonl("in.jsonl", [row])))
    apart = {"chosen": [{"role": "user", "content": Q}, *HELLO[1:]], "rejected": HELLO}
    with pytest.raises(DataError, match="differ in more than"):
        list(load_problems(jsonl("in.jsonl", [apart])))


def test_the_columns_of_a_forced_schema_go_before_ours(jsonl: Callable) -> None:
    row = {"problem": Q, "solution": A, "question": "which?", "reference": None, "answer": "8"}
    (record,) = load_problems(jsonl("in.jsonl", [row]), format="math")
    assert (record.question, record.reference, record.model_extra) == (Q, A, {"answer": "8"})


@pytest.mark.parametrize(
    "said",
    [
        [],
        None,
        "text",
        [1],
        [{"role": "assistant", "content": A}, {"role": "user", "content": Q}],
        [{"role": "user", "content": Q}],
        [{"role": "user", "content": None}, {"role": "assistant", "content": A}],
    ],
)
def test_a_chat_that_is_none_is_refused(jsonl: Callable, said: object) -> None:
    with pytest.raises(DataError, match=r"in.jsonl:1: "):
        list(load_problems(jsonl("in.jsonl", [{"messages": said}])))


def test_the_authors_json(tmp_path: Path) -> None:
    """A list of {instruction, input, output, judgment, answer}: `output` is what is learned from."""
    rows = [
        {"instruction": "2*4?", "input": "", "output": "It is 9.", "judgment": "2*4 is 8.", "answer": "#### 8"},
        {"question": "2*4?", "output": "It is 8.", "judgment": "", "answer": "#### 8"},
    ]
    path = tmp_path / "authors.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    wrong, right = load_problems(path)
    assert isinstance(wrong, Attempt)
    assert (wrong.question, wrong.reference, wrong.response) == ("2*4?", "#### 8", "It is 9.")
    assert wrong.model_extra == {"judgment": "2*4 is 8."}
    assert right.model_extra == {"judgment": None}


def test_what_a_row_has_it_keeps(jsonl: Callable) -> None:
    verdict = {"correct": False, "reason": "the reference says 8"}
    problem = {"id": "x", "question": Q, "reference": A, "mine": {"deep": [1, None, "ü"]}}
    rows = [
        problem,
        problem | {"id": "y", "response": "9"},
        problem | {"id": "z", "response": "9", "verdict": verdict},
        problem | {"id": "j", "response": "9", "verdict": verdict, "judgment": "No.", "judge": "me"},
    ]
    records = list(load_problems(jsonl("in.jsonl", rows)))
    assert [type(record) for record in records] == [Problem, Attempt, Graded, Judged]
    assert all(record.model_extra == {"mine": {"deep": [1, None, "ü"]}} for record in records)
    assert isinstance(records[3], Judged)
    assert records[3].judgment == "No."


def test_columns_called_otherwise(jsonl: Callable) -> None:
    path = jsonl("in.jsonl", [{"task": Q, "worked": {"text": A}, "level": 5, "a.b": "dotted"}])
    columns = {"question": "task", "reference": "worked.text", "id": "a.b"}
    (record,) = load_problems(path, columns=columns)
    assert (record.id, record.question, record.reference) == ("dotted", Q, A)
    assert record.model_extra == {"worked": {"text": A}, "level": 5}
    with pytest.raises(DataError, match=r'in.jsonl:1: the column "tsk" is missing[\s\S]*did you mean "task"'):
        list(load_problems(path, columns={"question": "tsk", "reference": "worked.text"}))
    with pytest.raises(DataError, match=r"no question and answer among the columns a.b, level, task, worked"):
        list(load_problems(path))


def test_numbers_as_ids_become_text(jsonl: Callable) -> None:
    records = list(load_problems(jsonl("in.jsonl", [{"id": i, "question": Q, "answer": A} for i in (7, 8)])))
    assert [record.id for record in records] == ["7", "8"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv(tmp_path: Path, delimiter: str, end: str, mark: str) -> None:
    path = tmp_path / "in.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(mark)
        table = csv.writer(stream, delimiter=delimiter, lineterminator=end)
        table.writerow(["question", "answer", "note"])
        table.writerow([Q, A, 'a "quoted" cell'])
        stream.write(end)
        table.writerow(["x" * 200_000, "1", ""])
    first, second = load_problems(path)
    assert (first.question, first.reference, first.model_extra) == (Q, A, {"note": 'a "quoted" cell'})
    assert (second.id, len(second.question)) == ("in-1", 200_000)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "no column names"),
        ("question,answer\n", None, "holds no rows"),
        ("question,question\na,b\n", 1, "same name"),
        ("question,answer\na,b\nc\n", 3, "1 cells, but the header has 2"),
        ("question,answer\na,b,c\n", 2, "3 cells"),
        ('question,answer\n"a\n\nb",1\n"c"d,1\n', 5, "broken CSV"),
        ('question,answer\na,"b', 2, "broken CSV"),
        ("question,answer\na,b\nc, \n", 3, "reference"),
        ("question,answer\na,\n", 2, "reference"),
    ],
)
def test_broken_csv_names_the_line(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        list(load_problems(path))
    assert caught.value.line == line


def test_tsv_and_a_forced_format(tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.write_text("question\tanswer\na, b\t1\n", encoding="utf-8")
    (record,) = load_problems(path)
    assert record.question == "a, b"
    odd = path.rename(tmp_path / "in.data")
    with pytest.raises(DataError, match="--format"):
        list(load_problems(odd))
    (record,) = load_problems(odd, format="tsv")
    assert record.question == "a, b"


def test_a_file_without_a_known_suffix_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "in"
    for text in (json.dumps([SCHEMA_ROWS["gsm8k"]]), json.dumps(SCHEMA_ROWS["gsm8k"])):
        path.write_text("\n  " + text, encoding="utf-8")
        assert list(load_problems(path)) == [PROBLEM]


def test_parquet_without_a_suffix_and_its_odd_types(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import datetime
    import decimal

    row = {
        "question": Q,
        "answer": A,
        "day": datetime.date(2024, 5, 1),
        "none": float("nan"),
        "d": decimal.Decimal("1.10"),
    }
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist([row] * 2500), tmp_path / "in")
    records = list(load_problems(tmp_path / "in"))
    assert len(records) == 2500
    assert records[0].model_extra == {"day": "2024-05-01", "none": None, "d": "1.10"}
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.Table.from_pylist([{"question": Q, "answer": A, "image": b"\x00"}]), tmp_path / "in.parquet"
    )
    with pytest.raises(DataError, match=r'in.parquet:1: the column "image" holds bytes'):
        list(load_problems(tmp_path / "in.parquet"))


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name != "nlft"])
def test_a_forced_schema_names_what_is_missing(jsonl: Callable, name: str) -> None:
    path = jsonl("in.jsonl", [{"something": "else"}])
    with pytest.raises(DataError, match=r"in.jsonl:1: "):
        list(load_problems(path, format=name))


def test_a_later_row_must_have_the_same_columns(jsonl: Callable) -> None:
    path = jsonl("in.jsonl", [SCHEMA_ROWS["gsm8k"], SCHEMA_ROWS["alpaca"]])
    with pytest.raises(DataError, match=r'in.jsonl:2: the column "answer" is missing'):
        list(load_problems(path))


def test_unknown_formats_are_refused(jsonl: Callable) -> None:
    with pytest.raises(ConfigError, match='did you mean "alpaca"'):
        list(load_problems(jsonl("in.jsonl", [{}]), format="alpca"))


def test_repeated_ids_name_both_lines(jsonl: Callable) -> None:
    rows = [{"id": str(i % 5), "question": Q, "answer": A} for i in range(6)]
    with pytest.raises(DataError, match=r"in.jsonl:6: the id '0' is already on line 1"):
        list(load_problems(jsonl("in.jsonl", rows)))


def test_subsets_of_a_file(jsonl: Callable) -> None:
    path = jsonl("in.jsonl", [{"question": f"{i}?", "answer": str(i)} for i in range(20)])
    everything = list(load_problems(path))
    some = list(load_problems(path, n=6, seed=1))
    assert some == list(load_problems(path, n=12, seed=1))[:6]
    assert all(record in everything for record in some)
    with pytest.raises(ConfigError, match="20 rows"):
        list(load_problems(path, n=21))


def test_a_hub_set_with_a_column_map(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name: str, config: str | None, *, split: str) -> list[dict]:
        asked.append((name, config, split))
        return [{"problem": Q, "solution": A}]

    monkeypatch.setattr(datasets, "load_dataset", load)
    columns = {"question": "problem", "reference": "solution"}
    (record,) = load_problems("hub:someone/math", columns=columns, split="dev", config="easy")
    assert (record.id, record.question, record.reference) == ("math-0", Q, A)
    assert asked == [("someone/math", "easy", "dev")]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=20), st.integers(1, 5), st.integers(0, 3))
def test_held_out_questions_are_not_trained_on(questions: list[str], n: int, seed: int) -> None:
    rows = [
        Problem(id=str(i), question=q.upper() if i % 2 else f" {q}?", reference="1") for i, q in enumerate(questions)
    ]
    if n >= len(set(questions)):
        with pytest.raises(ConfigError, match="different ones"):
            hold_out(rows, n, seed)
        return
    train, test = hold_out(rows, n, seed)
    assert sorted([*train, *test], key=lambda row: int(row.id)) == rows
    sides = [{row.question.strip(" ?").lower() for row in side} for side in (train, test)]
    assert len(sides[1]) == n
    assert not sides[0] & sides[1]
    assert hold_out(rows, n, seed) == (train, test)


def test_the_verb_holds_rows_out(run, jsonl: Callable, tmp_path: Path, capsys) -> None:
    path = jsonl("in.jsonl", [{"question": f"{i}?", "answer": "8"} for i in range(10)])
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    assert run("data", path, "-o", train, "--hold-out", test) == 0
    assert [len(each.read_text().splitlines()) for each in (train, test)] == [8, 2]
    assert run("data", path, "-o", train, "--hold-out", test, "--hold-out-n", 10) == 2
    assert "a fifth is usual" in capsys.readouterr().err
    assert run("data", path, "-o", train, "--hold-out", train) == 2
    assert run("data", path, "-o", train, "--hold-out", path) == 2
    assert run("data", path, "-o", train, "--hold-out-n", 2) == 2
    assert [len(each.read_text().splitlines()) for each in (train, test, path)] == [8, 2, 10]


def test_the_verb(run, jsonl: Callable, tmp_path: Path, capsys) -> None:
    path = jsonl("in.jsonl", [{"task": f"{i}?", "worked": "8"} for i in range(9)])
    output = tmp_path / "out.jsonl"
    options = ["--map", "question=task", "--map", "reference=worked", "-o", output]
    assert run("data", path, *options) == 0
    assert run("data", "file", path, *options, "--n", 4, "--seed", 3) == 0
    assert "9 rows -> " in capsys.readouterr().out
    assert len(output.read_text(encoding="utf-8").splitlines()) == 4
    assert run("data", path, "--map", "question", "-o", output) == 2
    assert run("data", path, "-o", output) == 1
    assert f"{path}:1: no question and answer" in capsys.readouterr().err
    assert len(output.read_text(encoding="utf-8").splitlines()) == 4
