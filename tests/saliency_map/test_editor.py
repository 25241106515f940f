"""The page for corrections over HTTP: who may change what, and when it is on disk."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.saliency_map.test_safety import HOSTILE

from nlft.edits import Edits
from nlft.errors import DataError, LockedError
from nlft.files import edits_path, sole_writer
from nlft.records import Judged, Verdict, read_records, write_records
from nlft.saliency_map.editor import EditServer
from nlft.saliency_map.server import PageServer

RESPONSE = "3 + 4 = 8 🙂\n#### 8"


def rows(count: int = 3) -> list[Judged]:
    return [
        Judged(
            id=f"r{i}",
            question=f"What is 3 + 4, {i}?",
            reference="#### 7",
            response=RESPONSE,
            verdict=Verdict(correct=i == 2, reason="8 is not 7"),
            judgment=None if i == 2 else "The sum is wrong.",
            judge=None if i == 2 else "rule",
        )
        for i in range(count)
    ]


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    write_records(tmp_path / "judged.jsonl", rows())
    return tmp_path / "judged.jsonl"


@pytest.fixture
def server(judged: Path) -> Iterator[EditServer]:
    started = EditServer(judged)
    thread = threading.Thread(target=started.serve_forever, daemon=True)
    thread.start()
    yield started
    started.shutdown()
    started.server_close()
    thread.join()


def ask(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, body=body, headers=headers or {})
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def post(server, identity="r0", version=0, path=None, body=None, headers=None, **asked):
    own = {"Content-Type": "application/json", "Origin": server.url[: -len(server.home)]}
    sent = json.dumps({"id": identity, "version": version, **asked}) if body is None else body
    status, text = ask(server, "POST", path or f"{server.home}edit", sent, own | (headers or {}))
    return status, json.loads(text)


def on_disk(judged: Path) -> str:
    path = edits_path(judged)
    return path.read_text() if path.exists() else ""


def test_a_change_is_on_disk_when_it_is_answered(server, judged):
    before = judged.read_bytes()
    status, row = post(server, change={"correct": True})
    assert (status, row["correct"], row["version"], row["edited"], row["undo"]) == (200, True, 1, True, True)
    assert json.loads(on_disk(judged))["edit"] == {"correct": True}
    assert next(read_records(judged, Judged)).verdict.correct
    assert judged.read_bytes() == before
    status, row = post(server, version=1, undo=True)
    assert (status, row["correct"], row["version"], row["edited"], row["undo"]) == (200, False, 2, False, False)
    assert post(server, version=2, undo=True)[1]["version"] == 2  # nothing left to undo


def test_marks_count_characters_not_utf16(server, judged):
    """The 8 after the emoji: Python's characters, which the page counts, too."""
    place = RESPONSE.rindex("8")
    status, row = post(server, change={"marks": [{"start": place, "end": place + 1, "text": "8"}]})
    assert (status, row["marks"]) == (200, [[place, place + 1]])
    assert post(server, "r1", change={"marks": [{"start": place + 1, "end": place + 2, "text": "8"}]})[0] == 422


def test_two_windows_do_not_overwrite_each_other_silently(server, judged):
    assert post(server, change={"judgment": "mine"})[0] == 200
    status, answer = post(server, change={"judgment": "yours"})  # the other window knows no change yet
    assert status == 409
    assert "another window" in answer["error"]
    assert answer["row"]["judgment"] == "mine"
    assert "yours" not in on_disk(judged)
    assert post(server, "r1", change={"judgment": "yours"})[0] == 200  # another row is nobody's conflict
    assert post(server, version=answer["row"]["version"], change={"judgment": "yours"})[0] == 200


def test_a_second_nlft_on_the_same_rows_is_refused(judged):
    with sole_writer(edits_path(judged)), pytest.raises(LockedError), sole_writer(edits_path(judged)):
        pass


def test_the_page_is_for_those_who_know_its_address(server):
    status, body = ask(server, "GET", server.home)
    assert status == 200
    assert "What is 3 + 4, 1?" in body
    wrong = "/" + "x" * len(server.token) + "/"
    for path in ("/", wrong, server.home + "edit", server.home[:-1], "/edit", server.home + "../"):
        status, body = ask(server, "GET", path)
        assert status == 403
        assert "What is" not in body


