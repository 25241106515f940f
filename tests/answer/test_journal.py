from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.answer.journal import Journal
from nlft.answer.types import Reply
from nlft.errors import DataError, LockedError
from nlft.files import journal_path, sole_writer

REPLIES = st.builds(
    Reply,
    text=st.text(),
    finish_reason=st.sampled_from(["stop", "length", None]),
    failure=st.one_of(st.none(), st.text(min_size=1)),
    requests=st.integers(0, 9),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1), REPLIES, max_size=8))
def test_what_is_put_is_read_again(tmp_path_factory: pytest.TempPathFactory, replies: dict[str, Reply]) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    with Journal(path) as journal:
        for key, reply in replies.items():
            journal.put(key, reply)
    with Journal(path) as again:
        assert {key: again.get(key) for key in replies} == replies
        assert len(again) == len(replies)


def test_a_lone_surrogate_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.put("k", Reply("half a sign \ud83d"))
    assert Journal(tmp_path / "j.jsonl").get("k") == Reply("half a sign \ud83d")


def test_torn_at_any_byte_it_keeps_the_whole_lines_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.put("a", Reply("first"))
        whole = path.stat().st_size
        journal.put("b", Reply("second"))
    content = path.read_bytes()
    for cut in range(whole, len(content)):
        path.write_bytes(content[:cut])
        with Journal(path) as journal:
            assert "a" in journal
            assert "b" not in journal
            journal.put("b", Reply("again"))
        assert Journal(path).get("b") == Reply("again")
        assert Journal(path).get("a") == Reply("first")


def test_zeros_that_a_power_cut_left_at_the_end_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.put("a", Reply("first"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 100)
    assert len(Journal(path)) == 1
    assert path.read_bytes() == whole


def test_damage_in_the_middle_is_no_crash_of_ours_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.put("a", Reply("first"))
        journal.put("b", Reply("second"))
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(DataError) as caught:
        Journal(path)
    assert (caught.value.file, caught.value.line) == (path, 1)


def test_a_later_line_counts(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.put("a", Reply(failure="no"))
        journal.put("a", Reply("yes"))
    assert Journal(tmp_path / "j.jsonl").get("a") == Reply("yes")


def test_every_reply_is_synced_before_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), real(handle))[1])
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for number in range(3):
            synced.clear()
            journal.put(str(number), Reply("text"))
            assert synced[-1] == path.stat().st_size


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j.jsonl"
    real = os.write
    with Journal(path) as journal:
        journal.put("a", Reply("first"))
        before = path.read_bytes()

        def half(handle: int, data: bytes) -> int:
            if len(data) < 10:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(handle, bytes(data)[: len(data) // 2])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(DataError, match="No space left"):
            journal.put("b", Reply("second"))
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert "b" not in journal
        journal.put("b", Reply("second"))
    assert Journal(path).get("b") == Reply("second")


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    code = "import sys; from nlft.files import sole_writer\nwith sole_writer(sys.argv[1]): pass"
    with sole_writer(output):
        refused = subprocess.run([sys.executable, "-c", code, str(output)], capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        assert f"LockedError: {output}: another process ({os.getpid()})" in refused.stderr
        with pytest.raises(LockedError), sole_writer(output):
            pass
    assert subprocess.run([sys.executable, "-c", code, str(output)], check=False).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_does_not_lock_for_ever(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    code = (
        "import os, signal, sys; from nlft.files import sole_writer\n"
        "with sole_writer(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(output)], check=False).returncode == -9
    with sole_writer(output):
        pass


def test_the_journal_stands_beside_its_output() -> None:
    assert journal_path("runs/answers.jsonl") == Path("runs/answers.journal.jsonl")
