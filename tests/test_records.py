"""Records and their JSONL form: strict on the way in, faithful on the way out."""

import json
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlft import records
from nlft.errors import DataError
from nlft.files import write_lines
from nlft.records import Attempt, Graded, Judged, Problem, Verdict, read_numbered, read_records, to_line, write_records

PROBLEM = {"id": "a", "question": "1 + 1?", "reference": "#### 2"}
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines))
    return path


TEXT = st.text(min_size=1, max_size=20).filter(str.strip)
EXTRA = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda key: key not in Judged.model_fields and not key.startswith("model_")),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    max_size=3,
)


@given(question=TEXT, reference=TEXT, response=st.text(max_size=20), judgment=st.none() | st.text(), extra=EXTRA)
@QUICK
def test_what_is_written_is_read_back(tmp_path: Path, question, reference, response, judgment, extra) -> None:
    verdict = Verdict(correct=False, reason="so")
    record = Judged.model_validate(
        {
            "id": "a",
            "question": question,
            "reference": reference,
            "response": response,
            "verdict": verdict,
            "grades": {"exact": verdict},
            "judgment": judgment,
            **extra,
        }
    )
    path = tmp_path / "judged.jsonl"
    assert write_records(path, [record]) == 1
    assert list(read_records(path, Judged)) == [record]
    assert path.read_bytes().count(b"\n") == 1
    assert to_line(record) == to_line(next(read_records(path, Judged)))


def test_odd_signs_survive(tmp_path: Path) -> None:
    """Unicode's separators and control characters must not end a line."""
    for text in ("a\u2028b\u2029c\x85", "\x00\x1b[31m", "{question} %s ${x}", "🍎"):
        path = tmp_path / "rows.jsonl"
        write_records(path, [Problem(id="a", question=text + "?", reference="2")])
        (record,) = read_records(path, Problem)
        assert record.question == text + "?"


def test_pairs_of_surrogates_are_a_sign(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(PROBLEM | {"mine": "🍎"}, ensure_ascii=True))
    (record,) = read_records(path, Problem)
    assert record.model_extra == {"mine": "🍎"}


def test_columns_of_the_user_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(PROBLEM | {"mine": [{"deep": None}], "level": 3}))
    (record,) = read_records(path, Problem)
    assert record.model_extra == {"mine": [{"deep": None}], "level": 3}
    assert json.loads(to_line(record)) == {"schema_version": 1} | PROBLEM | {"mine": [{"deep": None}], "level": 3}


@pytest.mark.parametrize("version", [{}, {"schema_version": 1}])
def test_a_row_without_a_version_has_the_first_form(tmp_path: Path, version: dict) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(PROBLEM | version))
    (record,) = read_records(path, Problem)
    assert record == Problem.model_validate(PROBLEM)
    assert not record.model_extra
    assert json.loads(to_line(record)) == {"schema_version": records.SCHEMA_VERSION} | PROBLEM


