"""Whatever stands in a file: a clear error with file and line, or the rows. Never anything else."""

import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nlft.data import load_problems
from nlft.data.file_formats import CHUNK, FILE_FORMATS, read_rows
from nlft.errors import DataError
from nlft.records import Attempt, Problem, read_records, to_line, write_records

ROWS = [
    {"id": f"r{i}", "question": f"{i} + 1? ✓ {{x}}", "reference": f"#### {i + 1}", "extra": [None, 1.5, "a\nb"]}
    for i in range(8)
]
VALID = {
    "jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode(),
    "json": json.dumps(ROWS, indent=1, ensure_ascii=False).encode(),
    "csv": b"id,question,reference\n" + "".join(f'{r["id"]},"{r["question"]}",8\n' for r in ROWS).encode(),
    "tsv": b"id\tquestion\treference\n" + "".join(f"{r['id']}\t{r['question']}\t8\n" for r in ROWS).encode(),
}
SPLICES = st.sampled_from(
    [b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b'"', b"{", b"}", b"[", b"]", b",", b"null", b"NaN", b"1e999",
     b"-Infinity", b"[[[[[[[[", b"\\u", b"\\ud800", b"{}", b"[]", b'{"id": 1}', b"9" * 5000, b"\x1b[2J", b"\t", b";"]
)  # fmt: skip
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def attempt(read: Callable[[], list[Problem]]) -> tuple[list[Problem], DataError | None]:
    try:
        return read(), None
    except DataError as error:
        return [], error


def rows_or_error(path: Path, read: Callable[[], list[Problem]]) -> None:
    """The property: rows that can be written and read again, or an error that names the file and is one to act on."""
    records, error = attempt(read)
    if error is not None:
        assert error.file == path
        assert error.line is not None or any(whole in error.message for whole in ("no rows", "no log"))
        assert error.remedy
        assert error.message.isprintable()
        return
    assert records
    again = path.with_name("again.jsonl")
    assert write_records(again, records) == len(records)
    assert [to_line(record) for record in read_records(again, type(records[0]))] == [to_line(r) for r in records]


@pytest.mark.parametrize("container", sorted(VALID))
@given(data=st.data())
@QUICK
def test_damaged_files(tmp_path: Path, container: str, data: st.DataObject) -> None:
    """Valid files with something cut out and something else put in."""
    raw = VALID[container]
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 40)))
    raw = raw[:start] + data.draw(SPLICES) + raw[end:]
    path = tmp_path / f"in.{container}"
    path.write_bytes(raw)
    rows_or_error(path, lambda: list(load_problems(path)))
    if container == "jsonl":
        rows_or_error(path, lambda: list(read_records(path, Problem)))
        rows_or_error(path, lambda: list(read_records(path, Attempt)))