def test_the_page_shows_the_rows_as_they_are_now(server):
    post(server, change={"judgment": "written just now"})
    assert "written just now" in ask(server, "GET", server.home)[1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_what_another_site_sends_changes_nothing(headers, status, server, judged):
    """A form or fetch of another site: its browser states the Origin; a rebound name is no name of ours."""
    assert post(server, change={"correct": True}, headers=headers)[0] == status
    assert on_disk(judged) == ""


def test_a_request_without_an_origin_is_refused(server, judged):
    body = json.dumps({"id": "r0", "version": 0, "change": {"correct": True}})
    assert ask(server, "POST", f"{server.home}edit", body, {"Content-Type": "application/json"})[0] == 403
    assert on_disk(judged) == ""


@pytest.mark.parametrize("path", ["/edit", "/{wrong}/edit", "/", "/score", "{home}", "{home}edits", "{home}edit/"])
def test_a_wrong_token_or_path_changes_nothing(path, server, judged):
    path = path.format(wrong="x" * len(server.token), home=server.home)
    assert post(server, path=path, change={"correct": True})[0] == 403
    assert on_disk(judged) == ""


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_there_is_no_other_method(method, server):
    assert ask(server, method, server.home)[0] == 501


def test_a_body_of_ten_megabytes_is_refused_and_the_sender_told(server, judged):
    body = json.dumps({"id": "r0", "version": 0, "change": {"judgment": "x" * 10_000_000}})
    status, answer = post(server, body=body)
    assert status == 413
    assert "1000000 bytes" in answer["error"]
    assert on_disk(judged) == ""
    assert post(server, change={"correct": True})[0] == 200  # and the server goes on


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"identity": "nobody", "change": {"correct": True}}, 404),
        ({"identity": "__proto__", "change": {"correct": True}}, 404),
        ({"version": -1, "change": {"correct": True}}, 422),
        ({"version": 7, "change": {"correct": True}}, 409),
        ({"change": {"correct": "yes"}}, 422),
        ({"change": {"file": "/etc/passwd"}}, 422),
        ({"change": {"response": "  "}}, 422),
        ({"change": {"marks": [{"start": 0, "end": 9, "text": "8"}]}}, 422),
        ({"change": "all"}, 422),
        ({"change": {"correct": True}, "folder": "/etc"}, 422),
        ({"body": "{"}, 422),
        ({"body": "[]"}, 422),
        ({"body": '{"id": "r0", "version": 0, "change": {"judgment": "\\ud800"}}'}, 422),
        ({"body": b"\xff\xfe"}, 422),
    ],
)
def test_what_no_row_can_take_is_refused(asked, status, server, judged):
    found, answer = post(server, **asked)
    assert found == status
    assert answer["error"]
    assert on_disk(judged) == ""


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\ud800" not in text])
def test_hostile_text_is_text(text, server, judged):
    assert post(server, change={"response": f"a {text}", "correct": False, "judgment": text})[0] == 200
    row = next(read_records(judged, Judged))
    assert (row.response, row.judgment) == (f"a {text}", text.strip() or None)
    page = ask(server, "GET", server.home)[1]
    assert text not in page or not set("<>&") & set(text)


def test_the_map_has_no_route_that_writes(make_scored, judged):
    started = PageServer([make_scored(1, correct=True)], source="s")
    thread = threading.Thread(target=started.serve_forever, daemon=True)
    thread.start()
    try:
        for path in ("/edit", f"/{started.token}/edit", "/"):
            assert post(started, path=path, change={"correct": True})[0] == 404
    finally:
        started.shutdown()
        started.server_close()
        thread.join()
    assert not edits_path(judged).exists()


def test_it_listens_on_loopback_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) > 40


def test_edits_of_other_responses_stop_it_at_once(server, judged):
    post(server, change={"correct": True})
    write_records(judged, [row.model_copy(update={"response": "anew"}) for row in rows()])
    with pytest.raises(DataError, match="another response"):
        EditServer(judged)


def test_a_full_disk_is_said_and_nothing_is_taken_for_saved(server, judged, monkeypatch):
    def full(row):
        raise DataError("cannot write: no space left on device", remedy="free some disk space")

    monkeypatch.setattr(server.edits._file, "append", full)
    status, answer = post(server, change={"correct": True})
    assert status == 507
    assert "not saved" in answer["error"]
    assert server.state("r0")["correct"] is False
    assert len(Edits.of(judged)) == 0