def test_older_forms_are_read_forward_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if form 2 had renamed `answer` to `reference`, and form 3 given every problem a source."""

    def rename(row: dict) -> dict:
        return {{"answer": "reference"}.get(name, name): value for name, value in row.items()}

    monkeypatch.setattr(records, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(records, "MIGRATIONS", {1: rename, 2: lambda row: {"source": "unknown"} | row})
    first = {"id": "a", "question": "1 + 1?", "answer": "#### 2"}
    rows = [first, first | {"id": "b", "schema_version": 1}, PROBLEM | {"id": "c", "schema_version": 2},
            PROBLEM | {"id": "d", "schema_version": 3, "source": "me"}]  # fmt: skip
    path = write(tmp_path / "rows.jsonl", *map(json.dumps, rows))
    read = list(read_records(path, Problem))
    assert [record.reference for record in read] == ["#### 2"] * 4
    assert [record.model_extra for record in read] == [{"source": "unknown"}] * 3 + [{"source": "me"}]
    assert all(json.loads(to_line(record))["schema_version"] == 3 for record in read)
    write_records(path, read)
    assert list(read_records(path, Problem)) == read


def test_a_migration_stands_for_every_step() -> None:
    assert sorted(records.MIGRATIONS) == list(range(1, records.SCHEMA_VERSION))


@pytest.mark.parametrize(
    ("version", "message", "remedy"),
    [
        (2, "this row has form 2, of a newer release; this one reads form 1", "update nlft"),
        (0, "not the number of a form", "rename or remove this column"),
        ("1.0", "not the number of a form", "rename or remove this column"),
        (True, "not the number of a form", "rename or remove this column"),
        (None, "not the number of a form", "rename or remove this column"),
    ],
)
def test_an_unknown_form_is_refused(tmp_path: Path, version: object, message: str, remedy: str) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(PROBLEM | {"schema_version": version}))
    with pytest.raises(DataError, match=message) as caught:
        list(read_records(path, Problem))
    assert (caught.value.file, caught.value.line) == (path, 1)
    assert remedy in str(caught.value.remedy)


def test_records_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Problem.model_validate(PROBLEM).question = "other"  # type: ignore[misc]


def test_line_ends_blank_lines_and_marks_are_passed_over(tmp_path: Path) -> None:
    lines = [json.dumps(PROBLEM | {"id": str(i)}) for i in range(3)]
    path = write(tmp_path / "rows.jsonl", b"\xef\xbb\xbf", f"{lines[0]}\r", "", "  \t", lines[1], lines[2].encode())
    assert [(line, record.id) for line, record in read_numbered(path, Problem)] == [(1, "0"), (4, "1"), (5, "2")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "broken JSON"),
        (json.dumps(PROBLEM)[:-3], "broken JSON"),
        (json.dumps(PROBLEM) * 2, "broken JSON: extra data"),
        ("[]", "a JSON array, not an object"),
        ("7", "a JSON number, not"),
        ("null", "a JSON null, not"),
        ('"text"', "a JSON string, not"),
        ("true", "a JSON boolean, not"),
        (b"\x00\x01\x02\n", "binary data"),
        (b"PK\x03\x04\xff\xfe\n", "not UTF-8"),
        ('{"id": "x"}', 'the field "question" is missing'),
        (json.dumps(PROBLEM | {"id": 7}), 'the field "id": input should be a valid string'),
        (json.dumps(PROBLEM | {"id": ""}), 'the field "id"'),
        (json.dumps(PROBLEM | {"question": None}), 'the field "question"'),
        (json.dumps(PROBLEM | {"question": " \n"}), "is blank"),
        (json.dumps(PROBLEM | {"reference": ["#### 2"]}), 'the field "reference"'),
        ('{"id": "x", "question": NaN, "reference": "2"}', "NaN is no number"),
        ('{"id": "x", "question": "?", "reference": "2", "mine": -Infinity}', "-Infinity is no number"),
        ('{"id": "x", "question": "?", "reference": "2", "mine": 1e999}', "1e999 is no number"),
        ('{"id": "x", "question": "?", "reference": "2", "mine": ' + "9" * 5000 + "}", "broken JSON"),
        ('{"id": "x", "question": "\\ud800", "reference": "2"}', "half a surrogate pair"),
        (json.dumps(PROBLEM | {"mine": {"\udfff": 1}}), "half a surrogate pair"),
        ('{"id": "x", "mine": ' + "[" * 200 + "]" * 200 + "}", "levels deep"),
        (json.dumps(PROBLEM | {"id": "first"}), "the id 'first' is already on line 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str | bytes, message: str) -> None:
    path = write(tmp_path / "rows.jsonl", "", json.dumps(PROBLEM | {"id": "first"}), line)
    reading = read_records(path, Problem)
    assert next(reading).id == "first"
    with pytest.raises(DataError) as caught:
        next(reading)
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line) == (path, 3)
    assert caught.value.remedy
    assert str(caught.value).startswith(f"{path}:3: ")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf\n  \n"])
def test_a_file_without_rows_says_which_command_makes_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="holds no rows") as caught:
        list(read_records(path, Attempt))
    assert "nlft answer" in (caught.value.remedy or "")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_records(tmp_path / "none.jsonl", Problem))
    with pytest.raises(DataError, match="a folder"):
        list(read_records(tmp_path, Problem))
    with pytest.raises(DataError):
        list(read_records("nul\0.jsonl", Problem))


def test_ids_that_share_a_hash_are_no_duplicates(tmp_path: Path) -> None:
    """Only hashes of ids are kept, so a hit is checked against the file itself."""

    class Colliding(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 1

    class Row(Problem):
        def __getattribute__(self, name: str) -> object:
            value = super().__getattribute__(name)
            return Colliding(value) if name == "id" else value

    rows = [json.dumps(PROBLEM | {"id": name}) for name in ("a", "b")]
    assert len(list(read_records(write(tmp_path / "rows.jsonl", *rows), Row))) == 2
    with pytest.raises(DataError, match="is already on line 1"):
        list(read_records(write(tmp_path / "rows.jsonl", *rows, rows[0]), Row))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = [json.dumps(PROBLEM), json.dumps(PROBLEM)]
    writer = threading.Thread(target=lambda: pipe.write_text("\n".join(lines), encoding="utf-8"))
    writer.start()
    with pytest.raises(DataError, match="is already on line 1"):
        list(read_records(pipe, Problem))
    writer.join()


def test_repeated_ids_may_be_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(PROBLEM), json.dumps(PROBLEM))
    assert len(list(read_records(path, Problem, unique_ids=False))) == 2


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", "before")

    def rows() -> Iterator[Problem]:
        yield Problem.model_validate(PROBLEM)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_records(path, rows())
    assert path.read_text(encoding="utf-8") == "before\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


def test_who_reads_the_old_file_reads_it_to_the_end(tmp_path: Path) -> None:
    """The new file takes the old one's place in one step; the old one's content is never touched."""
    path = write(tmp_path / "rows.jsonl", "before")
    with path.open(encoding="utf-8") as reader:
        write_lines(path, ["after"])
        assert reader.read() == "before\n"
    assert path.read_text(encoding="utf-8") == "after\n"


def test_a_file_may_be_read_and_written_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", *(json.dumps(PROBLEM | {"id": str(i)}) for i in range(3)))
    assert write_records(path, read_records(path, Problem)) == 3
    assert len(list(read_records(path, Problem))) == 3


def test_no_space_left_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "rows.jsonl", "before")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nlft.files.jsonl.os.fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_lines(path, ["after"])
    assert path.read_text(encoding="utf-8") == "before\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    write(tmp_path / "file", "text")
    with pytest.raises(DataError, match="cannot write"):
        write_lines(tmp_path / "file" / "rows.jsonl", ["x"])
    with pytest.raises(DataError, match="cannot write"):
        write_lines(tmp_path, ["x"])


def test_the_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    write_lines(path, ["x"])
    plain = tmp_path / "plain"
    plain.write_text("x", encoding="utf-8")
    assert path.stat().st_mode == plain.stat().st_mode


def test_each_stage_adds_its_fields() -> None:
    fields = [set(kind.model_fields) for kind in (Problem, Attempt, Graded, Judged)]
    assert all(before < after for before, after in pairwise(fields))


def test_a_dash_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="standard output"):
        write_lines("-", ["a"])
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_written_through_and_a_pipe_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link, pipe = tmp_path / "disk" / "rows.jsonl", tmp_path / "rows.jsonl", tmp_path / "pipe"
    link.symlink_to(target)
    write_lines(link, ["x"])
    assert link.is_symlink()
    assert target.read_text("utf-8") == "x\n"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="a pipe or a device"):
        write_lines(pipe, ["x"])
    assert pipe.is_fifo()