@pytest.mark.parametrize("container", sorted(VALID))
def test_files_cut_off_anywhere(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"in.{container}"
    for end in range(0, len(VALID[container]), 3):
        path.write_bytes(VALID[container][:end])
        rows_or_error(path, lambda: list(load_problems(path)))


@pytest.mark.parametrize("container", FILE_FORMATS)
@given(raw=st.binary(max_size=200))
@example(raw=b'"')
@example(raw=b'a\tb\n1\t"x"y')  # a tab in the message; found by benchmarks/fuzz_readers.py
@example(raw=b"PAR1")
@example(raw=b"PAR1" + b"\0" * 60 + b"PAR1")
@example(raw=b"\x1f\x8b\x08\x00")
@example(raw="{}".encode("utf-16"))
@QUICK
def test_any_bytes(tmp_path: Path, container: str, raw: bytes) -> None:
    path = tmp_path / f"in.{container}"
    path.write_bytes(raw)
    rows_or_error(path, lambda: list(load_problems(path)))
    odd = tmp_path / "in"
    odd.write_bytes(raw)
    rows_or_error(odd, lambda: list(load_problems(odd)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["id", "question", "reference", "response", "verdict", "judgment", "answer", "output", "instruction", "input",
          "messages", "conversations", "finish_reason", "grades"]  # fmt: skip


@given(rows=st.lists(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), JSON, max_size=8), max_size=3))
@example(rows=[{"messages": [{"role": ["user"], "content": {}}]}])
@example(rows=[{"question": "a", "reference": "b", "": 1, "model_config": 2, "id": True}])
@example(rows=[{"question": "a", "reference": "b", "copy": 1, "dict": 2, "model_dump": 3}])
@QUICK
def test_objects_of_any_shape(tmp_path: Path, rows: list[dict]) -> None:
    for name, text in (("in.jsonl", "".join(json.dumps(row) + "\n" for row in rows)), ("in.json", json.dumps(rows))):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        rows_or_error(path, lambda path=path: list(load_problems(path)))


@pytest.mark.parametrize("deep", [90, 110, 990, 100_000])
@pytest.mark.parametrize("container", ["jsonl", "json"])
def test_deep_nesting(tmp_path: Path, deep: int, container: str) -> None:
    path = tmp_path / f"in.{container}"
    row = '{"id": "a", "question": "q", "reference": "r", "x": ' + "[" * deep + "]" * deep + "}"
    path.write_text(row if container == "jsonl" else f"[{row}]", encoding="utf-8")
    rows_or_error(path, lambda: list(load_problems(path)))
    if deep > 100:
        with pytest.raises(DataError, match="levels deep"):
            list(load_problems(path))


@pytest.mark.parametrize("container", sorted(VALID))
def test_a_huge_line(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"in.{container}"
    large = "9 " * (3 * CHUNK // 2)
    path.write_bytes(VALID[container].replace(b"3 + 1?", large.encode()))
    records = list(load_problems(path))
    assert [len(record.question) > CHUNK for record in records] == [i == 3 for i in range(8)]


def test_json_is_the_same_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The array is read in chunks; wherever their edges fall, the rows and their lines are the same."""
    path = tmp_path / "in.json"
    random_numbers = random.Random(0)
    text = "[\n" + ",\n".join(
        json.dumps({"a": "é\\\"\n" * random_numbers.randrange(9), "b": [1.5, {}, None]}, indent=random_numbers.choice([None, 2]))
        for _ in range(30)
    ) + "\n]\n"  # fmt: skip
    path.write_text(text, encoding="utf-8")
    whole = list(read_rows(path))
    assert [row for _, row in whole] == json.loads(text)
    lines = text.split("\n")
    assert all(lines[line - 1].startswith("{") for line, _ in whole)
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr("nlft.data.file_formats.CHUNK", size)
        assert list(read_rows(path)) == whole


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[\n{"a": 1}\n{"a": 2}]', 3, "comma"),
        ('[\n{"a": 1},\n{"a": 2}', 3, "cut off"),
        ('[\n{"a": 1},\n{"a": ', 3, "broken JSON"),
        ('[\n{"a": 1},\n{"a"\n: nope}]', 4, "broken JSON"),
        ('[\n{"a": 1},\n7]', 3, "not a JSON object"),
        ('[\n{"a": 1}]\n]', 3, "more text after the end"),
        ('[\n{"a": NaN}]', 2, "NaN"),
        ('[\n\n{"a": 1e999}]', 3, "1e999"),
    ],
)
def test_broken_json_names_the_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "in.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        list(read_rows(path))
    assert caught.value.line == line


@pytest.mark.parametrize("container", ["jsonl", "json", "csv", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, container: str) -> None:
    """Six times the rows take hardly more memory: a hash and a line for each id, never the rows."""

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.{container}"
        filler = "word " * 200
        rows = ({"question": f"{i} {filler}", "answer": "1"} for i in range(count))
        if container == "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(list(rows)), path)
        else:
            with path.open("w", encoding="utf-8") as stream:
                stream.write({"json": "[", "csv": "question,answer\n"}.get(container, ""))
                for i, row in enumerate(rows):
                    comma = "," if i and container == "json" else ""
                    stream.write(f"{row['question']},1\n" if container == "csv" else comma + json.dumps(row) + "\n")
                stream.write("]" if container == "json" else "")
        tracemalloc.start()
        assert sum(1 for _ in load_problems(path)) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2_000)  # what is imported and cached once
    small, large = peak(2_000), peak(12_000)
    assert large - small < 10_000 * 200, (small, large)  # the rows themselves are 1,000 bytes each
